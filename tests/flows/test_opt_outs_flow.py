"""The opt-outs flow hears whoever wants no messages, and says aloud where a provider could not be asked."""

from __future__ import annotations

from pathlib import Path

from flows.opt_outs import opt_outs
from posthorn.delivery.planning.plan import plan_file
from posthorn.sandbox.server import Sandbox
from posthorn.settings import load_settings
from posthorn.views.status import status_now
from tests.delivery.journey import numbers, write_campaign


async def test_it_hears_the_provider_and_fails_aloud_where_it_cannot(box: Sandbox, tmp_path: Path) -> None:
    box.serwersms.account.block("+48500000001")
    state = await opt_outs(return_state=True)
    assert (state.is_completed(), state.message) == (True, "asked: serwersms; reported: 1, new: 1")
    plan_file(write_campaign(tmp_path, numbers(3)), load_settings())
    assert status_now("sale")["totals"]["suppressed"] == 1
    box.faults.replace([{"call": "blacklist/index", "fault": "error_code", "code": 1001}])
    state = await opt_outs(return_state=True)
    assert (state.name, state.is_failed()) == ("Stopped", True)
    assert "could not be asked: SerwerSMS" in (state.message or "")
