"""A large campaign in little memory: planned and exported, and a smaller one sent, by processes that may not have more.

``python -m tests.drills.million``: a million rows in 512 MB of address space, in `make drill`. The test run has fewer rows.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from posthorn.delivery.planning.plan import plan_file
from posthorn.models import Kind
from posthorn.settings import SerwerSmsSettings, Settings
from posthorn.views.export import export_csv, export_jsonl
from tests.delivery.journey import PNG
from tests.drills.box import Box
from tests.drills.children import Child
from tests.drills.faultplan import CALM
from tests.drills.worker import deliver

_MEGABYTE = 2**20


def main(arguments: list[str] | None = None) -> int:
    """Plan and export ``--rows``, send ``--send``, each in a process of ``--megabytes``; 0 if all of it went well."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="posthorn-million-") as folder:
        large = _written(Path(folder) / "large", options.rows)
        small = _written(Path(folder) / "small", options.send)
        box = Box(CALM, Path(folder) / "sandbox.log")
        try:
            works = {
                f"planned {options.rows:,}": partial(_plan, large, options.rows),
                f"exported {options.rows:,}": partial(_export, large, options.rows),
                f"sent {options.send:,}": partial(_send, small, box.url),
            }
            held = all(_done(what, work, Path(folder) / "log", options.megabytes) for what, work in works.items())
            taken = box.ask("truth")["accepted"]
        finally:
            box.close()
    if held and taken != options.send:
        print(f"the sandbox took {taken:,}, not {options.send:,}")
    return int(not held or taken != options.send)


def _done(what: str, work: Callable[[], int], log: Path, megabytes: int) -> bool:
    """Whether a process of its own did the work within the memory; what it needed is printed."""
    started = time.monotonic()
    child = Child(partial(_limited, work, megabytes), log)
    while child.is_alive():
        child.wait(60)
    said = log.read_text(encoding="utf-8")
    print(f"{what} in {time.monotonic() - started:.0f} s, exit code {child.exit_code}: {said.strip()[-2_000:]}", flush=True)
    log.write_text("", encoding="utf-8")
    return child.exit_code == 0


def _limited(work: Callable[[], int], megabytes: int) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (megabytes * _MEGABYTE, megabytes * _MEGABYTE))
    code = work()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(f"at most {int(status.partition('VmPeak:')[2].split()[0]) // 1024} of {megabytes} MB of address space")
    return code


def _written(folder: Path, rows: int) -> Path:
    """A campaign file with that many rows of a number and a name."""
    folder.mkdir()
    (folder / "poster.png").write_bytes(PNG)
    with (folder / "recipients.csv").open("w", encoding="utf-8") as file:
        file.write("phone;name\n")
        file.writelines(f"+48{500_000_000 + row};Jan Kowalski {row}\n" for row in range(rows))
    file = folder / "large.toml"
    file.write_text('name = "large"\ntitle = "Autumn sale"\nmedia = ["poster.png"]\nrecipients = "recipients.csv"\n')
    return file


def _settings(file: Path, url: str = "http://127.0.0.1:9") -> Settings:
    gateway = SerwerSmsSettings(base_url=url, token="sandbox-token", chunk_size=200)
    return Settings(
        database_url=f"sqlite:///{file.parent / 'ledger.db'}",
        state_dir=file.parent,
        guard_dir=file.parent / "marks",
        serwersms=gateway,
    )


def _plan(file: Path, rows: int) -> int:
    return int(plan_file(file, _settings(file)).input != rows)


def _export(file: Path, rows: int) -> int:
    """With the settings in the environment, where the export looks for them."""
    os.environ.update(POSTHORN_DATABASE_URL=_settings(file).database_url, POSTHORN_STATE_DIR=str(file.parent))
    counts = (
        export_csv(Kind.CAMPAIGN, "large", file.parent / "out.csv"),
        export_jsonl(Kind.CAMPAIGN, "large", file.parent / "out.jsonl"),
    )
    return int(counts != (rows, rows))


def _send(file: Path, url: str) -> int:
    return deliver(file, _settings(file, url))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.drills.million", description="large campaigns in little memory")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--send", type=int, default=100_000)
    parser.add_argument("--megabytes", type=int, default=512)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
