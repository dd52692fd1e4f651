"""Campaigns: planning, sending without and with Prefect, reports; beside bare httpx on the same sandbox in the same run."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posthorn.process.prefect_server import stop
from tests.bench.scene import CHUNK, PATIENCE_SECONDS, Scene, scene

_A_DAY_SECONDS = 24 * 3600
_SERIAL_CHUNKS = 60
"""The one-after-the-other pattern is as fast at the end as at the beginning: a few chunks of it tell its speed."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One cell: rates in recipients per second."""

    count: int
    latency: float
    database: str
    planned: float
    sent: float
    bare: float
    serial: float
    cpu_microseconds: float
    plan_peak_mib: float
    send_peak_mib: float

    @property
    def of_bare(self) -> float:
        return self.sent / self.bare

    @property
    def times_serial(self) -> float:
        return self.sent / self.serial


def sent(count: int, latency: float, database: str = "sqlite") -> Sent:
    """Plan and send ``count`` recipients by the delivery steps alone, then post the same by bare httpx and one by one."""
    with scene(latency=latency, database=database) as at:
        file = at.campaign(count)
        planned = at.measure("plan", file)
        ours = at.measure("send", "bench")
        truth = at.told()
        assert (truth["accepted"], truth["twice"]) == (count, 0), truth
        # In the order ours, bare, ours would favour nobody; bare twice, and its better run counts.
        bare = min(at.measure("bare", count)["seconds"] for _ in range(2 if count <= 100_000 and latency == 0 else 1))
        one_by_one = min(count, _SERIAL_CHUNKS * 100)
        serial = at.measure("serial", one_by_one)
    return Sent(
        count,
        latency,
        database,
        planned=count / planned["seconds"],
        sent=count / ours["seconds"],
        bare=count / bare,
        serial=one_by_one / serial["seconds"],
        cpu_microseconds=ours["cpu"] / count * 1e6,
        plan_peak_mib=planned["peak_mib"],
        send_peak_mib=ours["peak_mib"],
    )


def profile(count: int) -> dict[str, float]:
    """Shares of the sending thread's busy time at zero latency."""
    with scene() as at:
        at.measure("plan", at.campaign(count))
        shares: dict[str, float] = at.measure("profile", "bench")["shares"]
        return shares


def limit(count: int) -> float:
    """Recipients per second that the sandbox takes from the cheapest client there is."""
    with scene() as at:
        return float(count / at.measure("limit", count)["seconds"])


@dataclass(frozen=True, slots=True)
class Reported:
    """Delivery reports pulled for a whole campaign."""

    count: int
    requests: int
    seconds: float
    moved: int


def _pulled(at: Scene, count: int) -> Reported:
    """Let a day pass at the provider, and pull every report."""
    before = at.told()["requests"].get("messages/reports", 0)
    at.advance(_A_DAY_SECONDS)
    pulled = at.measure("pull", "bench")
    assert at.told()["requests"]["messages/reports"] - before == pulled["requests"]
    return Reported(count, pulled["requests"], pulled["seconds"], pulled["moved"])


@dataclass(frozen=True, slots=True)
class Flow:
    """``posthorn campaign send`` as an operator runs it, Prefect server and all; seconds."""

    count: int
    whole: float
    prefect: float
    plan: float
    sending: float
    after: float
    bare: float
    peak_mib: float
    task_runs: int
    status: float
    pulled: Reported

    @property
    def of_bare(self) -> float:
        return self.bare / self.sending


def flow(count: int) -> Flow:
    """Send ``count`` recipients by the real flow, ask for the status, and pull their reports a day later."""
    with scene() as at:
        file = at.campaign(count)
        peak_mib, whole = _watched(at.run("-m", "posthorn", "campaign", "send", str(file)))
        truth = at.told()
        assert (truth["accepted"], truth["twice"]) == (count, 0), truth
        moments = _moments(at.folder / "ledger.db")
        return Flow(
            count,
            whole=whole,
            prefect=whole - (moments["ended"] - moments["created"]),
            plan=moments["planned"] - moments["created"],
            sending=moments["last_answer"] - moments["first_claim"],
            after=moments["ended"] - moments["last_answer"],
            bare=at.measure("bare", count)["seconds"],
            peak_mib=peak_mib,
            task_runs=_task_runs(at.folder),
            status=min(_status(at) for _ in range(3)),
            pulled=_pulled(at, count),
        )


def _watched(process: subprocess.Popen[str]) -> tuple[float, float]:
    """The peak memory in MiB of a process, which is watched until it ends, and how long it took."""
    started, peak_kib = time.perf_counter(), 0
    try:
        while process.poll() is None:
            if time.perf_counter() - started > PATIENCE_SECONDS:
                raise RuntimeError("the flow did not end")
            peak_kib = max(peak_kib, _peak_kib(process.pid))
            time.sleep(0.1)
        _, said = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"the flow ended with {process.returncode}: {said[-2000:]}")
    finally:
        stop(process)
    return peak_kib / 1024, time.perf_counter() - started


def _peak_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def _moments(ledger: Path) -> dict[str, float]:
    """When the steps of the one campaign in a SQLite ledger began and ended."""
    connection = sqlite3.connect(ledger)
    try:
        created, planned, ended = connection.execute("SELECT created_at, planned_at, run_ended_at FROM campaign").fetchone()
        first, last = connection.execute("SELECT min(started_at), max(ended_at) FROM attempt").fetchone()
    finally:
        connection.close()
    return {"created": created, "planned": planned, "ended": ended, "first_claim": first, "last_answer": last}


def _task_runs(folder: Path) -> int:
    """How many task runs the flow's own Prefect server has recorded."""
    (database,) = folder.glob("prefect/prefect.db")
    connection = sqlite3.connect(database)
    try:
        return int(connection.execute("SELECT count(*) FROM task_run").fetchone()[0])
    finally:
        connection.close()


def _status(at: Scene) -> float:
    started = time.perf_counter()
    process = at.run("-m", "posthorn", "campaign", "status", "bench", "--json")
    at.finish_quietly(process)
    return time.perf_counter() - started


@dataclass(frozen=True, slots=True)
class Shared:
    """One campaign sent by several processes on PostgreSQL."""

    workers: int
    rate: float
    peak_mib: float


def shared(count: int, latency: float, workers: Sequence[int]) -> list[Shared]:
    """The same campaign by so many processes; from the first claim of any to the last answer of any."""
    return [_shared(count, latency, number) for number in workers]


def _shared(count: int, latency: float, workers: int) -> Shared:
    with scene(latency=latency, database="postgresql") as at:
        at.measure("plan", at.campaign(count))
        at.measure("prepare", "bench")
        helpers = [at.start_waiting("helper", "bench") for _ in range(workers)]
        started = time.perf_counter()
        for helper in helpers:
            at.go(helper)
        figures: list[dict[str, Any]] = [at.finish(helper) for helper in helpers]
        seconds = max(one["seconds"] for one in figures)
        assert seconds <= time.perf_counter() - started
        truth = at.told()
        assert (truth["accepted"], truth["twice"]) == (count, 0), truth
        assert sum(one["requests"] for one in figures) == -(-count // CHUNK)
    return Shared(workers, count / seconds, max(one["peak_mib"] for one in figures))
