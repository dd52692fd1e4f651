"""What a person meets at a terminal: Tab completes, states have colours, a list has one line for each message."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_status import settings_of
from tests.commands import COMMAND, PATIENCE_SECONDS, Desk
from tests.delivery.event_journey import attendees, write_event
from tests.delivery.journey import deliver, numbers, write_campaign
from tests.terminal import Terminal

COLOUR = "\x1b["


@pytest.fixture
def sold(desk: Desk, box_url: str) -> Desk:
    """A desk with a campaign that is sent."""
    asyncio.run(deliver(write_campaign(desk.folder, numbers(60)), settings_of(desk, box_url)))
    return desk


def completed(desk: Desk, *words: str) -> list[str]:
    """What bash offers after these words: the library's own script is installed in it, and Tab is pressed."""
    script = 'source <("$1" --show-completion bash); shift; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))'
    ask = '_posthorn_completion "$0"; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"{script}; {ask}", str(COMMAND), str(COMMAND), *words],
        cwd=desk.folder,
        env=desk.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_tab_completes_commands_options_and_the_names_of_deliveries(desk: Desk, box_url: str, tmp_path: Path) -> None:
    assert {"campaign", "tickets", "suppress", "list"} <= set(completed(desk, "posthorn", ""))
    assert completed(desk, "posthorn", "campaign", "re") == ["report", "reconcile", "resolve", "resend"]
    assert "--accept-missing" in completed(desk, "posthorn", "campaign", "send", "--a")
    assert completed(desk, "posthorn", "campaign", "status", "") == []
    assert not (tmp_path / ".posthorn").exists(), "whoever looks for names makes no ledger"
    asyncio.run(deliver(write_campaign(desk.folder, numbers(50)), settings_of(desk, box_url)))
    assert completed(desk, "posthorn", "campaign", "status", "s") == ["sale"]
    assert completed(desk, "posthorn", "tickets", "status", "s") == []


def test_completion_is_installed_by_the_usual_option(desk: Desk) -> None:
    """The shell is found among those that started the command; a test run may have none above it."""
    asked = ["bash", "-c", '"$0" --install-completion; exit $?', str(COMMAND)]
    ended = subprocess.run(asked, cwd=desk.folder, env=desk.environment(), capture_output=True, text=True, check=False)
    assert (ended.returncode, "completion installed" in ended.stdout) == (0, True), ended
    assert "_posthorn_completion" in (desk.folder / ".bash_completions" / "posthorn.sh").read_text()


def shown(desk: Desk, *words: str, **more: str) -> str:
    terminal = Terminal(desk, *words, **more)
    terminal.end()
    return terminal.shown


def test_states_have_colours_at_a_terminal_and_nowhere_else(sold: Desk) -> None:
    for words in (("campaign", "status", "sale"), ("list",)):
        coloured = shown(sold, *words)
        assert f"{COLOUR}32mfinished{COLOUR}0m" in coloured
        piped = sold.run(*words).out
        assert re.sub(r"\x1b\[\d+m", "", coloured).replace("\r\n", "\n") == piped, "the same table, but for its colours"
        assert COLOUR not in piped
        assert COLOUR not in shown(sold, *words, NO_COLOR="1")
        assert COLOUR not in shown(sold, *words, TERM="dumb")
        assert COLOUR not in shown(sold, *words, "--json")


def test_a_time_in_the_list_has_its_zone(sold: Desk) -> None:
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", sold.run("list", POSTHORN_TIMEZONE="UTC").out)
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d CES?T", sold.run("list", POSTHORN_TIMEZONE="Europe/Warsaw").out)


def test_a_preview_says_where_it_was_written(desk: Desk) -> None:
    event = write_event(desk.folder, attendees(3))
    ended = desk.run("tickets", "preview", event.name, "--row", "2")
    assert ended.code == 0, ended.err
    written = Path(ended.err.split("written to ")[1].split(": ")[0])
    assert written == desk.folder / "row-2.png"
    assert written.is_file()
