"""The sandbox's server: takes requests, applies faults, and passes the rest to the providers. It listens on loopback.

It knows providers only by the ``Provider`` protocol. Requests under ``/_sandbox/`` are never faulted or counted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from posthorn.loopback import refusal
from posthorn.sandbox import truth, wire
from posthorn.sandbox.clock import PROVIDERS_ZONE, SandboxClock
from posthorn.sandbox.faults import FaultBook, FaultRule, Stage
from posthorn.sandbox.inbox import routes
from posthorn.sandbox.inbox.chaos import Schedule
from posthorn.sandbox.inbox.entries import Entries
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.sandbox.serwersms.provider import SerwerSms
from posthorn.sandbox.skycore import SkycoreOptions
from posthorn.sandbox.skycore.provider import Skycore
from posthorn.sandbox.store import Store
from posthorn.sandbox.traffic import Traffic
from posthorn.sandbox.wire import HttpExchange, Received, Reply

_MAX_BODY_BYTES = 64 * 2**20
_SHUTDOWN_SECONDS = 1.0
_SAVE_EVERY_SECONDS = 5.0


class Provider(Protocol):
    """What the server needs to know about a provider. ``prefix`` is the start of its paths; the longest one wins."""

    name: str
    prefix: str
    send_calls: frozenset[str]

    def variables(self, url: str) -> Mapping[str, str]:
        """Environment variables that make Posthorn use the sandbox."""

    def call_of(self, received: Received) -> str:
        """The name of a request in faults and counts: ``messages/send_mms``, ``sendMMSBarcode``."""

    async def start(self) -> None:
        """Start what runs beside the answers."""

    async def stop(self) -> None:
        """Stop what ``start`` started."""

    async def answer(self, received: Received, rule: FaultRule | None) -> Reply:
        """Answer a request. ``rule`` is given only for faults of the stage ``PROVIDER``."""

    def reset(self) -> None:
        """Forget everything."""

    def truth(self) -> Mapping[str, int]:
        """``accepted``, ``numbers``, ``twice``, ``dispatched``, ``scheduled``, ``withdrawn``."""

    def counts(self, title: str | None) -> Mapping[str, int]:
        """How many messages were taken per number."""

    def listed(self, phone: str | None, title: str | None, start: int, length: int) -> list[dict[str, Any]]:
        """Messages, oldest first."""

    def described(self, received: Received) -> object:
        """A request's parsed body without credentials."""


