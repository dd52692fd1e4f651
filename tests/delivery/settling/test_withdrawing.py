"""Withdrawing is believed only as far as it is proven, touches nobody else's messages, and says what is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posthorn.delivery.deliver import send_all
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_media
from posthorn.delivery.running.run import open_lookup, open_run
from posthorn.delivery.settling.due import names_to_settle
from posthorn.delivery.settling.withdraw import cancel_delivery, reconcile_named, withdraw_surplus
from posthorn.models import Kind
from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.settings import Settings
from posthorn.views.status import exit_code
from tests.conftest import LAST_LOOK_SECONDS, sandbox_settings
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign

SEND, DELETE, REPORTS = "messages/send_mms", "messages/delete", "messages/reports"
HOLD_SECONDS = 15 * 60


def pointed(box: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch, **more: object) -> Settings:
    settings = sandbox_settings(box.url, folder, **more)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__BASE_URL", box.url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__TOKEN", "sandbox-token")
    monkeypatch.setenv("POSTHORN_SERWERSMS__SETTLE_SECONDS", "2")
    monkeypatch.setenv("POSTHORN_SERWERSMS__TIMEOUT_SECONDS", "2")
    monkeypatch.setenv("POSTHORN_SERWERSMS__LAST_LOOK_SECONDS", str(LAST_LOOK_SECONDS))
    return settings


LIE = {"call": DELETE, "fault": "lie_withdrawn"}
# How many messages, and what the provider does wrong while they are withdrawn although it leaves them all.
LIES: dict[str, tuple[int, list[dict[str, Any]]]] = {
    "counts and leaves them": (120, [LIE]),
    "refuses": (120, [{"call": DELETE, "fault": "error_code", "code": 3005}]),
    "counts, and lists nothing any more": (120, [LIE, {"call": REPORTS, "fault": "no_items"}]),
    "counts, and lists nothing after the first look": (
        120,
        [LIE, {"call": REPORTS, "fault": "no_items", "at": [*range(2, 99)]}],
    ),
    "counts, and forgets what it lists, one message": (
        1,
        [LIE, {"call": REPORTS, "fault": "no_items", "at": [*range(2, 99)]}],
    ),
    "counts, and says nothing about one message": (
        1,
        [LIE, {"call": REPORTS, "fault": "no_items", "at": [*range(2, 99)]}, {"call": "messages/view", "fault": "null"}],
    ),
}


@pytest.mark.parametrize("case", LIES)
async def test_what_was_not_withdrawn_is_neither_called_cancelled_nor_out(
    case: str, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, faults = LIES[case]
    settings = pointed(box, tmp_path, monkeypatch)
    await deliver(write_campaign(tmp_path, numbers(count), hold_minutes="15"), settings)
    box.faults.replace(faults)
    done = await cancel_delivery(Kind.CAMPAIGN, "sale")
    assert (done.withdrawn, done.went_out, done.still_scheduled) == (0, 0, count)
    assert (done.problem is not None) == (case in ("refuses", "counts, and says nothing about one message"))
    status = status_of("sale", settings)
    assert (counted(status), exit_code(status)) == ({"scheduled": count}, 3)
    assert names_to_settle() == ["sale"], "the reconcile schedule tries again"
    box.faults.replace([])
    assert (await cancel_delivery(Kind.CAMPAIGN, "sale")).withdrawn == count
    status = status_of("sale", settings)
    assert (counted(status), exit_code(status)) == ({"cancelled": count}, 0)
    assert box.truth()["withdrawn"] == count


async def test_what_was_withdrawn_is_seen_though_the_provider_counts_none(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = pointed(box, tmp_path, monkeypatch)
    await deliver(write_campaign(tmp_path, numbers(120), hold_minutes="15"), settings)
    box.faults.replace([{"call": DELETE, "fault": "withdrawn_uncounted"}])
    done = await cancel_delivery(Kind.CAMPAIGN, "sale")
    assert (done.withdrawn, done.still_scheduled) == (120, 0)
    assert counted(status_of("sale", settings)) == {"cancelled": 120}


async def test_what_is_listed_for_a_while_after_it_was_withdrawn_is_cancelled_by_a_later_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Sandbox(speed=0, serwersms=SerwerSmsOptions(withdrawn_listed_seconds=300)) as box:
        settings = pointed(box, tmp_path, monkeypatch)
        await deliver(write_campaign(tmp_path, numbers(120), hold_minutes="15"), settings)
        done = await cancel_delivery(Kind.CAMPAIGN, "sale")
        assert (done.withdrawn, done.still_scheduled) == (0, 120), "it is listed as kept, so it is not called withdrawn"
        box.clock.advance(301)
        await reconcile_named("sale")
        assert counted(status_of("sale", settings)) == {"cancelled": 120}


LATE = {"call": SEND, "fault": "late", "at": [3], "seconds": 3600}


async def sent_twice(box: Sandbox, settings: Settings, file: Path) -> None:
    """Deliver the held campaign of that file, the third request late beyond every look."""
    box.faults.replace([LATE])
    await deliver(file, settings)
    await box.release_late()


def hasty(box: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return pointed(box, folder, monkeypatch, concurrency=2, settle_seconds=0.1, timeout_seconds=2)


async def test_surplus_that_is_still_listed_needs_attention_with_its_ids(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = hasty(box, tmp_path, monkeypatch)
    await sent_twice(box, settings, write_campaign(tmp_path, numbers(200), hold_minutes="15"))
    box.faults.replace([LIE])
    await reconcile_named("sale")
    status = status_of("sale", settings)
    assert (status["state"], status["second_copies"], exit_code(status)) == ("needs_attention", 50, 3)
    assert names_to_settle() == ["sale"], "the reconcile schedule tries again"
    assert "50 of them still scheduled" in status["because"]
    first = next(one for one in box.serwersms.listed(None, None, 150, 50) if one["status"] == "saved")
    assert first["id"] in status["because"] or " more" in status["because"]
    assert not [number for number in numbers(200) if number in status["because"]]
    box.faults.replace([])
    await reconcile_named("sale")
    status = status_of("sale", settings)
    assert (status["state"], status["second_copies"], exit_code(status)) == ("finished", 0, 0)
    assert box.truth()["withdrawn"] == 50


async def test_nobody_elses_copies_are_withdrawn(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another held campaign of the same title goes to the same numbers at the same time."""
    settings = hasty(box, tmp_path, monkeypatch)
    await deliver(write_campaign(tmp_path, numbers(200), name="other", text='"two"', hold_minutes="15"), settings)
    await sent_twice(box, settings, write_campaign(tmp_path, numbers(200), hold_minutes="15"))
    async with open_lookup("sale", settings=settings) as run:
        assert await withdraw_surplus(run) == 50
    box.clock.advance(HOLD_SECONDS + 120)
    assert (box.truth()["dispatched"], box.truth()["withdrawn"]) == (400, 50)
    assert status_of("sale", settings)["second_copies"] == 0


