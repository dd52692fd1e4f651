"""One number's history, over campaigns and events."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from posthorn.delivery.planning.plan import plan_file
from posthorn.errors import InputError
from posthorn.ledger import suppression
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import OptOut, Phone, Scope
from posthorn.sandbox.server import Sandbox
from posthorn.views.messages import find_messages
from tests.conftest import sandbox_settings
from tests.delivery.event_journey import send_event, ticket_settings, write_event
from tests.delivery.journey import deliver, write_campaign


async def test_a_number_is_found_in_every_campaign_and_event(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = sandbox_settings(box.url, tmp_path)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    await deliver(write_campaign(tmp_path, ["+48500000001", "+16502530000"]), settings)
    await send_event(write_event(tmp_path, ["+16502530000,A1", "+16502530000,A2"]), ticket_settings(box.url, tmp_path))
    found = orjson.loads(find_messages("+1 650-253-0000", as_json=True))
    assert [(one["name"], one["kind"], one["code"], one["state"]) for one in found] == [
        ("sale", "campaign", None, "accepted"),
        ("gala", "event", "A1", "accepted"),
        ("gala", "event", "A2", "accepted"),
    ]
    text = find_messages("+16502530000", as_json=False)
    assert "6502530000" not in text, "the table is masked: it may be shown around"
    assert "no campaign" in find_messages("+48500000009", as_json=False)
    with pytest.raises(InputError, match="expected a number"):
        find_messages("nobody", as_json=False)


def test_it_says_why_a_message_was_suppressed_and_by_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = sandbox_settings("http://127.0.0.1:9", tmp_path)
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    with open_ledger(settings) as ledger:
        suppression.add(ledger, [OptOut(Phone(48500000001), Scope.ALL, "person", "phoned us")], by="ann")
        assert "phoned us" in find_messages("+48500000001", as_json=False), "also where nothing was ever sent to it"
        plan_file(write_campaign(tmp_path, ["+48500000001", "+48500000002"]), settings)
        suppression.remove(ledger, Phone(48500000001), list(Scope), by="bob", why="asked to be back")
    (found,) = orjson.loads(find_messages("+48500000001", as_json=True))
    assert (found["state"], found["error"]) == ("suppressed", "opt-out:person")
    (entry,) = found["suppression"]
    assert (entry["by"], entry["why"], entry["removed_by"], entry["phone"]) == ("ann", "phoned us", "bob", "+48 *** *** 001")
    text = find_messages("+48500000001", as_json=False)
    assert "asked to be back" in text
    assert "500000001" not in text
    (other,) = orjson.loads(find_messages("+48500000002", as_json=True))
    assert (other["state"], other["suppression"]) == ("pending", [])
