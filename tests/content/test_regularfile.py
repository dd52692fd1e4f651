"""What is named as a file has to be one: nothing waits for ever, nothing is read without end, and each refusal says why."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from posthorn.content.inputfile import MAX_BYTES, sha256_of
from posthorn.content.media.files import check_media
from posthorn.content.recipients.csvfile import open_csv
from posthorn.content.regularfile import opened
from posthorn.errors import InputError
from tests.content.loading import load_campaign, load_event

READERS: dict[str, Callable[[Path], object]] = {
    "campaign file": load_campaign,
    "event file": load_event,
    "recipients": lambda path: open_csv(path, "recipients"),
    "hash": lambda path: sha256_of(path, "recipients"),
    "media": lambda path: check_media(str(path), path.parent),
}


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def listening(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


def linked(target: str) -> Callable[[Path], Path]:
    """By a link, so that each reader sees the ending that it expects."""
    return lambda path: (path.symlink_to(target), path)[1]


STRANGE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a pipe": (pipe, "is a pipe"),
    "a folder": (folder, "is a folder"),
    "a socket": (listening, "is a socket"),
    "a device without end": (linked("/dev/zero"), "is a device"),
    "a device without content": (linked("/dev/null"), "is a device"),
    "the kernel's log": (linked("/proc/kmsg"), "(is a file of the system|cannot be read|does not exist)"),
    "a file of the system": (linked("/proc/self/environ"), "is a file of the system"),
    "itself": (lambda path: (path.symlink_to(path.name), path)[1], "cannot be read"),
    "nothing": (lambda path: path, "does not exist"),
    "below a file": (lambda path: (path.write_text("x"), path / path.name)[1], "does not exist"),
    "a NUL": (lambda path: path.with_name(f"a\0{path.name}"), "(does not exist|expected a path)"),
    "a lone surrogate": (lambda path: path.with_name(f"\ud800{path.name}"), "(does not exist|expected a path)"),
    "a name too long": (lambda path: path.with_name("x" * 300 + path.name), "cannot be read"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("what", STRANGE)
def test_what_is_no_regular_file_is_refused_in_words(what: str, reader: str, tmp_path: Path) -> None:
    make, words = STRANGE[what]
    with pytest.raises(InputError, match=words):
        READERS[reader](make(tmp_path / "x.png"))


def test_a_regular_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    with opened(tmp_path / "x", "media") as file:
        assert file.read() == b"abc"


def test_no_descriptor_stays_open_where_a_file_is_refused(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(InputError), opened(Path("/dev/zero"), "media"):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


STRANGE_TOML = {
    "deeply nested lists": ("a = " + "[" * 100_000, "is nested too deeply"),
    "deeply nested tables": ("a = " + "{b = " * 100_000, "is nested too deeply"),
    "a key of many parts": (".".join("a" * 20_000) + " = 1", "is not a key of|is nested too deeply"),
    "an integer of 5,000 digits": ("a = " + "9" * 5_000, "is not TOML"),
    "a hexadecimal of 5,000 digits": ("chunk_size = 0x" + "f" * 5_000, "chunk_size: expected a whole number|is not a key"),
    "a name of control characters": ('name = "a\\u0000\\u001b[2J"', "name: expected"),
    "a date that does not exist": ("send_at = 2026-02-30T00:00:00Z", "is not TOML"),
    "infinity": ("chunk_size = inf", "expected a whole number|is not a key"),
    "UTF-16": ('name = "a"'.encode("utf-16"), "is not text in UTF-8"),
    "UTF-32": ('name = "a"'.encode("utf-32"), "is not text in UTF-8"),
    "no bytes": ("", "is missing"),
    "NULs": ("\0" * 100, "is not TOML"),
    "more than 1 MiB": ("#" * (MAX_BYTES + 1), "is larger than"),
}


@pytest.mark.parametrize("load", [load_campaign, load_event])
@pytest.mark.parametrize("what", STRANGE_TOML)
def test_strange_toml_is_refused_in_words(what: str, load: Callable[[Path], object], tmp_path: Path) -> None:
    content, words = STRANGE_TOML[what]
    path = tmp_path / "file.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words) as refused:
        load(path)
    assert len(str(refused.value)) < 20_000


@pytest.mark.parametrize(
    "moment",
    [
        "9999-12-31T23:59:59-23:59",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+23:59",
        "0001-01-01T00:00:00Z",
        "2200-01-01T00:00:00Z",
    ],
)
def test_a_moment_at_the_edge_of_the_calendar_is_refused_by_its_years(moment: str, tmp_path: Path) -> None:
    path = tmp_path / "sale.toml"
    path.write_text(f'name = "a"\ntitle = "b"\ntext = "c"\nrecipients = "r.csv"\nsend_at = {moment}\n')
    with pytest.raises(InputError, match="send_at: expected a moment of the years 2000 to 2199"):
        load_campaign(path)


def test_a_nul_in_a_path_of_a_file_is_no_path(tmp_path: Path) -> None:
    path = tmp_path / "event.toml"
    path.write_text('name = "a"\nmms_id = 1\nfrom = 60856\nattendees = "a\\u0000b"\n')
    with pytest.raises(InputError, match="attendees: expected a path"):
        load_event(path)
