"""The bench's findings as ``docs/performance.md``: what was measured, which aims are met, and why the others are not."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from tabulate import tabulate

from tests.bench.campaigns import Flow, Reported, Sent, Shared
from tests.bench.scene import CHUNK, CONCURRENCY
from tests.bench.starts import Started
from tests.bench.tickets import Tickets


@dataclass(slots=True)
class Findings:
    """Everything that a run of the bench found out; what was left out is empty."""

    quick: bool
    sandbox_limit: float = 0.0
    sent: list[Sent] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)
    tickets: list[Tickets] = field(default_factory=list)
    shared: list[Shared] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)
    starts: list[Started] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Aim:
    """One thing that must show, and what has shown in one round."""

    what: str
    figure: float
    bound: float
    at_most: bool
    form: str
    why_missed: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What has shown of an aim in all rounds: the median counts."""

    aim: Aim
    figures: list[float]

    @property
    def is_met(self) -> bool:
        median = statistics.median(self.figures)
        return median <= self.aim.bound if self.aim.at_most else median >= self.aim.bound

    def row(self) -> tuple[str, str, str, str, str]:
        form = self.aim.form.format
        bound = f"{'at most' if self.aim.at_most else 'at least'} {form(self.aim.bound)}"
        spread = f"{form(min(self.figures))} to {form(max(self.figures))}" if len(self.figures) > 1 else ""
        return self.aim.what, bound, form(statistics.median(self.figures)), spread, "met" if self.is_met else "**missed**"


def _shown(rounds: Sequence[Findings]) -> list[Shown]:
    """Each aim with its figure of every round, in the order of the first."""
    found: dict[str, Shown] = {}
    for one in rounds:
        for aim in _aims(one):
            found.setdefault(aim.what, Shown(aim, [])).figures.append(aim.figure)
    return list(found.values())


