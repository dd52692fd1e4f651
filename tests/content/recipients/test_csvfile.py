"""Rows come out of any CSV with their physical lines; what cannot be read says so, and nothing swallows other rows."""

import os
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthorn.content.recipients import csvfile
from posthorn.content.recipients.csvfile import open_csv
from posthorn.errors import FileChanged, InputError


def write(folder, content: bytes | str):
    path = folder / "list.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path):
    """Line, value of the column of numbers, and reason, of every row."""
    file = open_csv(path, "recipients")
    column = file.phone_column
    return [(line, cells[column] if column < len(cells) else "", problem) for line, cells, problem in file.rows()]


def numbers(path):
    return [(line, value) for line, value, _ in read(path)]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        pytest.param("phone\n1\n2\n", [(2, "1"), (3, "2")], id="a header and one column"),
        pytest.param("500600700\n500600701", [(1, "500600700"), (2, "500600701")], id="a bare list without a last line end"),
        pytest.param("name,phone\nJan,1\n", [(2, "1")], id="commas"),
        pytest.param("name;phone\nJan, Kot;1\n", [(2, "1")], id="semicolons with commas in cells"),
        pytest.param(
            "name, surname;phone\nJan;1\n", [(2, "1")], id="the delimiter is the one that gives a column of numbers"
        ),
        pytest.param("name\tphone\nJan\t1\n", [(2, "1")], id="tabs"),
        pytest.param(" MSISDN ;x\n1;\n", [(2, "1")], id="a name in other case with spaces"),
        pytest.param("Telefon\n1\n", [(2, "1")], id="telefon"),
        pytest.param("Numer\n1\n", [(2, "1")], id="numer"),
        pytest.param("Number\n1\n", [(2, "1")], id="number"),
        pytest.param('"name";"phone"\n"Kot; Jan";"1"\n', [(2, "1")], id="quoted cells with the delimiter in them"),
        pytest.param('phone,note\n1,"a\nb\nc"\n2,\n', [(2, "1"), (5, "2")], id="a cell over three lines counts three lines"),
        pytest.param("phone\n\n1\n  \n2\n,\n", [(3, "1"), (5, "2"), (6, ",")], id="blank lines are skipped and counted"),
        pytest.param("phone,x\n,\n1,\n , \n", [(3, "1")], id="rows of blank cells are skipped"),
        pytest.param("\n\nphone\n1\n", [(4, "1")], id="blank lines before the header"),
        pytest.param("phone\r\n1\r\n2\n3\r4\r\n", [(2, "1"), (3, "2"), (4, "3"), (5, "4")], id="line ends of every kind"),
        pytest.param(
            "phone\n1\u20282\x0b3\x0c4\n5\n", [(2, "1\u20282\x0b3\x0c4"), (3, "5")], id="other separators end no line"
        ),
        pytest.param("phone\n1\x002\n", [(2, "1\x002")], id="a NUL stays in its cell"),
        pytest.param("\ufeffphone\n1\n", [(2, "1")], id="UTF-8 with its mark"),
        pytest.param("\ufeff500600700\n", [(1, "500600700")], id="a bare list with a mark"),
        pytest.param("phone;miasto\n1;Łódź\n".encode("utf-16"), [(2, "1")], id="UTF-16 with its mark"),
        pytest.param("phone\n1\n".encode("utf-32"), [(2, "1")], id="UTF-32 with its mark"),
        pytest.param("phone;miasto\n1;Łódź\n".encode("cp1250"), [(2, "1")], id="cp1250"),
        pytest.param(b"phone\n1\n\x81\n", [(2, "1"), (3, "\ufffd")], id="bytes that are not text in any of them"),
        pytest.param("name,phone\nJan\nEwa,2\n", [(2, ""), (3, "2")], id="a short row lacks its number"),
        pytest.param("phone,x\n1,a,,\n", [(2, "1")], id="empty cells beyond the header are no matter"),
        pytest.param("phone\n1;2\n", [(2, "1;2")], id="one column is never split"),
    ],
)
def test_rows_and_their_lines(tmp_path, content, rows):
    assert numbers(write(tmp_path, content)) == rows


def test_utf8_is_told_from_cp1250_by_the_last_byte_of_a_long_file(tmp_path):
    head = "phone;city\n" + "1;Łódź\n" * 20_000
    assert open_csv(write(tmp_path, head + "1;Ł"), "recipients").encoding == "utf-8"
    assert open_csv(write(tmp_path, head.encode() + b"1;\xa3"), "recipients").encoding == "cp1250"
    assert open_csv(write(tmp_path, (head + "1;Ł").encode()[:-1]), "recipients").encoding == "cp1250"


@pytest.mark.parametrize(
    ("content", "row"),
    [
        pytest.param('phone,x\n1,"Jan" Kot\n2,\n', (2, "", csvfile.QUOTES_BROKEN), id="a quote closed too early"),
        pytest.param("phone\tx\n1\t2\t3\n2\t\n", (2, "1", csvfile.TOO_MANY_CELLS), id="a cell without a column"),
    ],
)
def test_a_broken_row_has_a_reason_and_the_next_one_is_read(tmp_path, content, row):
    assert read(write(tmp_path, content)) == [row, (3, "2", None)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "is empty", id="an empty file"),
        pytest.param("\n \n", "has no rows", id="blank lines only"),
        pytest.param("\ufeff", "has no rows", id="a mark only"),
        pytest.param("name;e-mail\nJan;x\n", "no column of numbers; columns found: name, e-mail;", id="no such column"),
        pytest.param("klient\nJan\n", "columns found: klient;", id="one column of another name"),
        pytest.param("500600700;Jan\n", "has no header", id="columns without a header"),
        pytest.param("500600700,500600701\n", "has no header", id="numbers side by side"),
        pytest.param(b"PK\x03\x04rest", "is a spreadsheet", id="a workbook"),
        pytest.param("phone\n1\n".encode("utf-16-le"), "UTF-16 without its mark", id="UTF-16 without its mark"),
        pytest.param("x" * 70_000 + "\n1\n", "where the header should be (line 1)", id="an endless header"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, content, said):
    with pytest.raises(InputError) as caught:
        open_csv(write(tmp_path, content), "attendees")
    assert str(caught.value).startswith("attendees: ")
    assert said in str(caught.value)
    assert "500600700" not in str(caught.value)