class Sandbox:
    """A running stand-in: ``async with Sandbox() as box: box.url``.

    ``port`` 0 picks a free one. ``latency_seconds`` is how long each answer takes after the work is done. ``speed`` is how
    many seconds messages age per real second. ``zone`` is that of its dates, ``skew_seconds`` how far its clock is ahead.
    ``keepalive_seconds`` is when idle connections are closed. ``schedule`` holds timed changes (``inbox/chaos.py``),
    ``store`` is a file that keeps what was taken.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        serwersms: SerwerSmsOptions | None = None,
        skycore: SkycoreOptions | None = None,
        faults: Iterable[Mapping[str, Any] | str] = (),
        speed: float = 1.0,
        skew_seconds: float = 0.0,
        zone: str = PROVIDERS_ZONE,
        latency_seconds: float = 0.0,
        keepalive_seconds: float = 75.0,
        schedule: Schedule | None = None,
        store: Path | None = None,
    ) -> None:
        self.host, self.port = host, port
        self.latency_seconds = latency_seconds
        self.clock = SandboxClock(speed, zone, skew_seconds)
        self.faults: FaultBook = FaultBook(faults)
        self.traffic: Traffic = Traffic()
        self.serwersms = SerwerSms(serwersms or SerwerSmsOptions(), self.clock)
        self.skycore: Skycore = Skycore(skycore or SkycoreOptions(), self.clock)
        self.providers: tuple[Provider, ...] = (self.serwersms, self.skycore)
        self._keepalive_seconds = keepalive_seconds
        self.stopping = asyncio.Event()
        self.inbox = Entries(self)
        self._schedule = schedule or Schedule()
        self._store = None if store is None else Store(store)
        self._names = frozenset() if _is_address(host) else frozenset({host})
        self._numbers = count(1)
        self._beside: list[asyncio.Task[None]] = []
        self._late: set[asyncio.Task[Reply]] = set()
        self._released = asyncio.Event()
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - read, not listened on
        return f"http://{f'[{host}]' if ':' in host and host[0] != '[' else host}:{self.port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
            StoreError: the file is not one that a sandbox wrote.
        """
        self.stopping.clear()
        if self._store is not None:
            self._store.load(self)
        server = web.Server(
            self._serve,
            request_factory=_make_request,
            # A waiting fault ends when its client goes; other work never waits, so it is never cut short.
            handler_cancellation=True,
            keepalive_timeout=self._keepalive_seconds,
            access_log=None,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, backlog=1024, reuse_address=True)
        try:
            await site.start()
        except OSError:
            await self.stop()
            raise
        self.port = self._runner.addresses[0][1]
        for provider in self.providers:
            await provider.start()
        self._begin(self._schedule.run(self))
        if self._store is not None:
            self._begin(self._keep_saving(self._store))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._beside.append(asyncio.create_task(work))

    async def _keep_saving(self, store: Store) -> None:
        while not self.stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), _SAVE_EVERY_SECONDS)
            store.save(self)

    async def stop(self) -> None:
        """Close every connection; what was taken stays in memory."""
        self.stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        for provider in self.providers:
            await provider.stop()
        for task in self._late:
            task.cancel()
        for schedule in self._beside[:1]:
            schedule.cancel()  # the saver ends by itself, and saves once more
        await asyncio.gather(*self._late, *self._beside, return_exceptions=True)
        self._beside.clear()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def truth(self) -> dict[str, Any]:
        """What really happened, in the shape of ``GET /_sandbox/truth``."""
        return truth.told(self)

    def reset(self) -> None:
        """Reset to the start: no messages, no files, the first credit and clock, no requests, and no fault rules."""
        self.clock.reset()
        for provider in self.providers:
            provider.reset()
        self.traffic.reset()
        self.faults.replace(())

    def clear(self) -> None:
        """Forget what was sent and answered; files, limits, clock and faults stay."""
        self.serwersms.account.clear_messages()
        self.serwersms.callbacks.reset()
        self.skycore.account.tickets.clear()
        self.skycore.postbacks.reset()

    def move_clock(self, order: Mapping[str, float]) -> None:
        """Set ``speed`` or ``skew_seconds``, or advance the clock by ``advance_seconds``.

        Raises:
            ValueError: an unknown key, a speed below zero, or a value that is not a number.
        """
        if unknown := set(order) - {"advance_seconds", "speed", "skew_seconds"}:
            raise ValueError(f"{', '.join(unknown)}: no such key")
        if not all(math.isfinite(float(value)) for value in order.values()):
            raise ValueError("expected numbers")
        if "speed" in order:
            self.clock.set_speed(float(order["speed"]))
        if "skew_seconds" in order:
            self.clock.skew_seconds = float(order["skew_seconds"])
        self.clock.advance(float(order.get("advance_seconds", 0)))

    async def release_late(self) -> int:
        """Carry out now the requests that the fault ``late`` holds back; returns their number."""
        held = list(self._late)
        self._released.set()
        self._released = asyncio.Event()
        await asyncio.gather(*held, return_exceptions=True)
        return len(held)

    def provider_of(self, path: str) -> Provider:
        """The provider that a request is for."""
        owners = [provider for provider in self.providers if path.startswith(provider.prefix)]
        return max(owners, key=lambda provider: len(provider.prefix))

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if (reason := refusal(lambda name: request.headers.getall(name, []), self._names)) is not None:
            return web.Response(status=403, text=f"the request is refused: {reason}\n")
        if routes.is_ours(request):
            return await routes.answer(self, request)
        provider = self.provider_of(request.path)
        self.traffic.enter(provider.name)
        try:
            return await self._answer(provider, request)
        finally:
            self.traffic.leave(provider.name)

    async def _answer(self, provider: Provider, request: web.BaseRequest) -> web.StreamResponse:
        received = await wire.receive(request, next(self._numbers))
        call = provider.call_of(received)
        rule = self.faults.draw(call)
        self.traffic.note(provider, call, received, rule)
        if rule is not None and rule.stage is Stage.BEFORE:
            return await wire.misbehave(HttpExchange(request, rule, self.stopping))
        if rule is not None and rule.fault == "late":
            reply = await self._answer_late(provider, received, rule)
        else:
            reply = await provider.answer(received, rule if rule is not None and rule.stage is Stage.PROVIDER else None)
        if self.latency_seconds:
            await asyncio.sleep(self.latency_seconds)
        if self.clock.skew_seconds:
            reply.headers["Date"] = self.clock.http_date()
        if rule is not None and rule.stage is Stage.AFTER:
            return await wire.spoil(HttpExchange(request, rule, self.stopping), reply)
        return wire.whole(reply)

    async def _answer_late(self, provider: Provider, received: Received, rule: FaultRule) -> Reply:
        """Do the work after a delay, whether or not the client still waits for it."""

        async def later() -> Reply:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._released.wait(), rule.seconds or 0)
            return await provider.answer(received, None)

        task = asyncio.create_task(later())
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        return await asyncio.shield(task)


def _is_address(host: str) -> bool:
    """Whether the host is an address, which no DNS can point elsewhere: then requests need no list of names."""
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _make_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """A request whose body may be as large as the largest send."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY_BYTES)
