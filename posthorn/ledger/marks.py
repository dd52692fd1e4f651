"""A delivery's claim mark: what this machine has claimed of it, kept outside the ledger, to notice a restored older copy.

One small file per ledger and delivery, in a folder that no restore of the ledger touches. Every process of this machine
appends a line for each claim, after the claim's commit and before its request. Lines are never changed. A line holds no
phone number, only a fingerprint of the claim's numbers. It never reads or writes the ledger: ``restored`` compares the two.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from posthorn.errors import LedgerError
from posthorn.ledger.claims import Claim
from posthorn.models import Phone

_FOLDER = Path("posthorn") / "marks"
_END = "."
_ERASED = "-"
_KINDS = {("claim", 8), ("back", 5), ("settled", 3)}
"""The first word of a line, and how many words it has."""


@dataclass(frozen=True, slots=True)
class MarkedClaim:
    """One claim as its mark says it: ``count`` numbers, ``numbers`` their fingerprint (``-`` once it was erased)."""

    chunk_id: int
    epoch: int
    owner: str
    claimed_at: float
    count: int
    numbers: str

    def line(self) -> str:
        """The claim as it stands in the file."""
        return f"\nclaim {self.chunk_id} {self.epoch} {self.owner} {self.claimed_at:.3f} {self.count} {self.numbers} {_END}"


class Mark:
    """The mark of one delivery on this machine, open for more lines. Usable from several threads and processes.

    Its answers are about what it held when it was opened. ``problem`` is set once a line could not be written:
    nothing may leave after that.

    Raises:
        LedgerError: the folder or the file cannot be used.
    """

    def __init__(self, folder: Path, ledger_uuid: str, name: str) -> None:
        self.path = mark_path(folder, ledger_uuid, name)
        self.problem: OSError | None = None
        self._key = ledger_uuid.encode()
        try:
            is_new = _prepare(self.path)
            if not is_new and not self.path.is_file():
                raise IsADirectoryError(21, "it is not a file")
            self._file = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
            if is_new:
                self._begin(ledger_uuid, name)
            self._lines = list(_lines(self.path))
            self.open_claims(())
        except OSError as error:
            raise unusable(self.path, error) from error
        except ValueError:
            raise LedgerError(
                f"the claim mark {self.path} is damaged, so nothing is sent: move it away, and have what is pending looked"
                " up with `reconcile NAME --pending` before you send again"
            ) from None

    def note(self, claims: Sequence[Claim], claimed_at: float) -> None:
        """Append claims: one write, which outlives the death of this process, though not of the machine."""
        self._append("".join(self._marked(one, claimed_at).line() for one in claims))

    def note_given_back(self, claimed: Claim) -> None:
        """Append that a claim was given back, and that nothing of it was or will be handed to the provider."""
        self._append(f"\nback {claimed.chunk_id} {claimed.epoch} {claimed.owner} {_END}")

    def note_settled(self, token: str) -> None:
        """Append that the ledger has caught up with every line above: a ledger that holds the token has.

        Raises:
            LedgerError: it cannot be written.
        """
        self._append(f"\nsettled {token} {_END}")
        if self.problem is not None:
            raise unusable(self.path, self.problem)
        os.fsync(self._file)

    def is_empty(self) -> bool:
        """Whether nothing was ever claimed of this delivery on this machine, as far as the mark says."""
        return not any(words[0] == "claim" for words in self._lines)

    def tokens(self) -> list[str]:
        """The tokens of every time that a ledger has caught up."""
        return [words[1] for words in self._lines if words[0] == "settled"]

    def open_claims(self, held: Collection[str]) -> list[MarkedClaim]:
        """The claims that the ledger must know, given the tokens that it holds: those after the last token.

        What was given back is not among them. The others stand in the order of their commits.
        """
        claims: dict[tuple[str, ...], MarkedClaim] = {}
        for words in self._lines:
            if words[0] == "settled" and words[1] in held:
                claims = {}
            elif words[0] == "claim":
                claims[tuple(words[1:4])] = _claim(words)
            elif words[0] == "back":
                claims.pop(tuple(words[1:4]), None)
        return list(claims.values())

    def fingerprint(self, phones: Sequence[Phone]) -> str:
        """The fingerprint of these numbers, in this order."""
        return fingerprint(self._key, phones)

    def close(self) -> None:
        """Make it durable and close it."""
        with suppress(OSError):
            os.fsync(self._file)
        os.close(self._file)

    def _begin(self, ledger_uuid: str, name: str) -> None:
        os.write(self._file, f"posthorn mark of {name} in ledger {ledger_uuid}: delete it only with that ledger".encode())
        os.fsync(self._file)
        _sync_folder(self.path.parent)

    def _marked(self, claimed: Claim, claimed_at: float) -> MarkedClaim:
        numbers = fingerprint(self._key, claimed.phones)
        return MarkedClaim(claimed.chunk_id, claimed.epoch, claimed.owner, claimed_at, len(claimed.phones), numbers)

    def _append(self, line: str) -> None:
        data = line.encode()
        try:
            if os.write(self._file, data) != len(data):
                self.problem = OSError(0, "the disk is full")
        except OSError as error:
            self.problem = error


def fingerprint(key: bytes, phones: Sequence[Phone]) -> str:
    """A short keyed hash of the numbers of one request, which tells the same request from another."""
    return hashlib.blake2b(array("Q", phones).tobytes(), digest_size=8, key=key).hexdigest()


def mark_path(folder: Path, ledger_uuid: str, name: str) -> Path:
    """Where the mark of that delivery is; another ledger's delivery of that name has another."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name)[:40]
    return folder / ledger_uuid / f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}.mark"


