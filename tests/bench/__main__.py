"""``make bench``: how fast Posthorn is, beside bare httpx in the same run; writes ``docs/performance.md``.

Ratios count, not seconds. It needs nothing but this machine; what is about PostgreSQL is left out unless a server is named
in ``POSTHORN_TEST_POSTGRES_URL``. What has an aim is measured in three rounds, and its median counts. Twenty minutes on two
quiet cores, ``--quick`` two minutes.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.bench import campaigns
from tests.bench.report import Findings, written
from tests.bench.scene import has_postgres
from tests.bench.starts import starts
from tests.bench.tickets import tickets

_PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
_MAX_SECONDS = 45 * 60
_T = TypeVar("_T")

_Cells = Sequence[tuple[int, float]]
_SQLITE: _Cells = ((10_000, 0), (100_000, 0), (1_000_000, 0), (10_000, 0.05), (100_000, 0.05), (10_000, 0.2), (100_000, 0.2))
_POSTGRES: _Cells = ((100_000, 0), (10_000, 0.05), (100_000, 0.05), (10_000, 0), (10_000, 0.2))
_QUICK: _Cells = ((10_000, 0), (20_000, 0.05))
_WITH_AIM: _Cells = ((100_000, 0), (1_000_000, 0), (100_000, 0.05))
_FURTHER_ROUNDS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small numbers, two minutes: does it work, and roughly how well"
    )
    parser.add_argument(
        "--output", type=Path, help="where the page goes (docs/performance.md; with --quick only on the screen)"
    )
    options = parser.parse_args()
    _end_after(_MAX_SECONDS)
    started = time.monotonic()
    rounds = [measured(quick=options.quick)]
    if not options.quick:
        rounds += [what_has_an_aim() for _ in range(_FURTHER_ROUNDS)]
    page = written(rounds, time.monotonic() - started)
    print(page)
    if output := options.output or (None if options.quick else _PAGE):
        output.write_text(page, encoding="utf-8")


def measured(*, quick: bool) -> Findings:
    """Everything, one measurement after the other."""
    found = Findings(quick)
    found.sandbox_limit = _told("the sandbox's own limit", lambda: campaigns.limit(20_000 if quick else 200_000))
    for count, latency in _QUICK if quick else _SQLITE:
        found.sent.append(_told(f"send {count:,} at {latency * 1000:.0f} ms", lambda: campaigns.sent(count, latency)))  # noqa: B023
    if has_postgres():
        _on_postgres(found, _QUICK[:1] if quick else _POSTGRES, quick=quick)
    for latency in (0.02,) if quick else (0.0, 0.02, 0.1):
        count = 500 if quick else 2_000
        found.tickets.append(_told(f"{count:,} tickets at {latency * 1000:.0f} ms", lambda: tickets(count, latency)))  # noqa: B023
    pairs = 1 if quick else 5
    for is_cold in (False, True):
        what = f"starting, {'cold' if is_cold else 'warm'}"
        found.starts.append(_told(what, lambda: starts(pairs, is_cold=is_cold)))  # noqa: B023
    found.shares = _told("profile", lambda: campaigns.profile(20_000 if quick else 100_000))
    for count in (10_000,) if quick else (10_000, 100_000, 1_000_000):
        found.flows.append(_told(f"the flow, {count:,}", lambda: campaigns.flow(count)))  # noqa: B023
    return found


def what_has_an_aim() -> Findings:
    """Once more what the page compares with an aim; the starts have medians of their own."""
    found = Findings(quick=False)
    for count, latency in _WITH_AIM:
        found.sent.append(_told(f"send {count:,} at {latency * 1000:.0f} ms", lambda: campaigns.sent(count, latency)))  # noqa: B023
    if has_postgres():
        _on_postgres(found, _POSTGRES[:3], quick=False)
    found.tickets.append(_told("tickets", lambda: tickets(2_000, 0.02)))
    found.flows.append(_told("the flow", lambda: campaigns.flow(1_000_000)))
    return found


def _on_postgres(found: Findings, cells: _Cells, *, quick: bool) -> None:
    for count, latency in cells:
        name = f"send {count:,} at {latency * 1000:.0f} ms, PostgreSQL"
        found.sent.append(_told(name, lambda: campaigns.sent(count, latency, "postgresql")))  # noqa: B023
    count, workers = (25_600, (1, 2)) if quick else (102_400, (1, 2, 4))
    found.shared = _told("several processes", lambda: campaigns.shared(count, 0.2, workers))
    if not quick:
        found.tickets.append(_told("tickets, PostgreSQL", lambda: tickets(1_000, 0.02, "postgresql")))


def _told(what: str, measure: Callable[[], _T]) -> _T:
    """Say what is measured, and how long that took."""
    print(f"{what} …", end=" ", file=sys.stderr, flush=True)
    started = time.monotonic()
    found: _T = measure()
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return found


def _end_after(seconds: float) -> None:
    """Whatever hangs, the bench does not: interrupt the main thread, which then stops what it has started."""
    import _thread  # noqa: PLC0415

    timer: Any = threading.Timer(seconds, _thread.interrupt_main)
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    main()
