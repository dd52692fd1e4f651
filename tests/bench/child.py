"""One measurement in a process of its own: ``python -m tests.bench.child VERB …`` prints its figures as a line of JSON."""

from __future__ import annotations

import asyncio
import cProfile
import gc
import json
import pstats
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from posthorn.cli import ALLOCATIONS_PER_COLLECTION
from posthorn.delivery.deliver import send_pending
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.tickets import preflight_event
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.preparing.verify import verify_media
from posthorn.delivery.running.run import CampaignRun, Run, open_delivery, open_helper, open_run, open_ticket_run
from posthorn.delivery.sending.exchange import TicketExchange, campaign_exchange
from posthorn.delivery.sending.send import Exchange
from posthorn.delivery.settling.report import pull_reports
from posthorn.errors import AlreadyRunning
from posthorn.models import Kind
from posthorn.settings import load_settings
from tests.bench import bare


async def _send_pending(run: Run[Any], exchange: Exchange) -> dict[str, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    requests = await send_pending(run, exchange)
    return {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "requests": requests}


def plan(file: str) -> dict[str, Any]:
    started = time.perf_counter()
    planned = plan_file(Path(file), load_settings())
    return {"seconds": time.perf_counter() - started, "rows": planned.input}


def plan_tickets(file: str) -> dict[str, Any]:
    started = time.perf_counter()
    plan_file(Path(file), load_settings(), kind=Kind.EVENT)
    return {"seconds": time.perf_counter() - started}


async def prepare(name: str) -> dict[str, Any]:
    """Upload and verify the media, and send nothing."""
    async with open_run(name) as run:
        await upload_media(run)
        await verify_media(run)
    return {}


async def send(name: str) -> dict[str, Any]:
    async with open_run(name) as run:
        await upload_media(run)
        await verify_media(run)
        return await _send_pending(run, await campaign_exchange(run))


async def profile(name: str) -> dict[str, Any]:
    """Where the time of the loop's thread goes while it sends; in shares of the time it was busy."""
    profiler = cProfile.Profile()
    async with open_run(name) as run:
        await upload_media(run)
        await verify_media(run)
        exchange = await campaign_exchange(run)
        profiler.enable()
        figures = await _send_pending(run, exchange)
        profiler.disable()
    return {**figures, "shares": _shares(pstats.Stats(profiler))}


async def helper(name: str) -> dict[str, Any]:
    """One of several processes that send one campaign together."""
    async with _runner_or_helper(name) as run:
        exchange = await campaign_exchange(run)
        print("ready", flush=True)
        sys.stdin.readline()
        return await _send_pending(run, exchange)


@asynccontextmanager
async def _runner_or_helper(name: str) -> AsyncIterator[CampaignRun]:
    """The first process runs the campaign, the others help it."""
    try:
        async with open_run(name) as run:
            yield run
    except AlreadyRunning:
        async with open_helper(name) as run:
            yield run


async def pull(name: str) -> dict[str, Any]:
    async with open_delivery(name) as desk:
        started = time.perf_counter()
        pulled = await pull_reports(desk)
        return {"seconds": time.perf_counter() - started, "requests": pulled.requests, "moved": pulled.moved}


async def tickets(name: str) -> dict[str, Any]:
    async with open_ticket_run(name) as run:
        await preflight_event(run)
        return await _send_pending(run, TicketExchange(run))


async def bare_send(count: str) -> dict[str, Any]:
    return {"seconds": await bare.send(int(count))}


async def bare_tickets(count: str) -> dict[str, Any]:
    return {"seconds": await bare.tickets(int(count))}


async def limit(count: str) -> dict[str, Any]:
    return {"seconds": await bare.limit(int(count))}


def serial(count: str) -> dict[str, Any]:
    return {"seconds": bare.send_one_after_the_other(int(count))}


_PLACES = {
    "HTTP: httpx, httpcore, h11, anyio, sockets": r"httpx|httpcore|h11|anyio|sniffio|_socket|gateways/(http|network)",
    "reading and building: the gateway, orjson": r"gateways/serwersms|orjson|models\.py",
    "the spool": r"ledger/spool|posix\.(write|fstat)",
    "the loop, waiting for the ledger's thread": r"asyncio|selectors|_queue|contextvars|writer\.py",
    "the sender": r"delivery/",
}


def _shares(stats: pstats.Stats) -> dict[str, float]:
    """Shares of the busy time, by place; waiting for something to happen is not busy."""
    seconds = dict.fromkeys([*_PLACES, "Python's own, and the rest"], 0.0)
    for (file, _, function), (_, _, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        if "poll" in function:
            continue
        label = f"{file} {function}"
        place = next((name for name, pattern in _PLACES.items() if re.search(pattern, label)), "Python's own, and the rest")
        seconds[place] += own
    total = sum(seconds.values())
    return {name: spent / total for name, spent in seconds.items()}


def _peak_mib() -> float:
    """The most memory this process ever had. Not ``ru_maxrss``, which a process inherits from the one that started it."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else 0.0


_VERBS: dict[str, Callable[..., Any]] = {
    "plan": plan,
    "plan-tickets": plan_tickets,
    "prepare": prepare,
    "send": send,
    "profile": profile,
    "helper": helper,
    "pull": pull,
    "tickets": tickets,
    "bare": bare_send,
    "bare-tickets": bare_tickets,
    "limit": limit,
    "serial": serial,
}


def main(verb: str, *arguments: str) -> None:
    gc.set_threshold(ALLOCATIONS_PER_COLLECTION)  # as the command does
    figures = _VERBS[verb](*arguments)
    if isinstance(figures, Awaitable):
        figures = asyncio.run(_awaited(figures))
    print(json.dumps({**figures, "peak_mib": _peak_mib()}))


async def _awaited(figures: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    return await figures


if __name__ == "__main__":
    main(*sys.argv[1:])
