"""The same message under a new name is refused until a person says that it is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthorn.delivery.planning.check import check_campaign, examine
from posthorn.delivery.planning.load import load_wish
from posthorn.delivery.planning.plan import plan_file
from posthorn.errors import InputError, LedgerError
from posthorn.ledger import approvals, deliveries, erasing
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Kind
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.delivery.event_journey import MMS_ID, attendees, ticket_settings, write_event
from tests.delivery.journey import counted, deliver, numbers, write_campaign


async def test_the_same_message_to_the_same_numbers_needs_a_word(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    await deliver(write_campaign(tmp_path, numbers(100)), settings)
    again = write_campaign(tmp_path, numbers(150)[60:], name="sale-again")
    with pytest.raises(InputError, match="40 of them in sale"):
        plan_file(again, settings)
    ledger = Ledger(settings.database_url)
    try:
        assert deliveries.find(ledger, "sale-again") is None
    finally:
        ledger.close()
    assert box.truth()["accepted"] == 100
    again.write_text(again.read_text() + "allow_repeat = true\n")
    assert counted(await deliver(again, settings)) == {"accepted": 90}


# What the first campaign of 100 came to, and how many of its numbers may have been messaged.
FIRST = {
    "it was only planned": (None, 0),
    "all of it is unknown": ({"fault": "close_before"}, 100),
    "one request of two was lost": ({"fault": "close_before", "at": [1]}, 100),
    "all of it was rejected": ({"fault": "item_error", "items": 100, "code": 3103}, 0),
}


@pytest.mark.parametrize("case", FIRST)
async def test_whoever_may_have_been_messaged_or_still_may_be_counts(
    case: str, box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    rule, count = FIRST[case]
    file = write_campaign(tmp_path, numbers(100))
    if rule is None:
        plan_file(file, settings)
    else:
        box.faults.replace([{"call": "messages/send_mms", **rule}])
        settings.serwersms.settle_seconds = 0
        await deliver(file, settings)
        box.faults.replace([])
    again = write_campaign(tmp_path, numbers(100), name="sale-again")
    if count:
        with pytest.raises(InputError, match=f"{count} of them in sale"):
            plan_file(again, settings)
    else:
        assert plan_file(again, settings).name == "sale-again"


@pytest.mark.parametrize(
    ("phones", "keys"),
    [
        (numbers(200)[100:], {}),
        (numbers(100), {"title": '"Another sale"'}),
        (numbers(100), {"text": '"-40%"'}),
        (numbers(100), {"test": "true"}),
    ],
)
async def test_other_people_other_words_and_tests_do_not(
    phones: list[str], keys: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    await deliver(write_campaign(tmp_path, numbers(100)), settings)
    assert counted(await deliver(write_campaign(tmp_path, phones, name="next", **keys), settings)) == {"accepted": 100}


async def test_the_check_says_so_beforehand(
    box: Sandbox, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("POSTHORN_SERWERSMS__BASE_URL", box.url)
    monkeypatch.setenv("POSTHORN_APPROVE_ABOVE", "50")
    sale = write_campaign(tmp_path, numbers(100))
    await deliver(sale, settings)
    again = write_campaign(tmp_path, numbers(150)[90:], name="again")
    with pytest.raises(InputError, match=r"same title, text and media .* 10 of them in sale of"):
        check_campaign(again)
    with pytest.raises(InputError, match=r"same title, text and media .* 10 of them in sale of"):
        plan_file(again, settings)
    allowed = write_campaign(tmp_path, numbers(150)[90:], name="again", allow_repeat="true")
    assert [warning.code for warning in check_campaign(allowed).warnings] == ["approval"]
    write_campaign(tmp_path, numbers(100))
    assert check_campaign(sale).already == 100


async def test_a_check_that_fails_leaves_nothing_that_could_be_sent(
    box: Sandbox, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(write_campaign(tmp_path, numbers(50)), settings)
    again = write_campaign(tmp_path, numbers(50), name="sale-again")

    def broken(*_: object, **__: object) -> None:
        raise LedgerError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr("posthorn.ledger.repeats.Repeats.add", broken)
        with pytest.raises(LedgerError):
            plan_file(again, settings)
    with pytest.raises(InputError, match="50 of them in sale"):
        plan_file(again, settings)
    assert box.truth()["twice"] == 0


async def test_two_that_are_planned_with_the_same_message_send_it_once(
    box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    first = write_campaign(tmp_path, numbers(100), name="first")
    second = write_campaign(tmp_path, numbers(100), name="second")
    plan_file(first, settings)
    plan_file(second, settings)
    assert counted(await deliver(first, settings)) == {"accepted": 100}
    status = await deliver(second, settings)
    assert (status["state"], counted(status)) == ("stopped", {"pending": 100})
    assert "100 of them in first" in status["because"]
    assert 'on_repeat = "skip"' in status["because"]
    second.write_text(second.read_text() + 'on_repeat = "skip"\n')
    assert counted(await deliver(second, settings)) == {"suppressed": 100}
    assert (box.truth()["accepted"], box.truth()["twice"]) == (100, 0)


async def test_what_is_pending_counts_where_it_goes_out_by_itself(box: Sandbox, settings: Settings, tmp_path: Path) -> None:
    waits = plan_file(write_campaign(tmp_path, numbers(100), name="waits"), settings)
    file = write_campaign(tmp_path, numbers(150), name="other", on_repeat='"skip"')
    with open_ledger(settings) as ledger:
        approvals.ask(ledger, waits, "ab" * 32)
    assert counted(await deliver(file, settings)) == {"accepted": 50, "suppressed": 100}
    with open_ledger(settings) as ledger:
        deliveries.cancel(ledger, deliveries.get(ledger, "waits"))


def test_a_code_is_one_persons_over_all_events_of_a_stored_mms(tmp_path: Path) -> None:
    settings = ticket_settings("http://127.0.0.1:1", tmp_path)
    event = plan_file(write_event(tmp_path, attendees(3)), settings, kind=Kind.EVENT)
    rows = [attendees(3)[0], "+16502539990,T00001", "+16502539991,NEW"]
    # The same stored MMS, whatever else its tickets say, and however its number is written.
    keys = {"on_repeat": '"send"', "from": "60857", "mms_id": f'"000{MMS_ID}"'}
    other = write_event(tmp_path, rows, **keys)
    other.write_text(other.read_text().replace('"gala"', '"other"'))
    for _ in range(2):
        for refuses in (plan_file, lambda path, of, kind: examine(load_wish(path, kind, of))):
            with pytest.raises(
                InputError, match=r"1 codes belong to somebody else .*line 3 \(in (gala|an event that was erased)"
            ):
                refuses(other, settings, kind=Kind.EVENT)
        with open_ledger(settings) as ledger:
            erasing.erase(ledger, event)
            rows[0] = "+16502539992,NEWER"
            (tmp_path / "attendees.csv").write_text("\n".join(["phone,barcode_id", *rows]) + "\n")
    other.write_text(other.read_text() + "allow_code_reuse = true\n")
    assert plan_file(other, settings, kind=Kind.EVENT).input == 3
