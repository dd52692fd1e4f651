"""Which claims of a process were handed to the provider: kept in memory that outlives the process, but not the machine.

A process that is killed leaves claims behind. Those that it had handed over are unknown. Those that still waited for their
turn surely were not sent, and are pending again; but only on positive evidence, for a second message cannot be called back.
The evidence is one small file per process, on a file system in memory: no backup, snapshot or copied folder brings back an
older one, and no restart of the machine leaves one. Its process holds a lock on it, which only the kernel gives back, so
whoever gets that lock knows that nothing of that process can leave any more. Where anything is missing, the claim is
unknown, as it is without the file. It holds no phone number.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from posthorn.errors import LedgerError
from posthorn.ledger.claims import Claim
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import ChunkState

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - _our_folder checks whose it is
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MOUNTS = Path("/proc/self/mounts")
_OLD_SECONDS = 30 * 24 * 3600.0
_END = b"."


class Departures:
    """What one process hands to the provider. Usable from one thread; ``begin`` comes before its first claim."""

    def __init__(self, ledger_uuid: str, owner: str) -> None:
        self._name = f"{ledger_uuid}.{owner}"
        self._path: Path | None = None
        self._file: int | None = None
        self._refusal: str | None = None

    def begin(self) -> None:
        """Open the file. Where it cannot be kept, nothing is, and ``is_kept`` says so."""
        with suppress(OSError, ValueError):
            if (folder := _our_folder(make=True)) is None:
                return
            _forget_old(folder)
            path = folder / self._name
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _write(descriptor, _header(self._name, descriptor))
            except BaseException:
                os.close(descriptor)
                path.unlink()
                raise
            self._path, self._file = path, descriptor

    @property
    def is_kept(self) -> bool:
        """Whether a claim that is not handed over would be known to be not sent. Somebody may have deleted the file."""
        return self._file is not None and os.fstat(self._file).st_nlink == 1

    def note(self, claimed: Claim) -> None:
        """Note that the claim is handed to the provider now, before anything of it can leave.

        Raises:
            LedgerError: nothing may leave. It can be neither noted, nor the file emptied, which would prove the wrong thing;
                or the run has ended.
        """
        if self._refusal is not None:
            raise LedgerError(self._refusal)
        if self._file is None or self._path is None:
            return
        try:
            _write(self._file, f"{claimed.chunk_id} {claimed.epoch} ".encode() + _END + b"\n")
        except OSError as error:
            self._give_up(self._file, self._path, error)

    def end(self, ledger: Ledger) -> None:
        """Close the file: nothing can be handed over any more. It stays where a claim of this process is still open."""
        self._refusal = "the run has ended; nothing more is sent"
        if self._file is None:
            return
        self._close()
        with suppress(LedgerError):  # the ledger is away: whoever takes over reads the file, and deletes it
            sweep(ledger)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _give_up(self, descriptor: int, path: Path, error: OSError) -> None:
        """Empty the file: without it, whatever this process has claimed is unknown once it is dead.

        To delete it is not enough: it may have another name by now, and come back under its own.
        """
        try:
            os.ftruncate(descriptor, 0)
        except OSError:
            self._refusal = (
                f"{path} can be neither written nor emptied ({error.strerror}); nothing more is sent."
                " Delete it, and run it again"
            )
            raise LedgerError(self._refusal) from error
        with suppress(OSError):
            path.unlink()
        self._close()


def handed_over(ledger_uuid: str, owner: str) -> frozenset[tuple[int, int]] | None:
    """The claims (chunk, epoch) that a dead process had handed to the provider; None if that is not known.

    All of it is known, or nothing: a claim of that process which is not among them was never sent.
    """
    name = f"{ledger_uuid}.{owner}"
    with suppress(OSError, ValueError):
        if (folder := _our_folder()) is None:
            return None
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # fails while its process lives, or a child of it
            header = _header(name, descriptor)
            content = _read(descriptor)
        finally:
            os.close(descriptor)
        if content.startswith(header):
            return frozenset(_claims(content[len(header) :]))
    return None


def sweep(ledger: Ledger) -> None:
    """Delete the files of dead processes of which this ledger holds no open claim any more."""
    chunk = tables.chunk.c
    query = sa.select(chunk.owner).distinct().where(chunk.state == int(ChunkState.SENDING))
    with ledger.read() as connection:
        at_work = {f"{ledger.uuid}.{owner}" for owner in connection.execute(query).scalars()}
    with suppress(OSError, ValueError):
        if (folder := _our_folder()) is None:
            return
        for path in folder.glob(f"{ledger.uuid}.*"):
            if path.name not in at_work:
                _delete_if_dead(path)


def _forget_old(folder: Path) -> None:
    """Delete what dead processes have left for ledgers that nobody has opened for weeks."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process has deleted it since
            if time.time() - path.lstat().st_mtime > _OLD_SECONDS:
                _delete_if_dead(path)


def _delete_if_dead(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(descriptor)


def _our_folder(*, make: bool = False) -> Path | None:
    """This account's folder in memory; None if there is none, or if others may use it.

    Raises:
        OSError: it cannot be made or looked at.
    """
    folder = SHARED_MEMORY / f"posthorn-{os.getuid()}"
    if not _is_in_memory():
        return None
    if make:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    found = folder.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if is_ours and found.st_dev == SHARED_MEMORY.stat().st_dev else None


def _is_in_memory() -> bool:
    """Whether shared memory is what it says: some containers put a disk there, which keeps what is old."""
    mounts = [line.split() for line in _MOUNTS.read_text().splitlines()]
    kinds = [words[2] for words in mounts if words[1] == str(SHARED_MEMORY)]
    return kinds[-1:] == ["tmpfs"]


def _header(name: str, descriptor: int) -> bytes:
    """The first line: whose it is, on which start of which machine, and which file, so that a copy is no evidence."""
    found = os.fstat(descriptor)
    return f"{name} {_BOOT.read_text().strip()} {found.st_dev} {found.st_ino} ".encode() + _END + b"\n"


def _claims(lines: bytes) -> list[tuple[int, int]]:
    """Every line after the header.

    Raises:
        ValueError: one of them is not whole.
    """
    if lines and not lines.endswith(b"\n"):
        raise ValueError("the last line is cut short")
    claims = []
    for line in lines.splitlines():
        chunk, epoch, end = line.split(b" ")
        if end != _END:
            raise ValueError("a line is not whole")
        claims.append((int(chunk), int(epoch)))
    return claims


def _read(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 2**20):
        parts.append(part)
    return b"".join(parts)


def _write(descriptor: int, line: bytes) -> None:
    if os.write(descriptor, line) != len(line):
        raise OSError(28, "no space is left in memory")
