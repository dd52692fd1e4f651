"""How commands find the Prefect server of `make serve` and get in: a record that only its owner can read.

The record is believed only while the process that wrote it lives. That process keeps the port open, too, so the login in it
never goes to somebody who took the port later. Each server has a login of its own: an old one opens nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

_RECORD = "served-at"


@dataclass(frozen=True, slots=True)
class PrefectApi:
    """A Prefect API and the login that opens it.

    ``login`` is what Prefect calls the auth string; None if Prefect's own settings say how to get in. ``is_ours`` says
    whether Posthorn started that server on this machine.
    """

    url: str
    login: str | None = field(default=None, repr=False)
    is_ours: bool = False

    def variables(self) -> dict[str, str]:
        """The environment of a process that talks to it."""
        if not self.is_ours or self.login is None:
            return {"PREFECT_API_URL": self.url}
        return {"PREFECT_API_URL": self.url, "PREFECT_API_AUTH_STRING": self.login, **_past_proxies(self.url)}

    def headers(self) -> dict[str, str]:
        """The login as Prefect's API takes it."""
        return {} if self.login is None else {"Authorization": f"Basic {b64encode(self.login.encode()).decode()}"}


def _past_proxies(url: str) -> dict[str, str]:
    """A proxy of the environment must not see a login for this machine."""
    said = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    wanted = ["127.0.0.1", "localhost", "::1", urlsplit(url).hostname or ""]
    names = [name.strip() for name in said.split(",")]
    joined = ",".join(dict.fromkeys(name for name in [*names, *wanted] if name))
    return {"NO_PROXY": joined, "no_proxy": joined}


def new_login(environ: Mapping[str, str] = os.environ) -> str:
    """The login of a server that is about to start: the operator's PREFECT_SERVER_API_AUTH_STRING, or a new one."""
    return environ.get("PREFECT_SERVER_API_AUTH_STRING") or f"posthorn:{secrets.token_urlsafe(24)}"


@contextmanager
def recorded(home: Path, api: PrefectApi) -> Iterator[None]:
    """Let the commands of the same folder in while the block runs."""
    descriptor, name = tempfile.mkstemp(dir=home, prefix=f".{_RECORD}.")  # its mode is 0600
    record = home / _RECORD
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        # Locked before it gets its name: a reader who finds it unlocked knows that its writer is gone.
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump({"url": api.url, "login": api.login}, file)
        file.flush()
        Path(name).replace(record)
        try:
            yield
        finally:
            record.unlink(missing_ok=True)


def recorded_api(home: Path) -> PrefectApi | None:
    """The server that a living process has recorded there; None without one."""
    try:
        with (home / _RECORD).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                said = json.load(file)
                return PrefectApi(said["url"], said["login"], is_ours=True)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None  # its writer died without removing it, and the port may be anybody's
