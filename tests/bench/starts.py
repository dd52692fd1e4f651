"""How long a small campaign takes that starts a Prefect server of its own, beside that server's bare start."""

from __future__ import annotations

import os
import resource
import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from posthorn.process.prefect_server import stop
from tests.bench.scene import PATIENCE_SECONDS, Scene, scene

_COUNT = 60
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Started:
    """Pairs of one kind, ``cold`` (the first start in a folder) or warm: seconds, and seconds of processor; medians."""

    is_cold: bool
    pairs: int
    bare: float
    send: float
    ratio: float
    bare_cpu: float
    send_cpu: float


def starts(pairs: int, *, is_cold: bool) -> Started:
    """``pairs`` times a bare start and a small campaign, one after the other; the ratio is the median of the pairs'."""
    with scene() as at:
        if not is_cold:  # what is measured is the second start in the folder
            _bare(at, at.folder / "bare")
            _send(at, "first", at.folder)
        found = []
        for number in range(pairs):
            fresh = f"-{number}" if is_cold else ""
            bare = _timed(lambda: _bare(at, at.folder / f"bare{fresh}"))  # noqa: B023
            send = _timed(lambda: _send(at, f"small-{number}", at.folder / fresh if fresh else at.folder))  # noqa: B023
            found.append((*bare, *send))
    bare_s, bare_cpu, send_s, send_cpu = (statistics.median(column) for column in zip(*found, strict=True))
    ratio = statistics.median(send / bare for bare, _, send, _ in found)
    return Started(is_cold, pairs, bare_s, send_s, ratio, bare_cpu, send_cpu)


def _timed(measure: Callable[[], float]) -> tuple[float, float]:
    before = _cpu()
    seconds = measure()
    return seconds, _cpu() - before


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _bare(at: Scene, home: Path) -> float:
    """Seconds until ``prefect server start`` answers, as it comes from Prefect."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = time.perf_counter()
    process = at.run(
        *("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)),
        PREFECT_HOME=str(home),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
    )
    try:
        with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as client:
            while time.perf_counter() - started < PATIENCE_SECONDS:
                try:
                    if client.get(f"http://127.0.0.1:{port}/api/health").is_success:
                        return time.perf_counter() - started
                except httpx.TransportError:
                    time.sleep(_POLL_SECONDS)
        raise RuntimeError("the bare server did not start")
    finally:
        stop(process)  # type: ignore[arg-type] - of text


def _send(at: Scene, name: str, state: Path) -> float:
    """Seconds of the whole command, its own server's start and stop included."""
    file = at.campaign(_COUNT, name)
    with file.open("a", encoding="utf-8") as opened:
        opened.write('on_repeat = "send"\n')
    started = time.perf_counter()
    process = at.run(
        *("-m", "posthorn", "campaign", "send", str(file)),
        POSTHORN_STATE_DIR=os.fspath(state),
        PREFECT_HOME=str(state / "prefect"),
    )
    try:
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        stop(process)  # type: ignore[arg-type] - of text
    if process.returncode != 0:
        raise RuntimeError(f"the campaign ended with {process.returncode}: {said[-2000:]}")
    return time.perf_counter() - started
