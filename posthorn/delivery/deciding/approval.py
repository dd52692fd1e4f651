"""Approval: what a person is shown before the first send of a large delivery, and what their word is good for.

The word is for exactly what was shown. The content is hashed (what is sent, to how many, the moment, the options), and a
delivery whose hash is another waits again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any

import orjson
from tabulate import tabulate

from posthorn.content import moments
from posthorn.content.amounts import cost, money
from posthorn.content.definition import CampaignContent, Content, EventContent
from posthorn.content.waves import Waves
from posthorn.delivery.limits.hours import effective_hours, is_wider, own_hours
from posthorn.delivery.planning.wish import Wish
from posthorn.delivery.running.run import AnyRun, process_name
from posthorn.errors import DeliveryNotFound, GatewayError, InputError, Stopped
from posthorn.gateways.descriptor import Account, Descriptor
from posthorn.gateways.registry import by_name
from posthorn.ledger import approvals, costs, deliveries, history, media, reconciling, sending, totals, waves
from posthorn.ledger.approvals import Decision
from posthorn.ledger.deliveries import Delivery, PlannedCampaign
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Kind, Media
from posthorn.prices import amount
from posthorn.settings import Settings, load_settings

SEND, REFUSE = "send it", "do not send it"
"""The words of a decision, as the form of Prefect's Resume dialog has them."""

_GUESSED_SECONDS = 1.0
"""What a request may take, where none of this ledger tells."""


@dataclass(frozen=True, slots=True)
class Question:
    """A delivery that waits for a person's word; ``rows`` are (what, value) for a table, without any number of a person."""

    kind: Kind
    name: str
    content: str
    rows: list[tuple[str, str]]
    media: Sequence[Media] = ()

    def as_text(self) -> str:
        """The question as a table."""
        return tabulate(self.rows, tablefmt="simple_outline", disable_numparse=True)


def question_of(name: str, *, test: bool = False, flow_run_id: str | None = None) -> Question | None:
    """What has to be approved before the delivery of that name sends anything more, or None when nothing has to be.

    Asking is written down, with the flow run that waits, so that an approval can wake it.

    Raises:
        DeliveryNotFound: it was never planned.
    """
    settings = load_settings()
    with _planned(settings, name, test=test) as (ledger, campaign):
        content = content_of(campaign)
        if not _needs_approval(ledger, campaign, *_word(ledger, campaign), settings=settings):
            return None
        question = _question(ledger, campaign, content, settings)  # first: it asks the provider, which may take long
        approvals.ask(ledger, campaign, content, flow_run_id=flow_run_id)
        return question


def decide(name: str, *, approved: bool, by: str, note: str = "", content: str | None = None) -> list[str]:
    """Write down a person's word about the delivery as it is now; returns the flow runs that wait for it.

    A no stops a run that is under way: what has left has left, nothing more does.

    Raises:
        InputError: ``content``, what the person was shown, is not what it is now; nobody is named; or nothing
            is left to send.
        DeliveryNotFound: it was never planned.
    """
    if not by.strip():
        raise InputError("name", "say who decides: it is kept with the decision")
    with _planned(load_settings(), name) as (ledger, campaign):
        now = content_of(campaign)
        if content is not None and content != now:
            raise InputError(name, "it has changed since it was shown; look at it again before you decide")
        counted = totals.totals(ledger, campaign)
        if not (counted["pending"] or counted["sending"] or _to_send_again(ledger, campaign, counted)):
            raise InputError(name, "nothing of it is left to send, so there is nothing to decide")
        waiting = approvals.decide(ledger, campaign, now, approved=approved, by=by.strip(), note=note.strip())
        if approved and campaign.halted_because is not None:
            waves.go_on(ledger, campaign)
        if not approved:  # whoever sends, for a run or after its death, claims nothing more
            deliveries.stop_run(ledger, campaign, because=_refusal(by.strip(), note.strip()))
        return waiting


