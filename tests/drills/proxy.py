"""The lossy proxy of a drill's round, in a process of its own; it loses an acknowledgement for each signal it is sent."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.drills.children import Child
from tests.drills.lossy import LossyProxy


class ProxyProcess:
    """Stands between the round's processes and PostgreSQL; ``url`` leads through it. Stops when its parent goes."""

    def __init__(self, url: str, log: Path) -> None:
        server = make_url(url)
        told, tell = os.pipe()
        leash_end, self._leash = os.pipe()
        proxied = LossyProxy(server.host or "127.0.0.1", server.port or 5432, lambda: False)
        self._child = Child(lambda: _run(proxied, tell, leash_end), log, closing=(told, self._leash))
        os.close(tell)
        os.close(leash_end)
        self._told = os.fdopen(told)
        port = int(self._told.readline())
        self.url = server.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)

    def lose_next(self) -> None:
        """Lose the answer to the next COMMIT, whoever's it is."""
        self._child.signal(signal.SIGUSR1)

    def close(self) -> int:
        """Stop it; how many acknowledgements it has lost."""
        os.close(self._leash)
        self._child.wait(5)
        self._child.end()
        with self._told:
            return len(self._told.readlines())


def _run(proxy: LossyProxy, tell: int, leash: int) -> int:
    asyncio.run(_serve(proxy, tell, leash))
    return 0


async def _serve(proxy: LossyProxy, tell: int, leash: int) -> None:
    orders = 0

    def order() -> None:
        nonlocal orders
        orders += 1

    def draw() -> bool:
        nonlocal orders
        is_lost = orders > 0
        orders -= is_lost
        if is_lost:
            os.write(tell, b"lost\n")
        return is_lost

    proxy.should_lose = draw
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, order)
    async with proxy.serving():
        os.write(tell, f"{proxy.port}\n".encode())
        let_go = asyncio.Event()
        loop.add_reader(leash, let_go.set)  # readable at its end: the parent is gone
        await let_go.wait()
