"""One number, as a person types it at a terminal or into a form."""

from __future__ import annotations

from posthorn.content.recipients.phones import PhoneReader, Reason
from posthorn.errors import InputError
from posthorn.models import Phone
from posthorn.settings import Settings


def read_phone(number: str, settings: Settings) -> Phone:
    """The number an operator typed, in any notation.

    Raises:
        InputError: it is not a phone number.
    """
    phone = PhoneReader(settings.default_region).read(number)
    if isinstance(phone, Reason):
        raise InputError("PHONE", f"{phone}; expected a number such as +48500600700")
    return phone
