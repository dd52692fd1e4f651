"""Approval: which delivery a person has to see before it is sent, and what the decision covers.

A decision covers exactly what was shown. The content is hashed (what is sent, to how many, the moment, the options). A
delivery whose hash has changed waits again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import TypeAlias, TypeVar

import orjson

from posthorn.delivery.limits.hours import is_wider, own_hours
from posthorn.delivery.planning.wish import Wish
from posthorn.delivery.running.names import process_name
from posthorn.delivery.running.run import AnyRun
from posthorn.errors import DeliveryNotFound, InputError, Stopped
from posthorn.gateways.registry import by_name
from posthorn.ledger import approvals, deliveries, reconciling, totals, waves
from posthorn.ledger.approvals import Decision
from posthorn.ledger.deliveries import Delivery, PlannedCampaign
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.settings import Settings, load_settings

SEND, REFUSE = "send it", "do not send it"
"""The choices in the form of Prefect's Resume dialog."""

_Q = TypeVar("_Q")
Show: TypeAlias = Callable[[Ledger, Delivery, str, Settings], _Q]
"""Turns a delivery and the hash of its content into what a person is shown. The caller hands it in."""


def ask(name: str, show: Show[_Q], *, test: bool = False, flow_run_id: str | None = None) -> _Q | None:
    """What has to be approved before the delivery of that name sends anything more, as ``show`` shows it, or None.

    The question is recorded with the flow run that waits, so that an approval can wake it.

    Raises:
        DeliveryNotFound: it was never planned.
    """
    settings = load_settings()
    with _planned(settings, name, test=test) as (ledger, delivery):
        content = content_of(delivery)
        if not _needs_approval(ledger, delivery, *_word(ledger, delivery), settings=settings):
            return None
        question = show(ledger, delivery, content, settings)  # first: it asks the provider, which may take long
        approvals.ask(ledger, delivery, content, flow_run_id=flow_run_id)
        return question


def decide(name: str, *, approved: bool, by: str, note: str = "", content: str | None = None) -> list[str]:
    """Record a person's decision about the delivery as it is now; returns the flow runs that wait for it.

    A no stops a run that is under way: what has left has left, and nothing more leaves.

    Raises:
        InputError: ``content``, what the person was shown, is not what it is now; nobody is named; or nothing
            is left to send.
        DeliveryNotFound: it was never planned.
    """
    if not by.strip():
        raise InputError("name", "say who decides: it is kept with the decision")
    with _planned(load_settings(), name) as (ledger, delivery):
        now = content_of(delivery)
        if content is not None and content != now:
            raise InputError(name, "it has changed since it was shown; look at it again before you decide")
        counted = totals.totals(ledger, delivery)
        if not (counted["pending"] or counted["sending"] or to_send_again(ledger, delivery, counted)):
            raise InputError(name, "nothing of it is left to send, so there is nothing to decide")
        waiting = approvals.decide(ledger, delivery, now, approved=approved, by=by.strip(), note=note.strip())
        if approved and delivery.halted_because is not None:
            waves.go_on(ledger, delivery)
        if not approved:  # no process claims anything more, for a run or after its death
            deliveries.stop_run(ledger, delivery, because=_refusal(by.strip(), note.strip()))
        return waiting


def is_decided(name: str, *, approved: bool, flow_run_id: str | None) -> bool:
    """Whether that is the decision on the delivery as it is now; then the flow run's own question is answered, too."""
    with _planned(load_settings(), name) as (ledger, delivery):
        content = content_of(delivery)
        decision, _ = _word(ledger, delivery)
        is_asked = approvals.is_asked(ledger, delivery, content, flow_run_id=flow_run_id)
        return decision is not None and decision.approved == approved and not is_asked


def is_cancelled(name: str, *, test: bool = False) -> bool:
    """Whether it was cancelled for good, so that nobody has to decide on it any more."""
    with _planned(load_settings(), name, test=test) as (_, campaign):
        return campaign.cancelled_at is not None


def was_refused(name: str) -> bool:
    """Whether somebody has said no to the delivery as it is planned."""
    try:
        with _planned(load_settings(), name) as (ledger, delivery):
            decision, _ = _word(ledger, delivery)
    except DeliveryNotFound:
        return False
    return decision is not None and not decision.approved


