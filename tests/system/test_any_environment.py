"""A whole send, Prefect server and flow included, where everything around it is against it at once."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

from posthorn.cli.sandbox_process import sandbox_process
from tests.commands import COMMAND, PATIENCE_SECONDS, Desk, told
from tests.delivery.journey import numbers, write_campaign

HOSTILE = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "NO_PROXY": "example.com",
    "HOME": "/nonexistent/home",
    "PREFECT_HOME": "",
    "USER": "",
    "LANG": "",
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONIOENCODING": "ascii",
    "PYTHONWARNINGS": "error",
    "TMPDIR": "/nonexistent/tmp",
    "TZ": "Nowhere/Odd",
}


def test_a_campaign_is_sent_though_everything_around_is_odd(tmp_path: Path) -> None:
    folder = tmp_path / "100% of %41 %(here)s? #1 żółć"
    folder.mkdir()
    write_campaign(folder, numbers(60))
    with sandbox_process("--speed", "0") as box:
        desk = Desk(folder, box.variables)
        done = subprocess.run(
            ["bash", "-c", 'umask 000; "$@" <&-', "bash", str(COMMAND), "campaign", "send", "sale.toml"],
            cwd=folder,
            env=desk.environment(HOSTILE),
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        said = (done.stdout + done.stderr).decode("ascii")
        assert done.returncode == 0, said
        assert told(box.url, "truth")["accepted"] == 60
    assert "Traceback" not in said
    assert not list((folder / ".posthorn").glob("crashes/*"))
    made = [folder / ".posthorn", *(folder / ".posthorn").rglob("*")]
    assert {"ledger.db", "prefect.db", "server.log"} <= {path.name for path in made}
    assert [path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
