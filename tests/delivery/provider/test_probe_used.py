"""What a probe has found out is gone by: lookups know the provider's clock, a check says whether a hold is proven."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posthorn.delivery.planning.check import examine
from posthorn.delivery.planning.load import load_wish
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.provider.probe import probe
from posthorn.delivery.running.place import account_of
from posthorn.delivery.running.run import open_run
from posthorn.delivery.settling.reconcile import most_resends, reconcile
from posthorn.errors import InputError
from posthorn.gateways.registry import by_name
from posthorn.ledger import accounts
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind, Known
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from posthorn.views.checked import announcement, check_json, check_text
from tests.conftest import sandbox_settings
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign

SERWERSMS = by_name("serwersms")


def keep(settings: Settings, subject: str, verdict: str, value: str, seen: str = "a look") -> None:
    ledger = Ledger(settings.database_url)
    try:
        key = SERWERSMS.account(settings).key
        accounts.keep(ledger, "serwersms", key, subject, verdict=verdict, value=value, seen=seen)
    finally:
        ledger.close()


async def nap(_: float) -> None:
    """A wait that takes no time."""


@pytest.mark.parametrize(("is_probed", "expected"), [(False, {"accepted": 10, "unknown": 50}), (True, {"accepted": 60})])
async def test_a_lost_answer_is_found_by_the_measured_clock(
    tmp_path: Path, is_probed: bool, expected: dict[str, int]
) -> None:
    async with Sandbox(speed=0, skew_seconds=3600) as box:
        settings = sandbox_settings(box.url, tmp_path, concurrency=1)
        if is_probed:
            await probe(SERWERSMS, settings, wait=nap)
        box.faults.replace([{"call": "messages/send_mms", "at": [1], "fault": "close_after"}])
        await deliver(write_campaign(tmp_path, numbers(60)), settings)
        async with open_run("sale", settings=settings) as run:
            await reconcile(run)
        assert counted(status_of("sale", settings)) == expected
        assert box.truth()["twice"] == 0


def test_an_account_that_was_never_probed_has_the_clock_of_the_settings(tmp_path: Path) -> None:
    settings = sandbox_settings("http://127.0.0.1:1", tmp_path)
    keep(settings, Known.FILE_CLOCK, "other", "3600")
    keep(settings, Known.CLOCK, "other", "-7200")
    keep(settings, Known.FILE_CLOCK, "other", "")
    other = sandbox_settings("http://127.0.0.1:1", tmp_path)
    other.serwersms.token = type(other.serwersms.token)("another account")
    ledger = Ledger(settings.database_url)
    try:
        assert account_of(ledger, SERWERSMS, settings).clock_offset_seconds == -7200
        assert account_of(ledger, SERWERSMS, other).clock_offset_seconds == 0
        assert account_of(ledger, by_name("skycore"), settings).clock_offset_seconds == 0
    finally:
        ledger.close()


@pytest.mark.parametrize(("verdict", "is_refused"), [(None, False), ("confirmed", False), ("other", True)])
def test_a_test_is_refused_where_a_probe_saw_that_tests_go_out(
    tmp_path: Path, verdict: str | None, is_refused: bool
) -> None:
    settings = sandbox_settings("http://127.0.0.1:1", tmp_path)
    if verdict:
        keep(settings, Known.TEST_FREE, verdict, "")
    file = write_campaign(tmp_path, numbers(2), test="true", media="[]")
    for step in (lambda: plan_file(file, settings), lambda: examine(load_wish(file, Kind.CAMPAIGN, settings))):
        if not is_refused:
            step()
            continue
        with pytest.raises(
            InputError, match=r"test: the probe of 20.* saw that this account sends even what is only to be checked"
        ):
            step()


@pytest.mark.parametrize(("verdict", "resends"), [(None, 5), ("confirmed", 5), ("other", 0)])
async def test_nothing_is_sent_again_where_a_probe_saw_that_nothing_is_taken_back(
    tmp_path: Path, verdict: str | None, resends: int
) -> None:
    settings = sandbox_settings("http://127.0.0.1:1", tmp_path)
    if verdict:
        keep(settings, Known.HOLD, verdict, "")
    planned = plan_file(write_campaign(tmp_path, numbers(2), hold_minutes="15", media="[]"), settings)
    async with open_run(planned.name, settings=settings) as run:
        assert most_resends(run) == resends


@pytest.mark.parametrize(
    ("verdict", "is_proven", "words"),
    [
        (None, False, "inferred from the provider's pages; `posthorn account probe --send-to NUMBER` proves it"),
        ("confirmed", True, "proven for this account on 20"),
        ("other", False, "saw otherwise: NOT withdrawn"),
    ],
)
def test_a_check_says_how_sure_a_hold_is(tmp_path: Path, verdict: str | None, is_proven: bool, words: str) -> None:
    settings = sandbox_settings("http://127.0.0.1:1", tmp_path)
    if verdict:
        keep(settings, Known.HOLD, verdict, "", "NOT withdrawn")
    file = write_campaign(tmp_path, numbers(2), hold_minutes="15", media="[]")
    checked = examine(load_wish(file, Kind.CAMPAIGN, settings))
    assert json.loads(check_json(checked))["hold"] == {"minutes": 15, "proven": is_proven}
    assert f"for 15 minutes; that this works is {words}" in " ".join(check_text(checked).split()) or "otherwise" in words
    assert any(words in line for line in announcement(checked))


def test_a_campaign_without_a_hold_says_nothing_of_it(tmp_path: Path) -> None:
    settings = sandbox_settings("http://127.0.0.1:1", tmp_path)
    file = write_campaign(tmp_path, numbers(2), media="[]")
    checked = examine(load_wish(file, Kind.CAMPAIGN, settings))
    assert json.loads(check_json(checked))["hold"] is None
    assert "held" not in check_text(checked)