async def refuse_refused(run: AnyRun) -> None:
    """Stop a run that was refused just before it began, or whose list has grown beyond what was approved.

    Raises:
        Stopped: who refused it and why, or that somebody has to be asked first.
    """
    decision, covered = await run.do(_word, run.delivery)
    counted = await run.do(totals.totals, run.delivery)
    may_send = counted["pending"] or await run.do(to_send_again, run.delivery, counted)
    if may_send and decision is not None and not decision.approved:
        raise Stopped(_refusal(decision.by, decision.note))
    if await run.do(_needs_approval, run.delivery, decision, covered, settings=run.settings):
        raise Stopped(
            "another process has merged rows that somebody has to approve; nothing was sent. Run it again: it asks"
        )


async def apply_approval(run: AnyRun) -> None:
    """Let the run send in hours that go beyond the settings', if a person approved that."""
    if is_wider(run.settings.hours(), own_hours(run.delivery.options)):
        decision, _ = await run.do(_word, run.delivery)
        if decision is not None and decision.approved:
            run.gate.widen()


def may_ask(wish: Wish) -> bool:
    """Whether somebody may have to be asked about a delivery, by its file and the settings; the ledger tells for certain."""
    settings = wish.settings
    is_ruled = wish.asks_approval or settings.approve_above is not None or is_wider(settings.hours(), wish.hours)
    return not wish.test and (is_ruled or was_refused(wish.name) or _is_halted(wish.name))


def _is_halted(name: str) -> bool:
    """Whether too much of what was sent of it went wrong, and nobody has decided yet."""
    try:
        with _planned(load_settings(), name) as (_, delivery):
            return delivery.halted_because is not None
    except DeliveryNotFound:
        return False


async def ask_about_halt(run: AnyRun) -> None:
    """Record the question whether a halted campaign may go on. `campaign approve` shows what went wrong, and answers it."""
    await run.do(approvals.ask, run.delivery, content_of(run.delivery))


def _refusal(by: str, note: str) -> str:
    return f"not approved by {by}" + (f": {note}" if note else "")


def approver() -> str:
    """Who decides at this terminal."""
    return process_name().partition(",")[0]


def content_of(delivery: Delivery, planned: int | None = None) -> str:
    """The hash of what a delivery sends and to how many: everything a person is asked to approve.

    ``planned`` is how many messages its waves had planned then; today's number if it is not given.
    """
    options = {key: value for key, value in delivery.options.items() if key not in ("approve", "reading")}
    count = delivery.input - delivery.invalid - delivery.duplicate if planned is None else planned
    halted = [delivery.halted_because] if delivery.halted_because else []
    content = [delivery.name, delivery.gateway, delivery.content.as_kept(), options, count, *halted]
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _word(ledger: Ledger, delivery: Delivery) -> tuple[Decision | None, int]:
    """The newest decision on the delivery's content, and how many of its messages were planned at that time.

    A wave that was planned later is not covered by it.
    """
    counts = accumulate(messages for _, messages, _ in waves.planned(ledger, delivery))
    contents = {content_of(delivery, count): count for count in counts}
    decision = approvals.decision_on(ledger, delivery, *contents)
    return decision, contents[decision.content] if decision is not None else 0


def _needs_approval(
    ledger: Ledger, delivery: Delivery, decision: Decision | None, covered: int, *, settings: Settings
) -> bool:
    """Whether somebody has to be asked: by its file, by the settings, or because somebody said no.

    What was planned after the last decision is asked about once it is more than POSTHORN_APPROVE_ABOVE.
    """
    if delivery.test or delivery.cancelled_at is not None:  # a test sends nothing
        return False
    counted = totals.totals(ledger, delivery)
    if not (counted["pending"] or to_send_again(ledger, delivery, counted)):
        return False
    above, asks = settings.approve_above, bool(delivery.options.get("approve"))
    uncovered = delivery.input - delivery.invalid - delivery.duplicate - covered
    if decision is not None:
        limit = above if above is not None else 0 if asks else uncovered
        return not decision.approved or uncovered > limit
    if delivery.halted_because is not None:
        return True
    is_beyond = is_wider(settings.hours(), own_hours(delivery.options))
    return asks or (above is not None and uncovered > above) or is_beyond


def to_send_again(ledger: Ledger, delivery: Delivery, counted: dict[str, int]) -> int:
    """How many messages of unknown outcome a run may send again if the provider does not list them."""
    if not counted["unknown"] or not by_name(delivery.gateway).looks_up:
        return 0
    is_held = isinstance(delivery, PlannedCampaign) and delivery.content.hold_minutes
    may_resend = is_held or delivery.options.get("resend_unconfirmed")
    return counted["unknown"] if may_resend else reconciling.count_refused(ledger, delivery)


@contextmanager
def _planned(settings: Settings, name: str, *, test: bool = False) -> Iterator[tuple[Ledger, Delivery]]:
    with open_ledger(settings) as ledger:
        yield ledger, deliveries.get(ledger, name, test=test)
