"""The final state of a run says what is left, whoever else is still at work on the campaign."""

from __future__ import annotations

from pathlib import Path

from flows.ending import ending
from posthorn.delivery.plan import plan_file
from posthorn.delivery.run import open_helper, open_lookup, open_run
from posthorn.delivery.status import status_now
from posthorn.errors import CreditExhausted
from posthorn.ledger import sending
from posthorn.sandbox.server import Sandbox
from posthorn.settings import load_settings
from tests.delivery.journey import numbers, write_campaign
from tests.ledger.ledgers import LATEST


async def test_a_run_that_stopped_is_stopped_though_a_helper_has_a_request_under_way(box: Sandbox, tmp_path: Path) -> None:
    name = plan_file(write_campaign(tmp_path, numbers(500)), load_settings()).name
    async with open_run(name) as run:
        helping = open_helper(name)
        helper = await helping.__aenter__()
        campaign = helper.delivery
        assert await helper.do(sending.claim, campaign, helper.owner, 1, LATEST)
        run.stop(CreditExhausted("no credit left"))
    status = status_now(name)
    assert status["state"] == "running"
    state = ending(status)
    assert (state.name, state.is_failed()) == ("Stopped", True)
    assert (state.message or "").startswith("no credit left. Not sent yet: 500")
    await helping.__aexit__(None, None, None)


async def test_a_campaign_that_is_only_looked_after_is_not_running(box: Sandbox, tmp_path: Path) -> None:
    name = plan_file(write_campaign(tmp_path, numbers(50)), load_settings()).name
    async with open_lookup(name):
        assert status_now(name)["state"] == "stopped"
