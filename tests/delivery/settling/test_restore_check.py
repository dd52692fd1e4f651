"""A ledger that is older than what was sent: nothing leaves, and there is a way on that sends to nobody twice."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from posthorn.delivery.deliver import Steps, deliver_campaign
from posthorn.delivery.planning.merge import Consent
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.running.run import Run, open_run
from posthorn.delivery.settling.catchup import catch_up_campaign, catch_up_event
from posthorn.delivery.settling.restore_check import check_not_restored
from posthorn.errors import Stopped
from posthorn.gateways.serwersms.client import SerwerSms
from posthorn.ledger.marks import marks_folder, strip
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MmsRequest, Phone
from posthorn.sandbox.server import Sandbox
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.settings import Settings
from tests.conftest import sandbox_settings
from tests.delivery.event_journey import attendees, send_event, ticket_settings, write_event
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign

SEND = "messages/send_mms"
REPORTS = "messages/reports"


def copy_of(settings: Settings, folder: Path) -> Path:
    """A copy of the ledger as it is now, as a backup takes one."""
    path = Path(settings.database_url.removeprefix("sqlite:///"))
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        if file.is_file():
            shutil.copy2(file, copy)
    return copy


def restore(settings: Settings, copy: Path) -> None:
    path = Path(settings.database_url.removeprefix("sqlite:///"))
    for file in path.parent.glob(f"{path.name}*"):
        if file.is_file():
            file.unlink()
    for file in copy.iterdir():
        shutil.copy2(file, path.parent)


def forget_marks(settings: Settings) -> None:
    """The mark is deleted, or the ledger has moved to another machine."""
    shutil.rmtree(marks_folder(settings.guard_dir))


def empty_ledger(settings: Settings) -> None:
    """A ledger in which nothing is planned yet: the oldest copy there can be."""
    Ledger(settings.database_url).close()


async def half_sent(box: Sandbox, settings: Settings, folder: Path, count: int = 500, **keys: object) -> Path:
    """A campaign that was stopped after two of its chunks, which a copy of the ledger knows."""
    file = write_campaign(folder, numbers(count), **keys)
    box.faults.replace([{"call": SEND, "at": [3], "fault": "status_before", "status": 401}])
    status = await deliver(file, settings)
    assert status["state"] == "stopped"
    assert counted(status) == {"accepted": 100, "pending": count - 100}
    box.faults.replace([])
    return file


@pytest.fixture
def one_at_a_time(box: Sandbox, tmp_path: Path) -> Settings:
    return sandbox_settings(box.url, tmp_path, concurrency=1, settle_seconds=0.2)


@pytest.mark.parametrize("is_marked", [True, False], ids=["marked", "without a mark"])
@pytest.mark.parametrize("is_planned", [True, False], ids=["planned in the copy", "forgotten altogether"])
async def test_a_ledger_restored_from_an_older_copy_sends_to_nobody_and_catches_up(
    is_planned: bool, is_marked: bool, box: Sandbox, one_at_a_time: Settings, tmp_path: Path
) -> None:
    settings = one_at_a_time
    empty_ledger(settings)
    copy = copy_of(settings, tmp_path)
    file = await half_sent(box, settings, tmp_path)
    if is_planned:
        copy = copy_of(settings, tmp_path)
    assert counted(await deliver(file, settings)) == {"accepted": 500}
    restore(settings, copy)
    if not is_marked:
        forget_marks(settings)
    sent = box.truth()["send_requests"]

    refused = await deliver(file, settings)
    assert box.truth()["send_requests"] == sent, "nothing leaves"
    assert refused["state"] == "stopped"
    assert "Nothing was sent. Run `posthorn campaign reconcile sale --pending`" in refused["because"]

    done = await catch_up_campaign("sale", settings=settings)
    assert (done.found, done.unknown, done.pending) == (400 if is_planned else 500, 0, 0)
    assert counted(await deliver(file, settings)) == {"accepted": 500}
    assert (box.truth()["accepted"], box.truth()["twice"], box.truth()["send_requests"]) == (500, 0, sent)


async def test_the_rest_of_a_restored_campaign_is_sent_by_the_same_command(
    box: Sandbox, one_at_a_time: Settings, tmp_path: Path
) -> None:
    """The copy knows nothing of the campaign; the third request was refused, so its chunk was asked for and not taken."""
    settings = one_at_a_time
    empty_ledger(settings)
    copy = copy_of(settings, tmp_path)
    file = await half_sent(box, settings, tmp_path)
    restore(settings, copy)
    assert "older than what was sent" in (await deliver(file, settings))["because"]
    seen: list[tuple[int, int]] = []
    done = await catch_up_campaign("sale", lambda looked_up, found: seen.append((looked_up, found)), settings=settings)
    assert (done.forgotten, done.found, done.unknown, done.pending) == (3, 100, 50, 350)
    assert seen == [(350, 0)], "the numbers of the three requests are unknown, and looked up as such"
    assert counted(await deliver(file, settings)) == {"accepted": 450, "unknown": 50}
    assert (box.truth()["accepted"], box.truth()["twice"]) == (450, 0)


async def test_what_the_mark_knows_and_the_provider_does_not_list_stays_unknown(tmp_path: Path) -> None:
    """A listing that lags, or has forgotten: what was requested and is absent is never simply sent."""
    async with Sandbox(speed=1, serwersms=SerwerSmsOptions(visible_after_seconds=3_600)) as box:
        settings = sandbox_settings(box.url, tmp_path, concurrency=1, settle_seconds=0.2)
        empty_ledger(settings)
        copy = copy_of(settings, tmp_path)
        file = await half_sent(box, settings, tmp_path)
        restore(settings, copy)
        assert "older than what was sent" in (await deliver(file, settings))["because"]
        done = await catch_up_campaign("sale", settings=settings)
        assert (done.found, done.unknown, done.pending) == (0, 150, 350)
        assert counted(await deliver(file, settings)) == {"accepted": 350, "unknown": 150}
        assert box.truth()["twice"] == 0


async def test_requests_of_another_plan_leave_nothing_to_chance(box: Sandbox, tmp_path: Path) -> None:
    """Planned anew in chunks of another size: the mark's requests fit none. Unless all are found, the rest is unknown."""
    settings = sandbox_settings(box.url, tmp_path, concurrency=1)
    empty_ledger(settings)
    copy = copy_of(settings, tmp_path)
    file = await half_sent(box, settings, tmp_path)
    restore(settings, copy)
    file = write_campaign(tmp_path, numbers(500), chunk_size=40)
    assert "older than what was sent" in (await deliver(file, settings))["because"]
    done = await catch_up_campaign("sale", settings=settings)
    assert (done.found, done.unknown, done.pending) == (100, 400, 0)
    assert box.truth()["twice"] == 0


