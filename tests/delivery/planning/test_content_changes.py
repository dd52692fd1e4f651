"""Content is free while nothing has left and frozen afterwards, but for the moment of dispatch and a refused file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from posthorn.delivery.planning.check import examine
from posthorn.delivery.planning.load import load_wish
from posthorn.delivery.planning.merge import Consent
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.running.run import open_run
from posthorn.delivery.settling import listing
from posthorn.errors import DeliveryChanged, InputError, MomentPassed
from posthorn.ledger import deliveries, media, reconciling, sending
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import Kind
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from posthorn.views.checked import check_text
from tests.delivery.journey import PNG, counted, deliver, numbers, status_of, write_campaign
from tests.ledger.ledgers import LATEST, OWNER, answer, claim_one

LATE = Consent(late=True, by="Ada")


def at(**delta: float) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat(timespec="seconds")


def send_one_chunk(settings: Settings) -> None:
    with open_ledger(settings) as ledger:
        claim = claim_one(ledger, deliveries.get(ledger, "sale"), OWNER, 1, LATEST)
        assert claim is not None
        sending.record(ledger, claim, answer(claim))


async def test_content_is_free_while_nothing_has_left(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    plan_file(write_campaign(tmp_path, numbers(10)), settings)
    file = write_campaign(tmp_path, numbers(10), title='"Winter sale"', media="[]")
    told = examine(load_wish(file, Kind.CAMPAIGN, settings)).merged
    assert told is not None
    assert told.content == ['title was "Autumn sale", is now "Winter sale"', "media: there were 1 items, there are now 0"]
    assert counted(await deliver(file, settings)) == {"accepted": 10}
    assert {message["title"] for message in box.truth().get("messages", [])} <= {"Winter sale"}


def test_content_is_frozen_once_something_may_have_left(settings: Settings, tmp_path: Path) -> None:
    plan_file(write_campaign(tmp_path, numbers(10), chunk_size="5"), settings)
    file = write_campaign(tmp_path, numbers(10), chunk_size="5", text='"-40%"')
    with open_ledger(settings) as ledger:
        claim = claim_one(ledger, deliveries.get(ledger, "sale"), OWNER, 1, LATEST)
        assert claim is not None
        for is_over in (False, True):
            with pytest.raises(DeliveryChanged, match=r"(?s)text was .*what has left of it was sent with the old"):
                examine(load_wish(file, Kind.CAMPAIGN, settings))
            if not is_over:
                sending.record_unknown(ledger, claim)
    with pytest.raises(DeliveryChanged):
        plan_file(file, settings)


def test_a_process_that_has_the_old_content_claims_nothing_more(settings: Settings, tmp_path: Path) -> None:
    old = plan_file(write_campaign(tmp_path, numbers(10)), settings)
    new = plan_file(write_campaign(tmp_path, numbers(10), text='"-40%"'), settings)
    with open_ledger(settings) as ledger:
        assert claim_one(ledger, old, OWNER, 1, LATEST) is None
        assert claim_one(ledger, new, OWNER, 1, LATEST) is not None


def test_a_moved_moment_moves_what_is_pending_and_each_attempt_keeps_its_own(settings: Settings, tmp_path: Path) -> None:
    first, second = at(hours=5), at(hours=1)
    keys = {"chunk_size": "5", "send_at": first}
    plan_file(write_campaign(tmp_path, numbers(10), **keys), settings)
    send_one_chunk(settings)
    moved = write_campaign(tmp_path, numbers(10), **{**keys, "send_at": second})
    checked = examine(load_wish(moved, Kind.CAMPAIGN, settings))
    assert checked.merged is not None
    assert "send_at was" in check_text(checked)
    plan_file(moved, settings)
    send_one_chunk(settings)
    attempt = tables.attempt.c
    with open_ledger(settings) as ledger, ledger.read() as connection:
        found = connection.execute(sa.select(attempt.title, attempt.send_at).order_by(attempt.chunk_id)).all()
    expected = [("Autumn sale", datetime.fromisoformat(one).timestamp()) for one in (first, second)]
    assert [tuple(row) for row in found] == expected


def pass_the_moment(settings: Settings) -> str:
    """Have the moment of the campaign in the ledger lie ten minutes back, as time does."""
    past = at(minutes=-10)
    with open_ledger(settings) as ledger, ledger.write() as connection:
        delivery = deliveries.get(ledger, "sale")
        definition = {**delivery.content.as_kept(), "send_at": datetime.fromisoformat(past).astimezone(UTC).isoformat()}
        connection.execute(tables.campaign.update().values(definition=definition))
    return past


async def test_a_passed_moment_is_no_dead_end(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    keys = {"chunk_size": "5", "send_at": at(hours=1)}
    plan_file(write_campaign(tmp_path, numbers(10), **keys), settings)
    send_one_chunk(settings)
    file = write_campaign(tmp_path, numbers(10), **{**keys, "send_at": pass_the_moment(settings)})
    words = r"its moment passed 10 min ago, 5 of 10 have left; remove or move send_at in its file, or say --late"
    with pytest.raises(MomentPassed, match=words):
        examine(load_wish(file, Kind.CAMPAIGN, settings))
    status = await deliver(file, settings)
    assert (status["state"], counted(status)["pending"], box.truth()["send_requests"]) == ("stopped", 5, 0)
    assert "its moment passed" in status["because"]
    plan_file(file, settings, consent=LATE)
    assert examine(load_wish(file, Kind.CAMPAIGN, settings)).already == 5, "its lateness is remembered"
    assert counted(await deliver(file, settings)) == {"accepted": 10}
    assert box.truth()["accepted"] == 5


@pytest.mark.parametrize("way", ["removed", "moved"])
async def test_a_passed_moment_may_be_removed_or_moved(way: str, box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    plan_file(write_campaign(tmp_path, numbers(10), send_at=at(hours=1)), settings)
    pass_the_moment(settings)
    keys = {"send_at": at(hours=2)} if way == "moved" else {}
    expected = {"scheduled": 10} if way == "moved" else {"accepted": 10}
    assert counted(await deliver(write_campaign(tmp_path, numbers(10), **keys), settings)) == expected
    assert box.truth()["twice"] == 0


def test_a_moment_in_a_new_file_that_has_passed_is_refused(settings: Settings, tmp_path: Path) -> None:
    plan_file(write_campaign(tmp_path, numbers(10)), settings)
    with pytest.raises(InputError, match="has passed; expected a moment to come"):
        plan_file(write_campaign(tmp_path, numbers(10), send_at=at(minutes=-1)), settings)


def test_a_file_that_the_provider_refused_may_be_replaced_whatever_has_left(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "map.png").write_bytes(PNG)
    keys = {"chunk_size": "5", "media": '["poster.png", "map.png"]'}
    plan_file(write_campaign(tmp_path, numbers(10), **keys), settings)
    send_one_chunk(settings)
    (tmp_path / "map.png").write_bytes(PNG + b"\0")
    file = write_campaign(tmp_path, numbers(10), **keys)
    with pytest.raises(DeliveryChanged, match="media: item 2 changed"):
        plan_file(file, settings)
    with open_ledger(settings) as ledger:
        delivery = deliveries.get(ledger, "sale")
        media.keep_refused(ledger, delivery, media.of(ledger, delivery)[1], "map.png: the provider will not have it")
    assert plan_file(file, settings).revision == 2
    assert counted(status_of("sale", settings)) == {"accepted": 5, "pending": 5}


async def test_a_moved_moment_hides_nothing_that_was_sent_for_the_older_one(settings: Settings, tmp_path: Path) -> None:
    late, early = at(hours=50), at(hours=1)
    plan_file(write_campaign(tmp_path, numbers(10), chunk_size="5", send_at=late), settings)
    with open_ledger(settings) as ledger:
        claim = claim_one(ledger, deliveries.get(ledger, "sale"), OWNER, 1, LATEST)
        assert claim is not None
        sending.record_unknown(ledger, claim)
    plan_file(write_campaign(tmp_path, numbers(10), chunk_size="5", send_at=early), settings)
    async with open_run("sale", settings=settings) as run:
        unknown = await run.do(reconciling.unconfirmed, run.delivery, 10)
        (expected,) = {listing._expected(run, message).window[1] for message in unknown}
    assert expected > datetime.fromisoformat(late).timestamp(), "the provider may date it by the moment that it named"
