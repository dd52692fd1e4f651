"""A proof to oneself: the real message, now, and nobody's later; what is unknown of it is nobody's either."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from posthorn.delivery.sending.proof import Proofs, ask_for, send_proofs
from posthorn.delivery.settling.report import pull_reports_of
from posthorn.delivery.settling.withdraw import reconcile_named
from posthorn.errors import InputError, Stopped, Waits
from posthorn.ledger import deliveries, proofs, reconciling, restored, suppression, tickets
from posthorn.ledger.costs import FREE
from posthorn.ledger.proofs import NewProof, ProofClaim
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind, MessageState, OptOut, Phone, ProofOutcome, Scope
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from posthorn.views.doorlist import door_list
from tests.conftest import sandbox_settings
from tests.delivery.event_journey import MMS_ID, attendees, send_event, ticket_settings, write_event
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign
from tests.delivery.waiting import until

SEND, REPORTS = "messages/send_mms", "messages/reports"
MINE = "+48600100200"


async def prove(
    file: Path, settings: Settings, to: Sequence[str] = (MINE,), kind: Kind = Kind.CAMPAIGN, **more: Any
) -> Proofs:
    return await send_proofs(ask_for(file, kind, to, settings), by="Ada", **more)


def rows(settings: Settings) -> list[Any]:
    ledger = Ledger(settings.database_url)
    try:
        with ledger.read() as connection:
            return list(connection.execute(sa.select(tables.proof).order_by(tables.proof.c.id)))
    finally:
        ledger.close()


async def test_a_proof_is_the_real_message_of_a_campaign_that_is_not_planned(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    file = write_campaign(tmp_path, numbers(3), send_at="2099-11-30T09:00:00+01:00")
    done = await prove(file, settings, [MINE, "600 100 201", MINE])
    assert ([one.outcome for one in done.sent], done.stopped) == ([ProofOutcome.TAKEN] * 2, None)
    assert done.sent[0].to == "+48 *** *** 200"
    sent = box.serwersms.listed(None, None, 0, 250)
    assert len(sent) == 2
    assert box.truth()["requests"]["files/add"] == 1
    ids = {row.provider_id for row in rows(settings)}
    assert ids == {str(one["id"]) for one in sent}
    ledger = Ledger(settings.database_url)
    assert deliveries.find(ledger, "sale") is None
    assert reconciling.bound_ids(ledger, [*ids, "other"]) == ids
    assert restored.known_ids(ledger, [*ids, "other"]) == ids
    ledger.close()


async def test_it_is_in_no_total_and_its_number_still_gets_the_campaign_once(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    file = write_campaign(tmp_path, [MINE, *numbers(2)])
    await prove(file, settings)
    status = await deliver(file, settings)
    assert (status["state"], counted(status), status["totals"]["input"]) == ("finished", {"accepted": 3}, 3)
    await prove(file, settings)
    after = status_of("sale", settings)
    assert (after["totals"], after["second_copies"]) == (status["totals"], 0)
    assert box.truth()["accepted"] == 5


async def test_the_row_is_committed_before_the_request_leaves_and_an_interrupted_proof_is_unknown(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    """While the provider is being asked another connection sees it; what breaks in then says that nobody can tell."""
    box.faults.replace([{"call": SEND, "fault": "hang_after", "at": [1]}])
    file = write_campaign(tmp_path, numbers(1))
    proof = asyncio.create_task(prove(file, settings))
    await until(lambda: box.truth()["requests"].get(SEND, 0) == 1)
    assert [(row.outcome, row.provider_id) for row in rows(settings)] == [("sending", None)]
    proof.cancel()
    with pytest.raises(asyncio.CancelledError):
        await proof
    assert [(row.outcome, row.problem) for row in rows(settings)] == [("unknown", "interrupted")]
    assert box.truth()["accepted"] == 1


@pytest.fixture
def hasty(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = sandbox_settings(box.url, tmp_path, concurrency=2, settle_seconds=0.1, timeout_seconds=1)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__BASE_URL", box.url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__TOKEN", "sandbox-token")
    return settings


async def test_a_proof_whose_answer_is_lost_is_unknown_and_blocks_look_ups_of_its_number(
    box: Sandbox, hasty: Settings, tmp_path: Path
) -> None:
    """Its row, and the lack of a second one, say nothing of the recipient's message; the other numbers are settled."""
    file = write_campaign(tmp_path, [MINE, *numbers(99)], chunk_size=50)
    box.faults.replace([{"call": SEND, "fault": "reset_after", "at": [1]}])
    done = await prove(file, hasty)
    assert done.sent[0].outcome is ProofOutcome.UNKNOWN
    box.faults.replace([{"call": SEND, "fault": "reset_before", "at": [1]}])
    await deliver(file, hasty)
    await reconcile_named("sale")
    status = status_of("sale", hasty)
    assert counted(status)["unknown"] == 50
    ledger = Ledger(hasty.database_url)
    sale = deliveries.get(ledger, "sale")
    mine = next(one for one in reconciling.unconfirmed(ledger, sale, 100) if str(one.phone) in MINE)
    ledger.close()
    assert mine.last_decision == "stray"
    assert "a proof of unknown outcome went to this number" in (mine.last_evidence or "")
    assert "posthorn campaign resolve" in (mine.last_evidence or "")
    assert box.truth()["twice"] == 0


