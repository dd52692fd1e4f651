"""The final state of a run says what is left, whoever else is still at work on the campaign."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.schemas.objects import State

from flows.ending import already_running, ending, not_approved
from posthorn.cli.runs import _recorded, send
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.running.run import open_helper, open_lookup, open_run
from posthorn.errors import AlreadyRunning, CreditExhausted, NotMerged
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import TOTALS, Kind
from posthorn.sandbox.server import Sandbox
from posthorn.settings import load_settings
from posthorn.views.status import status_now
from tests.delivery.journey import numbers, write_campaign
from tests.ledger.ledgers import LATEST, claim_one


async def test_a_run_that_stopped_is_stopped_though_a_helper_has_a_request_under_way(box: Sandbox, tmp_path: Path) -> None:
    name = plan_file(write_campaign(tmp_path, numbers(500)), load_settings()).name
    async with open_run(name) as run:
        helping = open_helper(name)
        helper = await helping.__aenter__()
        campaign = helper.delivery
        assert await helper.do(claim_one, campaign, helper.owner, 1, LATEST)
        run.stop(CreditExhausted("no credit left"))
    status = status_now(name)
    assert status["state"] == "running"
    state = ending(status)
    assert (state.name, state.is_failed()) == ("Stopped", True)
    assert (state.message or "").startswith("no credit left. Sent: 0, not sent yet: 500. Next: ")
    await helping.__aexit__(None, None, None)


NOTHING = dict.fromkeys(TOTALS, 0)
STATUS = {
    "kind": "campaign",
    "name": "sale",
    "because": None,
    "second_copies": 0,
    "waiting_until": None,
    "totals": {**NOTHING, "input": 1200},
}

# How the ledger says that it stands, and what the run's final state looks like: its type, its name, words of its message.
LOOKS = {
    "everybody is accounted for": ({"state": "finished"}, "COMPLETED", "Completed", "all 1,200 rows accounted for"),
    "a moment is waited for": (
        {"state": "waiting", "because": "waits until 9:00", "totals": {**NOTHING, "input": 1200, "pending": 1200}},
        "COMPLETED",
        "Waiting",
        "waits until 9:00",
    ),
    "something is unknown": (
        {"state": "needs_attention", "totals": {**NOTHING, "input": 1200, "unknown": 50, "accepted": 1150}},
        "FAILED",
        "NeedsAttention",
        "unknown: 50, rejected: 0",
    ),
    "the credit ended": (
        {"state": "stopped", "because": "no credit", "totals": {**NOTHING, "input": 1200, "pending": 200, "accepted": 1000}},
        "FAILED",
        "Stopped",
        "no credit. Sent: 1,000, not sent yet: 200. Next: remove the cause (`posthorn doctor` looks for it)",
    ),
    "it was cancelled for good": (
        {"state": "cancelled", "totals": {**NOTHING, "input": 1200, "cancelled": 200, "accepted": 1000}},
        "CANCELLED",
        "Withdrawn",
        "cancelled: 200",
    ),
}


@pytest.mark.parametrize("case", LOOKS)
def test_a_final_state_looks_like_what_it_is(case: str) -> None:
    status, kind, name, message = LOOKS[case]
    state = ending({**STATUS, **status})
    assert (state.type.value, state.name) == (kind, name)
    assert (state.message or "").startswith(message)


@pytest.mark.usefixtures("prefect")
@pytest.mark.parametrize("said", [AlreadyRunning, NotMerged])
async def test_a_run_beside_another_says_whether_its_file_had_news(said: type[AlreadyRunning]) -> None:
    """One state in the UI; the command ends with 3 where the file had news, for it has to be given again."""

    @flow(persist_result=False)
    async def beside_another() -> State[Any]:
        return already_running(said("x"))

    states = []

    async def start() -> State[Any]:
        states.append(await beside_another(return_state=True))
        return states[0]

    with pytest.raises(AlreadyRunning) as raised:
        await _recorded(start)
    assert (raised.type, states[0].name, states[0].message) == (said, "AlreadyRunning", "x")


def test_news_for_a_run_at_work_reach_the_terminal_and_its_run_is_tagged_as_in_the_ui(
    box: Sandbox, tmp_path: Path, prefect_database: Path
) -> None:
    """What the command line runs is a run as any other: name, tags, state. `ending_early` makes 3 of this error."""
    file = write_campaign(tmp_path, numbers(10), name="news")
    delivery = plan_file(file, load_settings())
    write_campaign(tmp_path, numbers(11), name="news")
    with open_ledger(load_settings()) as ledger:
        assert ledger.locks.acquire(delivery.lock_key)
        with pytest.raises(NotMerged, match="What is new in the file was not merged"):
            send(Kind.CAMPAIGN, file)
    with closing(sqlite3.connect(prefect_database, timeout=30)) as connection:
        query = "SELECT state_type, state_name, tags FROM flow_run WHERE name = 'campaign news.toml'"
        ((kind, state, tags),) = connection.execute(query)
    assert (kind, state, set(json.loads(tags))) == ("COMPLETED", "AlreadyRunning", {"posthorn", "campaign"})
    assert box.truth()["send_requests"] == 0


def test_a_no_is_no_green_tick() -> None:
    state = not_approved(Exception("not approved by Ada"))
    assert (state.type.value, state.name, state.message) == (
        "FAILED",
        "NotApproved",
        "not approved by Ada. Nothing was sent",
    )


async def test_a_campaign_that_is_only_looked_after_is_not_running(box: Sandbox, tmp_path: Path) -> None:
    name = plan_file(write_campaign(tmp_path, numbers(50)), load_settings()).name
    async with open_lookup(name):
        assert status_now(name)["state"] == "stopped"
