"""The reconcile flow runs by itself every few minutes: it looks up and settles, and sends nothing that was stopped."""

from __future__ import annotations

from pathlib import Path

from flows.campaign import send_campaign
from flows.reconcile import reconcile
from posthorn.sandbox.server import Sandbox
from posthorn.views.status import status_now
from tests.delivery.journey import counted, numbers, write_campaign

SEND = "messages/send_mms"


async def test_what_was_stopped_stays_stopped_while_its_unknown_are_settled(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace(
        [
            {"call": SEND, "at": [2], "fault": "reset_after"},
            {"call": SEND, "at": [3], "fault": "error_code", "code": 1001},
            {
                "call": "messages/reports",
                "at": [*range(3, 10)],
                "fault": "status_before",
                "status": 500,
            },  # the restore check asks first, twice
        ]
    )
    await send_campaign(str(write_campaign(tmp_path, numbers(600), resend_unconfirmed="true")), return_state=True)
    before = status_now("sale")
    assert (before["state"], before["totals"]["unknown"]) == ("stopped", 50)
    sends = box.truth()["send_requests"]
    box.faults.replace([])

    state = await reconcile(return_state=True)
    assert box.truth()["send_requests"] == sends, "a schedule sends nothing"
    after = status_now("sale")
    assert (after["state"], after["because"]) == ("stopped", before["because"])
    assert after["totals"]["unknown"] == 0
    assert after["totals"]["pending"] == before["totals"]["pending"]
    assert "1 campaign looked at" in (state.message or "")


async def test_one_campaign_that_cannot_be_asked_about_keeps_no_other_waiting(box: Sandbox, tmp_path: Path) -> None:
    for at, name in enumerate(("first", "second")):
        box.faults.replace([{"call": SEND, "at": [1], "fault": "reset_before"}])
        file = write_campaign(tmp_path, numbers(200)[at * 100 :][:100], name=name)
        await send_campaign(str(file), return_state=True)
        assert status_now(name)["totals"]["unknown"] == 50
    asked = box.truth()["requests"]["messages/reports"]
    box.faults.replace([{"call": "messages/reports", "fault": "error_code", "code": 3005}])
    state = await reconcile(return_state=True)
    assert (state.name, state.is_failed()) == ("Stopped", True)
    assert "first" in (state.message or "")
    assert "second" in (state.message or "")
    assert box.truth()["requests"]["messages/reports"] >= asked + 2
    assert counted(status_now("second"))["unknown"] == 50
