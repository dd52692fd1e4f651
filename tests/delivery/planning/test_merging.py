"""A list that is run again is merged: the new are planned, the known stay, the missing are a person's to accept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from posthorn.delivery.planning.check import examine
from posthorn.delivery.planning.load import load_wish
from posthorn.delivery.planning.merge import Consent, MissingRows
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.running.run import open_lookup
from posthorn.errors import DeliveryChanged, InputError, LedgerError, NotMerged
from posthorn.ledger import claiming, deliveries, erasing, resolving, sending
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.merging import Position, take_out
from posthorn.ledger.resolving import Which
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Kind, MessageState, Phone
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.delivery.event_journey import attendees, send_event, ticket_settings, tickets_of, write_event
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign
from tests.ledger.ledgers import LATEST, OWNER, answer, claim_one, everything_adds_up

ACCEPTED = Consent(accept_missing=True, by="Ada")


def merged(file: Path, settings: Settings, kind: Kind = Kind.CAMPAIGN, consent: Consent = Consent()) -> dict[str, int]:  # noqa: B008
    """Merge the file, after a check that says the same; the states."""
    told = examine(load_wish(file, kind, settings), consent)
    planned = plan_file(file, settings, kind=kind, consent=consent)
    with open_ledger(settings) as ledger:
        everything_adds_up(ledger)
        waves = sa.select(tables.wave.c.messages).where(tables.wave.c.campaign_id == planned.id)
        with ledger.read() as connection:
            sizes = connection.execute(waves.order_by(tables.wave.c.number)).scalars().all()
    if told.merged is not None and told.merged.new:
        assert sizes[-1] == told.merged.new
    return counted(status_of(planned.name, settings))


def write_list(folder: Path, phones: Sequence[str]) -> None:
    (folder / "recipients.csv").write_text("phone\n" + "\n".join(phones) + "\n", encoding="utf-8")


async def test_appended_rows_are_a_wave_of_their_own_and_nobody_gets_it_twice(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    file = write_campaign(tmp_path, numbers(250))
    await deliver(file, settings)
    write_list(tmp_path, [*numbers(260)[250:], *numbers(250), "rubbish"])
    assert merged(file, settings) == {"accepted": 250, "pending": 10, "invalid": 1}
    assert counted(await deliver(file, settings)) == {"accepted": 260, "invalid": 1}
    assert status_of("sale", settings)["totals"]["input"] == 261
    write_list(tmp_path, numbers(260))
    assert merged(file, settings) == {"accepted": 260}, (
        "input is everybody planned and what was rejected at the last reading"
    )
    assert (box.truth()["accepted"], box.truth()["twice"]) == (260, 0)


def test_a_missing_row_is_refused_with_lines_and_counts_and_nothing_is_done(settings: Settings, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, numbers(30))
    plan_file(file, settings)
    write_list(tmp_path, [*numbers(40)[:5], *numbers(40)[7:]])
    with pytest.raises(
        MissingRows, match=r"2 rows .* missing from the list \(2 pending\): lines 7, 8 of .*--accept-missing"
    ) as told:
        merged(file, settings)
    assert "+48" not in str(told.value)
    with pytest.raises(MissingRows):
        plan_file(file, settings)
    assert counted(status_of("sale", settings)) == {"pending": 30}
    assert merged(file, settings, consent=ACCEPTED) == {"pending": 38, "cancelled": 2}
    assert merged(file, settings) == {"pending": 38, "cancelled": 2}, "an absence that was accepted is remembered"
    write_list(tmp_path, numbers(40))
    assert merged(file, settings) == {"pending": 38, "cancelled": 2}, "it stays out, though its row is back"
    assert examine(load_wish(file, Kind.CAMPAIGN, settings)).merged is None, "its list was read already"


async def test_what_was_rejected_or_never_planned_may_be_corrected_in_the_list(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    box.faults.replace([{"call": "messages/send_mms", "fault": "item_error", "items": 2, "code": 3103}])
    file = write_campaign(tmp_path, [*numbers(20), "no number"])
    assert counted(await deliver(file, settings)) == {"accepted": 18, "rejected": 2, "invalid": 1}
    box.faults.replace([])
    write_list(tmp_path, [*numbers(23)[2:], "+48500999999"])
    assert counted(await deliver(file, settings)) == {"accepted": 22, "rejected": 2}
    assert box.truth()["twice"] == 0


def states_of(ledger: Ledger, delivery: Delivery, chunk: int) -> list[MessageState]:
    message = tables.message.c
    with ledger.read() as connection:
        found = connection.execute(sa.select(message.state).where(message.chunk_id == chunk).order_by(message.position))
        return [MessageState(state) for state in found.scalars()]


@pytest.mark.parametrize("way_back", ["release", "unknown, then not sent", "a 429 receipt"])
def test_whoever_was_taken_out_never_becomes_pending_again(way_back: str, settings: Settings, tmp_path: Path) -> None:
    delivery = plan_file(write_campaign(tmp_path, numbers(3)), settings)
    with open_ledger(settings) as ledger:
        claim = claim_one(ledger, delivery, OWNER, 1, LATEST)
        assert claim is not None
        with ledger.write() as connection:
            take_out(connection, delivery.id, [Position(claim.chunk_id, 1)], by="Ada", why="cancelled")
        assert states_of(ledger, delivery, claim.chunk_id) == [MessageState.PENDING] * 3, "it is in flight"
        if way_back == "release":
            sending.release(ledger, claim)
        elif way_back == "a 429 receipt":
            sending.record(ledger, claim, answer(claim, *[MessageState.PENDING] * 3))
        else:
            sending.record_unknown(ledger, claim)
            phones = [Phone(int(number)) for number in numbers(3)]
            assert not resolving.resolve(ledger, delivery, Which(phones), taken=False, by="Ada", why="no").strangers
        found = states_of(ledger, delivery, claim.chunk_id)
        assert found == [MessageState.PENDING, MessageState.CANCELLED, MessageState.PENDING]
        everything_adds_up(ledger)
        again = claim_one(ledger, delivery, OWNER, 1, LATEST)
        assert again is not None
        assert again.positions == (0, 2)


def test_interleaved_waves_of_two_deliveries_keep_to_themselves(settings: Settings, tmp_path: Path) -> None:
    first = write_campaign(tmp_path, numbers(50), name="first", recipients='"first.csv"')
    second = write_campaign(tmp_path, numbers(50), name="second", recipients='"second.csv"', title='"Another"')
    for count in (20, 40, 60):
        for name, file in (("first", first), ("second", second)):
            (tmp_path / f"{name}.csv").write_text("\n".join(["phone", *numbers(count)]) + "\n")
            assert merged(file, settings) == {"pending": count}
    with open_ledger(settings) as ledger:
        one, two = deliveries.get(ledger, "first"), deliveries.get(ledger, "second")
        deliveries.cancel(ledger, one)
        erasing.erase(ledger, one)
        erasing.mark_erased(ledger, one)
        assert len(claiming.pending_chunks(ledger, two)) == 3
    assert counted(status_of("first", settings)) == {"cancelled": 60}
    assert counted(status_of("second", settings)) == {"pending": 60}


def test_an_erased_delivery_is_closed(settings: Settings, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, numbers(10))
    delivery = plan_file(file, settings)
    with open_ledger(settings) as ledger:
        erasing.erase(ledger, delivery)  # killed before its end: whoever is missing by now would be new
    for refuses in (lambda: plan_file(file, settings), lambda: examine(load_wish(file, Kind.CAMPAIGN, settings))):
        with pytest.raises(InputError, match=r"was erased by housekeeping.*another name"):
            refuses()


def test_a_file_with_news_is_not_merged_beside_a_run(settings: Settings, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, numbers(10))
    delivery = plan_file(file, settings)
    write_list(tmp_path, numbers(11))
    with open_ledger(settings) as ledger:
        assert ledger.locks.acquire(delivery.lock_key)
        with pytest.raises(NotMerged, match="was not merged, because it is running"):
            plan_file(file, settings)
        ledger.locks.release(delivery.lock_key)
    assert merged(file, settings) == {"pending": 11}


def test_a_merge_that_dies_before_its_commit_leaves_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_campaign(tmp_path, numbers(10))
    plan_file(file, settings)
    write_list(tmp_path, numbers(200))

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("posthorn.ledger.planning._show", dies)
        with pytest.raises(KeyboardInterrupt):
            plan_file(file, settings)
    assert counted(status_of("sale", settings)) == {"pending": 10}
    other = write_campaign(tmp_path, numbers(400)[200:], name="other", recipients='"other.csv"', title='"Another"')
    (tmp_path / "other.csv").write_text("\n".join(["phone", *numbers(400)[200:]]) + "\n")
    assert merged(other, settings) == {"pending": 200}, "what was staged is nobody's"
    write_list(tmp_path, numbers(200))
    assert merged(file, settings) == {"pending": 200}


# An event's list as it was planned, as it is now, and what the states are then, or what is refused.
EVENTS: dict[str, tuple[dict[str, str], list[str], list[str], dict[str, int] | str]] = {
    "a late registration": ({}, ["1,A,x", "2,B,y"], ["3,C,z", "2,B,y", "1,A,x"], {"pending": 3}),
    "a corrected number": ({}, ["1,A,x", "2,B,y"], ["1,A,x", "9,B,y"], {"pending": 2}),
    "numbers that are swapped": ({}, ["1,A,x", "2,B,y"], ["2,A,x", "1,B,y"], {"pending": 2}),
    "a row that is gone": ({}, ["1,A,x", "2,B,y"], ["1,A,x"], r"1 row .* missing .*line 3"),
    "made codes": ({"barcode": '"generate"'}, ["1,,x", "1,,y", "2,,z"], ["2,,z", "1,,y", "1,,x", "3,,x"], {"pending": 4}),
    "twins": ({"barcode": '"generate"'}, ["1,,x", "1,,x"], ["1,,x", "1,,x", "1,,x"], {"pending": 3}),
    "a changed name without a code": (
        {"barcode": '"generate"'},
        ["1,,x", "2,,y"],
        ["1,,Ann", "2,,y"],
        r"line 2 and line 2 as planned.*key = ",
    ),
    "a changed number with a key": (
        {"barcode": '"generate"', "key": '"Name"'},
        ["1,,x", "2,,y"],
        ["9,,x", "2,,y"],
        {"pending": 2},
    ),
    "one key twice": ({"barcode": '"generate"', "key": '"name"'}, ["1,,x"], ["1,,x", "2,,x"], r"line 3 and line 2\."),
}


@pytest.mark.parametrize("case", EVENTS)
def test_an_events_row_is_its_code_its_key_or_its_number_and_columns(case: str, tmp_path: Path) -> None:
    keys, before, after, expected = EVENTS[case]
    settings = ticket_settings("http://127.0.0.1:1", tmp_path)
    header = "phone,barcode_id,name"
    plan_file(
        write_event(tmp_path, [f"+1650253000{row}" for row in before], header=header, **keys), settings, kind=Kind.EVENT
    )
    codes = {ticket.barcode for ticket in tickets_of(settings)}
    file = write_event(tmp_path, [f"+1650253000{row}" for row in after], header=header, **keys)
    if isinstance(expected, str):
        for refuses in (plan_file, lambda path, of, kind: examine(load_wish(path, kind, of))):
            with pytest.raises(InputError, match=expected):
                refuses(file, settings, kind=Kind.EVENT)
        assert len(tickets_of(settings)) == len(before)
        return
    assert merged(file, settings, Kind.EVENT) == expected
    assert codes <= {ticket.barcode for ticket in tickets_of(settings)}, "who has a code keeps it"
    listed = sorted((int(row[0]), row[-3:].rpartition(",")[2]) for row in after)
    assert sorted((ticket.phone % 10, ticket.fields["name"]) for ticket in tickets_of(settings)) == listed


async def test_a_number_that_changes_once_its_ticket_has_left_is_a_persons_to_decide(box: Sandbox, tmp_path: Path) -> None:
    settings = ticket_settings(box.url, tmp_path)
    await send_event(write_event(tmp_path, attendees(2)), settings)
    file = write_event(tmp_path, [attendees(2)[0], "+16502539999,T00001"])
    with pytest.raises(InputError, match=r"1 tickets have another number .*: line 3.*tickets resend gala"):
        merged(file, settings, Kind.EVENT)
    assert box.truth()["skycore"]["accepted"] == 2


async def test_a_ticket_that_was_refused_goes_to_its_corrected_number(box: Sandbox, tmp_path: Path) -> None:
    settings = ticket_settings(box.url, tmp_path)
    with open_ledger(settings):
        pass
    plan_file(write_event(tmp_path, attendees(2)), settings, kind=Kind.EVENT)
    with open_ledger(settings) as ledger, ledger.write() as connection:
        refused = tables.message.update().where(tables.message.c.chunk_id == 1)
        connection.execute(refused.values(state=int(MessageState.REJECTED), error="E715"))
        deliveries.recount(connection, "id = 1")
    file = write_event(tmp_path, ["+16502539999,T00000", attendees(2)[1]])
    assert merged(file, settings, Kind.EVENT) == {"pending": 2}
    assert counted(await send_event(file, settings)) == {"accepted": 2}


def test_another_kind_under_the_name_is_refused(tmp_path: Path) -> None:
    settings = ticket_settings("http://127.0.0.1:1", tmp_path)
    plan_file(write_event(tmp_path, attendees(2)), settings, kind=Kind.EVENT)
    with pytest.raises(DeliveryChanged, match="that is an event, this is a campaign"):
        plan_file(write_campaign(tmp_path, numbers(3), name="gala"), settings)


async def test_a_ticket_that_went_out_and_was_taken_out_keeps_its_number_whatever_its_row_says(
    box: Sandbox, tmp_path: Path
) -> None:
    settings = ticket_settings(box.url, tmp_path)
    await send_event(write_event(tmp_path, attendees(3)), settings)
    file = write_event(tmp_path, attendees(3)[1:])
    assert merged(file, settings, Kind.EVENT, ACCEPTED) == {"accepted": 3}
    file = write_event(tmp_path, ["+16502539999,T00000", *attendees(3)[1:]])
    assert merged(file, settings, Kind.EVENT) == {"accepted": 3}
    assert [ticket.phone for ticket in tickets_of(settings)] == [16502530000, 16502530001, 16502530002]


async def test_rows_are_not_merged_under_the_eyes_of_who_looks_after_the_delivery(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that has begun knows nothing of them: it would call a ledger caught up that still lacks them."""
    monkeypatch.setattr("posthorn.delivery.running.locks._MAX_LOOKUP_SECONDS", 0.0)
    file = write_campaign(tmp_path, numbers(10))
    plan_file(file, settings)
    async with open_lookup("sale", settings=settings):
        assert plan_file(file, settings).input == 10, "without news there is nothing to wait for"
        write_list(tmp_path, numbers(20))
        with pytest.raises(LedgerError, match="has been looked after by another process"):
            plan_file(file, settings)
        assert status_of("sale", settings)["totals"]["input"] == 10
    assert plan_file(file, settings).input == 20
