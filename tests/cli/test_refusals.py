"""What cannot be sent is refused at once, with one clear message and the right exit code, and nothing has been sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import Desk, told
from tests.delivery.journey import numbers, write_campaign


def written(**keys: object) -> Callable[[Path], None]:
    return lambda folder: (write_campaign(folder, numbers(60), **keys), None)[1]


def listing(*rows: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        write_campaign(folder, [])
        (folder / "recipients.csv").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")

    return prepare


def without(name: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        write_campaign(folder, numbers(60))
        (folder / name).unlink()

    return prepare


def file_of(content: bytes) -> Callable[[Path], None]:
    return lambda folder: ((folder / "sale.toml").write_bytes(content), None)[1]


def folder_instead(folder: Path) -> None:
    (folder / "sale.toml").mkdir()


def unreadable(name: str) -> Callable[[Path], None]:
    """As unreadable as it gets for root, too: a link that leads to itself."""

    def prepare(folder: Path) -> None:
        write_campaign(folder, numbers(60))
        (folder / name).unlink()
        (folder / name).symlink_to(name)

    return prepare


# What is wrong, and words of the message.
WRONG_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no campaign file": (lambda _: None, "campaign file: sale.toml does not exist"),
    "a folder": (folder_instead, "sale.toml is a folder; expected a TOML file"),
    "an unreadable campaign file": (unreadable("sale.toml"), "campaign file: sale.toml cannot be read"),
    "no TOML": (file_of(b"name: sale\n"), "sale.toml is not TOML"),
    "no text": (file_of(b"name = '\xff'"), "sale.toml is not text in UTF-8"),
    "an empty campaign file": (file_of(b""), "name: is missing"),
    "an unknown key": (written(tittle='"Autumn"'), "tittle: is not a key of a campaign file; did you mean title?"),
    "a title of 41 characters": (written(title='"' + "x" * 41 + '"'), "title: expected 1 to 40 characters (41 are given)"),
    "no media file": (without("poster.png"), "poster.png"),
    "eleven media": (written(media=[f"{n}.png" for n in range(11)]), "media: expected at most 10 items (11 are given)"),
    "an unknown type": (written(media='["sale.toml"]'), "sale.toml"),
    "no recipients file": (without("recipients.csv"), "recipients.csv"),
    "an unreadable recipients file": (unreadable("recipients.csv"), "recipients.csv cannot be read"),
    "an empty recipients file": (listing(), "recipients.csv is empty"),
    "a header and nothing else": (listing("phone"), "none of the 0 rows"),
    "no valid number": (listing("phone", "12", "call me"), "none of the 2 rows"),
    "a moment that has passed": (written(send_at="2020-01-01T09:00:00+01:00"), "has passed"),
    "a chunk size of nothing": (written(chunk_size=0), "chunk_size: expected a whole number of at least 1, got 0"),
}


CHECKED_TOO = ("no media file", "no valid number")


@pytest.mark.parametrize(
    ("verb", "case"), [*(("send", case) for case in WRONG_FILES), *(("check", case) for case in CHECKED_TOO)]
)
def test_a_wrong_file_is_refused_and_nothing_is_sent(case: str, verb: str, desk: Desk, box_url: str) -> None:
    prepare, words = WRONG_FILES[case]
    prepare(desk.folder)
    ended = desk.run("campaign", verb, "sale.toml")
    assert words in ended.err
    assert ended.code == 2
    assert ended.out == ""
    assert all(line.startswith("posthorn: ") for line in ended.err.splitlines()), ended.err
    assert told(box_url, "truth")["requests"] == {}


WRONG_SETTINGS = {
    "a chunk size out of range": (
        {"POSTHORN_SERWERSMS__CHUNK_SIZE": "100001"},
        "POSTHORN_SERWERSMS__CHUNK_SIZE: expected a whole number from 1 to 100000, got 100001",
    ),
    "plain http to another machine": ({"POSTHORN_SERWERSMS__BASE_URL": "http://example.com"}, "expected https://"),
    "a ledger that is none": ({"POSTHORN_DATABASE_URL": "mysql://x/y"}, "POSTHORN_DATABASE_URL: expected sqlite:///"),
    "a region that is none": ({"POSTHORN_DEFAULT_REGION": "Poland"}, "POSTHORN_DEFAULT_REGION: expected a two-letter"),
}


@pytest.mark.parametrize("case", WRONG_SETTINGS)
def test_a_wrong_setting_is_refused_by_name(case: str, desk: Desk, box_url: str) -> None:
    variables, words = WRONG_SETTINGS[case]
    write_campaign(desk.folder, numbers(60))
    ended = desk.run("campaign", "send", "sale.toml", **variables)
    assert words in ended.err
    assert (ended.code, ended.out) == (2, "")
    assert told(box_url, "truth")["requests"] == {}


@pytest.mark.parametrize("command", ["campaign status sale", "doctor"])
def test_every_command_refuses_wrong_settings(command: str, desk: Desk) -> None:
    write_campaign(desk.folder, numbers(60))
    ended = desk.run(*command.split(), POSTHORN_SERWERSMS__CONCURRENCY="lots")
    assert "POSTHORN_SERWERSMS__CONCURRENCY: expected a whole number from 1 to 64, got 'lots'" in ended.err
    assert (ended.code, ended.out) == (2, "")


def test_without_credentials_the_variables_are_named(desk: Desk, box_url: str) -> None:
    write_campaign(desk.folder, numbers(60))
    ended = desk.run("campaign", "send", "sale.toml", POSTHORN_SERWERSMS__TOKEN="")
    assert "POSTHORN_SERWERSMS__TOKEN" in ended.err
    assert "POSTHORN_SERWERSMS__USERNAME" in ended.err
    assert ended.code == 2
    assert told(box_url, "truth")["requests"] == {}


def test_a_prefect_server_that_does_not_answer_is_named_and_nothing_is_sent(desk: Desk, box_url: str) -> None:
    write_campaign(desk.folder, numbers(60))
    ended = desk.run("campaign", "send", "sale.toml")
    assert "the configured Prefect server http://127.0.0.1:9/api does not answer" in ended.err
    assert ended.code == 1
    assert told(box_url, "truth")["requests"] == {}


@pytest.mark.parametrize("verb", ["status", "report", "cancel"])
def test_a_name_that_is_not_in_the_ledger_is_said_so(verb: str, desk: Desk) -> None:
    ended = desk.run("campaign", verb, "nobody")
    assert "no campaign or event named 'nobody' in the ledger; the newest there: none yet" in ended.err
    assert (ended.code, ended.out) == (2, "")


def test_a_ledger_in_a_folder_that_cannot_be_made_is_named(desk: Desk) -> None:
    (desk.folder / "taken").write_text("")
    ended = desk.run("campaign", "status", "sale", POSTHORN_DATABASE_URL="sqlite:///taken/ledger.db")
    assert "taken/ledger.db cannot be opened" in ended.err
    assert ended.code == 1


@pytest.mark.parametrize("args", [("campaign", "send"), ("campaign", "fly")])
def test_a_command_line_that_makes_no_sense_is_explained(args: tuple[str, ...], desk: Desk) -> None:
    ended = desk.run(*args)
    assert ended.code == 2
    assert "Usage: posthorn" in ended.err
