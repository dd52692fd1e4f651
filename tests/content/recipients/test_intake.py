"""Every row is accepted, invalid or a duplicate; the rejects file says which, and the same file gives the same result."""

import csv
import hashlib
import stat
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthorn.content.recipients import read_recipients
from posthorn.content.recipients.intake import BATCH, SeenPhones
from posthorn.content.recipients.rejects import Reject, RejectsFile, spreadsheet_safe
from posthorn.errors import InputError

MIXED = """phone;name
500600700;first
+48 500-600-700;the same with a prefix
0048500600700;the same with the dialling prefix
500600701;second
５００６００７０１;the second in full width

brak;none
45616;short code
4.8E+10;from a spreadsheet
;no number
"""
REJECTED = [
    ["line", "value", "reason"],
    ["3", "'+48 500-600-700", "duplicate of line 2"],
    ["4", "0048500600700", "duplicate of line 2"],
    ["6", "５００６００７０１", "duplicate of line 5"],
    ["8", "brak", "not a number"],
    ["9", "45616", "too short"],
    ["10", "4.8E+10", "shortened by a spreadsheet, its digits are lost: format the column as text"],
    ["11", "", "empty"],
]


@pytest.fixture
def mixed(tmp_path):
    path = tmp_path / "recipients.csv"
    path.write_text(MIXED, encoding="utf-8")
    return path


def accepted(intake):
    return [recipient for batch in intake for recipient in batch]


def counted(intake):
    return intake.input, intake.accepted, intake.invalid, intake.duplicate


def test_every_row_is_accepted_or_rejected_with_its_line_and_reason(mixed, tmp_path):
    rejects = tmp_path / "autumn.rejects.csv"
    intake = read_recipients(mixed, region="PL", rejects=rejects)
    assert accepted(intake) == [(2, 48500600700), (5, 48500600701)]
    assert counted(intake) == (9, 2, 4, 3)
    with rejects.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == REJECTED
    assert [[str(reject.line), reject.reason] for reject in intake.first_rejects] == [
        [row[0], row[2]] for row in REJECTED[1:]
    ]


def test_reading_again_gives_the_same(mixed):
    intake = read_recipients(mixed, region="PL")
    first = accepted(intake), counted(intake), intake.first_rejects
    assert (accepted(intake), counted(intake), intake.first_rejects) == first
    assert intake.sha256 == read_recipients(mixed, region="PL").sha256 == hashlib.sha256(mixed.read_bytes()).hexdigest()


def test_the_region_says_what_a_national_number_is(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("500600700\n2015550123\n+48500600701\n")
    assert accepted(read_recipients(path, region="PL")) == [(1, 48500600700), (3, 48500600701)]
    assert accepted(read_recipients(path, region="US")) == [(2, 12015550123), (3, 48500600701)]


def test_batches_are_full_but_the_last(tmp_path):
    path = tmp_path / "many.csv"
    path.write_text("".join(f"{500_000_000 + number}\n" for number in range(2 * BATCH + 7)))
    intake = read_recipients(path, region="PL")
    assert [len(batch) for batch in intake] == [BATCH, BATCH, 7]
    assert counted(intake) == (2 * BATCH + 7, 2 * BATCH + 7, 0, 0)


def test_the_rejects_file_is_for_its_owner_only(mixed, tmp_path):
    rejects = tmp_path / "x.rejects.csv"
    accepted(read_recipients(mixed, region="PL", rejects=rejects))
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600


def test_a_run_without_rejects_leaves_no_file_of_an_earlier_one(tmp_path):
    rejects = tmp_path / "x.rejects.csv"
    rejects.write_text("stale")
    (tmp_path / "good.csv").write_text("500600700\n")
    accepted(read_recipients(tmp_path / "good.csv", region="PL", rejects=rejects))
    assert not rejects.exists()


def test_an_interrupted_run_leaves_the_earlier_rejects_file_and_nothing_beside_it(tmp_path):
    rejects = tmp_path / "x.rejects.csv"
    rejects.write_text("earlier")
    path = tmp_path / "bad.csv"
    path.write_text('phone,x\nbrak,\n1,"never closed')
    with pytest.raises(InputError, match="never closed"):
        accepted(read_recipients(path, region="PL", rejects=rejects))
    assert rejects.read_text() == "earlier"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bad.csv", "x.rejects.csv"]


def test_a_reader_who_stops_early_leaves_nothing(tmp_path):
    path = tmp_path / "many.csv"
    path.write_text("brak\n5\n" * 10 + "".join(f"{500_000_000 + number}\n" for number in range(BATCH + 1)))
    path.write_text("phone\n" + path.read_text())
    batches = iter(read_recipients(path, region="PL", rejects=tmp_path / "x.rejects.csv"))
    next(batches)
    batches.close()
    assert [file.name for file in tmp_path.iterdir()] == ["many.csv"]


def test_rejects_that_cannot_be_written_are_an_input_error(mixed, tmp_path):
    with pytest.raises(InputError, match=r"rejects file: .* cannot be written"):
        accepted(read_recipients(mixed, region="PL", rejects=tmp_path / "none" / "x.csv"))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+48500", "'+48500"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\t=1", "' =1"),
        ("\r1", "' 1"),
        ("  =1", "'  =1"),
        ("\u00a0+48", "'\u00a0+48".replace("\u00a0", " ")),
        ("500\n600", "500 600"),
        ("5\x000", "5 0"),
        ("500600700", "500600700"),
        ("Łódź", "Łódź"),
        ("x" * 500, "x" * 500),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\uff0b48", "'\uff0b48"),
        ("\uff0d1", "'\uff0d1"),
        ("\uff20x", "'\uff20x"),
        ("\ufe661", "'\ufe661"),
        ("\ufe621", "'\ufe621"),
        ("\ufe631", "'\ufe631"),
        ("\ufe6bx", "'\ufe6bx"),
        ("\u22121", "'\u22121"),
        ("\u3000\uff1d1", "' \uff1d1"),
        ("\u200b=1", "' =1"),
        ("\ufeff=1", "' =1"),
        ("Smith;=1+1", "Smith;'=1+1"),
        ("Smith; \uff1d1", "Smith;' \uff1d1"),
        ("\n=1", "' =1"),
        ("a=b; c@d, e-f", "a=b; c@d, e-f"),
        ("", ""),
    ],
)
def test_no_cell_of_the_rejects_file_is_a_formula(value, written):
    assert spreadsheet_safe(value) == written


