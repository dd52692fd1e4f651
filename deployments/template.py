"""Create the template of Prefect's database for this installation: ``python -m deployments.template``, for `make setup`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from posthorn.process.crash import run_to_exit_code
from posthorn.process.prefect_database import make_template
from posthorn.process.surroundings import settle


def migrate(database: Path) -> None:
    """Let Prefect create a database there, as its server does at its first start.

    Raises:
        subprocess.CalledProcessError: it failed; its output says why.
    """
    with tempfile.TemporaryDirectory() as home:
        own = {
            "PREFECT_HOME": home,
            "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{quote(str(database))}",
            "DO_NOT_TRACK": "1",
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
        subprocess.run(command, env={**kept, **own}, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command


def main() -> int:
    """Create it if it is missing; returns the exit code. Without it everything works, but the first start is slow."""
    try:
        if make_template(migrate):
            print("Prefect's database is prepared: the first start need not create one")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"Prefect's database could not be prepared ({error}); the first start creates it, in a quarter of a minute")
    return 0


if __name__ == "__main__":
    settle()
    sys.exit(run_to_exit_code(main))
