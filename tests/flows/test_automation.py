"""The automation on the server: made once, and brought up to date by whoever sets the server up again."""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import PrefectClient
from prefect.events.schemas.automations import EventTrigger

from deployments.automations import SILENCE_SECONDS, ZOMBIES, ensure_automations, zombie_automation


async def test_an_automation_of_an_earlier_version_is_brought_up_to_date(prefect: PrefectClient) -> None:
    old = zombie_automation()
    assert isinstance(old.trigger, EventTrigger)
    old.trigger.within = timedelta(seconds=30)
    await prefect.create_automation(old)
    for _ in range(2):
        await ensure_automations(prefect)
        (there,) = await prefect.read_automations_by_name(ZOMBIES)
        assert isinstance(there.trigger, EventTrigger)
        assert there.trigger.within == timedelta(seconds=SILENCE_SECONDS)
