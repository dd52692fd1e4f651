"""Going on with a campaign: what was planned stays as it was planned, whatever is changed about the pace meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from posthorn.delivery.deliver import deliver_campaign
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_media
from posthorn.delivery.running.run import open_run
from posthorn.delivery.settling.due import names_to_settle
from posthorn.ledger import claims, deliveries, sending
from posthorn.ledger.store.engine import Ledger
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign
from tests.delivery.waiting import until
from tests.ledger.ledgers import LATEST, claim_one

HELPER = "host-2-bbbbbbbbbbbb"


def sizes_of_requests(box: Sandbox) -> list[int]:
    """Of those that were taken, in the order of their first numbers: requests may overtake each other."""
    taken = [one["body"]["phone"] for one in box.traffic.log("messages/send_mms") if one["fault"] is None]
    return [len(phones) for phones in sorted(taken)]


@pytest.mark.parametrize(("setting", "line"), [(7, ""), (1_000, ""), (50, "chunk_size = 7\n"), (7, "chunk_size = 400\n")])
async def test_a_chunk_size_that_is_changed_between_two_runs_changes_no_chunk(
    setting: int, line: str, box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    """Chunks are frozen when they are planned: a claim is for exactly the numbers that its request names."""
    box.faults.replace([{"call": "messages/send_mms", "at": [4], "fault": "error_code", "code": 1011}])
    settings.serwersms.concurrency = 1
    file = write_campaign(tmp_path, numbers(480))
    assert counted(await deliver(file, settings)) == {"accepted": 150, "pending": 330}
    settings.serwersms.chunk_size = setting
    file.write_text(file.read_text(encoding="utf-8") + line, encoding="utf-8")
    for _ in range(2):
        assert counted(await deliver(file, settings)) == {"accepted": 480}
    assert sizes_of_requests(box) == [50] * 9 + [30]
    assert (box.truth()["accepted"], box.truth()["twice"]) == (480, 0)


async def test_a_run_waits_for_what_another_process_has_claimed_and_sends_what_it_gives_back(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    name = plan_file(write_campaign(tmp_path, numbers(100)), settings).name
    ledger = Ledger(settings.database_url)
    try:
        campaign = deliveries.get(ledger, name)
        ledger.locks.acquire(claims.owner_key(HELPER))
        claimed = claim_one(ledger, campaign, HELPER, 1, LATEST)
        assert claimed is not None
        async with open_run(name, settings=settings) as run:
            await upload_media(run)
            await verify_media(run)
            delivering = asyncio.create_task(deliver_campaign(run))
            await until(lambda: box.truth()["accepted"] == 50)
            done, _ = await asyncio.wait({delivering}, timeout=0.5)
            assert not done, "the helper lives, and its request is under way"
            sending.release(ledger, claimed)
            await delivering
    finally:
        ledger.close()
    assert counted(status_of(name, settings)) == {"accepted": 100}
    assert sizes_of_requests(box) == [50, 50]


async def test_whoever_looks_for_what_is_unsettled_finds_what_a_dead_process_left(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in flight for ever else: nobody runs the campaign, and nothing of it is called unknown yet."""
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    name = plan_file(write_campaign(tmp_path, numbers(100)), settings).name
    assert names_to_settle() == []
    ledger = Ledger(settings.database_url)
    try:
        campaign = deliveries.get(ledger, name)
        assert claim_one(ledger, campaign, HELPER, 1, LATEST) is not None
        assert names_to_settle() == [name]
        with ledger.locks.hold(campaign.lock_key):
            assert names_to_settle() == [], "somebody runs it"
    finally:
        ledger.close()
