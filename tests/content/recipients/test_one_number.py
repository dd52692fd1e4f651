"""No cell makes a number that does not stand in it as one number, and each kind is what phonenumbers says it is."""

import functools
import re

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata

from posthorn.content.recipients.phones import MESSAGING, WITH_LANDLINES, PhoneReader, Reason, country_of

REGIONS = ("PL", "DE", "GB", "US", "AT")
TYPE = phonenumbers.PhoneNumberType
PARTING = ("/", " / ", ";", "|", "~", ":::", ", ", " or ", " lub ", " oder ", "\n", " & ", "\\")
reader = functools.cache(lambda region, kinds=MESSAGING: PhoneReader(region, kinds=kinds))


def kinds_of(region):
    metadata = PhoneMetadata.metadata_for_region(region)
    kinds = (
        metadata.mobile, metadata.fixed_line, metadata.toll_free, metadata.premium_rate, metadata.shared_cost, metadata.voip,
        metadata.pager, metadata.uan, metadata.personal_number,
    )  # fmt: skip
    return [kind.example_number for kind in kinds if kind is not None and kind.example_number]


@st.composite
def numbers(draw):
    region = draw(st.sampled_from(REGIONS))
    code = PhoneMetadata.metadata_for_region(region).country_code
    national = draw(st.sampled_from(kinds_of(region)))
    ending = "".join(draw(st.lists(st.sampled_from("0123456789"), min_size=2, max_size=2)))
    return region, draw(st.sampled_from([f"+{code}", f"00{code}", ""])) + national[:-2] + ending


@settings(max_examples=400, deadline=None)
@given(numbers(), numbers(), st.sampled_from(PARTING), st.integers(1, 12))
@example(("DE", "+493012345"), ("DE", "12346"), "/", 12)
def test_two_numbers_in_a_cell_are_never_one(first, second, sign, length):
    region, number = first
    for kinds in (MESSAGING, WITH_LANDLINES, None):
        assert isinstance(reader(region, kinds).read(f"{number}{sign}{second[1][:length]}"), Reason)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(REGIONS), st.text("0123456789+ -./()[];|~:,\u00a0Ęx", max_size=26))
@example("PL", "500600700 (701)")
@example("PL", "0")
@example("DE", "0171 1234567-8")
def test_the_digits_of_a_number_stand_in_the_cell(region, text):
    phone = reader(region, WITH_LANDLINES).read(text)
    if not isinstance(phone, Reason):
        digits = re.sub(r"\D", "", text)
        national = str(phonenumbers.parse(f"+{phone}").national_number)
        assert digits.endswith(national)
        assert len(digits) - len(national) <= 7  # a dialling prefix, a country code, a zero


@settings(max_examples=600, deadline=None)
@given(numbers())
@example(("PL", "641234567"))
@example(("PL", "391234567"))
@example(("GB", "7640123456"))
def test_a_kind_is_what_phonenumbers_says(case):
    region, number = case
    valid = PhoneReader(region).read(number)
    for kinds in (MESSAGING, WITH_LANDLINES):
        taken = reader(region, kinds).read(number)
        if isinstance(valid, Reason):
            assert isinstance(taken, Reason)
            continue
        is_meant = phonenumbers.number_type(phonenumbers.parse(f"+{valid}")) in kinds
        assert (taken == valid) if is_meant else isinstance(taken, Reason)


@pytest.mark.parametrize(
    ("phone", "region"),
    [
        (48500600700, "PL"),
        (12015550123, "US"),
        (14165550123, "CA"),
        (447400123456, "GB"),
        (447911123456, "GG"),
        (80012345678, "001"),
    ],
)
def test_a_number_has_a_country(phone, region):
    assert country_of(phone) == region
