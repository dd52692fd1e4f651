"""What a status says to the person who reads it: what to do next, and nothing that is not so."""

from __future__ import annotations

from typing import Any

import pytest

from posthorn.views.status import status_table

# Why it stopped; what the line after it says to do, and what it must not say.
NEXT = {
    "refused by the provider": ("SerwerSMS error 1012: invalid token", "remove the cause (`posthorn doctor`", "\a"),
    "stopped by a person": ("the run was cancelled", "next: run `posthorn campaign send`", "cause"),
    "killed": (None, "not finished", "cause"),
    "not approved": ("not approved by Ada: wrong text", "next: correct the file", "doctor"),
    "the reason says it already": ("it is older. Run `posthorn campaign reconcile sale --pending`", "--pending", "next:"),
}


@pytest.mark.parametrize("case", NEXT)
def test_what_stopped_says_what_to_do_next(case: str) -> None:
    because, said, unsaid = NEXT[case]
    shown = status_table(status("stopped", because=because))
    assert said in shown
    assert unsaid not in shown


def test_an_event_that_stopped_goes_on_with_the_command_of_events() -> None:
    assert "run `posthorn tickets send`" in status_table({**status("stopped"), "kind": "event"})


def test_only_a_run_that_lives_has_messages_in_a_request_right_now() -> None:
    assert "right now" in status_table(status("running"))
    killed = status_table(status("stopped"))
    assert "right now" not in killed
    assert "the next run looks them up" in killed


def status(state: str, *, because: str | None = None) -> dict[str, Any]:
    totals = {"input": 3, "pending": 2, "sending": 1}
    return {
        "name": "sale",
        "kind": "campaign",
        "state": state,
        "totals": totals,
        "balanced": True,
        "errors": {},
        "test": False,
        "because": because,
        "waiting_until": None,
        "second_copies": 0,
        "contradictory_news": 0,
    }
