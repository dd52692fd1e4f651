"""The same message under a new name is refused until a person says that it is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthorn.delivery.check import check_campaign
from posthorn.delivery.plan import plan_file
from posthorn.errors import InputError, LedgerError
from posthorn.ledger import deliveries
from posthorn.ledger.store.engine import Ledger
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
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
    "it was only planned": (None, 100),
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
        patch.setattr("posthorn.ledger.repeats.CommonNumbers.add", broken)
        with pytest.raises(LedgerError):
            plan_file(again, settings)
    with pytest.raises(InputError, match="50 of them in sale"):
        plan_file(again, settings)
    assert box.truth()["twice"] == 0
