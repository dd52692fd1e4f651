"""How fast tickets are sent, beside a bare httpx loop against the same sandbox in the same run: ``make bench``.

Ratios count, not seconds: the machine is shared. The ledger is durable throughout (SQLite, synchronous=FULL).
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

import httpx
from tabulate import tabulate

from posthorn.cli.sandbox_process import sandbox_process
from posthorn.settings import Settings
from tests.delivery.event_journey import attendees, send_event, ticket_settings, write_event
from tests.delivery.journey import counted

LATENCIES = (0.0, 0.02, 0.1)
CONCURRENCIES = (4, 16)


async def bare(settings: Settings, count: int) -> float:
    """The same requests by httpx alone: no ledger, no claims, no reading of the answer but its text. Tickets per second."""
    request = (
        "<REQUEST><ACTION>sendMMSBarcode</ACTION><API_KEY>{key}</API_KEY><MMSID>35674</MMSID><TO>1650253{number:04}</TO>"
        "<FROM>60856</FROM><BARCODEID>B{number:05}</BARCODEID></REQUEST>"
    )
    key = settings.skycore.api_key.get_secret_value() if settings.skycore.api_key else ""
    waiting = iter(range(count))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    async def worker(client: httpx.AsyncClient) -> None:
        for number in waiting:
            body = urlencode({"xml": request.format(key=key, number=number)})
            answer = await client.post(settings.skycore.base_url, content=body, headers=headers)
            assert "<STATUS>Success" in answer.text

    async with httpx.AsyncClient() as client:
        started = time.perf_counter()
        await asyncio.gather(*(worker(client) for _ in range(settings.skycore.concurrency)))
        return count / (time.perf_counter() - started)


async def posthorn(settings: Settings, file: Path, count: int) -> float:
    """Through Posthorn's delivery steps, planning included. Tickets per second."""
    started = time.perf_counter()
    status = await send_event(file, settings)
    assert counted(status) == {"accepted": count}
    return count / (time.perf_counter() - started)


def measured(latency: float, concurrency: int, count: int) -> tuple[str, int, str, str, str]:
    with tempfile.TemporaryDirectory() as temporary, sandbox_process("--latency", str(latency)) as box:
        folder = Path(temporary)
        key = box.variables["POSTHORN_SKYCORE__API_KEY"]
        settings = ticket_settings(box.url, folder, concurrency=concurrency, api_key=key, timeout_seconds=30)
        ours = asyncio.run(posthorn(settings, write_event(folder, attendees(count)), count))
        base = asyncio.run(bare(settings, count))
    return f"{latency * 1000:.0f} ms", concurrency, f"{ours:.0f}", f"{base:.0f}", f"{ours / base:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickets", type=int, default=2_000, help="per line of the table")
    count = parser.parse_args().tickets
    rows = [measured(latency, concurrency, count) for latency in LATENCIES for concurrency in CONCURRENCIES]
    headers = ("latency", "concurrency", "Posthorn, tickets/s", "bare httpx, tickets/s", "ratio")
    print(tabulate(rows, headers=headers, tablefmt="simple_outline", disable_numparse=True))


if __name__ == "__main__":
    main()
