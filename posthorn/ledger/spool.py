"""What the provider answered, on disk before the ledger is written. So nothing is forgotten if the ledger is away.

One append-only file per ledger and sending process (mode 0600), a JSON line per request. A line is written as soon as the
answer is here, so the death of the process loses nothing. It is fsynced if the ledger fails or is slow. Otherwise the
ledger's own commit follows at once and makes the outcome durable. A power cut in the milliseconds before it leaves what it
would leave before an fsync: a claim without an outcome, which is unknown and looked up. Lines whose outcome the ledger holds
are not needed any more; a file that holds no others is deleted. The next run imports what a dead process left.
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import orjson

from posthorn.errors import Evidence, GatewayError, LedgerError, TryAgain
from posthorn.ledger import sending
from posthorn.ledger.claims import Claim, ClaimLost, owner_key
from posthorn.ledger.receipts import is_clean
from posthorn.ledger.store.engine import Ledger
from posthorn.models import AllTaken, Answer, MessageState, Phone, Receipt
from posthorn.statefolder import make_private

_ROTATE_BYTES = 16 * 2**20
_logger = logging.getLogger(__name__)


class Spool:
    """The spool of one sending process, for one ledger. Usable from several threads."""

    def __init__(self, folder: Path, ledger: Ledger, owner: str) -> None:
        self.folder = folder
        self._ledger = ledger
        self._owner = owner
        self._mutex = Lock()
        self._files = 0
        self._written = 0
        self._current: Path | None = None
        self._descriptors: dict[Path, int] = {}
        self._open_lines: dict[Path, set[tuple[int, int]]] = {}

    @contextmanager
    def before(self, claimed: Claim, line: Callable[[], dict[str, Any]]) -> Iterator[None]:
        """Spool the line if it is not there yet, let the block write the ledger, and forget the line when it has.

        Raises:
            LedgerError: the spool cannot be written; the block was run all the same.
        """
        problem: OSError | None = None
        try:
            self.hold(claimed, line)
        except OSError as error:
            problem = error
        yield
        self._ledger.when_durable(lambda: self.recorded(claimed))
        if problem is not None:
            raise LedgerError(f"the spool {self.folder} cannot be written ({problem.strerror}); nothing more is sent")

    def hold(self, claimed: Claim, line: Callable[[], dict[str, Any]]) -> None:
        """Put the claim's line into the spool, where it outlives this process; ``sync`` makes it outlive a power cut.

        Raises:
            OSError: the disk is full or the folder cannot be written.
        """
        with self._mutex:
            if any((claimed.chunk_id, claimed.epoch) in lines for lines in self._open_lines.values()):
                return
        self.append(claimed, line())

    def append(self, claimed: Claim, line: dict[str, Any]) -> None:
        """Write a line about the claim's outcome.

        Raises:
            OSError: the disk is full or the folder cannot be written.
        """
        data = orjson.dumps(
            {
                "ledger": self._ledger.uuid,
                "owner": claimed.owner,
                "chunk": claimed.chunk_id,
                "epoch": claimed.epoch,
                "positions": claimed.positions,
                **line,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        with self._mutex:
            path = self._file_for_more()
            try:
                _write(self._descriptors[path], data)
            except OSError:
                self._current = None  # it may end in half a line: the next line goes to a new file
                raise
            self._written += len(data)
            self._open_lines[path].add((claimed.chunk_id, claimed.epoch))

    def sync(self) -> None:
        """Make every line durable whose outcome the ledger does not hold yet.

        Raises:
            OSError: the disk failed.
        """
        with self._mutex:  # copies: a file may be closed meanwhile, when its last line is recorded
            descriptors = [os.dup(self._descriptors[path]) for path, lines in self._open_lines.items() if lines]
        try:
            for descriptor in descriptors:
                os.fsync(descriptor)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def recorded(self, claimed: Claim) -> None:
        """The ledger holds the claim's outcome: its line, and perhaps its file, is no longer needed."""
        with self._mutex:
            for path, lines in list(self._open_lines.items()):
                lines.discard((claimed.chunk_id, claimed.epoch))
                if not lines and path != self._current:
                    self._forget(path)

    def close(self) -> None:
        """Make the files durable and close them; delete those of which the ledger has recorded everything."""
        with suppress(OSError):
            self.sync()
        with self._mutex:
            self._current = None
            for path, lines in list(self._open_lines.items()):
                if lines:
                    os.close(self._descriptors.pop(path))
                    del self._open_lines[path]
                else:
                    self._forget(path)

    def _file_for_more(self) -> Path:
        if self._current is not None:
            if self._written < _ROTATE_BYTES:
                return self._current
            full = self._current
            self._current = None
            if not self._open_lines[full]:
                self._forget(full)
        make_private(self.folder)
        self._files += 1
        path = self.folder / f"{self._ledger.uuid}.{self._owner}.{self._files}.jsonl"
        self._descriptors[path] = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._open_lines[path] = set()
        self._current, self._written = path, 0
        _sync_folder(self.folder)
        return path

    def _forget(self, path: Path) -> None:
        _delete(path)
        os.close(self._descriptors.pop(path))
        del self._open_lines[path]