async def test_no_search_takes_a_proof_for_a_second_copy(box: Sandbox, hasty: Settings, tmp_path: Path) -> None:
    people = [MINE, "+48600100201", *numbers(48)]
    file = write_campaign(tmp_path, people, chunk_size=50)
    await prove(file, hasty)
    box.faults.replace([{"call": SEND, "fault": "reset_after", "at": [1]}])
    await prove(file, hasty, ["+48600100201"])
    box.faults.replace([{"call": SEND, "fault": "reset_after", "at": [1]}])
    await deliver(file, hasty)
    await reconcile_named("sale")
    status = status_of("sale", hasty)
    assert counted(status) == {"accepted": 49, "unknown": 1}
    assert (await pull_reports_of("sale")).second_copies == 0


async def test_a_dead_proof_is_unknown_and_never_repeated(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    ledger = Ledger(settings.database_url)
    proofs.claim(
        ledger, NewProof(Kind.CAMPAIGN, "sale", "serwersms", Phone(48600100200), "Ada", "Autumn sale"), "dead", FREE
    )
    ledger.close()
    await prove(write_campaign(tmp_path, numbers(1)), settings)
    assert [(row.outcome, row.problem) for row in rows(settings)] == [
        ("unknown", "the sending process died"),
        ("taken", None),
    ]
    assert box.truth()["accepted"] == 1


async def test_outside_its_hours_nothing_is_sent_and_the_moment_is_named(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    settings.send_hours = "Mon-Fri 08:00-20:00"
    night = datetime(2026, 11, 30, 1, 0, tzinfo=UTC).timestamp()
    with pytest.raises(Waits, match=r"2026-11-30 08:00"):
        await prove(write_campaign(tmp_path, numbers(1)), settings, clock=lambda: night)
    assert (rows(settings), box.truth()["accepted"]) == ([], 0)


async def test_a_proof_that_was_claimed_in_time_does_not_leave_after_its_hours(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    settings.send_hours = "Mon-Fri 08:00-20:00"
    noon, night = (datetime(2026, 11, 30, hour, tzinfo=UTC).timestamp() for hour in (11, 22))
    file = write_campaign(tmp_path, numbers(1))
    done = await prove(file, settings, [MINE, "+48600100201"], clock=lambda: night if rows(settings) else noon)
    assert [one.outcome for one in done.sent] == [ProofOutcome.NOT_TAKEN]
    assert "outside its hours" in (done.stopped or "")
    assert ([row.outcome for row in rows(settings)], box.truth()["accepted"]) == (["not_taken"], 0)


async def test_a_proof_that_others_hold_for_dead_does_not_leave(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    settings.send_hours = "Mon-Sun 00:00-24:00"

    def clock() -> float:
        for row in rows(settings):
            claimed = ProofClaim(row.id, row.owner, NewProof(Kind.CAMPAIGN, row.name, row.gateway, Phone(row.phone), row.by))
            ledger = Ledger(settings.database_url)
            proofs.record(ledger, claimed, ProofOutcome.UNKNOWN, problem="the sending process died")
            ledger.close()
        return datetime(2026, 11, 30, 11, tzinfo=UTC).timestamp()

    done = await prove(write_campaign(tmp_path, numbers(1)), settings, clock=clock)
    assert "held back" in (done.stopped or "")
    assert box.truth()["accepted"] == 0


async def test_who_must_get_nothing_gets_no_proof(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, numbers(1))
    wanted = ask_for(file, Kind.CAMPAIGN, [MINE], settings)
    ledger = Ledger(settings.database_url)
    suppression.add(ledger, [OptOut(Phone(48600100200), Scope.ALL, "person", "")], by="Ada")
    suppression.add(ledger, [OptOut(Phone(48600100201), Scope.MARKETING, "person", "")], by="Ada")
    ledger.close()
    with pytest.raises(InputError, match="must get nothing at all"):
        await send_proofs(wanted, by="Ada")
    with pytest.raises(InputError, match=r"\+48 \*\*\* \*\*\* 200 must get nothing"):
        ask_for(file, Kind.CAMPAIGN, [MINE, "+48600100201"], settings)
    assert box.truth()["accepted"] == 0
    await prove(file, settings, ["+48600100201"])
    assert box.truth()["accepted"] == 1


async def test_proofs_count_for_the_days_cap_and_for_max_cost(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    settings.serwersms.price_per_message = Decimal("0.10")
    settings.daily_cost_cap = Decimal("0.40")
    file = write_campaign(tmp_path, numbers(3), max_cost="0.30")
    assert ask_for(file, Kind.CAMPAIGN, [MINE, "+48600100201"], settings).cost == Decimal("0.2")
    await prove(file, settings, ["+48600100201"])
    status = await deliver(file, settings)
    assert (status["state"], counted(status)) == ("stopped", {"pending": 3})
    assert "max_cost of 0.30 is reached: 0.10 is spent" in status["because"]
    file = write_campaign(tmp_path, numbers(3), max_cost="9")
    assert counted(await deliver(file, settings)) == {"accepted": 3}
    with pytest.raises(Stopped, match=r"POSTHORN_DAILY_COST_CAP.* of 0\.40 is reached"):
        await prove(file, settings)
    assert box.truth()["accepted"] == 4


@pytest.mark.parametrize("is_planned", [False, True])
async def test_a_tickets_proof_has_a_code_of_its_own_that_lets_nobody_in(
    is_planned: bool, box: Sandbox, tmp_path: Path
) -> None:
    settings = ticket_settings(box.url, tmp_path)
    file = write_event(tmp_path, [f"{row},Ann" for row in attendees(2)], header="phone,barcode_id,first")
    if is_planned:
        await send_event(file, settings)
    done = await prove(file, settings, ["+16502530000"], Kind.EVENT)
    (sent,) = done.sent
    assert (sent.outcome, sent.code is None) == (ProofOutcome.TAKEN, False)
    status = await send_event(file, settings)
    assert (counted(status), status["totals"]["input"]) == ({"accepted": 2}, 2)
    ledger = Ledger(settings.database_url)
    event = deliveries.get(ledger, "gala")
    assert [(one.code, one.place, one.why) for one in tickets.void_codes(ledger, event)] == [(sent.code, None, "a proof")]
    columns, shown = door_list(ledger, event)
    listed = [dict(zip(columns, row, strict=True)) for row in shown]
    ledger.close()
    assert [(row["valid"], row["note"]) for row in listed if row["code"] == sent.code] == [
        ("no", "void: do not let in (a proof)")
    ]
    assert sent.code not in {"T00000", "T00001"}


async def test_a_postback_about_a_proof_settles_no_attendees_ticket(box: Sandbox, tmp_path: Path) -> None:
    settings = ticket_settings(box.url, tmp_path)
    file = write_event(tmp_path, attendees(1))
    box.faults.replace([{"call": "sendMMSBarcode", "fault": "reset_after", "at": [1]}])
    await send_event(file, settings)
    done = await prove(file, settings, ["+16502530000"], Kind.EVENT)
    assert done.sent[0].outcome is ProofOutcome.TAKEN
    ledger = Ledger(settings.database_url)
    phone, mine = Phone(16502530000), rows(settings)[0]
    late = mine.ended_at + 1
    assert not tickets.settle_by_postback(ledger, phone, MMS_ID, mine.provider_id, received_at=late, happened_at=None)
    proofs.claim(ledger, NewProof(Kind.EVENT, "gala", "skycore", phone, "Ada", mms_id=MMS_ID, code="P-1"), "dead", FREE)
    assert not tickets.settle_by_postback(ledger, phone, MMS_ID, "x-1", received_at=late, happened_at=None)
    (own,) = tickets.all_tickets(ledger, deliveries.get(ledger, "gala"))
    ledger.close()
    assert (own.state, own.provider_id) == (MessageState.UNKNOWN, None)


async def test_what_no_proof_can_be_of_is_refused(settings: Settings, tmp_path: Path) -> None:
    file = write_campaign(tmp_path, numbers(1), test="true")
    with pytest.raises(InputError, match="take test = true out"):
        ask_for(file, Kind.CAMPAIGN, [MINE], settings)
    file = write_campaign(tmp_path, numbers(1))
    with pytest.raises(InputError, match="expected 1 to 10 numbers, given 11"):
        ask_for(file, Kind.CAMPAIGN, [f"+4860010020{at}" if at < 10 else "+48600100210" for at in range(11)], settings)
    with pytest.raises(InputError, match="--to: not a number"):
        ask_for(file, Kind.CAMPAIGN, ["abc"], settings)
