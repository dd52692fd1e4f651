"""`proof`, as it is typed: asked first, told after, with its exit codes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.commands import Desk, order
from tests.delivery.journey import numbers, write_campaign


def test_a_proof_is_asked_for_sent_and_told(desk: Desk) -> None:
    write_campaign(desk.folder, numbers(2))
    to = ("--to", "+48 600 100 200")
    ended = desk.run("campaign", "proof", "sale.toml", *to)
    assert (ended.code, "--yes" in ended.err) == (2, True)
    ended = desk.run("campaign", "proof", "sale.toml", *to, "--yes", "--json", POSTHORN_SERWERSMS__PRICE_PER_MESSAGE="0.10")
    assert ended.code == 0
    told = ended.json
    sent = {"to": "+48 *** *** 200", "outcome": "taken", "code": None, "problem": None}
    assert (told["name"], told["proofs"], told["cost"]) == ("sale", [sent], "0.1")
    assert "it costs 0.10" in ended.err
    assert "600100200" not in ended.err + ended.out
    another_day = f"{datetime.now(UTC) + timedelta(days=3):%a} 08:00-20:00"
    ended = desk.run("campaign", "proof", "sale.toml", *to, "--yes", POSTHORN_SEND_HOURS=another_day)
    assert (ended.code, "No proof was sent" in ended.err, "outside its hours" in ended.err) == (3, True, True), ended.err
    fault = [{"call": "messages/send_mms", "fault": "reset_after", "at": [1]}]
    order("PUT", desk.variables["POSTHORN_SERWERSMS__BASE_URL"], "faults", fault)
    ended = desk.run("campaign", "proof", "sale.toml", *to, "--yes")
    assert (ended.code, "unknown: it may be on its way" in ended.err) == (3, True)
    found = desk.run("messages", "find", "+48600100200")
    assert found.code == 0
    assert "proofs, which are not a recipient's message" in found.out
    assert [found.out.count(word) for word in (" taken ", " unknown ")] == [1, 1]
