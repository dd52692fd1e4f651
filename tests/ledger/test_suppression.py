"""Who must not be messaged: the list keeps everybody's word, and neither a plan nor a claim names them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from posthorn.ledger import claiming, deliveries, erasing, planning, refusals, sending, suppression, totals
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.planning import NewDelivery, Row
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger
from posthorn.models import ChunkState, OptOut, Phone, Scope
from tests.ledger.ledgers import (
    FIRST_PHONE,
    LATEST,
    OWNER,
    another,
    answer,
    attempts,
    chunk_state,
    claim_one,
    claimed,
    event_content,
    everything_adds_up,
    first_chunk,
    planned,
    states,
)

ALL, MARKETING = Scope.ALL, Scope.MARKETING


def phone(line: int) -> Phone:
    return Phone(FIRST_PHONE + line)


def opt_out(ledger: Ledger, lines: Iterable[int], scope: Scope = MARKETING, source: str = "reply") -> int:
    return suppression.add(ledger, [OptOut(phone(line), scope, source) for line in lines], by="test")


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def codes(ledger: Ledger, campaign: Delivery) -> dict[int, str | None]:
    """The code of every suppressed message, by its line."""
    message = tables.message.c
    query = sa.select(message.line, message.error).where(message.campaign_id == campaign.id, message.state == 9)
    with ledger.read() as connection:
        return {row.line: row.error for row in connection.execute(query)}


class Attendees:
    """An event's rows: one ticket a line."""

    def __init__(self, count: int) -> None:
        self.input, self.invalid, self.duplicate = count, 0, 0

    def __iter__(self) -> object:
        yield [Row(line, phone(line), 0, f"CODE-{line}", {}) for line in range(self.input)]


def gala_of(ledger: Ledger, count: int = 4, **options: object) -> Delivery:
    new = NewDelivery("gala", "skycore", event_content(mms_id="7"), options, chunk_size=1)
    found = planning.plan(ledger, new, Attendees(count))
    assert found is not None
    return found


# -- The list -------------------------------------------------------------------------------------------------------------


def test_an_entry_is_kept_once_with_its_first_word(ledger: Ledger) -> None:
    first = OptOut(phone(1), MARKETING, "reply", "STOP", moment(1_000))
    assert suppression.add(ledger, [first, first], by="serwersms") == 1
    assert suppression.add(ledger, [OptOut(phone(1), MARKETING, "file", "again", moment(2_000))], by="ann") == 0
    assert suppression.of(ledger, phone(1)) == [
        suppression.Suppression(phone(1), MARKETING, "reply", "STOP", "serwersms", 1_000.0)
    ]


def test_both_scopes_of_a_number_are_kept(ledger: Ledger) -> None:
    assert opt_out(ledger, [1]) + opt_out(ledger, [1], ALL, "blacklist") == 2
    assert [one.scope for one in suppression.of(ledger, phone(1))] == [ALL, MARKETING]
    assert suppression.counted(ledger) == {(MARKETING, "reply"): 1, (ALL, "blacklist"): 1}


def test_what_was_said_before_a_removal_is_past(ledger: Ledger) -> None:
    old = OptOut(phone(1), MARKETING, "reply", "STOP", moment(1_000))
    suppression.add(ledger, [old], by="serwersms")
    (removed,) = suppression.remove(ledger, phone(1), [MARKETING], by="ann", why="asked to be back")
    assert removed.source == "reply"
    assert suppression.add(ledger, [old], by="serwersms") == 0
    assert list(suppression.entries(ledger)) == []
    (kept,) = suppression.of(ledger, phone(1))
    assert (kept.removed_by, kept.removed_why) == ("ann", "asked to be back")


def test_a_word_after_a_removal_holds_again(ledger: Ledger) -> None:
    opt_out(ledger, [1])
    suppression.remove(ledger, phone(1), [MARKETING], by="ann", why="asked to be back")
    assert opt_out(ledger, [1], source="unsubscribed") == 1
    (kept,) = suppression.of(ledger, phone(1))
    assert (kept.source, kept.removed_at, kept.removed_why) == ("unsubscribed", None, None)


