"""Drills: a campaign against a faulty sandbox, killed and started again until it ends, then compared with the truth.

``python -m tests.drills.runner --help``. One seed is one round; the first round that breaks is reported with the command
that runs it again, and its folder is kept.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.drills.children import Child
from tests.drills.faultplan import CALM, MODES, plan_of
from tests.drills.postgres import OwnServer, binaries
from tests.drills.rounds import Broken, Round, Tally

POSTGRES_URL = "POSTHORN_TEST_POSTGRES_URL"
_LARGEST_SEED = 10**9
_FEW = 20  # recipients of the round that only loads what the others need


def main(arguments: list[str] | None = None) -> int:
    """Run the rounds that the command line asks for; 0 if all of them held."""
    options = _options(arguments)
    if options.database == "postgresql" and not (options.own_server or options.postgres_url):
        print(f"PostgreSQL's programs are not here; set {POSTGRES_URL} to a database in which others may be created")
        return 2
    base = Path(tempfile.mkdtemp(prefix="posthorn-drill-"))
    started = time.monotonic()
    shares = [range(job, options.rounds, options.jobs) for job in range(options.jobs)]
    jobs = [Child(partial(_share, options, share, base / f"tally-{job}"), None) for job, share in enumerate(shares)]
    try:
        while [job for job in jobs if job.is_alive()]:  # each of them is asked: one that broke ends them all
            if any(job.exit_code for job in jobs):
                return 1
            time.sleep(0.05)
    finally:
        for job in jobs:
            job.signal(signal.SIGTERM)
            job.wait(20)
            job.end()
    if any(job.exit_code for job in jobs):
        return 1
    tally = Tally()
    for job in range(options.jobs):
        tally.add(pickle.loads((base / f"tally-{job}").read_bytes()))
    shutil.rmtree(base)
    print(tally.told(options.rounds, options.recipients, options.database, time.monotonic() - started))
    return 0


def _share(options: argparse.Namespace, share: Sequence[int], result: Path) -> int:
    """One job's rounds, one after the other; what happened is left in ``result``."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tally = Tally()
    with _postgres(options) as postgres:
        _prepare(result.parent / f"preparation-{share[0]}", postgres)
        held = all(_one_round(options, seed, result.parent, postgres, tally) for seed in _seeds(options, share))
    if held:
        result.write_bytes(pickle.dumps(tally))
    return 0 if held else 1


def _prepare(folder: Path, postgres: OwnServer | str | None) -> None:
    """Have everything loaded before the first process is forked."""
    folder.mkdir()
    with Round(0, folder, replace(CALM, settle_seconds=1.0), _FEW, postgres, Tally()) as one:
        one.prepare()
    shutil.rmtree(folder)


@contextmanager
def _postgres(options: argparse.Namespace) -> Iterator[OwnServer | str | None]:
    """What the rounds on PostgreSQL use: a server of their own, which they may kill, or the one that is named."""
    if options.database != "postgresql":
        yield None
    elif not options.own_server:
        yield options.postgres_url
    else:
        server = OwnServer()
        try:
            yield server
        finally:
            server.close()


def _seeds(options: argparse.Namespace, share: Sequence[int]) -> Iterator[int]:
    return ((options.seed + number) % _LARGEST_SEED for number in share)


def _one_round(options: argparse.Namespace, seed: int, base: Path, postgres: OwnServer | str | None, tally: Tally) -> bool:
    """Whether the round of that seed held; if not, what broke is printed, and its folder kept."""
    folder = base / f"seed-{seed}"
    try:
        _run_one(options, seed, folder, postgres, tally)
    except Broken as broken:
        print(f"\nBROKEN, seed {seed}: {broken}\n")
        print(f"again: {_replay(options, seed)}\nkept:  {folder}", flush=True)
        return False
    shutil.rmtree(folder)
    return True


def _run_one(options: argparse.Namespace, seed: int, folder: Path, postgres: OwnServer | str | None, tally: Tally) -> None:
    folder.mkdir()
    dice = random.Random(seed)
    plan = plan_of(dice, options.mode)
    started = time.monotonic()
    with Round(seed, folder, plan, options.recipients, postgres, tally) as one:
        states = one.run(dice)
    seconds = time.monotonic() - started
    if not options.quiet:
        said = ", ".join(f"{count} {state}" for state, count in states.items())
        print(f"seed {seed}: {plan.mode:6} {one.starts:2} starts, {one.kills:2} kills, {seconds:4.1f} s: {said}", flush=True)


def _replay(options: argparse.Namespace, seed: int) -> str:
    return (
        f"python -m tests.drills.runner --seed {seed} --rounds 1 --recipients {options.recipients}"
        f" --database {options.database}" + (f" --mode {options.mode}" if options.mode else "")
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests.drills.runner", description="kill it anywhere, break anything, run it twice"
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--recipients", type=int, default=2_000)
    parser.add_argument("--seed", type=int, help="of the first round (default: drawn)")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--mode", choices=MODES, help="only rounds of this mode (default: all)")
    parser.add_argument("--jobs", type=int, default=1, help="rounds at the same time")
    parser.add_argument("--postgres-url", default=os.environ.get(POSTGRES_URL), help=f"default: {POSTGRES_URL}")
    parser.add_argument(
        "--own-server",
        action=argparse.BooleanOptionalAction,
        default=binaries() is not None,
        help="start a PostgreSQL server for the rounds, and kill it (default: where its programs are installed)",
    )
    parser.add_argument("--quiet", action="store_true", help="only the sums, and what is broken")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = random.randrange(_LARGEST_SEED)
    print(
        f"{options.rounds} rounds of {options.recipients} recipients on {options.database}, seeds from {options.seed}",
        flush=True,
    )
    return options


if __name__ == "__main__":
    sys.exit(main())
