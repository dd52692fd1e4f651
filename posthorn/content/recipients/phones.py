"""From a written phone number to E.164, or to the reason why not; it never guesses digits that are not there.

``phonenumbers`` is the judge. Its ``parse`` takes tens of microseconds per number, so what its own metadata settles at once
(``_Numbering``) is settled by compiled patterns; everything else goes through ``parse`` and ``is_valid_number``.
"""

from __future__ import annotations

import functools
import re
import unicodedata

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, NumberParseException, PhoneMetadata, ValidationResult
from phonenumbers.phonemetadata import PhoneNumberDesc

from posthorn.errors import InputError
from posthorn.models import Phone


class Reason(str):
    """Why a row is not taken: a short sentence for the rejects file, without the value itself."""

    __slots__ = ()


EMPTY = Reason("empty")
NOT_A_NUMBER = Reason("not a number")
TOO_SHORT = Reason("too short")
TOO_LONG = Reason("too long")
EXTENSION = Reason("has an extension, which no MMS reaches")
NO_SUCH_COUNTRY = Reason("no country has this prefix")
SHORTENED = Reason("shortened by a spreadsheet, its digits are lost: format the column as text")
DECIMAL = Reason("a decimal number: format the column as text")

_PARSE_REASONS = {
    NumberParseException.INVALID_COUNTRY_CODE: NO_SUCH_COUNTRY,
    NumberParseException.TOO_SHORT_AFTER_IDD: TOO_SHORT,
    NumberParseException.TOO_SHORT_NSN: TOO_SHORT,
    NumberParseException.TOO_LONG: TOO_LONG,
}
_LENGTH_REASONS = {
    ValidationResult.TOO_SHORT: TOO_SHORT,
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: TOO_SHORT,
    ValidationResult.TOO_LONG: TOO_LONG,
}
_SHORTEST, _LONGEST = 3, 22
"""Digits beyond which no parser need be asked: E.164 has 15, an international and a national prefix may come on top."""

_LONGEST_TEXT = 100
"""Characters a cell may have before it is looked at more closely: patterns that search take long over long texts."""

_DIALLED = re.compile(r"\+?[0-9]+")
_TEXT_CELL = re.compile(r"=\"([^\"]*)\"|['’‘](.*)", re.DOTALL)
_EXPONENT = re.compile(r"[+-]?\d+(?:[.,]\d+)?e[+-]?\d+", re.IGNORECASE)
_DECIMAL = re.compile(r"\+?\d{7,}[.,]0*")
_EXTENSION = re.compile(r"[^a-z]*\d[^a-z]*(?:[;,]?\s*(?:ext[a-z]*|x|wew[a-z]*|int)|#)[.:=\s]*\d+", re.IGNORECASE)


class _Dialled(dict[int, str | None]):
    """What ``str.translate`` makes of one character: a digit of any script, a plus, nothing, or the character itself.

    Dropped are what people and programs put between digits: spaces, dashes, brackets, full stops, strokes, and invisible
    marks such as those a messenger copies along.
    """

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Nd":
            self[code] = str(unicodedata.decimal(character))
        elif category in ("Zs", "Pd", "Cf") or character in "−./()[]／．（）［］·~":
            self[code] = None
        else:
            self[code] = "+" if character == "＋" else character
        return self[code]


_DIALLED_CHARACTERS = _Dialled()


class PhoneReader:
    """Reads numbers as they are written in ``region`` (two letters): national, with ``+`` or with the dialling prefix.

    It departs from ``phonenumbers`` in one thing. In Germany and elsewhere ``4915123456789`` is a valid landline if it is
    read as a national number, and a mobile if it is read with its country code. An MMS goes to mobiles, and lists leave
    the plus out far oftener than a landline's zero: it is read as the mobile.

    Raises:
        InputError: no such region.
    """

    def __init__(self, region: str) -> None:
        metadata = PhoneMetadata.metadata_for_region(region.upper(), None)
        if metadata is None:
            raise InputError("region", f"{region!r} is no region; expected two letters such as PL, DE or US")
        self.region = region.upper()
        self._code = str(metadata.country_code)
        home = _Numbering(metadata)
        self._judge = _numbering_of(self._code) or home
        abroad = metadata.international_prefix or "(?!)"
        self._abroad = re.compile(abroad)
        self._viable = re.compile(home.viable)
        self._trunk = home.trunk
        self._untouched = re.compile(home.untouched)
        code, mobile = self._code, self._judge.mobile
        self._without_plus = re.compile(f"(?!{abroad})(?!{mobile}){code}(?={mobile}){self._judge.settled}")
        self._national = re.compile(f"(?!{abroad})(?!{code}{mobile}){home.untouched}{self._judge.valid}")

    def read(self, text: str) -> Phone | Reason:
        """The number in ``text``, or why there is none. Any valid number is taken, landlines too: the provider decides."""
        number: str | Reason = text
        if not (text.isascii() and text.removeprefix("+").isdigit()):
            number = _dialled(text)
            if isinstance(number, Reason):
                return number
        return self._settled(number) or self._parsed(number)

    def _settled(self, number: str) -> Phone | None:
        """The number where the patterns prove what ``parse`` and ``is_valid_number`` would say; None asks them."""
        if self._national.match(number):
            return Phone(int(self._code + number))
        if self._without_plus.match(number):
            return Phone(int(number))
        abroad = number[0] == "+" or self._abroad.match(number)
        if abroad:
            return self._settled_abroad(number[1 if abroad is True else abroad.end() :])
        if self._viable.match(number):
            return None
        national = number.removeprefix(self._code)
        if national == number and self._trunk:
            national = self._trunk.sub("", number, count=1)
        settled = national != number and self._untouched.match(national) and self._judge.settles(national)
        return Phone(int(self._code + national)) if settled else None

    def _settled_abroad(self, digits: str) -> Phone | None:
        """A number that begins with its country code."""
        if digits.startswith(self._code):
            return Phone(int(digits)) if self._judge.settles(digits[len(self._code) :]) else None
        for length in (1, 2, 3):
            numbering = _numbering_of(digits[:length])
            if numbering is not None:
                return Phone(int(digits)) if numbering.settles(digits[length:]) else None
        return None

    def _parsed(self, number: str) -> Phone | Reason:
        """What ``phonenumbers`` says, in full."""
        digits = len(number.lstrip("+"))
        if not _SHORTEST <= digits <= _LONGEST:
            return TOO_SHORT if digits < _SHORTEST else TOO_LONG
        try:
            parsed = phonenumbers.parse(number, self.region)
        except NumberParseException as error:
            return _PARSE_REASONS.get(error.error_type, NOT_A_NUMBER)
        if phonenumbers.is_valid_number(parsed):
            return Phone(int(f"{parsed.country_code}{phonenumbers.national_significant_number(parsed)}"))
        return _LENGTH_REASONS.get(phonenumbers.is_possible_number_with_reason(parsed)) or self._invalid(parsed)

    def _invalid(self, parsed: phonenumbers.PhoneNumber) -> Reason:
        code = parsed.country_code
        region = self.region if str(code) == self._code else phonenumbers.region_code_for_country_code(code or 0)
        return Reason(f"not a valid number in {region}" if region.isalpha() else "not a valid number")