def test_a_moment_to_come_counts_as_now(ledger: Ledger) -> None:
    """A provider's clock that is ahead must not have an old word outlive its removal."""
    ahead = OptOut(phone(1), MARKETING, "reply", "STOP", moment(4e9))
    suppression.add(ledger, [ahead], by="serwersms", now=1_000.0)
    suppression.remove(ledger, phone(1), [MARKETING], by="ann", why="asked to be back")
    assert suppression.of(ledger, phone(1))[0].since == 1_000.0


def test_only_the_scopes_that_are_named_are_removed(ledger: Ledger) -> None:
    opt_out(ledger, [1])
    opt_out(ledger, [1], ALL)
    assert [one.scope for one in suppression.remove(ledger, phone(1), [ALL], by="ann", why="a slip")] == [ALL]
    assert suppression.remove(ledger, phone(1), [ALL], by="ann", why="a slip") == []
    assert [one.scope for one in suppression.entries(ledger)] == [MARKETING]


def test_erasing_leaves_nothing_of_a_number(ledger: Ledger) -> None:
    opt_out(ledger, [1, 2])
    suppression.remove(ledger, phone(1), [MARKETING], by="ann", why="asked to be forgotten")
    assert suppression.erase(ledger, phone(1)) == 1
    assert suppression.of(ledger, phone(1)) == []
    assert [one.phone for one in suppression.entries(ledger)] == [phone(2)]


def test_a_long_list_is_taken_and_read_whole(ledger: Ledger) -> None:
    assert opt_out(ledger, range(12_000)) == 12_000
    assert opt_out(ledger, range(11_999, 12_001), ALL) == 2
    found = [(one.phone, one.scope) for one in suppression.entries(ledger)]
    assert found == sorted(set(found))
    assert len(found) == 12_002
    assert suppression.newest(ledger, 3, source="reply") != []


def test_nothing_is_added_in_a_group(ledger: Ledger) -> None:
    with ledger.group(), pytest.raises(RuntimeError):
        opt_out(ledger, [1])


# -- Planning -------------------------------------------------------------------------------------------------------------


def test_whoever_is_listed_is_suppressed_when_planned(ledger: Ledger) -> None:
    opt_out(ledger, [3])
    opt_out(ledger, [14], ALL, "blacklist")
    campaign = planned(ledger, 30)
    assert states(ledger, campaign) == {"pending": 28, "suppressed": 2}
    assert codes(ledger, campaign) == {3: "opt-out:reply", 14: "opt-out:blacklist"}


def test_the_widest_scope_gives_the_reason(ledger: Ledger) -> None:
    opt_out(ledger, [3])
    opt_out(ledger, [3], ALL, "blacklist")
    assert codes(ledger, planned(ledger, 30)) == {3: "opt-out:blacklist"}


def test_a_chunk_of_nobody_is_done_when_planned(ledger: Ledger) -> None:
    opt_out(ledger, range(10))
    campaign = planned(ledger, 30)
    assert chunk_state(ledger, first_chunk(ledger, campaign)) == ChunkState.DONE
    assert claimed(ledger, campaign).chunk_id == first_chunk(ledger, campaign) + 1


def test_a_campaign_of_nobody_is_finished(ledger: Ledger) -> None:
    opt_out(ledger, range(30))
    campaign = planned(ledger, 30)
    assert claiming.pending_chunks(ledger, campaign) == []
    assert totals.status(ledger, campaign)["state"] == "finished"


def test_whoever_was_removed_is_planned(ledger: Ledger) -> None:
    opt_out(ledger, [3])
    suppression.remove(ledger, phone(3), [MARKETING], by="ann", why="asked to be back")
    assert states(ledger, planned(ledger, 30)) == {"pending": 30}


def test_tickets_heed_only_all_unless_the_event_says_otherwise(ledger: Ledger) -> None:
    opt_out(ledger, [1])
    opt_out(ledger, [2], ALL, "blacklist")
    gala = gala_of(ledger)
    assert codes(ledger, gala) == {2: "opt-out:blacklist"}
    everything_adds_up(ledger)


