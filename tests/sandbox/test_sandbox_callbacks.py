"""The sandbox's SerwerSMS calls back where a URL is set: each step of a message once, or as badly as the options say."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer


class Called:
    """What a receiver of callbacks was called with, in order."""

    def __init__(self) -> None:
        self.template = ""
        self.calls: list[dict[str, str]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.calls.append(dict(request.query))
        return web.Response()

    def steps(self) -> list[tuple[str, str]]:
        return [(call["id"], call["state"]) for call in self.calls]


@pytest.fixture
async def called() -> AsyncIterator[Called]:
    called = Called()
    app = web.Application()
    app.router.add_get("/hook", called.take)
    async with TestServer(app) as server:
        called.template = f"{server.make_url('/hook')}?id=#SMSID#&state=#STAN#&date=#DATA#&reason=#PRZYCZYNA#"
        yield called


FLUSH = {"flush": True}


async def test_each_step_of_a_message_is_told_once(sandbox, phones, called) -> None:
    async with sandbox(callback_url=called.template) as caller:
        sent = await caller.send(*phones(2), "+4915112345678")
        assert (await caller.order("POST", "callbacks", FLUSH)).json()["called"] == 0
        await caller.age(3600)
        told = (await caller.order("POST", "callbacks", FLUSH)).json()
        assert told == {"called": 5, "acknowledged": 5, "lost": 0, "forged": 0}
        await caller.age(3600)
        assert (await caller.order("POST", "callbacks", FLUSH)).json()["called"] == 0
    polish, foreign = [item["id"] for item in sent["items"][:2]], sent["items"][2]["id"]
    steps = called.steps()
    assert sorted(steps) == sorted(
        [*((one, state) for one in polish for state in ("sent", "delivered")), (foreign, "unsent")]
    )
    (unsent,) = [call for call in called.calls if call["state"] == "unsent"]
    assert unsent["reason"] == "sending_to_foreign_networks_is_locked"
    assert len(unsent["date"]) == len("2026-11-30 09:00:00")


async def test_callbacks_are_lost_doubled_and_forged_as_the_shares_say(sandbox, phones, called) -> None:
    shares = {"callback_lost": 0.2, "callback_duplicates": 0.3, "callback_forged": 0.1, "callback_shuffle": True}
    async with sandbox(callback_url=called.template, **shares) as caller:
        sent = {item["id"] for item in (await caller.send(*phones(300)))["items"]}
        await caller.age(3600)
        told = (await caller.order("POST", "callbacks", FLUSH)).json()
    times = Counter(called.steps())
    assert told["lost"] == 600 - sum(message_id in sent for message_id, _ in times) > 0
    assert told["forged"] == sum(message_id not in sent for message_id, _ in times) > 0
    assert max(times.values()) == 2
    first = [state for _, state in called.steps()[:50]]
    assert {"sent", "delivered"} == set(first)


async def test_nobody_is_called_unless_a_url_is_set(sandbox, phones) -> None:
    async with sandbox() as caller:
        await caller.send(*phones(1))
        refused = await caller.order("POST", "callbacks", FLUSH)
        assert (refused.status_code, "no callback_url" in refused.text) == (400, True)