def is_decided(name: str, *, approved: bool, flow_run_id: str | None) -> bool:
    """Whether that is the word on the delivery as it is now, and the flow run's own question is answered, too."""
    with _planned(load_settings(), name) as (ledger, campaign):
        content = content_of(campaign)
        decision, _ = _word(ledger, campaign)
        is_asked = approvals.is_asked(ledger, campaign, content, flow_run_id=flow_run_id)
        return decision is not None and decision.approved == approved and not is_asked


def was_refused(name: str) -> bool:
    """Whether somebody has said no to the delivery as it is planned."""
    try:
        with _planned(load_settings(), name) as (ledger, campaign):
            decision, _ = _word(ledger, campaign)
    except DeliveryNotFound:
        return False
    return decision is not None and not decision.approved


async def refuse_refused(run: AnyRun) -> None:
    """Stop a run that somebody refused in the moment before it began, or whose list grew in it beyond what was approved.

    Raises:
        Stopped: with who refused it, and why; or that somebody has to be asked first.
    """
    decision, covered = await run.do(_word, run.delivery)
    counted = await run.do(totals.totals, run.delivery)
    may_send = counted["pending"] or await run.do(_to_send_again, run.delivery, counted)
    if may_send and decision is not None and not decision.approved:
        raise Stopped(_refusal(decision.by, decision.note))
    if await run.do(_needs_approval, run.delivery, decision, covered, settings=run.settings):
        raise Stopped(
            "another process has merged rows that somebody has to approve; nothing was sent. Run it again: it asks"
        )


async def heed_approval(run: AnyRun) -> None:
    """Have the run send in hours that go beyond those of the house, where a person approved that."""
    if is_wider(run.settings.hours(), own_hours(run.delivery.options)):
        decision, _ = await run.do(_word, run.delivery)
        if decision is not None and decision.approved:
            run.gate.widen()


def may_ask(wish: Wish) -> bool:
    """Whether somebody may have to be asked about a delivery, by its file and the rules of the house; a look tells."""
    settings = wish.settings
    is_ruled = wish.asks_approval or settings.approve_above is not None or is_wider(settings.hours(), wish.hours)
    return not wish.test and (is_ruled or was_refused(wish.name) or _is_halted(wish.name))


def _is_halted(name: str) -> bool:
    """Whether too much of what was sent of it went wrong, and nobody has decided yet."""
    try:
        with _planned(load_settings(), name) as (_, campaign):
            return campaign.halted_because is not None
    except DeliveryNotFound:
        return False


async def ask_about_halt(run: AnyRun) -> None:
    """Ask, in the ledger, whether a halted campaign may go on: `campaign approve` answers, and shows what went wrong."""
    await run.do(approvals.ask, run.delivery, content_of(run.delivery))


def _refusal(by: str, note: str) -> str:
    return f"not approved by {by}" + (f": {note}" if note else "")


def shown(kind: Kind, name: str) -> Question:
    """A delivery of that kind as whoever decides has to see it, whether or not an approval is asked for."""
    settings = load_settings()
    with _planned(settings, name, kind=kind) as (ledger, campaign):
        return _question(ledger, campaign, content_of(campaign), settings)


def approver() -> str:
    """Who decides at this terminal."""
    return process_name().partition(",")[0]


def content_of(campaign: Delivery, planned: int | None = None) -> str:
    """The hash of what a delivery sends and to how many: everything a person is asked to approve.

    ``planned`` is how many messages its waves had planned then, today's where it is not given.
    """
    options = {key: value for key, value in campaign.options.items() if key not in ("approve", "reading")}
    count = campaign.input - campaign.invalid - campaign.duplicate if planned is None else planned
    halted = [campaign.halted_because] if campaign.halted_because else []
    content = [campaign.name, campaign.gateway, campaign.content.as_kept(), options, count, *halted]
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _word(ledger: Ledger, campaign: Delivery) -> tuple[Decision | None, int]:
    """The newest word on the delivery's content, and how many of its messages were planned when it was given.

    A wave that was planned later is not covered by it.
    """
    counts = accumulate(messages for _, messages, _ in waves.planned(ledger, campaign))
    contents = {content_of(campaign, count): count for count in counts}
    decision = approvals.decision_on(ledger, campaign, *contents)
    return decision, contents[decision.content] if decision is not None else 0


