"""What a killed process had not handed to the provider is pending again; wherever that is not proven, it is unknown."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from posthorn.errors import LedgerError
from posthorn.ledger import claims, deliveries, departures, sending
from posthorn.ledger.claims import ClaimLost
from posthorn.ledger.departures import Departures, handed_over, sweep
from posthorn.ledger.store.engine import Ledger
from posthorn.models import ChunkState
from tests.ledger.ledgers import OWNER, ZOMBIE, answer, attempts, chunk_state, claimed, planned, states
from tests.ledger.processes import owner, until

FULL = Path("/dev/full")
"""Every write to it fails, as on a disk that is full."""


@pytest.fixture(autouse=True)
def in_memory(ledger: Ledger) -> Iterator[None]:
    """There is memory to keep the files in, and nothing of this ledger stays in it."""
    assert departures._is_in_memory(), "this machine has no tmpfs at /dev/shm: nothing here would be tested"
    yield
    for path in _folder().glob(f"{ledger.uuid}.*"):
        path.unlink()


def _folder() -> Path:
    return departures.SHARED_MEMORY / f"posthorn-{os.getuid()}"


def _file(ledger: Ledger, of: str = ZOMBIE) -> Path:
    return _folder() / f"{ledger.uuid}.{of}"


def _dead_with_three_claims(ledger: Ledger) -> tuple[int, list[int]]:
    """Three chunks, all claimed by a process that is dead: the one that it had handed over, and the others."""
    found = Departures(ledger.uuid, ZOMBIE)
    found.begin()
    campaign = planned(ledger, 30)
    first, *others = [claimed(ledger, campaign, ZOMBIE) for _ in range(3)]
    found.note(first)
    found._close()
    return first.chunk_id, [one.chunk_id for one in others]


def test_what_a_killed_process_had_not_handed_over_is_pending_again(url: str, ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    with owner(url, "hand-over-one-of-three", "sale", ZOMBIE) as (child, said):
        left, *waiting = map(int, said.split())
        child.kill()
        until(lambda: ledger.locks.is_free(claims.owner_key(ZOMBIE)))
        child.wait()
    assert sending.abandon_dead(ledger, campaign) == 1
    assert chunk_state(ledger, left) == ChunkState.UNKNOWN
    assert [chunk_state(ledger, chunk) for chunk in waiting] == [ChunkState.PENDING] * 2
    assert attempts(ledger, left) == ["abandoned"]
    assert [attempts(ledger, chunk) for chunk in waiting] == [["not_taken"]] * 2
    assert states(ledger, campaign) == {"unknown": 10, "pending": 20}
    again = claimed(ledger, campaign, OWNER)
    assert again.chunk_id in waiting
    assert again.epoch == 2


def test_a_process_that_lost_its_lock_and_lives_may_still_send(url: str, ledger: Ledger) -> None:
    """The database has dropped the session that held its lock, while it is frozen: nobody may take its claims for unsent."""
    campaign = planned(ledger, 30)
    with owner(url, "hand-over-one-of-three", "sale", ZOMBIE, "without-lock") as (child, _):
        os.kill(child.pid, signal.SIGSTOP)
        try:
            assert ledger.locks.is_free(claims.owner_key(ZOMBIE))
            assert sending.abandon_dead(ledger, campaign) == 3
        finally:
            os.kill(child.pid, signal.SIGCONT)
    assert states(ledger, campaign) == {"unknown": 30}


def test_a_child_of_it_that_lives_may_still_send(ledger: Ledger) -> None:
    _dead_with_three_claims(ledger)
    with _file(ledger).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert handed_over(ledger.uuid, ZOMBIE) is None
    assert handed_over(ledger.uuid, ZOMBIE) is not None


def _deleted(path: Path) -> None:
    path.unlink()


def _copied(path: Path) -> None:
    """A backup that was put back, byte for byte."""
    shutil.copy2(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _beheaded(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _cut_in_a_line(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:1] + b"\n")


def _with_another_end(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b" .\n", b" ?\n").replace(b" ?\n", b" .\n", 1))


def _of_another_owner(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(ZOMBIE.encode(), OWNER.encode()))


def _linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize(
    "spoiled", [_deleted, _copied, _emptied, _beheaded, _cut, _cut_in_a_line, _with_another_end, _of_another_owner, _linked]
)
def test_without_whole_evidence_everything_is_unknown(ledger: Ledger, spoiled: Callable[[Path], None]) -> None:
    _dead_with_three_claims(ledger)
    campaign = deliveries.get(ledger, "sale")
    spoiled(_file(ledger))
    try:
        assert sending.abandon_dead(ledger, campaign) == 3
    finally:
        _folder().joinpath("elsewhere").unlink(missing_ok=True)
    assert states(ledger, campaign) == {"unknown": 30}


def test_a_ledger_that_does_not_know_what_was_noted_is_a_copy(ledger: Ledger) -> None:
    """Since the copy was made, its process gave a claim back, and claimed and sent that chunk once more."""
    found = Departures(ledger.uuid, ZOMBIE)
    found.begin()
    campaign = planned(ledger, 10)
    waiting = claimed(ledger, campaign, ZOMBIE)
    found.note(dataclasses.replace(waiting, epoch=2))
    found._close()
    assert sending.abandon_dead(ledger, campaign) == 1
    assert states(ledger, campaign) == {"unknown": 10}


def test_evidence_of_before_the_machine_started_is_none(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _dead_with_three_claims(ledger)
    boot = tmp_path / "boot_id"
    boot.write_text("another boot\n")
    monkeypatch.setattr(departures, "_BOOT", boot)
    assert sending.abandon_dead(ledger, deliveries.get(ledger, "sale")) == 3


def test_a_folder_that_others_may_write_is_no_evidence(ledger: Ledger) -> None:
    _dead_with_three_claims(ledger)
    _folder().chmod(0o777)
    try:
        assert handed_over(ledger.uuid, ZOMBIE) is None
        other = Departures(ledger.uuid, OWNER)
        other.begin()
        assert not other.is_kept
    finally:
        _folder().chmod(0o700)
    assert handed_over(ledger.uuid, ZOMBIE) is not None


@pytest.mark.parametrize("mounts", ["overlay / overlay rw 0 0\n", "/dev/vda1 /dev/shm ext4 rw 0 0\n"])
def test_nothing_is_kept_where_there_is_no_memory_for_it(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: str
) -> None:
    (tmp_path / "mounts").write_text(mounts)
    monkeypatch.setattr(departures, "_MOUNTS", tmp_path / "mounts")
    found = Departures(ledger.uuid, ZOMBIE)
    found.begin()
    assert not found.is_kept
    found.note(claimed(ledger, planned(ledger, 10), ZOMBIE))  # sending goes on without it
    found.end(ledger)


def test_the_account_alone_can_read_it_and_it_names_no_number(ledger: Ledger) -> None:
    _dead_with_three_claims(ledger)
    assert _folder().stat().st_mode & 0o777 == 0o700
    assert _file(ledger).stat().st_mode & 0o777 == 0o600
    header, line = _file(ledger).read_text().splitlines()
    assert header.startswith(f"{ledger.uuid}.{ZOMBIE} ")
    assert line == "1 1 ."


def test_a_full_memory_leaves_no_evidence_and_sending_goes_on(ledger: Ledger) -> None:
    found = Departures(ledger.uuid, ZOMBIE)
    found.begin()
    campaign = planned(ledger, 20)
    first, second = claimed(ledger, campaign, ZOMBIE), claimed(ledger, campaign, ZOMBIE)
    found.note(first)
    with _full(_file(ledger)):
        found.note(second)
    assert not found.is_kept
    assert not _file(ledger).exists()
    found.note(second)
    assert sending.abandon_dead(ledger, campaign) == 2


@pytest.mark.parametrize("away", ["moved", "linked"])
def test_what_is_given_up_proves_nothing_wherever_it_lies(ledger: Ledger, away: str) -> None:
    """Somebody has moved the file, or made a second name for it, and undoes that later."""
    found = Departures(ledger.uuid, ZOMBIE)
    found.begin()
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign, ZOMBIE)
    elsewhere = departures.SHARED_MEMORY / f"elsewhere-{ledger.uuid}"
    if away == "moved":
        _file(ledger).rename(elsewhere)
    else:
        elsewhere.hardlink_to(_file(ledger))
    with _full(elsewhere):
        found.note(claim)
    assert not found.is_kept
    elsewhere.rename(_file(ledger))
    assert sending.abandon_dead(ledger, campaign) == 1


def test_nothing_leaves_that_can_be_neither_noted_nor_left_unproven(ledger: Ledger) -> None:
    found = Departures(ledger.uuid, ZOMBIE)
    found.begin()
    claim = claimed(ledger, planned(ledger, 10), ZOMBIE)
    assert found._file is not None
    own, full = os.dup(found._file), os.open(FULL, os.O_WRONLY)
    os.dup2(full, found._file)
    os.close(full)
    with pytest.raises(LedgerError, match="Delete it"):
        found.note(claim)
    os.dup2(own, found._file)  # there is room again, behind what may be half a line
    os.close(own)
    with pytest.raises(LedgerError, match="Delete it"):
        found.note(claim)
    assert len(_file(ledger).read_bytes().splitlines()) == 1


def test_files_that_go_meanwhile_do_not_disturb_the_beginning_of_another(ledger: Ledger) -> None:
    """Several processes begin at once, and one sweeps what another has listed."""
    Departures(ledger.uuid, "first").begin()
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            for number in range(50):
                _file(ledger, f"gone-{number}").touch()
            for number in range(50):
                _file(ledger, f"gone-{number}").unlink()

    coming_and_going = threading.Thread(target=come_and_go)
    coming_and_going.start()
    try:
        for number in range(200):
            found = Departures(ledger.uuid, f"{OWNER}-{number}")
            found.begin()
            assert found.is_kept
            found._close()
    finally:
        over.set()
        coming_and_going.join()


def test_after_the_end_of_a_run_nothing_is_handed_over(ledger: Ledger) -> None:
    found = Departures(ledger.uuid, ZOMBIE)
    found.begin()
    claim = claimed(ledger, planned(ledger, 10), ZOMBIE)
    found.end(ledger)
    assert _file(ledger).exists(), "its claim is still open"
    with pytest.raises(LedgerError, match="ended"):
        found.note(claim)


def test_a_deleted_file_is_noticed(ledger: Ledger) -> None:
    found = Departures(ledger.uuid, ZOMBIE)
    found.begin()
    assert found.is_kept
    _file(ledger).unlink()
    assert not found.is_kept


def test_files_go_when_nothing_of_their_process_is_open(ledger: Ledger) -> None:
    _dead_with_three_claims(ledger)
    living = Departures(ledger.uuid, OWNER)
    living.begin()
    sweep(ledger)
    assert _file(ledger).exists(), "its claims are open"
    sending.abandon_dead(ledger, deliveries.get(ledger, "sale"))
    sweep(ledger)
    assert not _file(ledger).exists()
    assert _file(ledger, OWNER).exists(), "its process lives"
    living.end(ledger)
    assert not _file(ledger, OWNER).exists()


def test_what_is_left_of_ledgers_that_are_gone_is_deleted_after_a_month(ledger: Ledger) -> None:
    _dead_with_three_claims(ledger)
    for days, is_kept in ((29, True), (31, False)):
        then = time.time() - days * 24 * 3600
        os.utime(_file(ledger), (then, then))
        other = Departures(ledger.uuid, f"{OWNER}{days}")
        other.begin()
        assert _file(ledger).exists() is is_kept


def test_an_answer_that_comes_for_a_claim_given_back_still_counts(ledger: Ledger) -> None:
    """It cannot come, for nothing was sent. If it did, nobody would be told twice."""
    _, (waiting, _) = _dead_with_three_claims(ledger)
    campaign = deliveries.get(ledger, "sale")
    sending.abandon_dead(ledger, campaign)
    again = claimed(ledger, campaign, OWNER)
    assert again.chunk_id == waiting
    late = claims.Claim(waiting, 1, ZOMBIE, again.positions, again.phones)
    with pytest.raises(ClaimLost):
        sending.record(ledger, late, answer(late))
    assert chunk_state(ledger, waiting) == ChunkState.SENDING


@contextmanager
def _full(path: Path) -> Iterator[None]:
    """No file of this process can grow beyond the size of that one, which is at its end: a write there fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
