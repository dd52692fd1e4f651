"""A ledger that several connections and processes have open: who comes and goes beside a run must not take it away."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from posthorn.delivery.planning.plan import plan_file
from posthorn.ledger import deliveries
from posthorn.ledger.store.engine import Ledger
from tests.commands import Desk
from tests.conftest import sandbox_settings
from tests.delivery.journey import numbers, write_campaign


@pytest.mark.parametrize("second_here", [False, True], ids=["one connection here", "a second one here"])
def test_a_process_that_looks_and_leaves_does_not_take_the_ledger_away(second_here: bool, tmp_path: Path) -> None:
    """SQLite's locks are the process's: closing any descriptor of the file here, other than SQLite's own, drops them all."""
    desk = Desk(tmp_path, {"POSTHORN_DATABASE_URL": f"sqlite:///{tmp_path / 'ledger.db'}"})
    planned = plan_file(write_campaign(tmp_path, numbers(60)), sandbox_settings("http://127.0.0.1:9", tmp_path))
    run = Ledger(desk.variables["POSTHORN_DATABASE_URL"])
    deliveries.start_run(run, planned, by="the run")
    watcher = Ledger(desk.variables["POSTHORN_DATABASE_URL"]) if second_here else None
    assert desk.run("campaign", "status", "sale", "--json").code == 4
    deliveries.start_run(run, planned, by="the run, later")
    assert deliveries.get(run, "sale").run_by == "the run, later"
    with closing(Ledger(desk.variables["POSTHORN_DATABASE_URL"])) as other:
        assert deliveries.get(other, "sale").run_by == "the run, later"
    if watcher is not None:
        watcher.close()
    run.close()
