"""From a written phone number to E.164, or to the reason why it is none; it never guesses missing digits.

``phonenumbers`` decides. Its ``parse`` takes tens of microseconds per number, so patterns compiled from its own metadata
(``_Numbering``) decide the clear cases; everything else goes through ``parse`` and ``is_valid_number``.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, NumberParseException, PhoneMetadata, ValidationResult
from phonenumbers.phonemetadata import PhoneNumberDesc

from posthorn.errors import InputError
from posthorn.models import Phone


class Reason(str):
    """Why a row is rejected: a short sentence for the rejects file, without the value itself."""

    __slots__ = ()


EMPTY = Reason("empty")
NOT_A_NUMBER = Reason("not a number")
TOO_SHORT = Reason("too short")
TOO_LONG = Reason("too long")
EXTENSION = Reason("has an extension, which no MMS reaches")
NO_SUCH_COUNTRY = Reason("no country has this prefix")
SHORTENED = Reason("shortened by a spreadsheet, its digits are lost: format the column as text")
DECIMAL = Reason("a decimal number: format the column as text")
SEVERAL = Reason("more than one number? keep one in the cell")
LANDLINE = Reason("a landline: no MMS (landlines = true takes them)")
ADD_PLUS = Reason("too long for a national number; if it begins with a country code, add a + in front")
EXTRA_ZERO = Reason("not valid with the 0 in front; leave the 0 out")
OTHER_ENCODING = Reason("not a number: there are letters between the digits; is the file in another encoding?")

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
_SHORTEST, _MAX_LENGTH = 3, 22
"""More digits are surely no number: E.164 has 15, and an international and a national prefix may be added."""

_SHORTEST_ABROAD = 10
"""The fewest digits of a bare number that may include its country code."""

_MAX_TEXT_LENGTH = 100
"""The longest cell that is examined closely: searching long texts by patterns takes long."""

_DIALLED = re.compile(r"\+?[0-9]+")
_SEVERAL = re.compile(
    r"\d[^\d]*?(?:[/\\~;|,&:\t\r\n／]|\b(?:or|lub|oder|albo|and|und|oraz|i|u|e|y)\b)[^\d]*\d"  # one sign, then more digits
    r"|\d[\s.\-]*[(\[（［][^)\]]*\d[^(\[]*[)\]）］]\s*\Z",  # a bracketed tail
    re.IGNORECASE,
)
_LAST_DIGITS_AGAIN = re.compile(r"([^-–—]*\d)\s*[-–—]\s*\d{1,2}\s*")
"""``1234567-8`` may mean two numbers, or an extension, if ``1234567`` is a number by itself."""

_TRUNK_IN_BRACKETS = re.compile(r"\A(\(?(?:\+|00)\s*\d{1,3}\)?\s*)[(\[]0[)\]]")
_DIGITS = re.compile(r"\d+")
_LONG_GROUP = 7
_TEXT_CELL = re.compile(r"=\"([^\"]*)\"|['’‘](.*)", re.DOTALL)
_EXPONENT = re.compile(r"[+-]?\d+(?:[.,]\d+)?e[+-]?\d+", re.IGNORECASE)
_DECIMAL = re.compile(r"\+?\d{7,}[.,]0*")
_EXTENSION = re.compile(r"[^a-z]*\d[^a-z]*(?:[;,]?\s*(?:ext[a-z]*|x|wew[a-z]*|int)|#)[.:=\s]*\d+", re.IGNORECASE)


Kinds = frozenset[int]
"""Kinds of numbers (``phonenumbers.PhoneNumberType``) that are accepted."""

_TYPE = phonenumbers.PhoneNumberType
MESSAGING: Kinds = frozenset({_TYPE.MOBILE, _TYPE.FIXED_LINE_OR_MOBILE})
WITH_LANDLINES: Kinds = MESSAGING | {_TYPE.FIXED_LINE}

_KIND_REASONS = {
    _TYPE.FIXED_LINE: LANDLINE,
    _TYPE.PAGER: Reason("a pager: no MMS"),
    _TYPE.PREMIUM_RATE: Reason("a premium-rate number: no MMS"),
    _TYPE.TOLL_FREE: Reason("a toll-free number: no MMS"),
    _TYPE.SHARED_COST: Reason("a shared-cost number: no MMS"),
    _TYPE.VOIP: Reason("a VoIP number (internet telephone): no MMS"),
    _TYPE.PERSONAL_NUMBER: Reason("a personal number that is forwarded at extra cost: no MMS"),
    _TYPE.UAN: Reason("a company's access number: no MMS"),
    _TYPE.VOICEMAIL: Reason("a voicemail box: no MMS"),
}

_KIND_NAMES: dict[str, str] = {
    _KIND_REASONS[_TYPE.FIXED_LINE]: "landline",
    _KIND_REASONS[_TYPE.PAGER]: "pager",
    _KIND_REASONS[_TYPE.PREMIUM_RATE]: "premium_rate",
    _KIND_REASONS[_TYPE.TOLL_FREE]: "toll_free",
    _KIND_REASONS[_TYPE.SHARED_COST]: "shared_cost",
    _KIND_REASONS[_TYPE.VOIP]: "voip",
    _KIND_REASONS[_TYPE.PERSONAL_NUMBER]: "personal",
    _KIND_REASONS[_TYPE.UAN]: "company_access",
    _KIND_REASONS[_TYPE.VOICEMAIL]: "voicemail",
}


def kind_of(phone: Phone) -> int:
    """The kind of a valid number, a ``phonenumbers.PhoneNumberType``."""
    digits = str(phone)
    for length in (1, 2, 3):
        numbering = _numbering_of(digits[:length])
        if numbering is not None:
            if numbering.is_mobile(digits[length:]):
                return int(_TYPE.MOBILE)
            break
    return int(phonenumbers.number_type(phonenumbers.parse(f"+{digits}")))


def rejected_kinds(reasons: Mapping[str, int]) -> Counter[str]:
    """The counted reasons that are kinds of numbers: ``{"landline": 3, "pager": 1}``."""
    return Counter({_KIND_NAMES[reason]: count for reason, count in reasons.items() if reason in _KIND_NAMES})


def is_landline(phone: Phone) -> bool:
    """Whether a valid number is a landline and nothing else."""
    return kind_of(phone) == _TYPE.FIXED_LINE


def country_of(phone: Phone) -> str:
    """The region of a valid number (``PL``), or ``001`` if it belongs to no country."""
    digits = str(phone)
    for length in (1, 2, 3):
        regions = COUNTRY_CODE_TO_REGION_CODE.get(int(digits[:length]))
        if regions is not None:
            if len(regions) == 1:
                return str(regions[0])
            return _shared_code_region(phone)
    return "001"


def _shared_code_region(phone: Phone) -> str:
    """The region of a number whose country code several regions share."""
    return phonenumbers.region_code_for_number(phonenumbers.parse(f"+{phone}")) or "001"


class _Dialled(dict[int, str | None]):
    """What ``str.translate`` replaces one character by: a digit of any script, a plus, nothing, or the character itself.

    What people and programs put between digits is dropped: spaces, dashes, brackets, full stops, and invisible marks such
    as those that messengers copy along. A slash is kept: it may separate two numbers.
    """

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Nd":
            self[code] = str(unicodedata.decimal(character))
        elif category in ("Zs", "Pd", "Cf") or character in "−.()[]．（）［］·":
            self[code] = None
        else:
            self[code] = "+" if character == "＋" else character
        return self[code]


_DIALLED_CHARACTERS = _Dialled()


class PhoneReader:
    """Reads numbers as they are written in ``region`` (two letters): national, with ``+`` or with the dialling prefix.

    It differs from ``phonenumbers`` in one thing. In Germany and elsewhere ``4915123456789`` is a valid landline if it is
    read as a national number, and a mobile if it is read with its country code. An MMS goes to mobiles, and lists leave
    out the plus far more often than a landline's zero, so it is read as the mobile.

    ``kinds`` are the kinds of numbers that are accepted (``MESSAGING``, ``WITH_LANDLINES``); None accepts any valid number.
    ``international`` reads bare digits that are not a number of the region as if they had a plus.

    Raises:
        InputError: there is no such region.
    """

    def __init__(self, region: str, *, kinds: Kinds | None = None, international: bool = False) -> None:
        metadata = PhoneMetadata.metadata_for_region(region.upper(), None)
        if metadata is None:
            raise InputError("region", f"{region!r} is not a region; expected two letters such as PL, DE or US")
        self.region = region.upper()
        self._kinds = kinds
        self._international = international
        self._code = str(metadata.country_code)
        home = _Numbering(metadata)
        self._judge = _numbering_of(self._code) or home
        abroad = metadata.international_prefix or "(?!)"
        self._abroad = re.compile(abroad)
        self._viable = re.compile(home.viable)
        self._trunk = home.trunk
        self._untouched = re.compile(home.untouched)
        code, mobile = self._code, self._judge.mobile
        wanted = self._judge.valid if kinds is None else self._judge.messaging
        self._without_plus = re.compile(f"(?!{abroad})(?!{mobile}){code}(?={mobile})(?!{self._judge.prefix}){wanted}")
        self._national = re.compile(f"(?!{abroad})(?!{code}{mobile}){home.untouched}{wanted}")
        self._with_prefix = re.compile(rf"(?:\+|{abroad})({code}(?!{self._judge.prefix}){wanted})")

    def read(self, text: str) -> Phone | Reason:
        """The number in ``text``, or why there is none."""
        number: str | Reason = text
        if not (text.isascii() and text.removeprefix("+").isdigit()):
            number = _dialled(text)
            if isinstance(number, Reason):
                return self._hinted(text, number)
            tail = _LAST_DIGITS_AGAIN.fullmatch(text)
            if tail and not isinstance(self.read(tail[1]), Reason):
                return SEVERAL
        quick = self._quick(number)
        if quick is not None:
            return quick
        phone = self._settled(number) or self._parsed(number)
        if isinstance(phone, Reason):
            return self._otherwise(number, phone)
        return phone if self._kinds is None else self._of_kind(phone)

    def _quick(self, number: str) -> Phone | None:
        """A number of the region that is surely of an accepted kind, found without asking ``phonenumbers``."""
        if number[0] != "+":
            if self._national.match(number):
                return Phone(int(self._code + number))
            if self._without_plus.match(number):
                return Phone(int(number))
        found = self._with_prefix.match(number)
        return Phone(int(found[1])) if found else None

    def _of_kind(self, phone: Phone) -> Phone | Reason:
        kind = kind_of(phone)
        return phone if kind in (self._kinds or ()) else _KIND_REASONS.get(kind, NOT_A_NUMBER)

    def _otherwise(self, number: str, reason: Reason) -> Phone | Reason:
        """What else the digits may be: international without a plus, or national with an extra zero."""
        if number.isdigit() and len(number) >= _SHORTEST_ABROAD:
            abroad = self._parsed(f"+{number}")
            abroad = abroad if isinstance(abroad, Reason) else self._of_kind(abroad) if self._kinds else abroad
            if not isinstance(abroad, Reason):
                return abroad if self._international else ADD_PLUS
        if len(number) > 1 and number[0] == "0" and number[1] != "0" and self._quick(number[1:]) is not None:
            return EXTRA_ZERO
        return reason

    def _hinted(self, text: str, reason: Reason) -> Reason:
        """A more precise reason: letters of a wrong encoding between the digits of a number."""
        if reason is NOT_A_NUMBER and len(text) <= _MAX_TEXT_LENGTH and not text.isascii():
            bare = "".join(one for one in text if one.isascii() or not (one.isalpha() or one in "\ufffd†‡"))
            if bare != text and not isinstance(self.read(bare), Reason):
                return OTHER_ENCODING
        return reason

    def _settled(self, number: str) -> Phone | None:
        """The number, if the patterns prove what ``parse`` and ``is_valid_number`` would say; else None."""
        if self._kinds is None and (quick := self._quick(number)) is not None:
            return quick
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
        if not _SHORTEST <= digits <= _MAX_LENGTH:
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
    if len(text) > _MAX_TEXT_LENGTH:
        return TOO_LONG
    cell = _TEXT_CELL.fullmatch(text)
    if cell:
        text = (cell[1] or cell[2] or "").strip()
    number = text.translate(_DIALLED_CHARACTERS)
    if not _DIALLED.fullmatch(number):
        return _instead(text, number)
    if "." in text and _DECIMAL.fullmatch(text):
        return DECIMAL
    if _holds_several(text):
        return SEVERAL
    in_brackets = _TRUNK_IN_BRACKETS.match(text)
    return (in_brackets[1] + text[in_brackets.end() :]).translate(_DIALLED_CHARACTERS) if in_brackets else number


def _instead(text: str, number: str) -> Reason:
    if not number or number == "+":
        return NOT_A_NUMBER if text else EMPTY
    if _EXPONENT.fullmatch(text):
        return SHORTENED
    if _DECIMAL.fullmatch(text):
        return DECIMAL
    if _EXTENSION.fullmatch(text):
        return EXTENSION
    return SEVERAL if _holds_several(text) else NOT_A_NUMBER


def _holds_several(text: str) -> bool:
    """Whether ``text`` may hold more than one number: by a separator, or as two long groups of digits."""
    if _SEVERAL.search(text):
        return True
    groups = [(group[0], group.start()) for group in _DIGITS.finditer(text) if len(group[0]) >= _LONG_GROUP]
    if len(groups) < 2:
        return False
    first, at = groups[0]
    is_prefix = text[:at].rstrip().endswith("+") or first.startswith("00")
    return len(groups) > 2 or not is_prefix or len(first) >= _SHORTEST_ABROAD


class _Numbering:
    """One region's numbering as patterns of whole national numbers, from the metadata that ``phonenumbers`` itself uses.

    ``viable`` is the region's general description, ``valid`` also asks for one of its kinds (mobile, fixed line, ...), and
    ``untouched`` is a viable number from which no national prefix would be removed. ``trunk`` is that prefix at the start
    of a number, or None if removing it means more than cutting it off.
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
        self.prefix = prefix
        self.settled = f"(?!{prefix}){self.valid}"
        # phonenumbers checks the more expensive kinds first: a number of one of them is not a mobile
        dearer = "|".join(pattern for pattern in map(_pattern, kinds[2:]) if pattern) or "(?!)"
        self.messaging = f"(?={_pattern(general) or '(?!)'})(?!{dearer}){self.mobile}"
        self._messaging = re.compile(self.messaging)
        self._settled = re.compile(self.settled)

    def is_mobile(self, national: str) -> bool:
        """Whether a valid national number is surely a mobile, or of a kind that is both fixed line and mobile."""
        return self._messaging.match(national) is not None

    def settles(self, national: str) -> bool:
        """Whether a national number is surely valid as it stands."""
        return self._settled.match(national) is not None


def _pattern(kind: PhoneNumberDesc | None) -> str | None:
    """The pattern of a whole national number of one kind, in one of its lengths."""
    if kind is None or not kind.national_number_pattern:
        return None
    lengths = "|".join(f"[0-9]{{{length}}}" for length in kind.possible_length or ())
    return (rf"(?=(?:{lengths})\Z)" if lengths else "") + rf"(?:{kind.national_number_pattern})\Z"


@functools.cache
def _numbering_of(code: str) -> _Numbering | None:
    """The numbering of a country code, or None if it is not a code or is left to ``phonenumbers``.

    If regions share a code, the first is used, as ``phonenumbers`` does. A code whose regions differ by leading digits is
    left to it.
    """
    regions = COUNTRY_CODE_TO_REGION_CODE.get(int(code), ()) if code.isdigit() and code[0] != "0" else ()
    metadata = PhoneMetadata.metadata_for_region(regions[0], None) if regions else None
    return _Numbering(metadata) if metadata is not None and metadata.leading_digits is None else None
