"""What a send leaves on a machine: its state folder, the claim mark, the rejects beside the list. Nobody is told of it."""

from __future__ import annotations

from pathlib import Path

from posthorn.cli.sandbox_process import sandbox_process
from tests.commands import Desk
from tests.delivery.journey import numbers, write_campaign
from tests.terminal import Terminal


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_first_send_at_a_terminal_writes_nothing_elsewhere_and_shows_no_notice_of_telemetry(tmp_path: Path) -> None:
    """A home that nobody has used yet: there Prefect shows its notice once, and makes folders of its own."""
    home, temporary, folder = (tmp_path / name for name in ("home", "temporary", "work"))
    for one in (home, temporary, folder):
        one.mkdir()
    write_campaign(folder, [*numbers(60), "12"])
    before = files_in(folder)
    surroundings = {"HOME": str(home), "TMPDIR": str(temporary), "PREFECT_HOME": "", "DO_NOT_TRACK": "", "CI": ""}
    with sandbox_process("--speed", "0") as box:
        desk = Desk(folder, {**box.variables, **surroundings})
        terminal = Terminal(desk, "campaign", "send", "sale.toml")
        assert terminal.end() == 0, terminal.shown
        desk.run("doctor")
        desk.run("list")
    assert "telemetry" not in terminal.shown.lower()
    made = files_in(folder) - before
    assert {path for path in made if not path.startswith(".posthorn")} == {"sale.rejects.csv"}
    assert any(path.endswith("prefect.db") for path in made)
    marks = {path for path in files_in(home) if (home / path).is_file()}
    assert len(marks) == 1, marks
    assert marks.pop().startswith(".local/state/posthorn/"), "the claim mark is kept apart from the ledger on purpose"
    assert all(path.startswith(".local") for path in files_in(home))
    assert files_in(temporary) == set()