async def test_what_may_be_the_only_copy_of_another_campaign_is_left_alone(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers were lost and it was not looked up yet: no id of it is known, so none can be told from a surplus copy."""
    settings = hasty(box, tmp_path, monkeypatch)
    settings.serwersms.breaker_after = 100
    box.faults.replace([{"call": SEND, "fault": "reset_before", "at": [3]}])
    sale = await deliver(write_campaign(tmp_path, numbers(200), hold_minutes="15"), settings)
    assert counted(sale) == {"scheduled": 200}, sale["because"]
    box.faults.replace([{"call": SEND, "fault": "reset_after"}])
    file = write_campaign(tmp_path, numbers(200), name="other", text='"two"', hold_minutes="15")
    async with open_run(plan_file(file, settings).name, settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        await send_all(run)
    assert counted(status_of("other", settings)) == {"unknown": 200}
    await reconcile_named("sale")
    assert (box.truth()["withdrawn"], status_of("sale", settings)["second_copies"]) == (0, 0)
    await reconcile_named("other")
    assert counted(status_of("other", settings)) == {"scheduled": 200}
    box.clock.advance(HOLD_SECONDS + 120)
    truth = box.truth()
    assert (truth["withdrawn"], truth["dispatched"]) == (0, 400), truth


async def test_cancelling_one_campaign_leaves_the_others_pending(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = pointed(box, tmp_path, monkeypatch)
    for name in ("other", "sale"):
        plan_file(write_campaign(tmp_path, numbers(60), name=name, text=f'"{name}"'), settings)
    await cancel_delivery(Kind.CAMPAIGN, "sale")
    assert counted(status_of("sale", settings)) == {"cancelled": 60}
    assert counted(status_of("other", settings)) == {"pending": 60}
