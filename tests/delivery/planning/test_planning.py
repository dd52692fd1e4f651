"""Planning: the list that is planned is the list that was read, and a repeat is a slip for a week."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from posthorn.delivery.planning.plan import plan_file
from posthorn.errors import FileChanged, InputError
from posthorn.ledger import deliveries
from posthorn.ledger.store.engine import Ledger
from posthorn.settings import Settings
from tests.delivery.journey import deliver, numbers, write_campaign
from tests.delivery.test_housekeeping import age

_on_open: list[Callable[[str], None]] = []


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if _on_open and event == "open":
        _on_open[0](str(arguments[0]))


sys.addaudithook(_hear)  # told of every file right before it is opened; it cannot be taken back, so it is idle otherwise


def opens_of(path: Path, then: Callable[[int], None], work: Callable[[], object]) -> None:
    """Do ``work``, and call ``then`` with 1, 2, … right before the file is opened the first, the second … time."""
    count = 0

    def hear(opened: str) -> None:
        nonlocal count
        if opened == str(path):
            count += 1
            heard, _on_open[:] = _on_open[:], []  # what ``then`` opens is not counted
            then(count)
            _on_open[:] = heard

    _on_open[:] = [hear]
    try:
        work()
    finally:
        _on_open.clear()


@pytest.mark.parametrize("opening", [2, 3, 4, 5])
def test_a_list_that_changes_while_it_is_planned_is_planned_not_at_all(
    opening: int, settings: Settings, tmp_path: Path
) -> None:
    """It is opened for what identifies the campaign, to look it over (bytes, header, first rows), and for its rows."""
    file = write_campaign(tmp_path, numbers(100), media="[]")
    people = tmp_path / "recipients.csv"

    def change(count: int) -> None:
        if count == opening:
            people.write_text("phone\n" + "\n".join(numbers(101)[1:]) + "\n", encoding="utf-8")

    with pytest.raises(FileChanged, match="changed while it was"):
        opens_of(people, change, lambda: plan_file(file, settings))
    ledger = Ledger(settings.database_url)
    try:
        assert deliveries.find(ledger, "sale") is None
    finally:
        ledger.close()
    opened: list[int] = []
    opens_of(people, opened.append, lambda: plan_file(file, settings))
    assert opened == [1, 2, 3, 4, 5], "another opening would be another moment at which it may change"


@pytest.mark.parametrize(("days", "is_a_slip"), [(6.9, True), (7.1, False)])
async def test_the_same_message_under_a_new_name_is_a_slip_for_a_week(
    days: float, is_a_slip: bool, settings: Settings, tmp_path: Path
) -> None:
    await deliver(write_campaign(tmp_path, numbers(50)), settings)
    age(settings, days)
    again = write_campaign(tmp_path, numbers(50), name="sale-again")
    if is_a_slip:
        with pytest.raises(InputError, match="50 of them in sale"):
            plan_file(again, settings)
    else:
        assert plan_file(again, settings).name == "sale-again"


@pytest.mark.parametrize("keys", [{"column": '"phone"'}, {"only_where": '{ phone = "x" }'}, {"landlines": "true"}], ids=str)
def test_other_rows_of_a_planned_list_are_not_passed_over(keys: dict[str, str], settings: Settings, tmp_path: Path) -> None:
    plan_file(write_campaign(tmp_path, numbers(3)), settings)
    planned = write_campaign(tmp_path, numbers(3), **keys)
    if "only_where" in keys:
        with pytest.raises(
            InputError, match=r"3 rows that are planned are missing from the list \(3 pending\): lines 2, 3, 4"
        ):
            plan_file(planned, settings)
    else:
        assert plan_file(planned, settings).input == 3
    assert plan_file(write_campaign(tmp_path, numbers(3)), settings).input == 3
