"""``make mutants``: put each fault of the list into a copy of the code, alone, and see whether its tests notice.

Fails if a fault that could send twice, lose or leak survives, or if the list is no longer true. Never touches this checkout.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import get_args

from tests.mutants.catalogue import Fault, chosen, read_faults, staleness
from tests.mutants.copies import Copy, Ran

POSTGRES_URL = "POSTHORN_TEST_POSTGRES_URL"
KINDS = get_args(Fault.model_fields["kind"].annotation)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one fault: caught, survived, or invalid (the tests did not run to an end)."""

    fault: Fault
    word: str
    because: str
    seconds: float

    def told(self) -> str:
        return f"{self.word:8} {self.fault.kind:6} {self.seconds:6.1f} s  {self.fault.name}: {self.because}"


def main(arguments: list[str] | None = None) -> int:
    """Try the faults that the command line asks for; 0 if the list is true and no grave one survived."""
    options = _options(arguments)
    faults = chosen(read_faults(), options.only)
    if not faults:
        print(f"no fault, and no file of faults, is called {' or '.join(options.only)}")
        return 2
    if stale := staleness(faults):
        print(*stale, f"{len(stale)} entries of the list are not true", sep="\n")
        return 1
    if options.check:
        print(f"{len(faults)} faults can be applied: {_by_kind(faults)}")
        return 0
    with tempfile.TemporaryDirectory(prefix="posthorn-mutants-", ignore_cleanup_errors=True) as base:
        code = _try_all([fault for fault in faults if _can_be_tried(fault)], Path(base), options)
    if untried := [fault.name for fault in faults if not _can_be_tried(fault)]:
        print(f"NOT TRIED, for {POSTGRES_URL} is not set to a server where databases may be created:", *untried, sep="\n  ")
    return code


def _can_be_tried(fault: Fault) -> bool:
    return not fault.needs_postgres or bool(os.environ.get(POSTGRES_URL))


def _try_all(faults: Sequence[Fault], base: Path, options: argparse.Namespace) -> int:
    copies = [Copy.make(base / f"copy-{job}") for job in range(options.jobs)]
    try:
        if not options.unproven and (broken := _without_faults(copies[0], faults, options.jobs)):
            print(broken)
            return 1
        verdicts = []
        for verdict in _verdicts(copies, faults, options.seconds):
            print(verdict.told(), flush=True)
            verdicts.append(verdict)
    finally:
        for copy in copies:
            copy.end()
    print(_summed_up(verdicts))
    return int(any(one.word == "invalid" or (one.word == "survived" and one.fault.grave) for one in verdicts))


def _without_faults(copy: Copy, faults: Sequence[Fault], jobs: int) -> str:
    """Why the verdicts would mean nothing: a test that fails without any fault; else nothing."""
    tests = sorted({test for fault in faults for test in fault.tests})
    print(f"{len(faults)} faults; first their {len(tests)} tests without any", flush=True)
    ran = copy.tests([*tests, "-n", str(jobs)])
    return "" if ran.code == 0 else f"{ran.said[-4000:]}\nthe tests must pass without a fault first"


def _verdicts(copies: Sequence[Copy], faults: Sequence[Fault], seconds: float) -> Iterator[Verdict]:
    """Each fault's verdict as it becomes known; as many at a time as there are copies."""
    free: SimpleQueue[Copy] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def tried(fault: Fault) -> Verdict:
        copy, started = free.get(), time.monotonic()
        try:
            return _verdict(fault, copy.with_fault(fault, seconds), time.monotonic() - started)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        try:
            for done in as_completed([pool.submit(tried, fault) for fault in faults]):
                yield done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _verdict(fault: Fault, ran: Ran, seconds: float) -> Verdict:
    match ran.code:
        case 1 if ran.failed:
            return Verdict(fault, "caught", ran.failed[0], seconds)
        case 0:
            return Verdict(fault, "survived", "no test failed", seconds)
        case None:
            return Verdict(fault, "invalid", "the tests did not end, and no test timed out by itself", seconds)
        case code:
            return Verdict(fault, "invalid", f"pytest ended with {code}:\n{ran.said[-1500:]}", seconds)


def _summed_up(verdicts: Sequence[Verdict]) -> str:
    words = Counter(one.word for one in verdicts)
    lines = [f"{len(verdicts)} faults: " + ", ".join(f"{words[word]} {word}" for word in ("caught", "survived", "invalid"))]
    for kind in KINDS:
        of_kind = [one for one in verdicts if one.fault.kind == kind]
        lines.append(f"  {kind:6} {sum(one.word == 'caught' for one in of_kind):3} of {len(of_kind):3} caught")
    return "\n".join(lines)


def _by_kind(faults: Sequence[Fault]) -> str:
    return ", ".join(f"{sum(fault.kind == kind for fault in faults)} {kind}" for kind in KINDS)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.mutants", description="faults that the tests must notice")
    parser.add_argument(
        "--only",
        metavar="NAME|FILE",
        action="append",
        default=[],
        help="faults with this in their name, or of faults/FILE.toml",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="copies side by side (default: one per core)")
    parser.add_argument("--check", action="store_true", help="only see whether all of them can still be applied")
    parser.add_argument("--unproven", action="store_true", help="do not run the tests without any fault first")
    parser.add_argument("--seconds", type=float, default=900.0, help="after that a fault's tests are ended: invalid")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
