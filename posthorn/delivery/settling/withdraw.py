"""Withdrawing what the provider still holds: surplus copies of a held campaign, or everything when it is cancelled.

messages/delete and the states of messages/reports are documented; that both work for MMS is inferred (see
docs/reliability.md), so what was withdrawn is believed only when the provider's own listing shows that it is gone, and shows
at the same time that it lists what is there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from posthorn.delivery.running.run import AnyRun, CampaignRun, can_look_up, open_lookup, open_run, open_ticket_run
from posthorn.delivery.settling.copies import all_pages, find_second_copies, look_for_copies, suspect_pages
from posthorn.delivery.settling.hold import note_last_look
from posthorn.delivery.settling.listing import LISTED_SECONDS, settle_seconds
from posthorn.delivery.settling.reconcile import Reconciled, reconcile
from posthorn.delivery.settling.restore_check import refuse_to_cancel
from posthorn.errors import AlreadyRunning, GatewayError, InputError
from posthorn.gateways.registry import by_name
from posthorn.ledger import copies, deliveries, reporting, sending, totals
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import LEFT_STATES, Kind, MessageState, Report
from posthorn.settings import load_settings

_CONTROLS = 3
"""How many messages are withdrawn last: until then, a listing that shows none of them proves nothing."""
_PAUSES_SECONDS = (0.0, 1.0, 3.0)
"""The wait before each round: a listing may still show for a moment what was withdrawn."""
_WAIT_FOR_RUN_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What a cancellation did: never sent, withdrawn at the provider, already out, still kept there, unknown.

    ``problem`` is why the provider could not be asked for all of it.
    """

    never_sent: int
    withdrawn: int
    went_out: int
    still_scheduled: int
    unknown: int
    problem: GatewayError | InputError | None = None


@dataclass(slots=True)
class _Asked:
    """What was to be withdrawn: the ids that were listed at some time, and the error that a request ended with."""

    seen: set[str] = field(default_factory=set)
    problem: GatewayError | None = None


async def cancel_delivery(kind: Kind, name: str) -> Cancelled:
    """Stop a campaign or an event for good: claim nothing more, withdraw everything the provider still holds.

    A run in another process stops by itself at its next claim; this waits for that. If the provider holds nothing back,
    what has left has left.

    Raises:
        AlreadyRunning: the run did not stop within two minutes; what is pending is cancelled all the same.
        Stopped: the ledger is older than what was sent; nothing was cancelled.
        SettingsError: credentials are missing; nothing was cancelled.
    """
    before, never_sent = await asyncio.to_thread(_stop_claims, kind, name)
    opened: Callable[..., AbstractAsyncContextManager[AnyRun]] = open_ticket_run if kind is Kind.EVENT else open_run
    deadline = time.monotonic() + _WAIT_FOR_RUN_SECONDS
    while True:
        try:
            async with opened(name, by="cancel") as run:
                never_sent += await run.do(deliveries.cancel, run.delivery)
                await run.refresh()
                problem = await _look_and_withdraw(run) if can_look_up(run) else None
                counted = await run.do(totals.totals, run.delivery)
                withdrawn = counted["cancelled"] - before - never_sent  # by this process, or by the run that ended for it
                out = sum(counted[state.name.lower()] for state in LEFT_STATES)
                return Cancelled(never_sent, withdrawn, out, counted["scheduled"], counted["unknown"], problem)
        except AlreadyRunning:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(1)


async def _look_and_withdraw(run: CampaignRun) -> GatewayError | InputError | None:
    """Look up what is unknown and withdraw everything; returns why the provider could not be asked for all, if so."""
    await note_last_look(run)
    begun = time.time()
    problem: GatewayError | InputError | None = None
    for step in (reconcile, withdraw_unwanted):
        try:
            await step(run)
        except (GatewayError, InputError) as error:  # what can be withdrawn is, though a lookup fails
            problem = error
    if problem is None:
        await note_last_look(run, after=begun)
    return problem


async def reconcile_named(name: str) -> Reconciled:
    """Look up what is unknown in the campaign of that name, look for second copies, and withdraw what must not go out.

    Nothing is sent, and what was stopped stays stopped.

    Raises:
        AlreadyRunning: it is being sent; the run reconciles at its own end.
    """
    async with open_lookup(name) as run:
        begun = time.time()
        done = await reconcile(run)
        await withdraw_unwanted(run)
        await find_second_copies(run)
        await note_last_look(run, after=begun)
        return done


async def withdraw_unwanted(run: CampaignRun) -> int:
    """Withdraw what must not go out: all of a cancelled campaign, and surplus copies that the provider still keeps.

    Returns how many were.

    Raises:
        TryAgain: the provider could not be asked; may be repeated.
    """
    if not (run.descriptor.withdraws and run.descriptor.looks_up):  # what was withdrawn is only believed once it is seen
        return 0
    withdrawn = await withdraw_scheduled(run) if run.delivery.cancelled_at is not None else 0
    if await run.do(sending.may_be_kept, run.delivery):
        withdrawn += await withdraw_surplus(run)
    return withdrawn