def _needs_approval(
    ledger: Ledger, campaign: Delivery, decision: Decision | None, covered: int, *, settings: Settings
) -> bool:
    """Whether somebody has to be asked: by its file, by the rule of the house, or because somebody said no.

    What was planned after the last word is asked about once it is more than the house lets go unasked.
    """
    if campaign.test or campaign.cancelled_at is not None:  # a test sends nothing
        return False
    counted = totals.totals(ledger, campaign)
    if not (counted["pending"] or _to_send_again(ledger, campaign, counted)):
        return False
    above, asks = settings.approve_above, bool(campaign.options.get("approve"))
    uncovered = campaign.input - campaign.invalid - campaign.duplicate - covered
    if decision is not None:
        limit = above if above is not None else 0 if asks else uncovered
        return not decision.approved or uncovered > limit
    if campaign.halted_because is not None:
        return True
    is_beyond = is_wider(settings.hours(), own_hours(campaign.options))
    return asks or (above is not None and uncovered > above) or is_beyond


def _to_send_again(ledger: Ledger, campaign: Delivery, counted: dict[str, int]) -> int:
    """How many messages of unknown outcome a run may send again, where the provider does not list them."""
    if not counted["unknown"] or not by_name(campaign.gateway).looks_up:
        return 0
    is_held = isinstance(campaign, PlannedCampaign) and campaign.content.hold_minutes
    may_resend = is_held or campaign.options.get("resend_unconfirmed")
    return counted["unknown"] if may_resend else reconciling.count_refused(ledger, campaign)


def _question(ledger: Ledger, campaign: Delivery, content_hash: str, settings: Settings) -> Question:
    counted = totals.totals(ledger, campaign)
    requests = len(sending.pending_chunks(ledger, campaign))
    items = [item.media for item in media.of(ledger, campaign)]
    rejected = counted["invalid"] + counted["duplicate"]
    again = _to_send_again(ledger, campaign, counted)
    gateway = by_name(campaign.gateway)
    account = gateway.account(settings)
    content = campaign.content
    rows = [
        (campaign.kind.name.lower(), campaign.name),
        *(_message_rows(content, items) if isinstance(content, CampaignContent) else _ticket_rows(content)),
        (f"{campaign.kind.item}s to send", f"{counted['pending']:,} of {counted['input']:,} rows"),
        *([("to send again if not listed", f"{again:,} of unknown outcome")] if again else []),
        *([("not to be messaged", f"{counted['suppressed']:,} are suppressed")] if counted["suppressed"] else []),
        ("rejected rows", f"{rejected:,}, see {campaign.rejects_file}" if rejected else "none"),
        ("requests", f"{requests:,}"),
        ("cost", _cost_words(ledger, campaign, counted["pending"], account)),
        *_max_cost(campaign),
        *([("credit left", _credit(gateway, settings))] if isinstance(content, CampaignContent) else []),
        ("expected duration", _duration(ledger, campaign, requests, account.concurrency)),
        *_dispatch(content, account.timezone, settings.timezone),
        *_hours(campaign, settings),
        *_waves(ledger, campaign),
        *_as_read(campaign.options.get("reading", {})),
        ("content", content_hash[:12]),
    ]
    return Question(campaign.kind, campaign.name, content_hash, rows, items)


def _message_rows(content: CampaignContent, items: Sequence[Media]) -> list[tuple[str, str]]:
    """What each message of a campaign is."""
    sources = [item.source for item in items]
    return [("title", content.title), ("text", content.text or "none"), ("media", ", ".join(sources) or "none")]


