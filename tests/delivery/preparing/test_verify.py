"""Before anything is sent: every file is listed with its size, and the credit will do for all that is still to be sent."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from posthorn.delivery.deliver import send_all
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import NotListed, verify_credit, verify_media
from posthorn.delivery.running.run import open_run
from posthorn.delivery.settling.audit import audit_credit
from posthorn.delivery.settling.reconcile import reconcile
from posthorn.errors import CreditExhausted, GatewayError, PermissionMissing, Stopped
from posthorn.gateways.serwersms.client import SerwerSms
from posthorn.ledger import media, totals
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.delivery.journey import counted, deliver, numbers, write_campaign


@pytest.fixture
def sale(settings: Settings, tmp_path: Path) -> str:
    return plan_file(write_campaign(tmp_path, numbers(120)), settings).name


async def test_a_file_that_the_provider_does_not_list_any_more_is_not_sent(
    sale: str, box: Sandbox, settings: Settings
) -> None:
    async with open_run(sale, settings=settings) as run:
        await upload_media(run)
        assert await verify_media(run) == 1
        (item,) = await run.do(media.of, run.delivery)
        assert item.file_id is not None
        assert await run.gateway.delete_file(item.file_id)
        with pytest.raises(
            NotListed,
            match=r"poster\.png: the provider does not list it. Nothing was sent; set .*TEST_NUMBER",
        ):
            await verify_media(run)
        with pytest.raises(Stopped, match=r"media not verified with the provider: poster\.png"):
            await send_all(run)
        assert await upload_media(run) == 1, "it is given to the provider anew"
        assert await verify_media(run) == 1
    assert box.truth()["send_requests"] == 0


async def test_what_was_never_verified_is_not_sent(sale: str, box: Sandbox, settings: Settings) -> None:
    async with open_run(sale, settings=settings) as run:
        with pytest.raises(Stopped, match="media not verified"):
            await send_all(run)
        await upload_media(run)
        with pytest.raises(Stopped, match="media not verified"):
            await send_all(run)
    assert box.truth()["send_requests"] == 0


@pytest.mark.parametrize(("credit", "is_enough"), [(119, False), (120, True), (None, True)])
async def test_credit_must_do_for_everybody(
    credit: int | None, is_enough: bool, sale: str, box: Sandbox, settings: Settings
) -> None:
    box.serwersms.set_credit(credit, None)
    async with open_run(sale, settings=settings) as run:
        if is_enough:
            await verify_credit(run)
            return
        with pytest.raises(CreditExhausted, match="limit is 119, but 120 are to be sent"):
            await verify_credit(run)


async def test_credit_must_do_for_what_is_left_only(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    box.faults.replace([{"call": "messages/send_mms", "at": [3], "fault": "error_code", "code": 1011}])
    settings.serwersms.concurrency = 1
    assert counted(await deliver(write_campaign(tmp_path, numbers(120)), settings)) == {"accepted": 100, "pending": 20}
    box.serwersms.set_credit(20, None)
    async with open_run("sale", settings=settings) as run:
        await verify_credit(run)


async def test_an_account_without_mms_is_said_so(sale: str, settings: Settings) -> None:
    def limits(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"items": [{"type": "mms", "chars_limit": "40/1", "value": "not_available"}]})

    async with open_run(sale, settings=settings) as run:
        await run.gateway.aclose()
        run.gateway = SerwerSms(settings.serwersms, transport=httpx.MockTransport(limits))
        with pytest.raises(PermissionMissing, match="may not send MMS"):
            await verify_credit(run)


@pytest.mark.parametrize(
    ("left", "more", "is_odd"), [(500, {}, True), (380, {}, False), (900, {}, False), (500, {"hold_minutes": "30"}, False)]
)
async def test_a_credit_that_did_not_fall_although_messages_were_taken_is_said(
    left: int, more: dict[str, str], is_odd: bool, box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    """The provider lies, perhaps: it says queued and sends nothing."""
    plan_file(write_campaign(tmp_path, numbers(120), **more), settings)
    box.serwersms.set_credit(500, None)
    async with open_run("sale", settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        await verify_credit(run)
        assert await audit_credit(run) is None, "nothing was taken"
        await send_all(run)
        box.serwersms.set_credit(left, None)
        said = await audit_credit(run)
        assert said is None or "is 500 as before the run, although 120 messages were taken" in said
        assert (said is not None) is is_odd
        box.faults.replace([{"call": "account/limits", "at": [1], "fault": "status_before", "status": 503}])
        assert await audit_credit(run) is None, "not to be asked, so nothing is said"


async def test_what_an_earlier_run_had_sent_is_not_held_against_the_credit(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    """A lookup finds it in this run, and it was paid for before."""
    plan_file(write_campaign(tmp_path, numbers(120)), settings)
    box.faults.replace(
        [
            {"call": "messages/send_mms", "at": [1], "fault": "reset_after"},
            {"call": "messages/send_mms", "every": 1, "fault": "error_code", "code": 1001},
        ]
    )
    async with open_run("sale", settings=settings) as run:
        await upload_media(run)
        await verify_media(run)
        with suppress(GatewayError):
            await send_all(run)
    box.serwersms.set_credit(500, None)
    async with open_run("sale", settings=settings) as run:
        await verify_credit(run)
        before = await run.do(totals.totals, run.delivery)
        assert (before["unknown"] > 0, before["pending"] > 0, before["accepted"]) == (True, True, 0)
        await reconcile(run)
        assert (await run.do(totals.totals, run.delivery))["accepted"]
        assert await audit_credit(run) is None