async def withdraw_scheduled(run: CampaignRun) -> int:
    """Withdraw every scheduled message of the campaign; returns how many surely were.

    The youngest are kept back as controls and withdrawn last: a listing that shows one of them, and not what was withdrawn
    before, tells the truth. An empty one tells nothing.

    Raises:
        TryAgain: the provider could not be asked; what it surely withdrew is recorded.
    """
    withdrawn = 0
    asked = _Asked()
    most = run.descriptor.bounds.ids_per_report
    for pause in _PAUSES_SECONDS:
        controls = await run.do(reporting.newest_ids_in, run.delivery, MessageState.SCHEDULED, _CONTROLS)
        if len(controls) < _CONTROLS or (await _scheduled(run)) <= _CONTROLS:
            break
        await asyncio.sleep(pause)
        for ids in reporting.ids_in(run.ledger, run.delivery, (MessageState.SCHEDULED,), most - _CONTROLS):
            if some := [one for one in ids if one not in controls]:
                gone = await _withdraw_beside(run, some, controls, asked)
                withdrawn += await run.do(reporting.mark_cancelled, gone)
    for ids in reporting.ids_in(run.ledger, run.delivery, (MessageState.SCHEDULED,), most):
        withdrawn += await run.do(reporting.mark_cancelled, await _withdraw_viewed(run, ids, asked))
    if asked.problem is not None and await _scheduled(run):
        raise asked.problem
    return withdrawn


async def withdraw_surplus(run: CampaignRun) -> int:
    """Withdraw copies beyond the first of every number that was sent to again; returns how many surely were.

    What cannot be withdrawn stays among the campaign's second copies.

    Raises:
        TryAgain: the provider could not be asked; may be repeated.
    """
    withdrawn = 0
    asked = _Asked()
    for pause in _PAUSES_SECONDS:
        async for suspects in suspect_pages(run):
            await look_for_copies(run, suspects)
        held = [
            one for one, state in (await run.do(copies.counted, run.delivery)).items() if state == MessageState.SCHEDULED
        ]
        if not held:
            break
        await asyncio.sleep(pause)
        most = run.descriptor.bounds.ids_per_report
        for at in range(0, len(held), most):
            gone = await _withdraw_viewed(run, held[at : at + most], asked)
            await run.do(copies.mark_withdrawn, gone)
            withdrawn += len(gone)
        if withdrawn >= len(held):
            break
    if asked.problem is not None and not withdrawn:
        raise asked.problem
    return withdrawn


async def _withdraw_beside(run: CampaignRun, ids: Sequence[str], controls: Sequence[str], asked: _Asked) -> list[str]:
    """Have these messages withdrawn; returns those that surely were.

    The provider counts what it withdrew but does not name it. If its listing shows a control, those are gone that it listed
    before and no longer lists; or all that it does not list, if it withdrew that many.
    """
    count = await _ask(run, ids, asked)
    after = await _reports_of(run, [*ids, *controls])
    await _apply(run, after, ids)
    listed = {report.provider_id for report in after}
    if not listed.intersection(controls):
        return []
    gone = [one for one in ids if one not in listed]
    return gone if len(gone) <= count else [one for one in gone if one in asked.seen]


async def _withdraw_viewed(run: CampaignRun, ids: Sequence[str], asked: _Asked) -> list[str]:
    """Have these messages withdrawn without a control beside them; returns those that surely were.

    Each one that is no longer listed is asked about by its id. Only the provider's word that it has none counts, and only
    for a message that it listed before, or that was sent so long ago that the listing has caught up.
    """
    await _ask(run, ids, asked)
    after = await _reports_of(run, ids)
    listed = {report.provider_id for report in after}
    is_caught_up = await _is_caught_up(run)
    gone = []
    for one in ids:
        if one not in listed and (one in asked.seen or is_caught_up):
            try:
                report = await run.gateway.view_message(one)
            except GatewayError as error:
                asked.problem = error
                continue
            if report is None:
                gone.append(one)
            else:
                after.append(report)
    await _apply(run, after, ids)
    return gone


async def _ask(run: CampaignRun, ids: Sequence[str], asked: _Asked) -> int:
    """Remember which of these are listed, then have them withdrawn; returns how many the provider says it withdrew."""
    asked.seen.update(report.provider_id for report in await _reports_of(run, ids))
    try:
        count, _ = await run.gateway.withdraw(ids)
    except GatewayError as error:
        asked.problem = error  # it may have been done all the same
        return 0
    return count


async def _apply(run: CampaignRun, reports: Sequence[Report], ids: Sequence[str]) -> None:
    """Move the messages that were asked about; other entries of the answer are ignored."""
    await run.do(reporting.apply_reports, [report for report in reports if report.provider_id in ids])


async def _is_caught_up(run: CampaignRun) -> bool:
    """Whether it was sent long ago enough to be listed, and recently enough to be still listed."""
    span = await run.do(copies.span_of_attempts, run.delivery)
    now = time.time()
    return (
        span is not None
        and now - span[0] < LISTED_SECONDS
        and now - span[1] > settle_seconds(run.account, run.delivery.content.hold_minutes)
    )


async def _scheduled(run: CampaignRun) -> int:
    return int((await run.do(totals.totals, run.delivery))["scheduled"])


async def _reports_of(run: CampaignRun, ids: Sequence[str]) -> list[Report]:
    return await all_pages(run.gateway, ids=ids, limit=run.descriptor.bounds.ids_per_report)


def _stop_claims(kind: Kind, name: str) -> tuple[int, int]:
    """How many messages were cancelled before, and how many are now because nothing more is sent."""
    settings = load_settings()
    with open_ledger(settings) as ledger:
        delivery = deliveries.get(ledger, name, kind=kind)
        by_name(delivery.gateway).check_credentials(settings)  # what follows needs them: all of it is done, or nothing
        refuse_to_cancel(settings, ledger, delivery)
        return totals.totals(ledger, delivery)["cancelled"], deliveries.cancel(ledger, delivery)
