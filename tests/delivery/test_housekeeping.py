"""Housekeeping: numbers of what ended long ago are erased, the counts and the name stay, and nothing open is touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from posthorn.content.definition import CampaignContent
from posthorn.delivery.housekeeping import PARKED_DAYS, tidy
from posthorn.delivery.running.run import open_delivery
from posthorn.delivery.settling.report import pull_reports
from posthorn.errors import InputError
from posthorn.ledger import erasing
from posthorn.ledger.news import News, take_news
from posthorn.ledger.planning import NewDelivery, plan
from posthorn.ledger.resolving import EVERYTHING, FAILED, resend
from posthorn.ledger.store.engine import Ledger
from posthorn.models import MessageState, Phone
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.delivery.journey import deliver, numbers, status_of, write_campaign
from tests.ledger.ledgers import claimed
from tests.ledger.test_tickets import gala, sent

DAY_SECONDS = 86_400
MOMENTS = {
    "campaign": ("created_at", "planned_at", "run_started_at", "run_ended_at"),
    "chunk": (
        "claimed_at",
        "finished_at",
    ),
    "parked_report": ("received_at",),
}
ROWS = [*numbers(120), "12"]


@contextmanager
def opened(settings: Settings) -> Iterator[Ledger]:
    ledger = Ledger(settings.database_url)
    try:
        yield ledger
    finally:
        ledger.close()


def age(settings: Settings, days: float) -> None:
    with opened(settings) as ledger, ledger.write() as connection:
        for table, columns in MOMENTS.items():
            earlier = ", ".join(f"{column} = {column} - :by" for column in columns)
            connection.execute(sa.text(f"UPDATE {table} SET {earlier}"), {"by": days * DAY_SECONDS})


def count(settings: Settings, table: str) -> int:
    with opened(settings) as ledger, ledger.read() as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())


async def reported(box: Sandbox, settings: Settings) -> None:
    box.clock.advance(4 * DAY_SECONDS)
    async with open_delivery("sale", settings=settings) as desk:
        await pull_reports(desk)


async def test_numbers_are_erased_and_the_counts_stay(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, ROWS)
    await deliver(file, settings)
    await reported(box, settings)
    before = status_of("sale", settings)
    assert (tmp_path / "sale.rejects.csv").exists()
    sends = box.truth()["send_requests"]

    age(settings, settings.retention_days - 1)
    assert tidy(settings).campaigns == 0, "not yet"
    age(settings, 2)
    done = tidy(settings)
    assert (done.campaigns, done.messages) == (1, 120)
    assert count(settings, "message") == 0
    assert not (tmp_path / "sale.rejects.csv").exists()
    after = status_of("sale", settings)
    assert (after["totals"], after["balanced"], after["state"]) == (before["totals"], True, before["state"])
    assert tidy(settings).campaigns == 0

    with pytest.raises(InputError, match=r"was erased by housekeeping.*another name"):
        await deliver(file, settings)
    assert box.truth()["send_requests"] == sends, "its name is not forgotten: everybody was sent to"


OPEN = {
    "waits for a report": [],
    "unknown": [{"call": "messages/send_mms", "at": [2], "fault": "reset_before"}],
    "not finished": [{"call": "messages/send_mms", "at": [2], "fault": "error_code", "code": 1001}],
}


@pytest.mark.parametrize("case", OPEN)
async def test_what_is_open_is_left_alone_however_old(case: str, box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    box.faults.replace(OPEN[case])
    await deliver(write_campaign(tmp_path, ROWS), settings)
    if case != "waits for a report":
        await reported(box, settings)
    age(settings, 3 * settings.retention_days)
    assert tidy(settings).campaigns == 0
    assert count(settings, "message") == 120


def test_news_of_nobody_is_dropped_after_a_month(settings: Settings) -> None:
    with opened(settings) as ledger:
        take_news(ledger, [News("nobody", MessageState.DELIVERED)])
    age(settings, PARKED_DAYS - 1)
    assert tidy(settings).parked == 0
    age(settings, 2)
    assert tidy(settings).parked == 1


def test_what_an_interrupted_plan_left_goes_after_a_day(settings: Settings) -> None:
    class Cut(Exception):
        pass

    class Rows:
        input = invalid = duplicate = 0

        def __iter__(self) -> Iterator[list[tuple[int, Phone]]]:
            yield [(2, Phone(48500600700)), (3, Phone(48500600701))]
            raise Cut

    new = NewDelivery("cut", "serwersms", CampaignContent(title="Cut"), options={}, chunk_size=1)
    with opened(settings) as ledger, pytest.raises(Cut):
        plan(ledger, new, Rows())
    assert count(settings, "campaign") == 1
    assert tidy(settings).unfinished == 0
    age(settings, 1.1)
    assert tidy(settings).unfinished == 1
    assert (count(settings, "campaign"), count(settings, "message")) == (0, 0)


async def test_the_numbers_of_a_test_go_too_and_leave_the_campaigns_rejects_file(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    await deliver(write_campaign(tmp_path, ROWS, test="true"), settings)
    age(settings, 3 * settings.retention_days)
    await deliver(write_campaign(tmp_path, ROWS), settings)
    assert count(settings, "message") == 240
    done = tidy(settings)
    assert (done.campaigns, done.messages, count(settings, "message")) == (1, 120, 120)
    assert (tmp_path / "sale.rejects.csv").exists(), "it is the other one's as well"


async def test_a_rejects_file_that_cannot_be_deleted_is_tried_again(
    box: Sandbox, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(write_campaign(tmp_path, ROWS), settings)
    await reported(box, settings)
    age(settings, settings.retention_days + 1)

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", deny)
        assert tidy(settings).messages == 120
    assert tidy(settings).messages == 0
    assert not (tmp_path / "sale.rejects.csv").exists()
    assert tidy(settings).campaigns == 0


def test_a_ticket_that_is_sent_again_meanwhile_keeps_its_event(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of what is old is made once; others are erased before this event's turn comes."""
    with opened(settings) as ledger:
        event = gala(ledger, 3)
        sent(ledger, event, *[(MessageState.REJECTED, None)] * 3)
    age(settings, settings.retention_days + 1)
    old = erasing.erasable

    def meanwhile(ledger: Ledger, *, ended_before: float) -> list[int]:
        found = old(ledger, ended_before=ended_before)
        assert resend(ledger, event, EVERYTHING, FAILED, by="ops", why="the event was moved").moved == 3
        return found

    monkeypatch.setattr(erasing, "erasable", meanwhile)
    assert tidy(settings).messages == 0
    with opened(settings) as ledger:
        assert claimed(ledger, event).tickets


async def test_what_somebody_runs_or_looks_after_is_not_erased(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    await deliver(write_campaign(tmp_path, ROWS), settings)
    await reported(box, settings)
    age(settings, settings.retention_days + 1)
    with opened(settings) as ledger, ledger.locks.hold("campaign-sale") as held:
        assert held
        assert tidy(settings).campaigns == 0
        assert count(settings, "message") == 120
    assert tidy(settings).campaigns == 1
