"""The flow that tells people, and the automation that starts it: who stopped it on purpose is not told of it."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from prefect.events.schemas.automations import EventTrigger

from deployments.automations import notices_automation
from flows.campaign import send_campaign
from flows.notify import notify
from posthorn.ledger import deliveries
from posthorn.ledger.store.engine import open_ledger
from posthorn.sandbox.server import Sandbox
from tests.delivery.journey import numbers, write_campaign
from tests.process.test_notices import hooks

SEND = "messages/send_mms"
received = hooks


async def test_a_campaign_that_stopped_is_told_once_unless_a_person_stopped_it(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: tuple[str, list[dict[str, str]]]
) -> None:
    url, posted = received
    box.faults.replace([{"call": SEND, "at": [1], "fault": "error_code", "code": 1011}])
    await send_campaign(str(write_campaign(tmp_path, numbers(50), name="told-of")), return_state=True)
    silent = await notify("told-of", "stopped", return_state=True)
    assert "nobody is notified" in (silent.message or "")

    monkeypatch.setenv("POSTHORN_NOTIFY__WEBHOOK_URL", f"{url}/hook")
    state = await notify("told-of", "stopped", return_state=True)
    assert state.message == "notified by webhook: Posthorn: campaign told-of has stopped"
    (told,) = posted
    assert "1011" in told["text"]
    assert "Next: remove the cause" in told["text"]

    with open_ledger() as ledger:
        one = deliveries.get(ledger, "told-of")
        started = deliveries.start_run(ledger, one, by="somebody")
        deliveries.end_run(ledger, one, started, stopped_because="the run was cancelled")
    state = await notify("told-of", "stopped", return_state=True)
    assert (state.message, len(posted)) == ("a person stopped it: nobody is notified", 1)


def test_the_automation_hears_what_wants_a_person_and_nothing_else() -> None:
    trigger = notices_automation(uuid4()).trigger
    assert isinstance(trigger, EventTrigger)
    for happening in ("needs_attention", "stopped", "waiting", "cost"):
        assert {f"posthorn.campaign.{happening}", f"posthorn.event.{happening}"} <= trigger.expect
    assert not {"posthorn.campaign.finished", "posthorn.campaign.started"} & trigger.expect