def written(rounds: Sequence[Findings], seconds: float) -> str:
    """The whole page: the aims by all rounds, the tables of the first."""
    findings = rounds[0]
    aims = _shown(rounds)
    parts = [
        "# Performance",
        _OPENING,
        "This page is of the quick form, which proves little." if findings.quick else "",
        _machine(findings, seconds),
        "## What must show",
        _ROUNDS if len(rounds) > 1 else "",
        _table(("", "aim", "median", "least to most", ""), (shown.row() for shown in aims)),
        *_reasons([shown.aim for shown in aims if not shown.is_met]),
        "## Sending, without Prefect",
        _SENDING,
        _sent(findings.sent),
        "## The whole run, with Prefect",
        _WHOLE,
        _flows(findings.flows),
        "## Starting",
        _STARTING,
        _starts(findings.starts),
        "## Reports",
        _PULLED,
        _reported([one.pulled for one in findings.flows]),
        "## Tickets",
        _TICKETS,
        _tickets(findings.tickets),
        "## Several processes, one campaign",
        f"PostgreSQL, 200 ms latency, {CONCURRENCY} requests in flight per process: chunks go to whoever claims them first.",
        _shared(findings.shared),
        "## Where the time goes",
        _PROFILE,
        _table(("", "share of the busy time"), ((name, f"{share:.0%}") for name, share in findings.shares.items())),
        _TRIED,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _reasons(missed: Sequence[Aim]) -> Iterable[str]:
    """Why aims were missed; those that share a reason together."""
    for why, ours in groupby(sorted(missed, key=lambda aim: aim.why_missed), key=lambda aim: aim.why_missed):
        yield f"- Missed: **{'**, **'.join(aim.what for aim in ours)}**: {why}"


_OPENING = (
    "`make bench` writes this page. Ratios within one run count, not seconds: both sides of a ratio talk to the same"
    " sandbox on the same machine, each in a process of its own, one after the other. Nothing is traded for speed: a"
    " claim is durable before its request leaves, SQLite runs with `synchronous=FULL`, PostgreSQL with"
    " `synchronous_commit=on`."
)
_ROUNDS = (
    "Medians of three rounds, one after the other; the tables below are of the first. The starts are medians of pairs of"
    " their own."
)
_SENDING = (
    f"{CHUNK} recipients per request, {CONCURRENCY} requests in flight, in recipients per second. *Bare* is httpx"
    " posting the same chunks with the same concurrency: no ledger, no reading of the answers. *One by one* is the"
    " pattern of the vendor's client, `requests.post` per chunk of 100. A million at 50 and at 200 ms is left out: it"
    " only waits for the gateway, at the rate of the lines above it."
)
_WHOLE = (
    "`posthorn campaign send` with SQLite and a Prefect server of its own, at zero latency, in seconds. Memory"
    " is that of the flow's process at its highest."
)
_PULLED = (
    f"Of the same campaigns, a day after: every report is pulled, 500 ids to a request, {CONCURRENCY} requests at a time."
)
_STARTING = (
    "`posthorn campaign send` of 60 recipients with a Prefect server of its own, from the command to its end, beside"
    " `prefect server start` until it answers: medians of pairs, one after the other. Cold is the first start in a folder:"
    " Prefect makes its database then, Posthorn copies the one that `make setup` has prepared."
)
_TICKETS = (
    f"One request each, {CONCURRENCY} in flight, tickets per second. A ticket costs two durable commits, which those"
    " that are under way at the same time share."
)
_TRIED = (
    "Tried without effect: a shorter switch interval of Python's threads, one round trip less for each claim on PostgreSQL,"
    " and reports that are applied by several threads (slower). Not tried: provider ids in a table of their own. PostgreSQL"
    " could then update messages in place, where each answer now writes three of their indexes anew; but every lookup,"
    " report and check of second copies would read another table."
)
_PROFILE = (
    "The loop's thread at zero latency, by profiler (which makes small functions look dearer than they are). The"
    " ledger's thread works beside it, mostly inside SQLite, where Python is free for the other."
)


def _aims(findings: Findings) -> Iterable[Aim]:
    """What must show, as far as this run can tell."""
    largest = max((one.count for one in findings.flows), default=0)
    for flow in findings.flows:
        if flow.count == largest:
            yield from _flow_aims(flow)
    yield from _sending_aims(findings.sent)
    for ticket in findings.tickets:
        if ticket.latency == 0.02:
            name, bound = ("SQLite", 0.7) if ticket.database == "sqlite" else ("PostgreSQL", 0.9)
            yield Aim(f"tickets at 20 ms, {name}, beside bare httpx", ticket.of_bare, bound, False, "{:.2f}", _CLAIMS)
    for one in findings.starts:
        name = "a small campaign with its own server, over the bare server's start"
        bound = _COLD if one.is_cold else _WARM
        yield Aim(f"{name}, {_temperature(one)}", one.ratio, bound, True, "{:.2f}", _PREFECT)
    by_workers = {one.workers: one for one in findings.shared}
    for workers, bound in ((2, 1.6), (4, 3.7)):
        if {1, workers} <= by_workers.keys():
            ratio = by_workers[workers].rate / by_workers[1].rate
            yield Aim(f"{workers} processes over one, PostgreSQL, 200 ms", ratio, bound, False, "{:.2f}", _SHARED)


def _sending_aims(sent: Sequence[Sent]) -> Iterable[Aim]:
    """What sending without Prefect must show: the largest of SQLite at each latency, and whatever was sent on PostgreSQL."""
    at_zero = {one.count: one for one in sent if one.latency == 0 and one.database == "sqlite"}
    if at_zero:
        one = at_zero[max(at_zero)]
        yield Aim(
            f"{one.count:,} at zero latency, beside bare httpx, without Prefect", one.of_bare, 0.5, False, "{:.2f}", _CPU
        )
    slow = [one for one in sent if one.latency == 0.05 and one.database == "sqlite"]
    if slow:
        one = max(slow, key=lambda cell: cell.count)
        yield Aim(f"{one.count:,} at 50 ms, beside bare httpx", one.of_bare, 0.95, False, "{:.2f}", _CLAIMS)
        yield Aim(f"{one.count:,} at 50 ms, beside one by one", one.times_serial, 7, False, "{:.1f} times", _CLAIMS)
    if {100_000, 1_000_000} <= at_zero.keys():
        ratio = at_zero[100_000].sent / at_zero[1_000_000].sent
        yield Aim("time per recipient at 1,000,000 over that at 100,000", ratio, 1.1, True, "{:.2f}", _GROWTH)
    for one in sent:
        name = f"{one.count:,} on PostgreSQL at {one.latency * 1000:.0f} ms, beside bare httpx"
        if one.database == "postgresql" and one.latency == 0.05:
            yield Aim(name, one.of_bare, 0.9, False, "{:.2f}", _SHORT if one.count <= 10_000 else _CLAIMS)
        elif one.database == "postgresql" and one.latency == 0 and one.count >= 100_000:
            yield Aim(name, one.of_bare, 0.3, False, "{:.2f}", _POSTGRES)


_WARM, _COLD = 1.5, 1.3


def _temperature(one: Started) -> str:
    return "cold" if one.is_cold else "warm"


def _flow_aims(flow: Flow) -> Iterable[Aim]:
    name = f"{flow.count:,} by the flow at zero latency"
    bound = 1.6 * flow.sending + 20
    requests = flow.count / 500 * 1.05
    yield Aim(f"{name}: sending, beside bare httpx", flow.of_bare, 0.5, False, "{:.2f}", _CPU)
    yield Aim(f"{name}: the whole run", flow.whole, bound, True, "{:.0f} s", _PREFECT)
    yield Aim(f"{name}: peak memory of its process", flow.peak_mib, 300, True, "{:.0f} MiB", _MEMORY)
    yield Aim(f"{name}: task runs", flow.task_runs, 600, True, "{:.0f}", _PREFECT)
    yield Aim(f"requests for the reports of {flow.count:,}", flow.pulled.requests, requests, True, "{:,.0f}", _REPORTS)
    seconds = flow.count / 1_000_000 * 15
    yield Aim(f"the reports of {flow.count:,}", flow.pulled.seconds, seconds, True, "{:,.0f} s", _PULLING)
    yield Aim(f"status of {flow.count:,}, the command and all", flow.status, 0.5, True, "{:.2f} s", _STATUS)


_CPU = (
    "the loop's thread and the ledger's share one Python interpreter. Both have work for every chunk while the baseline only"
    " posts; after each statement the ledger's thread waits for the loop's, and together they use about one processor,"
    " however many there are. The table at the end says what for."
)
_CLAIMS = (
    "claims are made while requests are under way, so what is left is the processor's time for each chunk. Requests that"
    " left together are answered together: each answer is read, and the next request built, one after the other in one"
    " thread; on PostgreSQL with the threads that record."
)
_SHORT = (
    "it is over in half a second. Before its first request the restore check asks the provider twice, once from each end of"
    " its list, which is a fifth of that."
)
_SHARED = (
    "the senders, PostgreSQL's server and the sandbox share two processors, and a campaign of this size is over after 16"
    " requests of each slot: what the first claims and the last, uneven round cost does not shrink with it."
)
_GROWTH = "the index of provider ids grows out of the processor's caches and SQLite's own."
_PREFECT = (
    "Prefect's server starts, migrates its database and answers on the same two cores: importing it, starting it and"
    " the flow's first states are the same for ten recipients as for a million."
)
_POSTGRES = (
    "each chunk costs PostgreSQL an update of as many rows as it has recipients, with new entries in three indexes for each,"
    " and a commit; its server needs most of a processor for that, and the sender the other."
)
_PULLING = "each answer is read, checked and applied in one process, which has one processor for that."
_REPORTS = "chunks of which some messages need no report leave their questions less than full."
_MEMORY = "Prefect alone takes about 150 MiB."
_STATUS = "most of it is Python's start and its imports."


def _machine(findings: Findings, seconds: float) -> str:
    today = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"Measured on {today}, in {seconds / 60:.0f} minutes, on {os.cpu_count()} × {_processor()},"
        f" {platform.system()} {platform.release()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version},"
        f" httpx {version('httpx')}, Prefect {version('prefect')}. Load of the machine at the end: {load}. The sandbox takes"
        f" {findings.sandbox_limit:,.0f} recipients per second from the cheapest client there is, so it is not the limit;"
        " it shares the processors with whoever sends."
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _sent(cells: Sequence[Sent]) -> str:
    headers = (
        "ledger",
        "recipients",
        "latency",
        "planned",
        "sent",
        "bare",
        "of bare",
        "one by one",
        "times",
        "CPU each",
        "peak",
    )
    return _table(
        headers,
        (
            (
                one.database,
                f"{one.count:,}",
                _ms(one.latency),
                f"{one.planned:,.0f}",
                f"{one.sent:,.0f}",
                f"{one.bare:,.0f}",
                f"{one.of_bare:.2f}",
                f"{one.serial:,.0f}",
                f"{one.times_serial:.1f}",
                f"{one.cpu_microseconds:.1f} µs",
                f"{max(one.plan_peak_mib, one.send_peak_mib):.0f} MiB",
            )
            for one in cells
        ),
    )


def _flows(flows: Sequence[Flow]) -> str:
    headers = (
        "recipients",
        "whole",
        "Prefect and the rest",
        "plan",
        "sending",
        "after",
        "bare",
        "of bare",
        "memory",
        "task runs",
    )
    return _table(
        headers,
        (
            (
                f"{one.count:,}",
                f"{one.whole:.1f}",
                f"{one.whole - one.plan - one.sending - one.after:.1f}",
                f"{one.plan:.1f}",
                f"{one.sending:.1f}",
                f"{one.after:.1f}",
                f"{one.bare:.1f}",
                f"{one.of_bare:.2f}",
                f"{one.peak_mib:.0f} MiB",
                one.task_runs,
            )
            for one in flows
        ),
    )


def _starts(starts: Sequence[Started]) -> str:
    headers = ("start", "pairs", "campaign", "bare server", "ratio", "CPU of the campaign", "CPU of the bare server")
    return _table(
        headers,
        (
            (
                _temperature(one),
                one.pairs,
                f"{one.send:.1f} s",
                f"{one.bare:.1f} s",
                f"{one.ratio:.2f}",
                f"{one.send_cpu:.1f} s",
                f"{one.bare_cpu:.1f} s",
            )
            for one in starts
        ),
    )


def _reported(reported: Sequence[Reported]) -> str:
    return _table(
        ("recipients", "requests", "messages moved", "seconds"),
        ((f"{one.count:,}", one.requests, f"{one.moved:,}", f"{one.seconds:.1f}") for one in reported),
    )


def _tickets(tickets: Sequence[Tickets]) -> str:
    return _table(
        ("tickets", "latency", "ledger", "Posthorn", "bare httpx", "ratio"),
        (
            (f"{one.count:,}", _ms(one.latency), one.database, f"{one.sent:,.0f}", f"{one.bare:,.0f}", f"{one.of_bare:.2f}")
            for one in tickets
        ),
    )


def _shared(shared: Sequence[Shared]) -> str:
    if not shared:
        return "Left out: no PostgreSQL server is named in `POSTHORN_TEST_POSTGRES_URL`."
    alone = shared[0].rate
    return _table(
        ("processes", "recipients per second", "over one", "peak memory of each"),
        ((one.workers, f"{one.rate:,.0f}", f"{one.rate / alone:.2f}", f"{one.peak_mib:.0f} MiB") for one in shared),
    )


def _ms(latency: float) -> str:
    return f"{latency * 1000:.0f} ms"


def _table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    found = [list(map(str, row)) for row in rows]
    return tabulate(found, headers=headers, tablefmt="github", disable_numparse=True) if found else ""
