"""What Posthorn is measured against, on the same sandbox: no ledger, no claims, no reading of the answer but its text."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode, urlsplit

import httpx
import orjson
import requests

from tests.bench.scene import CHUNK, CONCURRENCY

_FIRST_PHONE = 48_500_000_000
_VENDOR_CHUNK = 100


def _chunks(count: int, size: int) -> Iterator[list[str]]:
    for first in range(_FIRST_PHONE, _FIRST_PHONE + count, size):
        yield [f"+{phone}" for phone in range(first, min(first + size, _FIRST_PHONE + count))]


def _body(phones: list[str]) -> dict[str, object]:
    return {"title": "Bare", "text": "-30%", "phone": phones, "details": True}


def _target() -> tuple[str, dict[str, str]]:
    token = os.environ["POSTHORN_SERWERSMS__TOKEN"]
    url = f"{os.environ['POSTHORN_SERWERSMS__BASE_URL']}/messages/send_mms.json"
    return url, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


async def send(count: int) -> float:
    """Bare httpx: one client as httpx makes it, the same chunks, the same concurrency. Seconds."""
    url, headers = _target()
    waiting = _chunks(count, CHUNK)

    async def worker(client: httpx.AsyncClient) -> None:
        for phones in waiting:
            answer = await client.post(url, content=orjson.dumps(_body(phones)), headers=headers)
            assert answer.status_code == 200, answer.text[:200]
            assert b'"success":true' in answer.content, answer.text[:200]

    async with httpx.AsyncClient(timeout=30) as client:
        started = time.perf_counter()
        await asyncio.gather(*(worker(client) for _ in range(CONCURRENCY)))
        return time.perf_counter() - started


def send_one_after_the_other(count: int) -> float:
    """What people do today, after the vendor's Python client: ``requests.post`` per chunk of 100. Seconds."""
    url, headers = _target()
    started = time.perf_counter()
    for phones in _chunks(count, _VENDOR_CHUNK):
        answer = requests.post(url, json=_body(phones), headers=headers, timeout=30)
        assert answer.json()["success"] is True
    return time.perf_counter() - started


async def tickets(count: int) -> float:
    """Bare httpx: one request per ticket. Seconds."""
    request = (
        "<REQUEST><ACTION>sendMMSBarcode</ACTION><API_KEY>{key}</API_KEY><MMSID>35674</MMSID><TO>1650253{number:04}</TO>"
        "<FROM>60856</FROM><BARCODEID>B{number:05}</BARCODEID></REQUEST>"
    )
    url, key = os.environ["POSTHORN_SKYCORE__BASE_URL"], os.environ["POSTHORN_SKYCORE__API_KEY"]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    waiting = iter(range(count))

    async def worker(client: httpx.AsyncClient) -> None:
        for number in waiting:
            body = urlencode({"xml": request.format(key=key, number=number)})
            answer = await client.post(url, content=body, headers=headers)
            assert "<STATUS>Success" in answer.text

    async with httpx.AsyncClient(timeout=30) as client:
        started = time.perf_counter()
        await asyncio.gather(*(worker(client) for _ in range(CONCURRENCY)))
        return time.perf_counter() - started


async def limit(count: int) -> float:
    """The sandbox's own limit: ready-made bytes over plain sockets, as cheap as a client can be. Seconds."""
    url, headers = _target()
    parts = urlsplit(url)
    requests_ = []
    for phones in _chunks(count, CHUNK):
        body = orjson.dumps(_body(phones))
        head = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        requests_.append("\r\n".join([*head, "", ""]).encode() + body)
    waiting = iter(requests_)

    async def worker() -> None:
        async with _connection(parts.hostname or "", parts.port or 80) as (reader, writer):
            for request in waiting:
                writer.write(request)
                answer_head = await reader.readuntil(b"\r\n\r\n")
                length = int(answer_head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    return time.perf_counter() - started


@asynccontextmanager
async def _connection(host: str, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
