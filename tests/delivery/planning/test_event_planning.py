"""Planning an event: the list of attendees that is planned is the list that was read."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthorn.delivery.planning.plan import plan_file
from posthorn.errors import FileChanged
from posthorn.ledger import deliveries
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind
from posthorn.sandbox.server import Sandbox
from tests.delivery.event_journey import attendees, ticket_settings, write_event
from tests.delivery.planning.test_planning import opens_of


@pytest.mark.parametrize("opening", [2, 3, 4, 5])
def test_a_list_of_attendees_that_changes_while_it_is_planned_is_planned_not_at_all(
    opening: int, box: Sandbox, tmp_path: Path
) -> None:
    """It is opened for what identifies the event, to look it over, and for its rows: all must agree."""
    settings = ticket_settings(box.url, tmp_path)
    file = write_event(tmp_path, attendees(3))
    people = tmp_path / "attendees.csv"
    changed = []

    def change(count: int) -> None:
        if count == opening:
            people.write_text("phone,barcode_id\n" + "\n".join(attendees(4)[1:]) + "\n", encoding="utf-8")
            changed.append(count)

    with pytest.raises(FileChanged, match="changed while it was"):
        opens_of(people, change, lambda: plan_file(file, settings, kind=Kind.EVENT))
    assert changed
    ledger = Ledger(settings.database_url)
    try:
        assert deliveries.find(ledger, "gala") is None
    finally:
        ledger.close()
    plan_file(file, settings, kind=Kind.EVENT)