def test_two_columns_that_could_be_meant_are_both_named(tmp_path):
    path = write(tmp_path, "phone,Telefon\n1,2\n")
    with pytest.raises(
        InputError, match=r'column: 2 columns could hold .* "phone" and "Telefon"; say which: column = "phone"'
    ):
        open_csv(path, "attendees")
    assert open_csv(path, "attendees", csvfile.Wanted(column="telefon")).phone_title == "Telefon"


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        open_csv(tmp_path / "none.csv", "recipients")
    with pytest.raises(InputError, match="is a folder"):
        open_csv(tmp_path, "recipients")
    with pytest.raises(InputError, match="does not exist"):
        open_csv(write(tmp_path, "phone\n") / "below", "recipients")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a pipe; expected a CSV file"):
        open_csv(tmp_path / "pipe", "recipients")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param('phone,x\n1,"a\n2,b\n3,"c"\n', "opened in line 2 runs on to line 4", id="it ends inside a later row"),
        pytest.param('phone,x\n1,\n2,"a\n3,b\n', "opened in line 3 is never closed", id="it does not end"),
        pytest.param('phone,x\n1,"a', "opened in line 2 is never closed", id="it opens in the last line"),
        pytest.param('"500600700\n500600701\n"500600702\n', "opened in line 1 runs on to line 3", id="in a bare list"),
        pytest.param(
            'phone,x\n1,"' + "2,\n" * 200 + '"\n', "opened in line 2 runs on to line 202", id="it swallows 200 rows"
        ),
        pytest.param('phone,x\n1,"' + "2,\n" * 99_000, "opened in line 2 runs on", id="it swallows the file"),
    ],
)
def test_a_stray_quote_refuses_the_file_instead_of_swallowing_rows(tmp_path, content, said):
    with pytest.raises(InputError, match=said):
        read(write(tmp_path, content))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=["LF", "CR LF", "CR"])
@pytest.mark.parametrize("length", [65_534, 65_535, 65_536, 65_537, 131_071, 131_072, 10_000_000])
def test_a_long_line_is_one_row_whatever_its_length(tmp_path, length, ending):
    content = ending.join(["phone", "x" * length, "500600700", "y" * 200_000, "500600701", ""])
    rows = read(write(tmp_path, content))
    assert [line for line, _, _ in rows] == [2, 3, 4, 5]
    assert [(value, problem) for _, value, problem in rows[1::2]] == [("500600700", None), ("500600701", None)]
    assert rows[2][2] == csvfile.LINE_TOO_LONG
    assert (rows[0][2] == csvfile.LINE_TOO_LONG) == (length >= 65_536)


def test_a_long_line_takes_no_memory(tmp_path):
    path = write(tmp_path, b"phone\n" + b'"' * 30_000_000 + b"\n1\n")
    tracemalloc.start()
    rows = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(line, problem) for line, _, problem in rows] == [(2, csvfile.LINE_TOO_LONG), (3, None)]
    assert peak < 3_000_000


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = write(tmp_path, "phone\n" + "500600700\n" * 50_000)
    rows = open_csv(path, "recipients").rows()
    next(rows)
    with path.open("ab") as file:
        file.write(b"500600701\n")
    with pytest.raises(FileChanged, match="was changed while it was read"):
        list(rows)


def test_other_columns_are_kept_by_name(tmp_path):
    file = open_csv(write(tmp_path, "Phone,Barcode_ID,,Name\n1, 42 ,x,Jan\n2\n"), "attendees")
    assert file.columns == ("phone", "barcode_id", "", "name")
    assert [file.record(cells) for _, cells, _ in file.rows()] == [
        {"phone": "1", "barcode_id": "42", "name": "Jan"},
        {"phone": "2", "barcode_id": "", "name": ""},
    ]


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters='"\r\n\x1f\x00'), min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(
    cells=st.lists(CELL, max_size=30),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-16"]),
)
def test_one_unquoted_column_is_read_as_its_lines(tmp_path_factory, cells, ending, encoding):
    path = write(tmp_path_factory.mktemp("csv"), ending.join(["phone", *cells]).encode(encoding))
    expected = [(line, cell) for line, cell in enumerate(cells, start=2) if cell.strip()]
    assert numbers(path) == expected


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_rows_or_an_input_error(tmp_path_factory, content):
    path = write(tmp_path_factory.mktemp("csv"), b"phone,x\n" + content)
    try:
        rows = read(path)
    except InputError:
        return
    assert [line for line, _, _ in rows] == sorted({line for line, _, _ in rows})


def test_a_name_that_two_columns_have_is_no_way_to_say_which(tmp_path):
    with pytest.raises(InputError, match='"phone" and "phone"; rename all but one in the list'):
        open_csv(write(tmp_path, "phone;phone\n1;2\n"), "recipients")
    path = write(tmp_path, "phone;phone;Telefon\n1;2;500600700\n")
    with pytest.raises(InputError, match='say which: column = "Telefon"'):
        open_csv(path, "recipients")
    assert open_csv(path, "recipients", csvfile.Wanted(column="Telefon")).phone_column == 2
