"""A drill's sandbox in a process of its own, and the questions its truth is asked with. Stops when its parent goes."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.serwersms import SerwerSmsOptions
from tests.drills.children import Child
from tests.drills.faultplan import Plan


class Box:
    """The sandbox of one round."""

    def __init__(self, plan: Plan, log: Path) -> None:
        told, tell = os.pipe()
        leash_end, self.leash = os.pipe()
        self._child = Child(lambda: _run(plan, tell, leash_end), log, closing=(told, self.leash))
        os.close(tell)
        os.close(leash_end)
        with os.fdopen(told) as pipe:
            self.url = pipe.readline().strip()

    def ask(self, what: str) -> Any:
        """GET /_sandbox/<what>."""
        with urlopen(f"{self.url}/_sandbox/{what}", timeout=30) as answer:
            return json.load(answer)

    def order(self, verb: str, what: str, body: object) -> None:
        """PUT or POST /_sandbox/<what>."""
        data = json.dumps(body).encode()
        with urlopen(Request(f"{self.url}/_sandbox/{what}", data=data, method=verb), timeout=30):
            pass

    def messages(self) -> list[dict[str, Any]]:
        """Every message that came in, refused ones too, oldest first."""
        found: list[dict[str, Any]] = []
        page, more = 1, True
        while more:
            answer = self.ask(f"messages?limit=5000&page={page}")
            found += answer["items"]
            page, more = page + 1, answer["more"]
        return found

    def come_to_rest(self, seconds: float = 30) -> None:
        """Wait until no request is being worked on, those included whose client is gone."""
        deadline = time.monotonic() + seconds
        while self.ask("truth")["in_flight"]:
            if time.monotonic() > deadline:
                raise TimeoutError("requests are still in flight at the sandbox")
            time.sleep(0.02)

    def close(self) -> None:
        """Stop it."""
        os.close(self.leash)
        self._child.wait(5)
        self._child.end()


def _run(plan: Plan, tell: int, leash: int) -> int:
    asyncio.run(_serve(plan, tell, leash))
    return 0


async def _serve(plan: Plan, tell: int, leash: int) -> None:
    options = SerwerSmsOptions(
        shuffle=plan.shuffle,
        page_size=plan.page_size,
        titles=plan.titles,
        undelivered=0.05,
        reported_after_seconds=30.0,
        visible_after_seconds=plan.lag_seconds * plan.speed,
    )
    box = Sandbox(serwersms=options, faults=plan.rules, speed=plan.speed, latency_seconds=plan.latency_seconds)
    box.clock.skew_seconds = plan.skew_seconds
    async with box:
        with os.fdopen(tell, "w") as pipe:
            pipe.write(box.url + "\n")
        let_go = asyncio.Event()
        asyncio.get_running_loop().add_reader(leash, let_go.set)  # readable at its end: the parent is gone
        await let_go.wait()
