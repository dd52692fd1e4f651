"""An event file and its attendees: all that is wrong is said at once, every row is a ticket or a reject with a reason."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from posthorn.content.event import AttendeeIntake, fill
from posthorn.content.inputfile import differences
from posthorn.errors import InputError
from tests.content.loading import load_event

WHOLE = {"name": '"gala"', "mms_id": "35674", "from": "60856", "attendees": '"attendees.csv"'}


def write(folder: Path, rows: str = "phone,barcode_id\n+16502530000,A1\n", **keys: str | None) -> Path:
    (folder / "attendees.csv").write_text(rows, encoding="utf-8")
    lines = {key: value for key, value in (WHOLE | keys).items() if value is not None}
    file = folder / "gala.toml"
    file.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()), encoding="utf-8")
    return file


PROBLEMS = [
    ({"mms_id": None}, "mms_id: is missing"),
    ({"mms_id": '"abc"'}, "mms_id: expected digits"),
    ({"from": None}, "from: is missing"),
    ({"from": '"call me"'}, "from: expected a shortcode"),
    ({"name": '"../x"'}, "name: expected 1 to 80"),
    ({"gateway": '"serwersms"'}, "gateway: expected skycore"),
    ({"barcode": '"magic"'}, "barcode: expected"),
    ({"atendees": '"x"'}, "atendees: is not a key of an event file; did you mean attendees?"),
    ({"ddm_title": '"Hello"'}, "ddm_text: is missing"),
    ({"custom_texts": '{ first = "Hello" }'}, "custom_texts: expected slide numbers"),
]


@pytest.mark.parametrize(("keys", "problem"), PROBLEMS)
def test_what_is_wrong_is_said_by_its_key(keys: dict[str, str | None], problem: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        load_event(write(tmp_path, **keys))
    assert problem in str(refused.value)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        load_event(write(tmp_path, mms_id='"x"', **{"from": '"y"'}))
    assert "mms_id" in str(refused.value)
    assert "from" in str(refused.value)


def test_numbers_may_be_written_as_numbers_or_text(tmp_path: Path) -> None:
    assert load_event(write(tmp_path)) == load_event(write(tmp_path, mms_id='"35674"', **{"from": '"60856"'}))


REJECTED = [
    ("nobody,A1", "not a number"),
    ("+16502530001,", "the barcode id is missing"),
    ("+16502530001,Ticket 1", "the barcode id is not 1 to 32 letters"),
    ("+16502530001," + "A" * 33, "the barcode id is not 1 to 32 letters"),
    ("+16502530001,A1", "the barcode id is used in line 2 already"),
]


@pytest.mark.parametrize(("row", "reason"), REJECTED)
def test_a_row_that_cannot_be_a_ticket_is_rejected_with_its_reason(row: str, reason: str, tmp_path: Path) -> None:
    event = load_event(write(tmp_path, f"phone,barcode_id\n+16502530000,A1\n{row}\n"))
    rejects = tmp_path / "gala.rejects.csv"
    intake = AttendeeIntake(event, "PL", rejects)
    assert [one.barcode for batch in intake for one in batch] == ["A1"]
    assert (intake.input, intake.accepted, intake.invalid + intake.duplicate) == (2, 1, 1)
    with rejects.open(encoding="utf-8", newline="") as file:
        (listed,) = csv.DictReader(file)
    assert (listed["line"], reason in listed["reason"]) == ("3", True)


def test_somebody_else_with_a_used_code_is_not_called_a_duplicate(tmp_path: Path) -> None:
    rows = "phone,barcode_id\n+16502530000,A1\n+16502530001,A1\n+1 650 253 0000,A1\n+16502530002,a1\n+16502530003,a1\n"
    intake = AttendeeIntake(load_event(write(tmp_path, rows)), "PL", None)
    assert [one.barcode for batch in intake for one in batch] == ["A1", "a1"]
    assert (intake.invalid, intake.duplicate) == (2, 1)
    assert [(one.line, str(one.reason)) for one in intake.first_rejects] == [
        (3, "the barcode id is used in line 2 already, for another number"),
        (4, "the barcode id is used in line 2 already"),
        (6, "the barcode id is used in line 5 already, for another number"),
    ]


def test_a_name_that_two_columns_of_codes_have_is_no_way_to_say_which(tmp_path: Path) -> None:
    event = load_event(write(tmp_path, "phone,barcode_id,barcode_id\n+16502530000,A1,B1\n"))
    with pytest.raises(InputError, match=r'"barcode_id", "barcode_id"; rename all but one in the list'):
        AttendeeIntake(event, "PL", None)


def test_the_same_number_may_have_several_codes_and_the_other_columns_are_kept(tmp_path: Path) -> None:
    rows = "seat;Phone;BarcodeId\n1;+16502530000;A1\n2;+16502530000;A2\n"
    attendees = [one for batch in AttendeeIntake(load_event(write(tmp_path, rows)), "PL", None) for one in batch]
    assert [(one.barcode, one.copy, one.fields["seat"]) for one in attendees] == [("A1", 0, "1"), ("A2", 1, "2")]


def test_missing_codes_are_generated_only_where_the_event_says_so(tmp_path: Path) -> None:
    event = load_event(write(tmp_path, "phone\n+16502530000\n+16502530001\n", barcode='"generate"'))
    codes = [one.barcode for batch in AttendeeIntake(event, "PL", None) for one in batch]
    assert len(set(codes)) == 2
    with pytest.raises(InputError, match='or set barcode = "generate"'):
        AttendeeIntake(load_event(write(tmp_path, "phone\n+16502530000\n")), "PL", None)


def test_codes_of_the_file_are_kept_and_only_the_missing_ones_are_generated(tmp_path: Path) -> None:
    rows = "phone,barcode_id\n+16502530000,A1\n+16502530001,\n+16502530002,A3\n"
    event = load_event(write(tmp_path, rows, barcode='"generate"'))
    first, made, last = (one.barcode for batch in AttendeeIntake(event, "PL", None) for one in batch)
    assert (first, last) == ("A1", "A3")
    assert made not in ("", "A1", "A3")


@pytest.mark.parametrize(
    ("sent", "is_taken"), [('custom_subject = "For {name}"', False), ('custom_subject = "For {seat}"', True)]
)
def test_a_control_character_is_rejected_where_it_would_be_sent(sent: str, is_taken: bool, tmp_path: Path) -> None:
    key, _, value = sent.partition(" = ")
    event = load_event(write(tmp_path, "phone,barcode_id,name,seat\n+16502530000,A1,Ad\x01a,7\n", **{key: value}))
    intake = AttendeeIntake(event, "PL", None)
    assert (sum(map(len, intake)), intake.invalid) == ((1, 0) if is_taken else (0, 1))
    if not is_taken:
        assert "control character" in intake.first_rejects[0].reason


def test_columns_that_do_not_exist_are_named(tmp_path: Path) -> None:
    event = load_event(write(tmp_path, data='{ FIRST_NAME = "name" }', custom_subject='"For {nmae}"'))
    with pytest.raises(InputError, match="no column name, nmae"):
        AttendeeIntake(event, "PL", None)


def test_what_differs_is_said(tmp_path: Path) -> None:
    before = load_event(write(tmp_path)).content().in_full()
    after = load_event(write(tmp_path, "phone,barcode_id\n+16502530001,A1\n", campaign_ref='"7"')).content().in_full()
    assert differences(before, before) == []
    assert differences(before, after) == ['campaign_ref was not set, is now "7"'], "its list is no content"


def test_a_template_is_filled_from_the_attendees_columns() -> None:
    assert fill("Seat {Seat} & {nothing}!", {"seat": "7"}) == "Seat 7 & !"
