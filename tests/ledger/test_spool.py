"""The spool: what was answered survives a ledger that is away, a full disk and a crash, and is imported once."""

from __future__ import annotations

import logging
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from posthorn.errors import Evidence, LedgerError, SlowDown
from posthorn.ledger import claims, copies, deliveries, sending
from posthorn.ledger.claims import Claim, ClaimLost
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.spool import Spool, hold_answer, import_spool, keep_answer, keep_not_taken
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MessageState
from tests.ledger.ledgers import OWNER, REJECTED, UNKNOWN, another, answer, attempts, claimed, ids, planned, states


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path, ledger: Ledger) -> Iterator[Spool]:
    opened = Spool(folder, ledger, OWNER)
    yield opened
    opened.close()


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def left_by_the_dead(ledger: Ledger, spool: Spool, count: int = 10) -> Claim:
    """A claim whose answer is in the spool and not in the ledger, its process being dead."""
    claim = claimed(ledger, planned(ledger, count, chunk_size=count))
    states_ = answer(claim, UNKNOWN, REJECTED)
    receipts = [[int(one.state), one.provider_id, one.error] for one in states_.receipts]
    spool.append(claim, {"receipts": receipts, "anomalies": [], "raw": ""})
    return claim


def test_an_answer_is_on_disk_before_the_ledger_and_forgotten_after_it(ledger: Ledger, spool: Spool, folder: Path) -> None:
    campaign = planned(ledger, 20)
    claim = claimed(ledger, campaign)
    keep_answer(ledger, spool, claim, answer(claim))
    assert states(ledger, campaign) == {"accepted": 10, "pending": 10}
    (file,) = files(folder)
    assert str(claim.chunk_id) in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    spool.close()
    assert files(folder) == []


def test_the_ids_of_an_answer_that_took_everybody_outlive_its_process(ledger: Ledger, spool: Spool, folder: Path) -> None:
    claim = claimed(ledger, planned(ledger, 10))
    hold_answer(spool, claim, answer(claim))
    spool.sync()
    assert import_spool(folder, ledger) == 1
    with ledger.read() as connection:
        kept = connection.execute(sa.text("SELECT provider_id FROM message ORDER BY position")).scalars().all()
    assert kept == ids(claim)


def test_what_a_dead_process_left_is_imported_once(ledger: Ledger, spool: Spool, folder: Path) -> None:
    left_by_the_dead(ledger, spool)
    spool.close()
    assert import_spool(folder, ledger) == 1
    assert _states(ledger) == {"accepted": 8, "rejected": 1, "unknown": 1}
    assert files(folder) == []
    assert import_spool(folder, ledger) == 0


def _states(ledger: Ledger) -> dict[str, int]:
    return states(ledger, _campaign(ledger))


@pytest.mark.parametrize("is_spooled", [False, True], ids=["at once", "by a dead process"])
def test_what_an_answer_names_beside_a_recipients_message_is_a_second_copy(
    is_spooled: bool, ledger: Ledger, spool: Spool, folder: Path
) -> None:
    claim = claimed(ledger, planned(ledger, 10))
    odd = replace(answer(claim, UNKNOWN), anomalies=["two items"], surplus=[(3, "beside"), (9, "of an unknown one")])
    if is_spooled:
        hold_answer(spool, claim, odd)
        spool.close()
        assert import_spool(folder, ledger) == 1
    else:
        keep_answer(ledger, spool, claim, odd)
    assert copies.counted(ledger, _campaign(ledger)) == {"beside": MessageState.ACCEPTED}
    assert _states(ledger) == {"accepted": 9, "unknown": 1}


def test_what_was_not_taken_is_pending_again_after_the_import(ledger: Ledger, spool: Spool, folder: Path) -> None:
    claim = claimed(ledger, planned(ledger, 10))
    spool.append(claim, {"not_taken": "HTTP 401", "code": "1011", "status": 401})
    spool.close()
    assert import_spool(folder, ledger) == 1
    assert _states(ledger) == {"pending": 10}
    assert attempts(ledger, claim.chunk_id) == ["not_taken"]


def test_a_spool_that_comes_after_its_chunk_was_abandoned_still_adds_what_it_knows(
    ledger: Ledger, spool: Spool, folder: Path
) -> None:
    claim = left_by_the_dead(ledger, spool)
    spool.close()
    sending.abandon_dead(ledger, _campaign(ledger))
    assert _states(ledger) == {"unknown": 10}
    assert import_spool(folder, ledger) == 1
    assert _states(ledger) == {"accepted": 8, "rejected": 1, "unknown": 1}
    assert attempts(ledger, claim.chunk_id) == ["answered"]