def _delete(path: Path) -> None:
    with suppress(OSError):  # the next import finds that all of it is recorded, and deletes it
        path.unlink()


def _write(descriptor: int, data: bytes) -> None:
    """Write all of it: a nearly full disk takes the first part of a line and says nothing."""
    while data:
        data = data[os.write(descriptor, data) :]


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hold_answer(spool: Spool, claimed: Claim, answer: Answer) -> None:
    """Put the provider's answer into the spool before the ledger is asked for anything: it may be away.

    ``keep_answer`` tries again, and reports what goes wrong.
    """
    with suppress(OSError):
        spool.hold(claimed, lambda: _answer_line(answer))


def hold_not_taken(spool: Spool, claimed: Claim, error: GatewayError) -> None:
    """``hold_answer`` for a request that was surely not carried out; ``keep_not_taken`` tries again."""
    with suppress(OSError):
        spool.hold(claimed, lambda: _not_taken_line(error))


def keep_answer(ledger: Ledger, spool: Spool, claimed: Claim, answer: Answer) -> None:
    """Spool the provider's answer (unless it is there), then record it in the ledger.

    Raises:
        LedgerError: the ledger is away; the answer is on disk and the next run imports it. Or the spool cannot be written:
            the ledger has the answer, but nothing more should be sent.
    """
    with spool.before(claimed, lambda: _answer_line(answer)):
        sending.record(ledger, claimed, answer)


def keep_not_taken(ledger: Ledger, spool: Spool, claimed: Claim, error: GatewayError) -> None:
    """Spool that the request was surely not carried out, then release its claim in the ledger.

    Raises:
        LedgerError: as ``keep_answer``.
    """
    with spool.before(claimed, lambda: _not_taken_line(error)):
        sending.release(ledger, claimed, error)


def _not_taken_line(error: GatewayError) -> dict[str, Any]:
    return {"not_taken": str(error), "code": error.code, "status": error.evidence.status}


def _answer_line(answer: Answer) -> dict[str, Any]:
    taken = answer.receipts
    receipts: list[tuple[int, str | None, str | None]]
    if isinstance(taken, AllTaken):
        receipts = [(int(taken.state), provider_id, None) for provider_id in taken.ids]
    else:
        receipts = [(int(state), provider_id, error) for state, provider_id, error in taken]
    raw = b"" if is_clean(answer) else answer.raw  # the ledger keeps no more either
    told = {"receipts": receipts, "anomalies": list(answer.anomalies), "raw": base64.b64encode(raw).decode()}
    return told | ({"surplus": [list(one) for one in answer.surplus]} if answer.surplus else {})


def import_spool(folder: Path, ledger: Ledger) -> int:
    """Record what dead processes left in their spools for this ledger; returns how many lines brought something.

    May be repeated, by several processes at once. What a crash or a full disk cut short is ignored; files of another ledger
    are left alone.
    """
    imported = 0
    for path in sorted(folder.glob(f"{ledger.uuid}.*.jsonl")):
        lines = list(_lines(path, ledger))
        if all(ledger.locks.is_free(owner_key(owner)) for owner in {_owner_of(path), *(line["owner"] for line in lines)}):
            imported += sum(_import(ledger, line) for line in lines)
            ledger.when_durable(partial(_delete, path))
    return imported


def _owner_of(path: Path) -> str:
    """``<ledger>.<owner>.<number>.jsonl``; the owner's host name may hold dots."""
    return path.name.split(".", 1)[1].rsplit(".", 2)[0]


def _lines(path: Path, ledger: Ledger) -> Iterator[dict[str, Any]]:
    """The whole lines of a spool that are about this ledger."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # imported by another process since
        return
    for data in content.splitlines():
        try:
            line = orjson.loads(data)
        except orjson.JSONDecodeError:
            _logger.warning("%s holds a line that was cut short; it is ignored", path.name)
            continue
        if line["ledger"] == ledger.uuid:
            yield line


def _import(ledger: Ledger, line: dict[str, Any]) -> bool:
    positions = tuple(line["positions"])
    claimed = Claim(line["chunk"], line["epoch"], line["owner"], positions, (Phone(0),) * len(positions))
    try:
        if "receipts" in line:
            receipts = [Receipt(MessageState(state), provider_id, error) for state, provider_id, error in line["receipts"]]
            surplus = [(place, provider_id) for place, provider_id in line.get("surplus", ())]
            raw = base64.b64decode(line["raw"])
            sending.record(ledger, claimed, Answer(receipts, anomalies=line["anomalies"], raw=raw, surplus=surplus))
        else:
            error = TryAgain(line["not_taken"], code=line["code"], evidence=Evidence("answer", line["status"]))
            sending.release(ledger, claimed, error)
    except ClaimLost:
        return False  # recorded before the crash, or settled since
    return True