def test_a_reject_shows_its_value_in_no_repr():
    assert "500600700" not in repr(Reject(2, "500600700", "too short"))


def test_an_error_while_writing_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("earlier")
    rejects = RejectsFile(path)
    rejects.add(Reject(1, "x", "y"))
    rejects.__exit__(RuntimeError, RuntimeError("stop"), None)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x.csv", "earlier")]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(10**6, 10**6 + 40) | st.integers(1, 10**17), max_size=400))
def test_the_table_of_numbers_seen_answers_like_a_dict(phones):
    table, seen = SeenPhones(len(phones)), {}
    for line, phone in enumerate(phones, start=1):
        assert table.add(phone, line) == seen.get(phone, 0)
        seen.setdefault(phone, line)


@pytest.mark.parametrize("step", [1, 2, 10, 1000, 1024, 65_536, 2**20])
def test_the_table_of_numbers_seen_stays_fast_for_numbers_in_a_pattern(step):
    table, started = SeenPhones(50_000), time.process_time()
    assert not any(table.add(48_500_000_000 + step * number, 1) for number in range(50_000))
    assert time.process_time() - started < 1


MEASURE = r"""
import re, sys, pathlib
from posthorn.content.recipients import read_recipients
intake = read_recipients(pathlib.Path(sys.argv[1]), region="PL", rejects=pathlib.Path(sys.argv[2]))
batches = sum(1 for _ in intake)
print(intake.input, intake.accepted, intake.invalid, intake.duplicate)
print(re.search(r"VmHWM:\s*(\d+)", pathlib.Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process's own memory is read from /proc")
def test_a_large_file_is_read_in_flat_memory(tmp_path):
    path = tmp_path / "large.csv"
    with path.open("w") as file:
        file.write("name;phone\n")
        for number in range(300_000):
            file.write(f"Jan {number};+48 {500_000_000 + number % 290_000}\n")
    command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "x.csv")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert [int(word) for word in said[:4]] == [300_000, 290_000, 0, 10_000]
    assert int(said[4]) < 60_000, "kilobytes of resident memory"


@given(st.lists(st.integers(10**6, 10**15 - 1), min_size=1, max_size=200, unique=True))
def test_a_full_table_remembers_every_number_and_its_line(numbers):
    """Many share a slot then."""
    seen = SeenPhones(len(numbers))
    assert [seen.add(number, line) for line, number in enumerate(numbers, start=2)] == [0] * len(numbers)
    assert [seen.add(number, 10**6) for number in numbers] == list(range(2, len(numbers) + 2))


@pytest.mark.parametrize("hidden", ["\u200b", "\u2060", "\ufeff", "\u00ad", " \u200b ", "\ufe0f", "\u0301"])
def test_what_cannot_be_seen_hides_no_formula(hidden):
    safe = spreadsheet_safe(f"{hidden}=HYPERLINK(A1)")
    assert safe.startswith("'")
