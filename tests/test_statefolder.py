"""The state folder: private under any umask, and found unusable before anything is sent."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.running.run import open_run
from posthorn.ledger.store.engine import Ledger
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings, SettingsError
from posthorn.statefolder import check_writable, make_private
from tests.delivery.journey import numbers, write_campaign


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_every_folder_that_is_made_is_its_owners_only(mask: int, tmp_path: Path) -> None:
    with umask(mask):
        make_private(tmp_path / "state" / "spool" / "deep")
    for folder in ("state", "state/spool", "state/spool/deep"):
        assert mode(tmp_path / folder) == 0o700


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o770)
    make_private(tmp_path / "shared" / "spool")
    assert mode(tmp_path / "shared") == 0o770


@pytest.mark.parametrize("mask", [0o000, 0o777])
def test_a_ledger_and_its_locks_are_private_under_any_umask(mask: int, tmp_path: Path) -> None:
    with umask(mask):
        ledger = Ledger(f"sqlite:///{tmp_path}/state/ledger.db")
        ledger.locks.acquire("one")
    try:
        made = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
        assert {path.name for path in made} >= {"state", "ledger.db", "ledger.db-wal", "ledger.db-shm", "one.lock"}
        assert [path for path in made if mode(path) & 0o077] == []
    finally:
        ledger.close()


def a_file(place: Path) -> Path:
    place.write_text("")
    return place


def a_device(_: Path) -> Path:
    return Path("/dev/null")


def read_only(_: Path) -> Path:
    """Nobody, not even root, makes a file here."""
    return Path("/proc/self/task")


UNUSABLE: dict[str, Callable[[Path], Path]] = {
    "a file": a_file,
    "below a file": lambda place: a_file(place) / "state",
    "a device": a_device,
    "read-only": read_only,
    "a link to itself": lambda place: (place.symlink_to(place.name), place)[1],
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_an_unusable_folder_is_named_with_its_setting(what: str, tmp_path: Path) -> None:
    folder = UNUSABLE[what](tmp_path / "state")
    with pytest.raises(SettingsError, match=r"^POSTHORN_STATE_DIR: .* cannot be written .*nothing was sent") as refused:
        check_writable(folder)
    assert str(folder) in str(refused.value)


def test_a_usable_folder_is_left_as_it_was(tmp_path: Path) -> None:
    check_writable(tmp_path / "state")
    assert list((tmp_path / "state").iterdir()) == []


async def test_a_run_whose_answers_cannot_be_kept_sends_nothing(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    campaign = write_campaign(tmp_path, numbers(60))
    planned = plan_file(campaign, settings)
    (tmp_path / "spool").write_text("in the way")
    with pytest.raises(SettingsError, match="POSTHORN_STATE_DIR"):
        async with open_run(planned.name, settings=settings):
            pytest.fail("it began")
    assert box.truth()["send_requests"] == 0
