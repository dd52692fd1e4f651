"""A word is for one campaign and for exactly the content that was shown; the newest one stands."""

from __future__ import annotations

from posthorn.ledger import approvals
from posthorn.ledger.store.engine import Ledger
from tests.ledger.ledgers import planned

SHOWN, OTHER = "a" * 64, "b" * 64


def test_a_word_about_other_content_is_none_about_this(ledger: Ledger) -> None:
    campaign = planned(ledger)
    approvals.decide(ledger, campaign, SHOWN, approved=True, by="Ada", note="go")
    decision = approvals.decision_on(ledger, campaign, SHOWN)
    assert decision is not None
    assert (decision.approved, decision.by, decision.note) == (True, "Ada", "go")
    assert approvals.decision_on(ledger, campaign, OTHER) is None


def test_a_word_about_one_campaign_is_none_about_another(ledger: Ledger) -> None:
    approvals.decide(ledger, planned(ledger), SHOWN, approved=True, by="Ada")
    assert approvals.decision_on(ledger, planned(ledger, name="other", first=1000), SHOWN) is None


def test_the_newest_word_stands(ledger: Ledger) -> None:
    campaign = planned(ledger)
    for approved, by in (True, "Ada"), (False, "Bo"), (True, "Cleo"), (False, "Dan"):
        approvals.decide(ledger, campaign, SHOWN, approved=approved, by=by)
        decision = approvals.decision_on(ledger, campaign, SHOWN)
        assert decision is not None
        assert (decision.approved, decision.by) == (approved, by)


def test_a_word_wakes_only_the_runs_that_wait_for_that_content(ledger: Ledger) -> None:
    campaign, other = planned(ledger), planned(ledger, name="other", first=1000)
    approvals.ask(ledger, campaign, SHOWN, flow_run_id="run-1")
    approvals.ask(ledger, campaign, SHOWN, flow_run_id="run-2")
    approvals.ask(ledger, other, SHOWN, flow_run_id="run-3")
    assert approvals.decide(ledger, campaign, OTHER, approved=True, by="Ada") == []
    assert approvals.is_asked(ledger, campaign, SHOWN, flow_run_id="run-1")
    assert approvals.decision_on(ledger, campaign, SHOWN) is None
    assert sorted(approvals.decide(ledger, campaign, SHOWN, approved=True, by="Ada")) == ["run-1", "run-2"]
    assert not approvals.is_asked(ledger, campaign, SHOWN, flow_run_id="run-1")
    assert approvals.is_asked(ledger, other, SHOWN, flow_run_id="run-3")


def test_a_question_about_new_content_takes_the_place_of_the_old_one(ledger: Ledger) -> None:
    campaign = planned(ledger)
    approvals.ask(ledger, campaign, SHOWN, flow_run_id="run-1")
    approvals.ask(ledger, campaign, OTHER, flow_run_id="run-1")
    assert not approvals.is_asked(ledger, campaign, SHOWN, flow_run_id="run-1")
    assert approvals.is_asked(ledger, campaign, OTHER, flow_run_id="run-1")


def test_a_question_of_another_run_about_new_content_ends_the_old_one(ledger: Ledger) -> None:
    campaign = planned(ledger)
    approvals.ask(ledger, campaign, SHOWN, flow_run_id="run-1")
    approvals.ask(ledger, campaign, OTHER, flow_run_id="run-2")
    assert not approvals.is_asked(ledger, campaign, SHOWN, flow_run_id="run-1")
    assert approvals.is_asked(ledger, campaign, OTHER, flow_run_id="run-2")


def test_who_is_asked_again_is_asked_anew(ledger: Ledger) -> None:
    campaign = planned(ledger)
    approvals.ask(ledger, campaign, SHOWN)
    approvals.decide(ledger, campaign, SHOWN, approved=False, by="Ada")
    approvals.ask(ledger, campaign, SHOWN)
    approvals.ask(ledger, campaign, SHOWN)
    waits_since = approvals.newest(ledger, campaign)
    assert isinstance(waits_since, float)
    assert approvals.decide(ledger, campaign, SHOWN, approved=True, by="Bo") == []
    newest = approvals.newest(ledger, campaign)
    assert isinstance(newest, approvals.Decision)
    assert newest.by == "Bo"
