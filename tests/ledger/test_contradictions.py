"""News that contradicts the message whose id it names is parked for good and shown; what fits is applied all the same."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from posthorn.ledger import erasing, parked, reporting, resolving, sending, totals
from posthorn.ledger.news import apply_parked, take_news
from posthorn.ledger.parked import News
from posthorn.ledger.resolving import EVERYTHING
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import PROVIDER_SKEW_SECONDS, Answer, MessageState, Phone, Receipt, Report, may_be_same_number
from tests.ledger.ledgers import FIRST_PHONE, claimed, ids, planned, states
from tests.ledger.test_tickets import by_code, gala, sent

S = MessageState
PHONE = Phone(FIRST_PHONE)


ago = timedelta


def at_once(told: dict[str, Any]) -> dict[str, Any]:
    """What is told, its times counted from now: the cases are made long before some of them are run."""
    return {key: datetime.now(UTC) - value if isinstance(value, timedelta) else value for key, value in told.items()}


# What a postback says beside the id, and what of it does not fit a ticket to PHONE of the template 77, sent just now.
CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "another number": ({"phone": Phone(FIRST_PHONE + 7)}, "another number"),
    "a short number": ({"phone": Phone(FIRST_PHONE % 10**6)}, "another number"),
    "another template": ({"mms_id": "78"}, "another template"),
    "another provider": ({"gateway": "serwersms"}, "another provider"),
    "a month before": ({"happened_at": ago(days=30)}, "a time before it was sent"),
    "an hour before": ({"happened_at": ago(hours=1)}, "a time before it was sent"),
    "a year ahead": ({"happened_at": ago(days=-365)}, "a time to come"),
}
FITS: dict[str, dict[str, Any]] = {
    "nothing told": {},
    "all of it": {"phone": PHONE, "mms_id": "77", "gateway": "skycore", "happened_at": ago()},
    "the number without its country code": {"phone": Phone(FIRST_PHONE % 10**9)},
    "the template with zeros": {"mms_id": "0077"},
    "a clock that is slow": {"happened_at": ago(minutes=13)},
    "a clock in another zone": {"happened_at": ago(hours=-12)},
}


def kept(ledger: Ledger) -> list[tuple[str, str | None]]:
    with ledger.read() as connection:
        rows = connection.execute(sa.select(tables.parked_report).order_by(tables.parked_report.c.id)).all()
    return [(row.provider_id, row.contradicts) for row in rows]


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_news_that_contradicts_its_message_is_parked_and_shown(case: str, ledger: Ledger) -> None:
    told, why = CONTRADICTIONS[case]
    event = gala(ledger, 2)
    sent(ledger, event, (S.ACCEPTED, "x"))
    news = News("x", S.DELIVERED, **at_once(told))
    for _ in range(2):
        assert take_news(ledger, [news]) == 0
        assert apply_parked(ledger) == 0
    assert by_code(ledger, event)["A-0"] == (S.ACCEPTED, "x")
    assert kept(ledger) == [("x", why)], "once, however often it is pushed"
    status = totals.status(ledger, event)
    assert (status["contradictory_news"], status["state"]) == (1, "stopped"), "the second ticket is not sent yet"
    (one,) = parked.listed(ledger, 10)
    assert (one.provider_id, one.contradicts, one.campaign) == ("x", why, "gala")


@pytest.mark.parametrize("case", FITS)
def test_news_that_fits_its_message_is_applied(case: str, ledger: Ledger) -> None:
    event = gala(ledger, 2)
    sent(ledger, event, (S.ACCEPTED, "x"))
    assert take_news(ledger, [News("x", S.DELIVERED, **at_once(FITS[case]))]) == 1
    assert kept(ledger) == []


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_parked_news_passes_the_same_tests_when_its_id_turns_up(case: str, ledger: Ledger) -> None:
    told, why = CONTRADICTIONS[case]
    event = gala(ledger, 2)
    claim = claimed(ledger, event)
    assert take_news(ledger, [News("x", S.DELIVERED, **at_once(told))]) == 0
    sending.record(ledger, claim, Answer([Receipt(S.ACCEPTED, "x")]))
    assert (apply_parked(ledger), apply_parked(ledger)) == (0, 0)
    assert by_code(ledger, event)["A-0"] == (S.ACCEPTED, "x")
    assert kept(ledger) == [("x", why)]


@pytest.mark.parametrize(("minutes", "state"), [(60, S.ACCEPTED), (20, S.ACCEPTED), (10, S.DELIVERED)])
@pytest.mark.parametrize("happened_at", [None, ago()], ids=["no time told", "a likely time told"])
def test_news_that_came_before_its_message_was_sent_is_not_about_it(
    happened_at: timedelta | None, minutes: float, state: MessageState, ledger: Ledger
) -> None:
    event = gala(ledger, 2)
    take_news(ledger, [News("x", S.DELIVERED, **at_once({"happened_at": happened_at}))], now=time.time() - 60 * minutes)
    sent(ledger, event, (S.ACCEPTED, "x"))
    apply_parked(ledger)
    assert by_code(ledger, event)["A-0"] == (state, "x")
    assert kept(ledger) == ([("x", "a time before it was sent")] if state == S.ACCEPTED else [])


def test_a_forged_piece_parked_first_hides_no_honest_one(ledger: Ledger) -> None:
    event = gala(ledger, 2)
    take_news(ledger, [News("x", S.DELIVERED)], now=time.time() - 30 * 86_400)
    claim = claimed(ledger, event)
    take_news(
        ledger, [News("x", S.DELIVERED, Phone(FIRST_PHONE + 9)), News("x", S.DELIVERED, PHONE), News("x", S.DELIVERED)]
    )
    sending.record(ledger, claim, Answer([Receipt(S.ACCEPTED, "x")]))
    assert apply_parked(ledger) == 1
    assert by_code(ledger, event)["A-0"] == (S.DELIVERED, "x")
    assert sorted(str(why) for _, why in kept(ledger)) == ["a time before it was sent", "another number"]


def test_the_same_piece_of_a_month_ago_hides_none_of_today(ledger: Ledger) -> None:
    event = gala(ledger, 2)
    take_news(ledger, [News("x", S.DELIVERED)], now=time.time() - 30 * 86_400)
    claim = claimed(ledger, event)
    take_news(ledger, [News("x", S.DELIVERED)])
    sending.record(ledger, claim, Answer([Receipt(S.ACCEPTED, "x")]))
    assert apply_parked(ledger) == 1
    assert by_code(ledger, event)["A-0"] == (S.DELIVERED, "x")


def test_a_forged_piece_of_the_same_push_hides_no_honest_one(ledger: Ledger) -> None:
    event = gala(ledger, 2)
    sent(ledger, event, (S.ACCEPTED, "x"))
    news = [News("x", S.UNDELIVERED, Phone(FIRST_PHONE + 9)), News("x", S.DELIVERED, PHONE)]
    assert take_news(ledger, news) == 1
    assert by_code(ledger, event)["A-0"] == (S.DELIVERED, "x")


@pytest.mark.parametrize(
    "told",
    [{"happened_at": ago(hours=1)}, {"happened_at": ago(days=-30)}, {"mms_id": "78"}, {"phone": Phone(FIRST_PHONE + 5)}],
)
@pytest.mark.parametrize("is_in_flight", [True, False])
def test_news_that_does_not_fit_settles_no_unknown_ticket(told: dict[str, Any], is_in_flight: bool, ledger: Ledger) -> None:
    event = gala(ledger, 3)
    sent(ledger, event, (S.ACCEPTED, "x"), (S.ACCEPTED, "y"))
    claim = claimed(ledger, event)
    news = News("z", S.DELIVERED, **{"phone": Phone(FIRST_PHONE + 2), "mms_id": "77", **at_once(told)})
    if is_in_flight:
        take_news(ledger, [news])
    sending.record_unknown(ledger, claim)
    assert (take_news(ledger, [news]), apply_parked(ledger)) == (0, 0)
    assert by_code(ledger, event)["A-2"] == (S.UNKNOWN, None)
    assert kept(ledger) == [("z", None)]


@pytest.mark.parametrize(("seconds", "settles"), [(30.0, True), (120.0, False)])
def test_news_that_came_a_minute_before_the_claim_settles_nothing(seconds: float, settles: bool, ledger: Ledger) -> None:
    """Without an id, only the time tells an older attempt's news from this one's: the allowance is short."""
    event = gala(ledger, 3)
    sent(ledger, event, (S.ACCEPTED, "x"), (S.ACCEPTED, "y"), (S.UNKNOWN, None))
    news = News("z", S.DELIVERED, Phone(FIRST_PHONE + 2), "77")
    take_news(ledger, [news], now=time.time() - seconds)
    assert by_code(ledger, event)["A-2"][0] == (S.DELIVERED if settles else S.UNKNOWN)


def test_a_template_with_zeros_in_front_settles_an_unknown_ticket_of_it(ledger: Ledger) -> None:
    event = gala(ledger, 3)
    sent(ledger, event, (S.ACCEPTED, "x"), (S.ACCEPTED, "y"), (S.UNKNOWN, None))
    take_news(ledger, [News("z", S.DELIVERED, Phone(FIRST_PHONE + 2), "0077")])
    assert by_code(ledger, event)["A-2"][0] == S.DELIVERED


def test_resending_everything_leaves_the_unknown_alone(ledger: Ledger) -> None:
    """A copy may be out there: a person resolves it first."""
    event = gala(ledger, 4)
    sent(ledger, event, (S.UNKNOWN, None), (S.ACCEPTED, "x"), (S.UNDELIVERED, "y"), (S.REJECTED, None))
    assert resolving.resend(ledger, event, EVERYTHING, resolving.RESENDABLE, by="ops", why="a wrong door").moved == 3
    assert by_code(ledger, event)["A-0"] == (S.UNKNOWN, None)


def test_messages_of_an_earlier_claim_may_be_older_than_the_chunks_last(ledger: Ledger) -> None:
    """The credit ended midway, and the rest of the chunk was claimed again a day later."""
    campaign = planned(ledger, 2)
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, Answer([Receipt(S.ACCEPTED, "first"), Receipt(S.PENDING)]))
    with ledger.write() as connection:
        for table, column in (("chunk", "claimed_at"), ("attempt", "started_at")):
            connection.execute(sa.text(f"UPDATE {table} SET {column} = {column} - 86400"))
    sending.record(ledger, claimed(ledger, campaign), Answer([Receipt(S.ACCEPTED, "second")]))
    assert take_news(ledger, [News("first", S.DELIVERED, happened_at=datetime.now(UTC) - ago(hours=20))]) == 1
    assert states(ledger, campaign) == {"delivered": 1, "accepted": 1}


def test_the_allowance_for_clocks_is_a_quarter_of_an_hour() -> None:
    subject = parked.Subject(PHONE, "skycore", "77", 10_000.0)
    given: dict[str, Any] = {"gateway": None, "phone": None, "mms_id": None}
    assert PROVIDER_SKEW_SECONDS == 900.0
    for seconds, why in [(9_099.0, "a time before it was sent"), (9_101.0, None)]:
        assert parked.contradiction(subject, **given, happened_at=seconds, received_at=10_001.0) == why
        assert parked.contradiction(subject, **given, happened_at=None, received_at=seconds) == why


def reports(*told: tuple[MessageState, int | None]) -> list[Report]:
    return [Report("x", state, state.name, phone=None if phone is None else Phone(phone)) for state, phone in told]


@pytest.mark.parametrize(
    ("told", "after"),
    [
        ([(S.DELIVERED, FIRST_PHONE + 1)], S.ACCEPTED),
        ([(S.DELIVERED, FIRST_PHONE)], S.DELIVERED),
        ([(S.DELIVERED, None)], S.DELIVERED),
        ([(S.DELIVERED, FIRST_PHONE % 10**9)], S.DELIVERED),
        ([(S.UNDELIVERED, FIRST_PHONE + 1), (S.DELIVERED, FIRST_PHONE)], S.DELIVERED),
    ],
)
def test_a_pulled_report_of_another_number_is_not_applied(
    told: Sequence[tuple[MessageState, int | None]], after: MessageState, ledger: Ledger
) -> None:
    campaign = planned(ledger, 1)
    sending.record(ledger, claimed(ledger, campaign), Answer([Receipt(S.ACCEPTED, "x")]))
    for _ in range(2):
        reporting.apply_reports(ledger, reports(*told))
    assert states(ledger, campaign) == {after.name.lower(): 1}
    strange = sum(phone is not None and not may_be_same_number(phone, PHONE) for _, phone in told)
    assert kept(ledger) == [("x", "another number")] * strange
    assert totals.status(ledger, campaign)["contradictory_news"] == strange


def test_contradictory_news_is_erased_with_the_numbers_of_its_campaign(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, Answer([Receipt(S.DELIVERED, one) for one in ids(claim)]))
    take_news(ledger, [News(ids(claim)[0], S.DELIVERED, Phone(48_999_999_999)), News("another's", S.DELIVERED)])
    erasing.erase(ledger, campaign)
    assert kept(ledger) == [("another's", None)]
