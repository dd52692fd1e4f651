"""Hosts of a drill: network namespaces with a PostgreSQL server of their own, and links that can be cut without a word."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

_CLONE_NEWNET = 0x40000000
_NETWORK = "10.231.77"  # in namespaces of our own: it can meet no address of the machine
_PORT = 5432
_START_SECONDS = 60.0


class CannotBeMade(Exception):
    """This machine allows no namespaces, or lacks a program; the message says which."""


class Network:
    """One namespace ``db`` with a bridge, and the hosts that are plugged into it."""

    def __init__(self) -> None:
        self._tag = secrets.token_hex(2)
        self._hosts: list[str] = []

    @property
    def database_url(self) -> str:
        """The PostgreSQL server's URL as every host sees it."""
        return f"postgresql://postgres@{_NETWORK}.1:{_PORT}/postgres"

    def inside(self, host: str, *command: str) -> list[str]:
        """``command``, to be run on that host."""
        return ["ip", "netns", "exec", self._namespace(host), *command]

    def cut(self, host: str) -> None:
        """Pull the host's plug out of the bridge: both ends keep their links, and no packet passes."""
        _ip("-n", self._namespace("db"), "link", "set", self._plug(host), "nomaster")

    def heal(self, host: str) -> None:
        """Plug it in again."""
        _ip("-n", self._namespace("db"), "link", "set", self._plug(host), "master", "bridge")

    def listening(self, host: str, port: int) -> socket.socket:
        """A socket that listens on the host's own loopback; whoever holds it accepts there."""
        made: list[socket.socket] = []

        def listen() -> None:
            with Path(f"/run/netns/{self._namespace(host)}").open() as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                    return
            made.append(socket.create_server(("127.0.0.1", port)))

        thread = threading.Thread(target=listen)  # a namespace is a thread's own; this one ends with it
        thread.start()
        thread.join()
        return made[0]

    def _namespace(self, host: str) -> str:
        return f"posthorn-{self._tag}-{host}"

    def _plug(self, host: str) -> str:
        return f"ph{self._tag}{host}"

    def make(self, *hosts: str) -> None:
        """Make the namespaces and plug the hosts in.

        Raises:
            CannotBeMade: the machine does not allow it.
        """
        self._add("db")
        db = self._namespace("db")
        _ip("-n", db, "link", "add", "bridge", "type", "bridge")
        _ip("-n", db, "addr", "add", f"{_NETWORK}.1/24", "dev", "bridge")
        _ip("-n", db, "link", "set", "bridge", "up")
        for number, host in enumerate(hosts, start=2):
            self._add(host)
            own = self._namespace(host)
            _ip("-n", db, "link", "add", self._plug(host), "type", "veth", "peer", "name", "uplink", "netns", own)
            _ip("-n", db, "link", "set", self._plug(host), "master", "bridge", "up")
            _ip("-n", own, "addr", "add", f"{_NETWORK}.{number}/24", "dev", "uplink")
            _ip("-n", own, "link", "set", "uplink", "up")

    def _add(self, host: str) -> None:
        _ip("netns", "add", self._namespace(host))
        self._hosts.append(host)
        _ip("-n", self._namespace(host), "link", "set", "lo", "up")

    def remove(self) -> None:
        """Remove every namespace, and the links with them."""
        for host in self._hosts:
            with contextlib.suppress(CannotBeMade):
                _ip("netns", "del", self._namespace(host))


@contextmanager
def network(*hosts: str) -> Iterator[tuple[Network, Postgres]]:
    """Hosts on one network with a PostgreSQL server.

    Raises:
        CannotBeMade: no root, no ``ip``, no PostgreSQL, or a kernel that refuses.
    """
    made = Network()
    try:
        made.make(*hosts)
        with _postgres(made) as server:
            yield made, server
    finally:
        made.remove()


class Postgres:
    """A PostgreSQL server in ``db``. Its defaults stand: what notices a dead peer must come from our sessions."""

    def __init__(self, made: Network, folder: Path) -> None:
        programs, self._folder, data = _postgres_programs(), folder, folder / "data"
        as_postgres = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
        subprocess.run([*as_postgres, programs / "initdb", "-A", "trust", "-N", data], check=True, capture_output=True)
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {_NETWORK}.0/24 trust\n")
        command = [programs / "postgres", "-D", data, "-k", folder, "-h", f"{_NETWORK}.1", "-p", str(_PORT)]
        self._command = made.inside("db", *as_postgres, *map(str, command))
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers; again while the processes of a killed one are still about."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with (self._folder / "log").open("a") as log:
                self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self._folder)
            while self._process.poll() is None:
                try:
                    psycopg.connect(host=str(self._folder), port=_PORT, user="postgres", dbname="postgres").close()
                except psycopg.OperationalError:
                    time.sleep(0.05)
                else:
                    return
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill it, as the machine's death would."""
        self._process.kill()
        self._process.wait()


@contextmanager
def _postgres(made: Network) -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="posthorn-two-hosts-"))
    try:
        shutil.chown(folder, "postgres", "postgres")
        server = Postgres(made, folder)
        yield server
        server.kill()
    except LookupError as error:
        raise CannotBeMade("there is no account postgres") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found or shutil.which("setpriv") is None:
        raise CannotBeMade("PostgreSQL's server (/usr/lib/postgresql/*/bin) or setpriv is missing")
    return found[-1].parent


def _ip(*arguments: str) -> None:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise CannotBeMade("network namespaces need root and the command ip (Debian: iproute2)")
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise CannotBeMade(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@asynccontextmanager
async def within_reach(made: Network, url: str, *hosts: str) -> AsyncIterator[None]:
    """Have what listens at ``url`` on this machine's loopback be reached at the same address on each host's own."""
    port = urlsplit(url).port
    assert port is not None

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    servers = [await asyncio.start_server(relay, sock=made.listening(host, port)) for host in hosts]
    try:
        yield
    finally:
        for server in servers:
            server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