def _ticket_rows(content: EventContent) -> list[tuple[str, str]]:
    """What each ticket of an event is; the words are the attendees' own columns where a placeholder stands."""
    rows = [("stored MMS", content.mms_id), ("from", content.sender)]
    rows += [("campaign", content.campaign_ref)] if content.campaign_ref else []
    rows += [("subject", content.custom_subject)] if content.custom_subject else []
    return rows + [(f"text of slide {slide}", text) for slide, text in content.custom_texts.items()]


def _cost_words(ledger: Ledger, campaign: Delivery, messages: int, account: Account) -> str:
    if account.price_per_message is None or account.tariff is None:
        return f"unknown: {by_name(campaign.gateway).variables}__PRICE_PER_MESSAGE is not set"
    if not account.prices:
        return cost(messages, account.price_per_message)
    return f"{money(amount(costs.pending_cost(ledger, campaign, account.tariff)))} ({messages:,} by country prefix)"


def _max_cost(campaign: Delivery) -> list[tuple[str, str]]:
    most = campaign.options.get("max_cost")
    return [("at most", f"{money(Decimal(most))}: it stops before more is spent")] if most else []


def _credit(descriptor: Descriptor, settings: Settings) -> str:
    async def ask() -> str:
        gateway = descriptor.open(settings)
        try:
            credit = await gateway.credit()
        finally:
            await gateway.aclose()
        if not credit.available:
            return "none: the account may not send MMS"
        return "no limit" if credit.left is None else f"{credit.left:,} messages"

    try:
        return asyncio.run(ask())
    except GatewayError as error:
        return f"not known ({error})"


def _duration(ledger: Ledger, campaign: Delivery, chunks: int, concurrency: int) -> str:
    measured = history.seconds_per_request(ledger, campaign.gateway)
    seconds = (_GUESSED_SECONDS if measured is None else measured) * chunks / concurrency
    basis = "if a request takes 1 s" if measured is None else f"at {measured:.2f} s a request, as lately"
    return f"{timedelta(seconds=max(1, round(seconds)))} ({concurrency} at a time, {basis})"


def _as_read(reading: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was inferred when the list was planned, and what is doubtful."""
    column = [("numbers from", f'column "{reading["column"]}"')] if reading.get("column") else []
    return column + [("warning", message) for message in reading.get("warnings", ())]


def _hours(campaign: Delivery, settings: Settings) -> list[tuple[str, str]]:
    house, own = settings.hours(), own_hours(campaign.options)
    hours = effective_hours(house, own, is_approved=True)
    wider = f", beyond those of the house ({house})" if is_wider(house, own) else ""
    return [("hours", f"{hours} ({settings.timezone}){wider}")] if hours else []


def _waves(ledger: Ledger, campaign: Delivery) -> list[tuple[str, str]]:
    """How it goes out, and what became of the wave that was halted."""
    plan = Waves.of(campaign.options)
    rows = [("waves", str(plan))] if plan else []
    if campaign.halted_because is not None:
        rows.append(("halted", campaign.halted_because))
        if campaign.open_wave is not None:
            rows += waves.outcomes(ledger, campaign, campaign.open_wave).as_rows(f"wave {campaign.open_wave}")
    return rows


def _dispatch(content: Content, provider_zone: str, own_zone: str) -> list[tuple[str, str]]:
    """When the provider hands a campaign's messages on; tickets go with their requests."""
    if isinstance(content, EventContent):
        return []
    if content.send_at is not None:
        return [("dispatch", moments.shown(content.send_at, provider_zone, own_zone))]
    return [("dispatch", f"{content.hold_minutes} minutes after each request" if content.hold_minutes else "at once")]


@contextmanager
def _planned(
    settings: Settings, name: str, *, test: bool = False, kind: Kind | None = None
) -> Iterator[tuple[Ledger, Delivery]]:
    with open_ledger(settings) as ledger:
        yield ledger, deliveries.get(ledger, name, test=test, kind=kind)