def _campaign(ledger: Ledger) -> Delivery:
    return deliveries.get(ledger, "sale")


# What is done to the one file of a dead process, and how many of its lines then bring something.
DAMAGES = {
    "its last line was cut short": (lambda file: file.write_bytes(file.read_bytes() + b'{"ledger": "x", "owner'), 1),
    "its only line was cut short": (lambda file: file.write_bytes(file.read_bytes()[:-20]), 0),
    "it ends in zeros, as after a power cut": (lambda file: file.write_bytes(file.read_bytes() + b"\0" * 4096), 1),
    "it is empty": (lambda file: file.write_bytes(b""), 0),
    "each line stands in it twice": (lambda file: file.write_bytes(file.read_bytes() * 2), 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_gives_what_is_whole_in_it(
    damage: str, ledger: Ledger, spool: Spool, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    do_damage, imported = DAMAGES[damage]
    left_by_the_dead(ledger, spool)
    spool.close()
    do_damage(files(folder)[0])
    with caplog.at_level(logging.WARNING):
        assert import_spool(folder, ledger) == imported
    expected = {"accepted": 8, "rejected": 1, "unknown": 1} if imported else {"pending": 10}
    assert _states(ledger) == expected
    assert files(folder) == []
    assert "48500" not in caplog.text


def test_a_copy_of_a_file_changes_nothing(ledger: Ledger, spool: Spool, folder: Path) -> None:
    left_by_the_dead(ledger, spool)
    spool.close()
    (file,) = files(folder)
    copy = folder / "copy"
    shutil.copy(file, copy)
    import_spool(folder, ledger)
    before = _states(ledger)
    copy.rename(file)
    import_spool(folder, ledger)
    assert _states(ledger) == before
    assert files(folder) == []


def test_the_spool_of_a_living_process_is_left_alone(url: str, ledger: Ledger, spool: Spool, folder: Path) -> None:
    with another(url) as alive:
        alive.locks.acquire(claims.owner_key(OWNER))
        left_by_the_dead(ledger, spool)
        assert import_spool(folder, ledger) == 0
        assert len(files(folder)) == 1
    assert import_spool(folder, ledger) == 1


def test_a_spool_of_another_ledger_in_the_same_folder_is_left_alone(
    ledger: Ledger, spool: Spool, folder: Path, tmp_path: Path
) -> None:
    left_by_the_dead(ledger, spool)
    with another(f"sqlite:///{tmp_path / 'other.db'}") as other:
        planned(other, 10)
        claimed(other, _campaign(other))
        assert import_spool(folder, other) == 0
        assert states(other, _campaign(other)) == {"pending": 10}
    assert len(files(folder)) == 1, "it is not the other's to delete, even before its first line"


def test_a_spool_that_another_process_imports_meanwhile_is_no_error(ledger: Ledger, spool: Spool, folder: Path) -> None:
    left_by_the_dead(ledger, spool)
    spool.close()
    dangling = folder / f"{ledger.uuid}.gone.1.jsonl"
    dangling.symlink_to(folder / "deleted by the other")
    assert import_spool(folder, ledger) == 1


def test_a_late_answer_in_a_spool_changes_nothing_once_the_chunk_is_claimed_again(
    ledger: Ledger, spool: Spool, folder: Path
) -> None:
    claim = left_by_the_dead(ledger, spool)
    spool.close()
    sending.release(ledger, claim)
    claimed(ledger, _campaign(ledger), "somebody")
    assert import_spool(folder, ledger) == 0
    assert _states(ledger) == {"pending": 10}


def test_a_ledger_that_is_away_leaves_the_answer_in_the_spool(url: str, ledger: Ledger, spool: Spool, folder: Path) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    _break(ledger)
    with pytest.raises(LedgerError):
        keep_answer(ledger, spool, claim, answer(claim))
    spool.close()
    assert len(files(folder)) == 1
    with another(url) as repaired:
        _repair(repaired)
        assert import_spool(folder, repaired) == 1
        assert states(repaired, campaign) == {"accepted": 10}


def _break(ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(sa.text("ALTER TABLE message RENAME TO moved"))


def _repair(ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(sa.text("ALTER TABLE moved RENAME TO message"))


def test_an_answer_is_held_on_disk_before_the_ledger_is_asked_at_all(
    url: str, ledger: Ledger, spool: Spool, folder: Path
) -> None:
    """The ledger's thread may not even begin while the ledger is away."""
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    hold_answer(spool, claim, answer(claim))
    (file,) = files(folder)
    with another(url) as next_start:
        assert import_spool(folder, next_start) == 1
        assert states(next_start, campaign) == {"accepted": 10}
    assert not file.exists()


def test_an_answer_that_is_held_already_is_not_written_twice(ledger: Ledger, spool: Spool, folder: Path) -> None:
    claim = claimed(ledger, planned(ledger, 10))
    hold_answer(spool, claim, answer(claim))
    keep_answer(ledger, spool, claim, answer(claim))
    (file,) = files(folder)
    assert len(file.read_bytes().splitlines()) == 1
    spool.close()
    assert files(folder) == []


def test_a_refusal_is_spooled_too(url: str, ledger: Ledger, spool: Spool, folder: Path) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    _break(ledger)
    with pytest.raises(LedgerError):
        keep_not_taken(ledger, spool, claim, SlowDown("slow down", evidence=Evidence("answer", 429)))
    spool.close()
    with another(url) as repaired:
        _repair(repaired)
        assert import_spool(folder, repaired) == 1
        assert states(repaired, campaign) == {"pending": 10}


def test_a_spool_that_cannot_be_written_stops_the_sending_but_not_the_recording(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    spool = Spool(tmp_path / "spool", ledger, OWNER)
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    with pytest.raises(LedgerError, match="nothing more is sent"):
        keep_answer(ledger, spool, claim, answer(claim))
    assert states(ledger, campaign) == {"accepted": 10}


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from posthorn.ledger import deliveries
from posthorn.ledger.claims import Claim
from posthorn.ledger.spool import Spool
from posthorn.ledger.store.engine import Ledger
ledger = Ledger(sys.argv[1])
spool = Spool(Path(sys.argv[2]), ledger, "dead")
claims = [Claim(int(chunk), 1, "dead", tuple(range(10)), ()) for chunk in sys.argv[3:]]
line = {"receipts": [[1, None, None]] * 10, "anomalies": [], "raw": "x" * 300}
spool.append(claims[0], line)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (700, hard))
try:
    spool.append(claims[1], line)
except OSError as error:
    print("full", error.errno)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
spool.append(claims[2], line)
"""


def test_a_disk_that_fills_up_in_the_middle_of_a_line_spoils_that_line_only(url: str, ledger: Ledger, folder: Path) -> None:
    campaign = planned(ledger, 30)
    claims = [claimed(ledger, campaign, "dead") for _ in range(3)]
    arguments = [url, str(folder), *(str(claim.chunk_id) for claim in claims)]
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.startswith("full")
    assert import_spool(folder, ledger) == 2
    assert states(ledger, campaign) == {"accepted": 20, "pending": 10}
    assert [attempts(ledger, claim.chunk_id) for claim in claims] == [["answered"], ["sending"], ["answered"]]


def test_a_long_run_does_not_keep_what_the_ledger_holds(ledger: Ledger, spool: Spool, folder: Path) -> None:
    campaign = planned(ledger, 300)
    big = b"x" * 13 * 2**20  # two of these and the file is full
    for _ in range(3):
        claim = claimed(ledger, campaign)
        given = answer(claim)
        keep_answer(ledger, spool, claim, type(given)(given.receipts, raw=big))
    assert len(files(folder)) == 1, "the full files were deleted, for the ledger holds what was in them"


def test_an_answer_that_was_recorded_by_an_import_is_not_recorded_again(ledger: Ledger, spool: Spool, folder: Path) -> None:
    claim = left_by_the_dead(ledger, spool)
    assert import_spool(folder, ledger) == 1
    with pytest.raises(ClaimLost):
        sending.release(ledger, claim)


def test_a_line_about_another_ledger_is_not_believed_wherever_it_stands(
    ledger: Ledger, spool: Spool, folder: Path, tmp_path: Path
) -> None:
    """Two ledgers count their chunks from one: a spool that was copied or renamed must not settle the other's."""
    claim = left_by_the_dead(ledger, spool)
    spool.close()
    (file,) = files(folder)
    with another(f"sqlite:///{tmp_path / 'other.db'}") as other:
        assert claimed(other, planned(other, 10)).chunk_id == claim.chunk_id
        shutil.copy(file, folder / file.name.replace(ledger.uuid, other.uuid))
        assert import_spool(folder, other) == 0
        assert _states(other) == {"pending": 10}
    assert import_spool(folder, ledger) == 1