def test_an_event_may_heed_marketing_opt_outs_too(ledger: Ledger) -> None:
    opt_out(ledger, [1])
    gala = gala_of(ledger, opt_outs="marketing")
    opt_out(ledger, [2])
    assert codes(ledger, gala) == {1: "opt-out:reply"}
    lines = [claim.phones[0] - FIRST_PHONE for claim in iter(lambda: claim_one(ledger, gala, OWNER, 1, LATEST), None)]
    assert lines == [0, 3]


# -- Claiming -------------------------------------------------------------------------------------------------------------


def test_whoever_opted_out_since_is_left_out_of_the_claim(ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    opt_out(ledger, [0, 4])
    claim = claimed(ledger, campaign)
    assert claim.positions == (1, 2, 3, 5, 6, 7, 8, 9)
    assert claim.phones == tuple(phone(line) for line in claim.positions)
    assert states(ledger, campaign) == {"pending": 28, "suppressed": 2}
    sending.record(ledger, claim, answer(claim))
    assert states(ledger, campaign) == {"pending": 20, "suppressed": 2, "accepted": 8}
    assert codes(ledger, campaign) == {0: "opt-out:reply", 4: "opt-out:reply"}


def test_a_chunk_of_which_nobody_is_left_closes_without_an_attempt(ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    opt_out(ledger, range(20))
    claim = claimed(ledger, campaign)
    assert claim.chunk_id == first_chunk(ledger, campaign) + 2
    assert chunk_state(ledger, first_chunk(ledger, campaign)) == ChunkState.DONE
    assert attempts(ledger, first_chunk(ledger, campaign)) == []
    assert states(ledger, campaign) == {"pending": 10, "suppressed": 20}


def test_of_several_that_are_claimed_at_once_those_of_which_nobody_is_left_close(ledger: Ledger) -> None:
    campaign = planned(ledger, 40)
    opt_out(ledger, [3, *range(10, 20)])
    claims = claiming.claim(ledger, campaign, OWNER, 1, LATEST, most=3)
    assert [[one - FIRST_PHONE for one in claim.phones] for claim in claims] == [
        [line for line in range(10) if line != 3],
        [*range(20, 30)],
    ]
    assert chunk_state(ledger, first_chunk(ledger, campaign) + 1) == ChunkState.DONE
    assert attempts(ledger, first_chunk(ledger, campaign) + 1) == []
    assert states(ledger, campaign) == {"pending": 29, "suppressed": 11}
    opt_out(ledger, range(30, 40))
    assert claiming.claim(ledger, campaign, OWNER, 1, LATEST, most=3) == []
    assert states(ledger, campaign) == {"pending": 19, "suppressed": 21}


def test_nothing_is_claimed_where_all_that_is_left_has_opted_out(ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    opt_out(ledger, range(30))
    assert claim_one(ledger, campaign, OWNER, 1, LATEST) is None
    assert totals.status(ledger, campaign)["state"] == "finished"


def test_only_the_chunks_of_the_batch_are_closed(ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    opt_out(ledger, range(30))
    assert claim_one(ledger, campaign, OWNER, first_chunk(ledger, campaign), first_chunk(ledger, campaign)) is None
    assert chunk_state(ledger, first_chunk(ledger, campaign) + 1) == ChunkState.PENDING


def test_a_message_that_is_given_back_goes_no_more_to_who_opted_out_meanwhile(ledger: Ledger) -> None:
    campaign = planned(ledger, 10)
    claim = claimed(ledger, campaign)
    opt_out(ledger, [4])
    sending.release(ledger, claim)
    assert phone(4) not in claimed(ledger, campaign).phones


def test_a_removal_changes_no_message_that_is_suppressed(ledger: Ledger) -> None:
    opt_out(ledger, [3])
    campaign = planned(ledger, 10)
    suppression.remove(ledger, phone(3), [MARKETING], by="ann", why="asked to be back")
    claimed(ledger, campaign)
    assert states(ledger, campaign) == {"pending": 9, "suppressed": 1}


def test_claims_of_tickets_heed_only_all(ledger: Ledger) -> None:
    gala = gala_of(ledger)
    opt_out(ledger, [1])
    opt_out(ledger, [2], ALL, "refusal")
    lines = [claim.phones[0] - FIRST_PHONE for claim in iter(lambda: claim_one(ledger, gala, OWNER, 1, LATEST), None)]
    assert lines == [0, 1, 3]
    assert codes(ledger, gala) == {2: "opt-out:refusal"}


def test_claims_in_one_commit_leave_out_who_opted_out(ledger: Ledger) -> None:
    campaign = planned(ledger, 40)
    opt_out(ledger, range(5, 25))
    with ledger.group():
        numbers = [number for _ in range(3) for number in claimed(ledger, campaign).phones]
    assert numbers == [phone(line) for line in [*range(5), *range(25, 40)]]
    assert states(ledger, campaign) == {"pending": 20, "suppressed": 20}
    assert deliveries.get(ledger, "sale").id == campaign.id


def test_an_opt_out_waits_for_a_claim_that_is_being_committed(url: str, ledger: Ledger) -> None:
    """And so it comes after it: or the claim would have left the number in, and yet committed later."""
    campaign = planned(ledger, 10)
    is_listed = threading.Event()

    def list_it() -> None:
        with another(url) as other:
            opt_out(other, [4])
        is_listed.set()

    with ledger.group():
        assert phone(4) in claimed(ledger, campaign).phones
        thread = threading.Thread(target=list_it)
        thread.start()
        assert not is_listed.wait(0.3)
    assert is_listed.wait(20)
    thread.join()


def test_a_claim_waits_for_an_opt_out_that_is_being_committed(postgres_url: str, postgres_ledger: Ledger) -> None:
    campaign = planned(postgres_ledger, 10)
    found: list[Phone] = []

    def claim_it() -> None:
        with another(postgres_url) as other:
            found.extend(claimed(other, campaign).phones)

    with postgres_ledger.write() as connection:
        suppression.hold_list(connection)
        thread = threading.Thread(target=claim_it)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        values = {"phone": phone(4), "scope": 0, "source": "reply", "why": "", "by": "test", "since": 1.0, "number": 1}
        connection.execute(tables.suppression.insert().values(**values))
        connection.execute(tables.identity.update().values(suppressions=1))
    thread.join(20)
    assert found == [phone(line) for line in range(10) if line != 4]


def test_a_process_that_watches_the_list_hears_of_every_new_entry(url: str, ledger: Ledger) -> None:
    opt_out(ledger, [35])
    campaign, watch = planned(ledger, 30), suppression.Watch()

    def claim_next() -> list[int]:
        claim = claim_one(ledger, campaign, OWNER, 1, LATEST, watch)
        assert claim is not None
        return [number - FIRST_PHONE for number in claim.phones]

    assert claim_next() == list(range(10))
    with another(url) as other:
        opt_out(other, [11])
        suppression.remove(other, phone(11), [MARKETING], by="ann", why="a slip")
        opt_out(other, [12, 22])
        suppression.remove(other, phone(22), [MARKETING], by="ann", why="a slip")
    assert claim_next() == [10, 11, *range(13, 20)]
    opt_out(ledger, [22], ALL)
    assert claim_next() == [20, 21, *range(23, 30)]


def test_a_number_that_holds_again_is_heard_of_although_others_were_erased(ledger: Ledger) -> None:
    opt_out(ledger, [11, 12, 13])
    campaign, watch = planned(ledger, 30), suppression.Watch()
    assert claim_one(ledger, campaign, OWNER, 1, LATEST, watch) is not None
    for line in (11, 12, 13):
        suppression.erase(ledger, phone(line))
    opt_out(ledger, [20])
    claim_one(ledger, campaign, OWNER, 1, LATEST, watch)
    claim = claim_one(ledger, campaign, OWNER, 1, LATEST, watch)
    assert claim is not None
    assert phone(20) not in claim.phones


def test_nobody_is_claimed_who_opted_out_before_the_claims_commit_began(url: str, ledger: Ledger) -> None:
    """At random moments: one thread claims, another opts numbers out, each by its own clock of what is over when."""
    campaign, watch = planned(ledger, 600, chunk_size=5), suppression.Watch()
    committing, claimed_at = [0.0], dict[int, float]()
    listed_at, has_begun = dict[int, float](), threading.Event()
    with another(url) as other:

        def opt_out_some() -> None:
            lines = list(range(600))
            random.Random(7).shuffle(lines)
            for line in lines[:300]:
                opt_out(other, [line])
                listed_at[phone(line)] = time.monotonic()  # it is over by now
                has_begun.set()

        event.listen(ledger._engine, "commit", lambda _: committing.__setitem__(0, time.monotonic()))
        thread = threading.Thread(target=opt_out_some)
        thread.start()
        assert has_begun.wait(20)
        while (claim := claim_one(ledger, campaign, OWNER, 1, LATEST, watch)) is not None:
            claimed_at |= dict.fromkeys(claim.phones, committing[0])
        thread.join()
    assert [number for number, at in claimed_at.items() if listed_at.get(number, at) < at] == []
    left_out = states(ledger, campaign)["suppressed"]
    assert len(claimed_at) == 600 - left_out
    assert left_out > 0


# -- What the ledger itself tells -----------------------------------------------------------------------------------------


def refuse(ledger: Ledger, lines: Iterable[int], code: str) -> None:
    with ledger.write() as connection:
        message = tables.message
        chosen = message.c.phone.in_([phone(line) for line in lines])
        connection.execute(message.update().where(chosen).values(error=code))


def test_numbers_that_a_provider_refused_as_blacklisted_are_told_once(ledger: Ledger) -> None:
    campaign = planned(ledger, 30)
    claim = claimed(ledger, campaign)
    sending.record(ledger, claim, answer(claim))
    refuse(ledger, [3, 4], "number_is_blacklisted")
    refuse(ledger, [5], "message_expired")
    codes = ("number_is_blacklisted",)
    found = refusals.refused(ledger, "serwersms", codes)
    assert sorted(one.phone for one in found) == [phone(3), phone(4)]
    assert {(one.scope, one.source) for one in found} == {(ALL, "refusal")}
    assert refusals.refused(ledger, "skycore", codes) == []
    assert refusals.refused(ledger, "serwersms", ()) == []
    assert suppression.add(ledger, found, by="posthorn") == 2
    assert refusals.refused(ledger, "serwersms", codes) == []
    suppression.remove(ledger, phone(3), [ALL], by="ann", why="taken off the blacklist")
    assert refusals.refused(ledger, "serwersms", codes) == [], "it was sent before that"


def test_refusals_are_found_by_the_index_of_errors(sqlite_url: str) -> None:
    with another(sqlite_url) as ledger, ledger.read() as connection:
        values = {"gateway": "serwersms", "codes": ["x"], "all": 1}
        explained = sa.text(f"EXPLAIN QUERY PLAN {refusals._REFUSED.text}").bindparams(sa.bindparam("codes", expanding=True))
        steps = [row[-1] for row in connection.execute(explained, values)]
    assert any("ix_message_error" in step for step in steps), steps


def test_the_last_pull_of_each_gateway_is_kept(ledger: Ledger) -> None:
    assert refusals.pulled_at(ledger) == {}
    for at in (1.0, 2.0):
        refusals.note_pulled(ledger, "serwersms", at)
    refusals.note_pulled(ledger, "acme", 3.0)
    assert refusals.pulled_at(ledger) == {"serwersms": 2.0, "acme": 3.0}


def test_of_a_whole_blacklist_only_what_is_new_is_written(ledger: Ledger) -> None:
    opt_out(ledger, range(3_000), ALL, "blacklist")
    before = suppression.newest_word(ledger)
    told = [OptOut(phone(line), ALL, "blacklist") for line in range(3_000)]
    assert suppression.add_unknown(ledger, told, by="serwersms") == 0
    assert suppression.newest_word(ledger) == before
    assert suppression.add_unknown(ledger, [*told, OptOut(phone(1), MARKETING, "reply")], by="serwersms") == 1


def test_erasing_a_campaign_keeps_the_list(ledger: Ledger) -> None:
    opt_out(ledger, [3])
    campaign = planned(ledger, 30)
    erasing.erase(ledger, campaign)
    assert [one.phone for one in suppression.entries(ledger)] == [phone(3)]
