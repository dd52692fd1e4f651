"""Written numbers become E.164 or a reason, and the fast path never says anything but what phonenumbers says."""

import functools
import time

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from phonenumbers import NumberParseException, PhoneMetadata

from posthorn.content.recipients import phones
from posthorn.content.recipients.phones import PhoneReader, Reason
from posthorn.errors import InputError

REGIONS = ("PL", "DE", "GB", "US", "CZ")
FULL_WIDTH = {ord("0") + digit: chr(0xFF10 + digit) for digit in range(10)} | {ord("+"): "＋"}
MOBILE = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE)
reader = functools.cache(PhoneReader)


@pytest.mark.parametrize(
    ("text", "phone"),
    [
        pytest.param("500600700", 48500600700, id="nine digits are a number of the region"),
        pytest.param("48500600700", 48500600700, id="the country code may stand without a plus"),
        pytest.param("+48500600700", 48500600700, id="E.164 is itself"),
        pytest.param("0048500600700", 48500600700, id="the dialling prefix stands for the plus"),
        pytest.param("+48 500-600-700", 48500600700, id="dashes and spaces are dropped"),
        pytest.param("(+48) 500.600.700", 48500600700, id="brackets and stops are dropped"),
        pytest.param("+48\u00a0500\u202f600\u2009700", 48500600700, id="no-break and thin spaces are dropped"),
        pytest.param("500‐600–700", 48500600700, id="typographic dashes are dropped"),
        pytest.param("\u202a+48 500 600 700\u202c", 48500600700, id="invisible marks of a messenger are dropped"),
        pytest.param("\ufeff500600700\u200b", 48500600700, id="a byte order mark and a zero-width space are dropped"),
        pytest.param("＋４８５００６００７００", 48500600700, id="full-width digits are digits"),
        pytest.param("٥٠٠٦٠٠٧٠٠", 48500600700, id="digits of another script are digits"),
        pytest.param("'+48500600700", 48500600700, id="a leading apostrophe marks text in a spreadsheet"),
        pytest.param('="500600700"', 48500600700, id="a formula of text is its text"),
        pytest.param("  500600700\t", 48500600700, id="space around it is dropped"),
        pytest.param("22 222 22 22", 48222222222, id="a landline is taken: the provider decides"),
        pytest.param("+49 171 1234567", 491711234567, id="a number abroad is taken"),
        pytest.param("+44 (0)7911 123456", 447911123456, id="a national prefix in brackets is taken off"),
        pytest.param("+39 06 6982 1234", 390669821234, id="an Italian zero stays"),
        pytest.param("+800 1234 5678", 80012345678, id="a code of no country is left to phonenumbers"),
    ],
)
def test_a_number_is_read_however_it_is_written(text, phone):
    assert reader("PL").read(text) == phone


@pytest.mark.parametrize(
    ("region", "text", "phone"),
    [
        ("DE", "0171 1234567", 491711234567),
        ("GB", "07911 123456", 447911123456),
        ("US", "(201) 555-0123", 12015550123),
        ("US", "1-201-555-0123", 12015550123),
        ("US", "011 48 500 600 700", 48500600700),
        ("CZ", "601 123 456", 420601123456),
        ("DE", "4915123456789", 4915123456789),
        ("DE", "0491 512345", 49491512345),
        ("pl", "500600700", 48500600700),
    ],
)
def test_the_region_decides_how_a_national_number_is_read(region, text, phone):
    assert PhoneReader(region).read(text) == phone


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "empty", id="nothing"),
        pytest.param(" \u00a0 ", "empty", id="only spaces"),
        pytest.param("'", "empty", id="only an apostrophe"),
        pytest.param("brak", "not a number", id="a word"),
        pytest.param("-", "not a number", id="a dash"),
        pytest.param("500600700\x00", "not a number", id="a NUL"),
        pytest.param("5\x000\x000\x006\x000\x000\x007\x000\x000", "not a number", id="UTF-16 read as something else"),
        pytest.param("500600700, 500600701", phones.SEVERAL, id="two numbers in one cell"),
        pytest.param("500600700\n500600701", phones.SEVERAL, id="two numbers on two lines of one cell"),
        pytest.param("1800 FLOWERS", "not a number", id="letters for digits"),
        pytest.param("48+500600700", "not a number", id="a plus in the middle"),
        pytest.param("45616", "too short", id="a short code"),
        pytest.param("12", "too short", id="two digits"),
        pytest.param("500600700/500600701", phones.SEVERAL, id="two numbers with a stroke"),
        pytest.param("5" * 10_000, "too long", id="thousands of digits"),
        pytest.param("x" * 10_000_000, "too long", id="ten million letters"),
        pytest.param("7799123", "not a valid number in PL", id="no such number in the region"),
        pytest.param("+49 171 12", "not a valid number in DE", id="no such number abroad"),
        pytest.param("+999 123 456 789", "no country has this prefix", id="no such country"),
        pytest.param("500600700 ext. 5", "has an extension, which no MMS reaches", id="an extension"),
        pytest.param("500600700 wew. 12", "has an extension, which no MMS reaches", id="a Polish extension"),
        pytest.param("500600700#5", "has an extension, which no MMS reaches", id="an extension after a hash"),
        pytest.param("4.8E+10", phones.SHORTENED, id="what a spreadsheet makes of a long number"),
        pytest.param("4,85006E+10", phones.SHORTENED, id="the same with a decimal comma"),
        pytest.param("48500600700.0", phones.DECIMAL, id="a float, whose zero must not become a digit"),
        pytest.param("48500600700,00", phones.DECIMAL, id="a float with a decimal comma"),
    ],
)
def test_what_is_no_number_gets_a_reason_without_its_digits(text, reason):
    outcome = reader("PL").read(text)
    assert isinstance(outcome, Reason)
    assert outcome == reason


