"""A third gateway is one folder (tests/gateways/toy) and one line in the list; the product's own flow sends through it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from deployments.limits import ensure_limits, limits
from flows.campaign import send_campaign
from posthorn.delivery.planning.check import check_campaign
from posthorn.delivery.settling.report import pull_due_reports, pull_reports_of
from posthorn.delivery.settling.withdraw import cancel_delivery, reconcile_named
from posthorn.errors import InputError
from posthorn.gateways import registry
from posthorn.models import Kind
from posthorn.sandbox.server import Sandbox
from posthorn.settings import SettingsError, load_settings
from posthorn.views.status import status_now, status_table
from tests.delivery.journey import counted, numbers, write_campaign
from tests.gateways.toy.descriptor import TOY
from tests.gateways.toy.provider import TOKEN, ToyProvider
from tests.webhooks.receiver import SECRET, receiving

KEYS = {"gateway": '"toy"', "media": "[]", "title": '"Toy sale"'}


def an_hour_later() -> float:
    return time.time() + 3_600


@pytest.fixture(autouse=True)
def _one_line_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "GATEWAYS", (*registry.GATEWAYS, TOY))


@pytest.fixture
async def provider(prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ToyProvider]:
    await ensure_limits(prefect, load_settings())
    async with ToyProvider() as provider:
        monkeypatch.setenv("TOY_BASE_URL", provider.url)
        monkeypatch.setenv("TOY_TOKEN", TOKEN)
        yield provider


async def test_a_campaign_goes_through_it_by_the_real_flow_and_is_reported_on(
    provider: ToyProvider, box: Sandbox, tmp_path: Path
) -> None:
    provider.lose_answers = 1  # taken, and not answered: unknown, until the provider is asked
    state = await send_campaign(str(write_campaign(tmp_path, numbers(30), **KEYS)), return_state=True)
    assert (state.name, counted(status_now("sale"))) == ("Completed", {"accepted": 30})
    assert provider.numbers() == sorted(int(number) for number in numbers(30)), "everybody, and nobody twice"
    provider.deliver()
    await pull_reports_of("sale")
    assert counted(status_now("sale")) == {"delivered": 30}
    assert status_now("sale")["gateway"] == "toy"
    assert box.truth()["requests"] == {}, "nobody else was asked"


async def test_what_it_keeps_is_withdrawn_when_the_campaign_is_cancelled(provider: ToyProvider, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, numbers(25), hold_minutes="15", **KEYS)
    await send_campaign(str(file), return_state=True)
    assert counted(status_now("sale")) == {"scheduled": 25}
    cancelled = await cancel_delivery(Kind.CAMPAIGN, "sale")
    assert (cancelled.withdrawn, cancelled.still_scheduled, cancelled.problem) == (25, 0, None)
    assert {message["state"] for message in provider.messages.values()} == {"withdrawn"}


async def test_its_news_comes_by_its_own_route_and_the_scheduled_pull_asks_it_for_the_rest(
    provider: ToyProvider, tmp_path: Path
) -> None:
    await send_campaign(str(write_campaign(tmp_path, numbers(3), **KEYS)), return_state=True)
    async with receiving(load_settings().database_url) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.get(f"/{SECRET}/toy", params={"id": "toy-1"})).status_code == 200
        assert (await client.get(f"/{SECRET}/toy")).status_code == 400
        assert (await client.post(f"/{SECRET}/toy")).status_code == 404
    assert counted(status_now("sale")) == {"accepted": 2, "delivered": 1}
    provider.deliver()
    await pull_due_reports(clock=an_hour_later)
    assert counted(status_now("sale")) == {"delivered": 3}


async def test_a_gateway_that_cannot_be_opened_keeps_no_other_from_being_asked(
    provider: ToyProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send_campaign(str(write_campaign(tmp_path, numbers(2), name="first")), return_state=True)
    await send_campaign(str(write_campaign(tmp_path, numbers(3), **KEYS)), return_state=True)
    provider.deliver()
    monkeypatch.delenv("POSTHORN_SERWERSMS__TOKEN")
    with pytest.raises(SettingsError, match="POSTHORN_SERWERSMS__TOKEN"):
        await pull_due_reports(clock=an_hour_later)
    assert counted(status_now("sale")) == {"delivered": 3}
    assert counted(status_now("first")) == {"accepted": 2}


async def test_one_that_cannot_be_asked_leaves_a_lost_answer_to_a_person(
    provider: ToyProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mute = replace(TOY, looks_up=False, withdraws=False)
    monkeypatch.setattr(registry, "GATEWAYS", (*(one for one in registry.GATEWAYS if one is not TOY), mute))
    with pytest.raises(InputError, match="hold_minutes: Toy does not keep messages back; leave it out"):
        check_campaign(write_campaign(tmp_path, numbers(1), hold_minutes="15", **KEYS))
    provider.lose_answers = 1
    state = await send_campaign(str(write_campaign(tmp_path, numbers(20), **KEYS)), return_state=True)
    assert (state.name, counted(status_now("sale"))) == ("NeedsAttention", {"accepted": 13, "unknown": 7})
    assert provider.numbers() == sorted(int(number) for number in numbers(20)), "nobody is sent to again"
    await pull_reports_of("sale")
    await pull_due_reports(clock=an_hour_later)
    await reconcile_named("sale")
    assert counted(status_now("sale")) == {"accepted": 13, "unknown": 7}
    assert set(provider.calls) == {"account", "send"}


def test_its_bounds_and_what_it_cannot_do_are_said_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="title: expected 1 to 12 characters"):
        check_campaign(write_campaign(tmp_path, numbers(1), **{**KEYS, "title": '"A title too long"'}))
    with pytest.raises(InputError, match="media: Toy does not take files; leave it out"):
        check_campaign(write_campaign(tmp_path, numbers(1), **{**KEYS, "media": '["poster.png"]'}))
    with pytest.raises(InputError, match="chunk_size: expected a whole number from 1 to 20"):
        check_campaign(write_campaign(tmp_path, numbers(1), chunk_size="21", **KEYS))
    with pytest.raises(InputError, match="gateway: expected serwersms or toy"):
        check_campaign(write_campaign(tmp_path, numbers(1), **{**KEYS, "gateway": '"tory"'}))
    assert check_campaign(write_campaign(tmp_path, numbers(20), **KEYS)).requests == 3


def test_whoever_iterates_the_list_knows_it() -> None:
    assert limits(load_settings())["posthorn-toy"] == 3
    with pytest.raises(SettingsError, match="Toy needs TOY_TOKEN"):
        TOY.check_credentials(load_settings())
    assert registry.code_words("toy", "t1") == "the toy is broken"
    assert registry.code_words("gone", "t1") == ""
    with pytest.raises(SettingsError, match="the ledger names the gateway gone"):
        registry.by_name("gone")


def test_the_words_of_a_code_are_those_of_its_gateway() -> None:
    status = {
        "name": "sale",
        "kind": "campaign",
        "gateway": "toy",
        "state": "finished",
        "totals": {"input": 1, "rejected": 1, "pending": 0, "sending": 0},
        "balanced": True,
        "errors": {"t1": 1},
        "test": False,
        "because": None,
        "waiting_until": None,
        "second_copies": 0,
        "contradictory_news": 0,
    }
    assert "the toy is broken" in status_table(status)
