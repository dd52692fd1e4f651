"""The toy gateway's provider: a real HTTP server on loopback that keeps what it takes, and may lose an answer."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import Any, Self

from aiohttp import web

TOKEN = "toy-token"


class ToyProvider:
    """``messages`` is everything it ever took, by id, ``calls`` how often each call came.

    ``lose_answers`` is how many answers to sends it loses from now on.
    """

    def __init__(self, credit: int = 1_000) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.calls: Counter[str] = Counter()
        self.credit = credit
        self.lose_answers = 0
        self.url = ""
        self._ids = itertools.count(1)
        app = web.Application()
        for call in (self.send, self.list, self.withdraw, self.account):
            app.router.add_post(f"/{call.__name__}", call)
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def numbers(self) -> list[int]:
        return sorted(message["number"] for message in self.messages.values())

    def deliver(self) -> None:
        """Everything that is not kept back reaches its phone."""
        for message in self.messages.values():
            if message["state"] == "sent":
                message["state"] = "delivered"

    async def _asked(self, request: web.Request) -> dict[str, Any]:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise web.HTTPUnauthorized
        self.calls[request.path.strip("/")] += 1
        asked: dict[str, Any] = await request.json()
        return asked

    async def send(self, request: web.Request) -> web.Response:
        asked = await self._asked(request)
        for number in asked["numbers"]:
            self.messages[f"toy-{next(self._ids)}"] = {
                "number": number,
                "title": asked["title"],
                "state": "kept" if asked["at"] else "sent",
                "queued": time.time(),
            }
        if self.lose_answers:
            self.lose_answers -= 1
            assert request.transport is not None
            request.transport.abort()
        listed = list(self.messages.items())[-len(asked["numbers"]) :]
        return web.json_response([{"id": one, "number": message["number"]} for one, message in listed])

    async def list(self, request: web.Request) -> web.Response:
        asked = await self._asked(request)
        found = [
            {"id": one, **message}
            for one, message in self.messages.items()
            if (one in asked["ids"] or message["number"] in asked["numbers"]) and message["state"] != "withdrawn"
        ]
        return web.json_response(found)

    async def withdraw(self, request: web.Request) -> web.Response:
        asked = await self._asked(request)
        kept = [one for one in asked["ids"] if self.messages[one]["state"] == "kept"]
        for one in kept:
            self.messages[one]["state"] = "withdrawn"
        return web.json_response(len(kept))

    async def account(self, request: web.Request) -> web.Response:
        await self._asked(request)
        return web.json_response(self.credit)