async def test_a_second_restore_of_the_same_copy_is_told_again(
    box: Sandbox, one_at_a_time: Settings, tmp_path: Path
) -> None:
    settings = one_at_a_time
    empty_ledger(settings)
    copy = copy_of(settings, tmp_path)
    file = await half_sent(box, settings, tmp_path)
    for _ in range(2):
        restore(settings, copy)
        assert "older than what was sent" in (await deliver(file, settings))["because"]
        assert (await catch_up_campaign("sale", settings=settings)).found == 100
    assert counted(await deliver(file, settings)) == {"accepted": 450, "unknown": 50}
    assert box.truth()["twice"] == 0


async def test_another_machine_looks_up_a_sample_before_it_sends(
    box: Sandbox, one_at_a_time: Settings, tmp_path: Path
) -> None:
    """No mark of its own, and nothing forgotten: it goes on. The sample costs two requests."""
    file = await half_sent(box, one_at_a_time, tmp_path)
    forget_marks(one_at_a_time)
    before = box.truth()["requests"].get(REPORTS, 0)
    assert counted(await deliver(file, one_at_a_time)) == {"accepted": 500}
    assert box.truth()["requests"].get(REPORTS, 0) == before + 2
    assert box.truth()["twice"] == 0


async def test_a_sample_that_cannot_be_looked_up_stops_the_run(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    box.faults.replace([{"call": REPORTS, "fault": "status_before", "status": 500}])
    status = await deliver(write_campaign(tmp_path, numbers(100)), settings)
    assert status["state"] == "stopped"
    assert "500" in status["because"]
    assert box.truth()["send_requests"] == 0


async def test_an_account_that_may_not_read_reports_is_told_which_right_is_missing(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    box.faults.replace([{"call": REPORTS, "fault": "error_code", "code": "1005"}])
    status = await deliver(write_campaign(tmp_path, numbers(100)), settings)
    assert status["state"] == "stopped"
    assert "may not read reports" in status["because"]
    assert "the right to read reports" in status["because"]
    assert box.truth()["send_requests"] == 0


@pytest.mark.parametrize("is_marked", [True, False], ids=["marked", "without a mark"])
async def test_a_provider_that_lists_nothing_of_what_it_took_makes_nobody_pending(
    is_marked: bool, box: Sandbox, one_at_a_time: Settings, tmp_path: Path
) -> None:
    file = await half_sent(box, one_at_a_time, tmp_path)
    if is_marked:
        copy = copy_of(one_at_a_time, tmp_path)
        box.faults.replace([{"call": SEND, "at": [2], "fault": "status_before", "status": 401}])
        await deliver(file, one_at_a_time)
        restore(one_at_a_time, copy)
    else:
        forget_marks(one_at_a_time)
    before = status_of("sale", one_at_a_time)["totals"]
    box.faults.replace([{"call": REPORTS, "fault": "rows_moved", "items": 10_000}])
    with pytest.raises(Stopped, match=r"lists none of \d messages that it took") as refused:
        await catch_up_campaign("sale", settings=one_at_a_time)
    assert "Nothing was changed. See `posthorn doctor`" in str(refused.value)
    assert status_of("sale", one_at_a_time)["totals"] == before
    box.faults.replace([])
    done = await catch_up_campaign("sale", settings=one_at_a_time)
    assert (done.pending, done.is_proven) == (300 if is_marked else 400, True)


async def test_a_ledger_that_knows_nothing_says_that_nothing_was_proven(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    plan_file(write_campaign(tmp_path, numbers(60)), settings)
    assert not (await catch_up_campaign("sale", settings=settings)).is_proven


@pytest.mark.parametrize("title", ["Autumn sale", "Autumn sal", "  AUTUMN SALE! "], ids=["same", "cut", "respelt"])
async def test_one_message_that_nobody_knows_of_is_suspicious_whatever_became_of_its_title(
    title: str, box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    async with SerwerSms(settings.serwersms) as gateway:
        await gateway.send(MmsRequest(title, [Phone(int(numbers(1)[0]))], text="-30%"))
    status = await deliver(write_campaign(tmp_path, numbers(500)), settings)
    assert "lists a message like this one for 1" in status["because"]
    assert box.truth()["send_requests"] == 1
    done = await catch_up_campaign("sale", settings=settings)
    is_certain = title == "Autumn sale"
    assert (done.found, done.unknown, done.pending) == (int(is_certain), int(not is_certain), 499)
    await deliver(tmp_path / "sale.toml", settings)
    assert (box.truth()["accepted"], box.truth()["twice"]) == (500, 0)


async def test_other_titles_and_other_ledgers_on_this_machine_are_no_reason(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    async with SerwerSms(settings.serwersms) as gateway:
        await gateway.send(MmsRequest("Winter sale", [Phone(int(phone)) for phone in numbers(100)], text="-30%"))
    assert counted(await deliver(write_campaign(tmp_path, numbers(100)), settings)) == {"accepted": 100}
    (tmp_path / "other").mkdir()
    other = sandbox_settings(box.url, tmp_path / "other")
    file = write_campaign(tmp_path / "other", [f"+4851{number:07}" for number in range(100)])
    assert counted(await deliver(file, other)) == {"accepted": 100}
    assert len(list(marks_folder(None).glob("*/sale-*.mark"))) == 2


async def test_an_event_restored_from_an_older_copy_is_settled_by_a_person(box: Sandbox, tmp_path: Path) -> None:
    """Codes that were generated anew, too: the number tells. The provider cannot be asked."""
    settings = ticket_settings(box.url, tmp_path, concurrency=1)
    empty_ledger(settings)
    copy = copy_of(settings, tmp_path)
    rows = [f"+1650253{number:04}," for number in range(30)]
    file = write_event(tmp_path, rows, barcode='"generate"')
    box.faults.replace([{"call": "sendMMSBarcode", "at": [13], "fault": "status_before", "status": 401}])
    assert counted(await send_event(file, settings))["accepted"] == 12
    box.faults.replace([])
    restore(settings, copy)

    refused = await send_event(file, settings)
    assert refused["state"] == "stopped"
    assert "`posthorn tickets reconcile gala --pending`" in refused["because"]
    assert box.truth()["skycore"]["accepted"] == 12
    done = catch_up_event("gala", settings=settings)
    assert (done.forgotten, done.unknown, done.pending) == (13, 13, 17)
    assert counted(await send_event(file, settings)) == {"accepted": 17, "unknown": 13}
    assert (box.truth()["skycore"]["accepted"], box.truth()["skycore"]["twice"]) == (29, 0)


async def test_an_event_that_another_machine_began_goes_on(box: Sandbox, tmp_path: Path) -> None:
    settings = ticket_settings(box.url, tmp_path, concurrency=1)
    file = write_event(tmp_path, attendees(30))
    box.faults.replace([{"call": "sendMMSBarcode", "at": [13], "fault": "status_before", "status": 401}])
    await send_event(file, settings)
    forget_marks(settings)
    assert counted(await send_event(file, settings)) == {"accepted": 30}
    assert box.truth()["skycore"]["twice"] == 0


async def test_a_test_is_not_checked(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    for _ in range(2):
        assert counted(await deliver(write_campaign(tmp_path, numbers(100), test="true"), settings)) == {"accepted": 100}
    assert box.truth()["requests"].get(REPORTS, 0) == 0
    assert not marks_folder(None).exists()


async def test_every_claim_is_marked_also_those_that_are_made_at_once(box: Sandbox, tmp_path: Path) -> None:
    settings = sandbox_settings(box.url, tmp_path, concurrency=4, chunk_size=10)
    await deliver(write_campaign(tmp_path, numbers(200)), settings)
    (mark,) = marks_folder(settings.guard_dir).glob("*/*.mark")
    lines = [line.split() for line in mark.read_text().splitlines() if line.startswith("claim ")]
    assert sorted(int(chunk) for _, chunk, *_ in lines) == list(range(1, 21))


async def test_marks_are_this_users_only_and_hold_no_number(settings: Settings, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await deliver(write_campaign(tmp_path, numbers(100)), settings)
    finally:
        os.umask(before)
    (mark,) = marks_folder(None).glob("*/*.mark")
    assert stat.S_IMODE(mark.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (mark.parent, mark.parent.parent)} == {0o700}
    assert "48500" not in mark.read_text()


@pytest.mark.parametrize("is_cut", [False, True], ids=["whole", "its last line cut short"])
async def test_an_erased_delivery_still_tells_an_older_copy(
    is_cut: bool, box: Sandbox, one_at_a_time: Settings, tmp_path: Path
) -> None:
    settings = one_at_a_time
    file = await half_sent(box, settings, tmp_path)
    copy = copy_of(settings, tmp_path)
    await deliver(file, settings)
    (mark,) = marks_folder(None).glob("*/*.mark")
    ledger = Ledger(settings.database_url)
    strip(marks_folder(None), ledger.uuid, "sale")
    ledger.close()
    assert len(mark.read_text().splitlines()) == 3, "the last claim of each of two processes, and a first line"
    if is_cut:
        mark.write_bytes(mark.read_bytes() + b"\nclaim 9 9 some")
    restore(settings, copy)
    assert "older than what was sent" in (await deliver(file, settings))["because"]
    assert box.truth()["twice"] == 0


async def test_a_folder_that_cannot_be_written_stops_the_run_and_says_which_setting(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    settings.guard_dir = tmp_path / "file"
    status = await deliver(write_campaign(tmp_path, numbers(100)), settings)
    assert "POSTHORN_GUARD_DIR" in status["because"]
    assert box.truth()["send_requests"] == 0


async def test_nothing_leaves_once_a_mark_cannot_be_written(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    """The disk with the marks is full: the claims are given back."""

    async def check_on_a_full_disk(run: Run[Any]) -> None:
        await check_not_restored(run)
        assert run.mark is not None
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, run.mark._file)
        os.close(full)

    planned = plan_file(write_campaign(tmp_path, numbers(500), media="[]"), settings)
    async with open_run(planned.name, settings=settings) as run:
        await deliver_campaign(run, Steps(check_not_restored=check_on_a_full_disk))
        assert "No space left on device" in str(run.stopped)
    assert counted(status_of("sale", settings)) == {"pending": 500}
    assert box.truth()["send_requests"] == 0


def test_without_a_home_the_marks_are_kept_where_a_restart_leaves_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/")
    assert marks_folder(None) == Path(f"/var/tmp/posthorn-{os.getuid()}/marks")
    monkeypatch.setenv("HOME", "/nowhere")
    assert marks_folder(None) == Path(f"/var/tmp/posthorn-{os.getuid()}/marks")
    monkeypatch.setenv("XDG_STATE_HOME", "/srv/state")
    assert marks_folder(None) == Path("/srv/state/posthorn/marks")
    assert marks_folder(Path("/srv/marks")) == Path("/srv/marks")


@pytest.mark.parametrize("grown", ["as it was", "with rows before them"])
async def test_rows_that_were_merged_after_the_copy_are_planned_again_before_it_has_caught_up(
    grown: str, box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    """Who looks up first has nothing pending to look up: the rows of the later wave would be new, and sent once more."""
    file = write_campaign(tmp_path, numbers(100))
    await deliver(file, settings)
    copy = copy_of(settings, tmp_path)
    file = write_campaign(tmp_path, numbers(200))
    assert counted(await deliver(file, settings)) == {"accepted": 200}
    restore(settings, copy)

    with pytest.raises(
        Stopped, match=r"100 messages of sale that this ledger has not even planned.*`posthorn campaign send`"
    ):
        await catch_up_campaign("sale", settings=settings)
    first = [f"+48501{number:06}" for number in range(10)] if grown == "with rows before them" else []
    file = write_campaign(tmp_path, [*first, *numbers(200)])
    assert "older than what was sent" in (await deliver(file, settings))["because"]
    done = await catch_up_campaign("sale", settings=settings)
    assert done.found == 100
    await deliver(file, settings)
    assert (box.truth()["accepted"], box.truth()["twice"]) == (200 + len(first), 0)


async def test_rows_of_a_forgotten_wave_that_are_to_be_gone_for_good_are_put_back_for_once(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    """The way that the refusal names: without them the list has nothing new, and the ledger never catches up."""
    await deliver(write_campaign(tmp_path, numbers(100)), settings)
    copy = copy_of(settings, tmp_path)
    await deliver(write_campaign(tmp_path, numbers(200)), settings)
    restore(settings, copy)
    await deliver(write_campaign(tmp_path, numbers(100)), settings)
    with pytest.raises(Stopped, match=r"for this once, too; afterwards .* `posthorn campaign send --accept-missing`"):
        await catch_up_campaign("sale", settings=settings)

    await deliver(write_campaign(tmp_path, numbers(200)), settings)
    assert (await catch_up_campaign("sale", settings=settings)).found == 100
    plan_file(write_campaign(tmp_path, numbers(100)), settings, consent=Consent(accept_missing=True, by="Ada"))
    await deliver(write_campaign(tmp_path, [*numbers(100), "+48501000000"]), settings)
    assert (box.truth()["accepted"], box.truth()["twice"]) == (201, 0)
    await deliver(write_campaign(tmp_path, [*numbers(200), "+48501000000"]), settings)
    assert (box.truth()["accepted"], box.truth()["twice"]) == (201, 0), "whoever comes back is known"


async def test_tickets_that_were_merged_after_the_copy_are_planned_again_before_it_has_caught_up(
    box: Sandbox, tmp_path: Path
) -> None:
    settings = ticket_settings(box.url, tmp_path, concurrency=1)
    await send_event(write_event(tmp_path, attendees(10)), settings)
    copy = copy_of(settings, tmp_path)
    assert counted(await send_event(write_event(tmp_path, attendees(20)), settings)) == {"accepted": 20}
    restore(settings, copy)

    with pytest.raises(Stopped, match="10 messages of gala that this ledger has not even planned"):
        catch_up_event("gala", settings=settings)
    file = write_event(tmp_path, [*reversed(attendees(21)[10:]), *attendees(10)])
    assert "older than what was sent" in (await send_event(file, settings))["because"]
    assert catch_up_event("gala", settings=settings).unknown >= 10
    await send_event(file, settings)
    assert box.truth()["skycore"]["twice"] == 0