def _dialled(text: str) -> str | Reason:
    """The bare digits of ``text``, with their plus if there is one, or what it is instead of a number."""
    text = text.strip()
    if len(text) > _LONGEST_TEXT:
        return TOO_LONG
    cell = _TEXT_CELL.fullmatch(text)
    if cell:
        text = (cell[1] or cell[2] or "").strip()
    number = text.translate(_DIALLED_CHARACTERS)
    if not _DIALLED.fullmatch(number):
        return _instead(text, number)
    return DECIMAL if "." in text and _DECIMAL.fullmatch(text) else number


def _instead(text: str, number: str) -> Reason:
    if not number or number == "+":
        return NOT_A_NUMBER if text else EMPTY
    if _EXPONENT.fullmatch(text):
        return SHORTENED
    if _DECIMAL.fullmatch(text):
        return DECIMAL
    return EXTENSION if _EXTENSION.fullmatch(text) else NOT_A_NUMBER


class _Numbering:
    """One region's numbering as patterns of whole national numbers, from the metadata that ``phonenumbers`` itself goes by.

    ``viable`` is the region's general description, ``valid`` also asks for one of its kinds (mobile, fixed line, ...), and
    ``untouched`` is a viable number from which no national prefix would be taken off. ``trunk`` is that prefix at the start
    of a number, or None where taking it off means more than cutting.
    """

    def __init__(self, metadata: PhoneMetadata) -> None:
        general = metadata.general_desc or PhoneNumberDesc()
        kinds = (
            metadata.mobile, metadata.fixed_line, metadata.toll_free, metadata.premium_rate, metadata.shared_cost,
            metadata.voip, metadata.personal_number, metadata.pager, metadata.uan, metadata.voicemail,
        )  # fmt: skip
        patterns = [pattern for pattern in map(_pattern, kinds) if pattern]
        prefix = metadata.national_prefix_for_parsing or "(?!)"
        simple = metadata.national_prefix_transform_rule is None and re.compile(prefix).groups == 0
        self.viable = rf"(?=(?:{general.national_number_pattern or '(?!)'})\Z)"
        self.valid = f"(?={_pattern(general) or '(?!)'})(?:{'|'.join(patterns) or '(?!)'})"
        self.untouched = f"(?!{prefix}){self.viable}"
        self.trunk = re.compile(rf"\A(?:{prefix})") if simple else None
        self.mobile = _pattern(metadata.mobile) or "(?!)"
        self.settled = f"(?!{prefix}){self.valid}"
        self._settled = re.compile(self.settled)

    def settles(self, national: str) -> bool:
        """Whether a national number is surely valid as it stands."""
        return self._settled.match(national) is not None


def _pattern(kind: PhoneNumberDesc | None) -> str | None:
    """What a whole national number of one kind matches: its pattern, in one of its lengths."""
    if kind is None or not kind.national_number_pattern:
        return None
    lengths = "|".join(f"[0-9]{{{length}}}" for length in kind.possible_length or ())
    return (rf"(?=(?:{lengths})\Z)" if lengths else "") + rf"(?:{kind.national_number_pattern})\Z"


@functools.cache
def _numbering_of(code: str) -> _Numbering | None:
    """The numbering of a country code, or None for what is no code or is left to ``phonenumbers``.

    Where regions share a code the first is asked first there too; a region told apart by leading digits is left alone.
    """
    regions = COUNTRY_CODE_TO_REGION_CODE.get(int(code), ()) if code.isdigit() and code[0] != "0" else ()
    metadata = PhoneMetadata.metadata_for_region(regions[0], None) if regions else None
    return _Numbering(metadata) if metadata is not None and metadata.leading_digits is None else None
