"""Which column of a list holds the numbers, which the codes, and which may say that somebody wants no messages.

Names are compared without case, accents, spaces and punctuation. If two columns could be meant, neither is used.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from posthorn.content.plain import plain
from posthorn.errors import InputError

_LETTERS = str.maketrans({"ł": "l", "Ł": "L", "ß": "ss", "ø": "o", "đ": "d"})
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[a-z0-9]+")


def _table(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words, and pairs of words joined, that name a column of numbers: Polish, English, German.
_PHONE_WORDS = _table(
    "phone phones telephone telefon telefony telefonu telefonnummer telefonnr telefonnumer tel nrtel telnr teln kom komorka"
    " komorkowy komorki komorkowe mobile mobil mobiltelefon mobilnummer mobilnr mobilfunk mobilfunknummer mobiles cell"
    " cellphone cellular handy handynummer handynr msisdn gsm whatsapp phonenumber phoneno mobilephone mobileno mobilenumber"
    " nrtelefonu numertelefonu nrkom telkom telkomorkowy telefonkomorkowy rufnummer fon smartphone cellnumber smsnumber"
)
_WEAK_NAMES = _table(
    "number numbers numer numery nummer nummern nr no num contact kontakt recipient recipients odbiorca odbiorcy sms"
    " destination empfanger contactno"
)
_CONTACT_NUMBERS = frozenset({"contactnumber", "numerkontaktowy", "nrkontaktowy", "kontaktnummer", "whatsappnumber"})
# A column with one of these words in its name holds something else.
_NOT_PHONES = _table(
    "type typ rodzaj model carrier operator extension ext device provider label opt optin optout consent zgoda zgody"
    " verified status country code app os date data time fax faks telefax pager valid kraj kierunkowy notes uwagi prefix"
    " region count preferred preference has is allowed email mail hotel name nazwa usage plan brand bill rachunek id"
)
_CODE_NAMES = _table("barcode barcodeid barcodes barcodenumber barcodevalue ticketbarcode kodkreskowy")
_CODE_WORDS = _table("barcode ticket tickets bilet bilety biletu kod code codes qr qrcode secret voucher")
_NOT_CODES = _table(
    "postal post postcode pocztowy pocztowa zip country kraj kraju promo promotion discount rabat rabatowy rabatu"
    " currency"
    " waluta area dress language jezyk type typ rodzaj name nazwa price cena class klasa category kategoria status date"
    " data count ilosc quantity total event phone telefon telefonu tax vat region state plz kierunkowy url link"
)
_CONSENT_WORDS = _table(
    "status zgoda zgody consent optin optout opt unsubscribed unsubscribe subscribed subscriber subscription abmeldung"
    " abgemeldet einwilligung permission gdpr rodo rezygnacja rezygnuje wypisany wypisana blocked blacklist donotcontact"
    " donottext donotsms dnd newsletter marketing sprzeciw"
)
_NOT_CONSENT = _table("date data time ip at source zrodlo payment order platnosci zamowienia ticket employment marital lead")
_CONSENT_PAIRS = ("optin", "optout", "donotcontact", "donottext", "donotcall")


def words_of(name: str) -> list[str]:
    """The words of a column's name without case and accents: ``Phone 1 - Value`` is phone, 1, value."""
    spaced = _CAMEL.sub(" ", name.translate(_LETTERS))
    bare = "".join(one for one in unicodedata.normalize("NFKD", spaced) if not unicodedata.combining(one))
    return _WORD.findall(bare.casefold())


def folded(name: str) -> str:
    """A name in the form that is compared: letters and digits only."""
    return "".join(words_of(name))


def is_phone_name(name: str) -> bool:
    """Whether the name alone says that the column holds phone numbers."""
    words = words_of(name)
    if _NOT_PHONES.intersection(words):
        return False
    joined = "".join(words)
    pairs = {first + second for first, second in pairwise(words)}
    return joined in _PHONE_WORDS | _CONTACT_NUMBERS or bool(_PHONE_WORDS.intersection([*words, *pairs]))


