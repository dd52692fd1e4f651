"""One number's history, over campaigns and events."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from posthorn.delivery.find import find_messages
from posthorn.errors import InputError
from posthorn.sandbox.server import Sandbox
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