def test_a_float_is_refused_where_its_zero_would_make_another_valid_number():
    assert reader("DE").read("4917112345670") == 4917112345670
    assert reader("DE").read("491711234567.0") == phones.DECIMAL


def test_an_unknown_region_is_refused():
    with pytest.raises(InputError, match="region: 'XX' is not a region"):
        PhoneReader("XX")


@pytest.mark.parametrize("text", ["x" * 100, "1" * 100, "1x" * 50, "1 " * 50, "é1" * 50], ids=lambda text: text[:2])
def test_no_cell_takes_long_to_refuse(text):
    started = time.process_time()
    assert isinstance(reader("PL").read(text), Reason)
    assert time.process_time() - started < 0.5


def judged(text: str, region: str) -> int | None:
    """The slow path: what the library says, and the one departure from it (a mobile whose plus was left out)."""
    number = parsed(text, region)
    code = str(phonenumbers.country_code_for_region(region))
    bare = "".join(character for character in text if character.isalnum() or character in "+＋")
    if bare.startswith((code, code.translate(FULL_WIDTH))) and not is_mobile(number):
        with_plus = parsed("+" + bare, region)
        number = with_plus if is_mobile(with_plus) and with_plus.country_code == int(code) else number
    return None if number is None else int(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:])


def parsed(text: str, region: str) -> phonenumbers.PhoneNumber | None:
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return None
    return number if phonenumbers.is_valid_number(number) and not number.extension else None


def is_mobile(number: phonenumbers.PhoneNumber | None) -> bool:
    return number is not None and phonenumbers.number_type(number) in MOBILE


def examples(region: str) -> list[str]:
    """The example numbers of the library, national, one of each kind."""
    metadata = PhoneMetadata.metadata_for_region(region)
    kinds = (metadata.mobile, metadata.fixed_line, metadata.toll_free, metadata.premium_rate, metadata.voip, metadata.uan)
    return [kind.example_number for kind in kinds if kind is not None and kind.example_number]


def prefixes(region: str) -> list[str]:
    """What may stand before a national number."""
    metadata = PhoneMetadata.metadata_for_region(region)
    code, trunk = str(metadata.country_code), metadata.national_prefix or "0"
    return ["", "+", "+" + code, code, "00" + code, "011" + code, trunk, "+" + code + trunk, trunk + code, code + code]


@st.composite
def digits(draw, regions):
    """A region, and digits near one of some region's numbers, or any digits."""
    region = draw(st.sampled_from(regions))
    origin = draw(st.one_of(st.just(region), st.sampled_from(REGIONS)))
    national = draw(st.one_of(st.sampled_from(examples(origin)), st.text("0123456789", min_size=2, max_size=14)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(national)))
        national = (
            national[:place] + draw(st.sampled_from(["", *"0123456789"])) + national[place + draw(st.integers(0, 1)) :]
        )
    return region, draw(st.sampled_from(prefixes(origin))) + national


@st.composite
def spelled(draw):
    """A region, a spelling of a number, and the same number bare."""
    region, number = draw(digits(REGIONS))
    gaps = st.sampled_from(["", "", "", " ", "-", ".", "(", ")", "\u00a0", "\u2009", "–"])
    text = "".join(character + draw(gaps) for character in number)
    if draw(st.booleans()):
        text = text.translate(FULL_WIDTH)
    return region, draw(st.sampled_from(["", "'", " "])) + text + draw(st.sampled_from(["", " ", "\u200b"])), number


@settings(max_examples=1200, deadline=None)
@given(digits(REGIONS))
@example(("PL", "483621234"))
@example(("US", "12015550123"))
@example(("GB", "+4401481256789"))
def test_digits_are_read_as_phonenumbers_reads_them(case):
    region, number = case
    outcome = reader(region).read(number)
    assert (None if isinstance(outcome, Reason) else outcome) == judged(number, region)


@settings(max_examples=500, deadline=None)
@given(digits(sorted(phonenumbers.SUPPORTED_REGIONS - {"AC", "TA"})))
@example(("JP", "0037686550496491"))
@example(("JP", "+810037686550496491"))
@example(("BR", "55800901947"))
def test_what_the_fast_path_settles_is_what_phonenumbers_says_in_every_region(case):
    region, number = case
    settled = reader(region)._settled(number) if number not in ("", "+") else None
    if settled is not None:
        assert settled == judged(number, region)


@settings(max_examples=600, deadline=None)
@given(spelled())
def test_spelling_changes_nothing(case):
    region, text, number = case
    bare = reader(region).read(number)
    outcome = reader(region).read(text)
    if outcome not in (phones.DECIMAL, phones.SEVERAL):
        assert outcome == bare
        plain = text.translate({ord("'"): None, 0x200B: None, 0x2009: " "})
        assert (None if isinstance(outcome, Reason) else outcome) == judged(plain, region)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30), st.sampled_from(REGIONS))
def test_any_text_gives_a_number_or_a_reason(text, region):
    outcome = reader(region).read(text)
    assert isinstance(outcome, Reason) or 10**4 < outcome < 10**18


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("form", ["{national}", "{code}{national}", "+{code}{national}"])
def test_ordinary_mobile_numbers_are_settled_without_parsing(region, form):
    metadata = PhoneMetadata.metadata_for_region(region)
    number = form.format(code=metadata.country_code, national=metadata.mobile.example_number)
    assert reader(region)._settled(number) == int(f"{metadata.country_code}{metadata.mobile.example_number}")
