"""What a command says of a campaign that is over, was only a test, or waits for somebody who is not there."""

from __future__ import annotations

from tests.commands import Desk
from tests.delivery.journey import numbers, write_campaign


def test_what_is_finished_or_cancelled_is_said_to_be(quick_desk: Desk) -> None:
    write_campaign(quick_desk.folder, numbers(60))
    first = quick_desk.run("campaign", "send", "sale.toml")
    assert f"its ledger is new: {quick_desk.folder.resolve() / '.posthorn' / 'ledger.db'}" in first.err
    approved = quick_desk.run("campaign", "approve", "sale", "--yes", USER="", LOGNAME="ops")
    assert (approved.code, "nothing of it is left to send" in approved.err) == (2, True), approved.err
    assert quick_desk.run("campaign", "cancel", "sale").code == 0
    for verb in ("send", "check"):
        ended = quick_desk.run("campaign", verb, "sale.toml")
        assert (ended.code, "sale was cancelled for good" in ended.err) == (2, True), ended.err


def test_nobody_is_asked_where_there_is_no_terminal(quick_desk: Desk) -> None:
    write_campaign(quick_desk.folder, numbers(60), approve="true")
    assert quick_desk.run("campaign", "send", "sale.toml").code == 3
    ended = quick_desk.run("campaign", "approve", "sale")
    assert (ended.code, "add --yes" in ended.err) == (2, True), ended.err
    assert quick_desk.run("campaign", "approve", "sale", "--yes", USER="", LOGNAME="ops").err.startswith(
        "sale: approved by ops"
    )


def test_a_test_is_not_taken_for_a_campaign(quick_desk: Desk) -> None:
    write_campaign(quick_desk.folder, numbers(60), test="true")
    assert quick_desk.run("campaign", "send", "sale.toml").code == 0
    ended = quick_desk.run("campaign", "status", "sale")
    assert (ended.code, "`posthorn campaign status sale --test`" in ended.err) == (2, True), ended.err