def is_weak_phone_name(name: str) -> bool:
    """Whether the name may mean phone numbers, or any other numbers."""
    return folded(name) in _WEAK_NAMES


def is_code_name(name: str) -> bool:
    """Whether the name alone says that the column holds barcodes."""
    return folded(name) in _CODE_NAMES


def may_be_code_name(name: str) -> bool:
    """Whether the name may mean tickets' codes."""
    words = words_of(name)
    return not _NOT_CODES.intersection(words) and (is_code_name(name) or bool(_CODE_WORDS.intersection(words)))


def is_consent_name(name: str) -> bool:
    """Whether the name may mean that somebody wants no messages."""
    words = words_of(name)
    if _NOT_CONSENT.intersection(words):
        return False
    return bool(_CONSENT_WORDS.intersection(words)) or any(pair in "".join(words) for pair in _CONSENT_PAIRS)


def named_column(titles: Sequence[str], wanted: str, key: str) -> int:
    """The column that the operator names: by its exact name, else without case, accents and punctuation.

    Raises:
        InputError: no column fits, or several do; the message lists the columns.
    """
    exact = [index for index, title in enumerate(titles) if title == wanted]
    alike = exact or [index for index, title in enumerate(titles) if title and folded(title) == folded(wanted)]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise InputError(key, f'{len(alike)} columns are called "{plain(wanted)}"; rename all but one in the list')
    close = difflib.get_close_matches(wanted, titles, n=1)
    hint = f'; did you mean "{plain(close[0])}"?' if close else ""
    raise InputError(key, f'there is no column "{plain(wanted)}"; it has {listed(titles)}{hint}')


def phone_column(titles: Sequence[str], share: Callable[[int], float | None]) -> int | None:
    """The column of numbers, or None if no name says so.

    ``share`` returns the share of a column's values that are numbers an MMS reaches, None if it has no values. It is asked
    only about names that may mean any number.

    Raises:
        InputError: two columns could be meant; the message names both, and the key that decides.
    """
    strong = [index for index, title in enumerate(titles) if is_phone_name(title)]
    found = strong
    if not strong:
        weak = [index for index, title in enumerate(titles) if is_weak_phone_name(title)]
        found = weak if len(titles) == 1 else [index for index in weak if (share(index) or 0) > 0.5]
        if weak and not found and len(weak) == 1 and share(weak[0]) is None:
            found = weak
        if weak and not found:
            name = plain(titles[weak[0]])
            raise InputError(
                "column",
                f'most values of "{name}" are not numbers that an MMS reaches; name the column: column = "…"'
                f" (it has {listed(titles)})",
            )
    if len(found) > 1:
        names = " and ".join(f'"{plain(titles[index])}"' for index in found)
        way_on = which_of(titles, found, "column")
        raise InputError("column", f"{len(found)} columns could hold the numbers: {names}; {way_on}")
    return found[0] if found else None


def which_of(titles: Sequence[str], found: Sequence[int], key: str) -> str:
    """What to do if several columns could be meant: name one with ``key``, if one has a unique name."""
    alone = next((titles[index] for index in found if titles.count(titles[index]) == 1), None)
    return "rename all but one in the list" if alone is None else f'say which: {key} = "{plain(alone)}"'


def listed(titles: Iterable[str], most: int = 20) -> str:
    """Column names for a sentence, each one shortened, the rest counted."""
    names = [plain(title, most=40) or "(unnamed)" for title in titles]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def wanted_rows(only_where: Mapping[str, frozenset[str]], titles: Sequence[str]) -> list[tuple[int, frozenset[str]]]:
    """``only_where`` by the index of each column.

    Raises:
        InputError: there is no such column.
    """
    return [(named_column(titles, name, "only_where"), values) for name, values in only_where.items()]