def marks_folder(chosen: Path | None) -> Path:
    """Where marks are kept: the setting, else the state folder of this account, else a folder of this user's in /var/tmp."""
    if chosen is not None:
        return chosen
    given = os.environ.get("XDG_STATE_HOME", "")
    if Path(given).is_absolute():
        return Path(given) / _FOLDER
    with suppress(RuntimeError):  # no HOME, and no entry for this user
        home = Path("~").expanduser()
        if home != Path("/") and os.access(home, os.W_OK | os.X_OK):
            return home / ".local" / "state" / _FOLDER
    return Path("/var/tmp") / f"posthorn-{os.getuid()}" / "marks"  # noqa: S108 - _prepare checks whose it is


def check_folder(folder: Path) -> None:
    """Make sure that marks can be kept there.

    Raises:
        LedgerError: they cannot; the message names the setting.
    """
    try:
        _make(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "permission denied")
    except OSError as error:
        raise unusable(folder, error) from error


def unusable(path: Path, error: OSError) -> LedgerError:
    """The error of a mark that cannot be used."""
    return LedgerError(
        f"the claim mark {path} cannot be used ({error.strerror or error}), so nothing is sent: give this account a folder"
        " that it may write, outside the ledger's own, with POSTHORN_GUARD_DIR"
    )


def strip(folder: Path, ledger_uuid: str, name: str) -> None:
    """Keep only the last claim of each process in a delivery's mark, without fingerprints: its numbers are erased.

    An older copy of the ledger is told by that all the same. Nobody sends for the delivery: its lock is held.
    """
    path = mark_path(folder, ledger_uuid, name)
    try:
        lines = list(_lines(path))
    except FileNotFoundError:
        return
    last = {words[3]: _claim([*words[:6], _ERASED]) for words in lines if words[0] == "claim"}
    settled = [f"\nsettled {words[1]} {_END}" for words in lines if words[0] == "settled"]
    kept = f"posthorn mark of {name} in ledger {ledger_uuid}: erased"
    text = kept + "".join(settled) + "".join(claim.line() for claim in last.values())
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.replace(path)


def _claim(words: Sequence[str]) -> MarkedClaim:
    return MarkedClaim(int(words[1]), int(words[2]), words[3], float(words[4]), int(words[5]), words[6])


def _lines(path: Path) -> Iterator[list[str]]:
    """The whole lines of a mark, in words; what a full disk or a power cut has cut short is passed over."""
    for line in path.read_bytes().decode(errors="replace").split("\n"):
        words = line.split()
        if words[-1:] == [_END] and (words[0], len(words)) in _KINDS:
            yield words[:-1]


def _prepare(path: Path) -> bool:
    """Make the folder of a mark; whether the mark is new."""
    _make(path.parent.parent)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    return not path.exists()


def _make(folder: Path) -> None:
    """Make a folder that is this user's only. One that is another's (in /var/tmp, anybody may make it) is refused."""
    for one in (*reversed(folder.parents), folder):
        if not one.exists():
            one.mkdir(mode=0o700, exist_ok=True)
    found = folder.parent.lstat() if folder.parent.name.startswith("posthorn-") else folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(20, "it is not a folder")
    if found.st_uid != os.getuid():
        raise PermissionError(1, "it belongs to another user")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
