"""Reporting: pull what the provider knows of the messages that wait for news, in few requests.

The younger a message, the sooner its report may come, so the more often it is asked about. A chunk is due when the time
since its last question is a quarter of its age. That makes about twenty questions in 72 hours; then it ends as no_report.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Any, Concatenate, ParamSpec, TypeVar

from posthorn.delivery.running.place import account_of
from posthorn.delivery.running.run import CampaignRun, open_delivery
from posthorn.delivery.settling.copies import find_second_copies
from posthorn.errors import AlreadyRunning, GatewayError, InputError
from posthorn.gateways.contract import CampaignGateway
from posthorn.gateways.descriptor import Account, Descriptor
from posthorn.gateways.registry import by_name
from posthorn.ledger import copies, deliveries, reporting
from posthorn.ledger.deliveries import Delivery, PlannedCampaign
from posthorn.ledger.news import apply_parked
from posthorn.ledger.reporting import OpenChunk, ReportQuery
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.ledger.store.writer import LedgerWriter
from posthorn.models import UNREPORTED_STATES, Kind, MessageState
from posthorn.settings import Settings, SettingsError, load_settings

NO_REPORT_AFTER_SECONDS = 72 * 3600
"""Reports come for up to about 72 hours. What is silent longer ends as no_report; a late report still counts."""

SHARE_OF_AGE = 0.25
LEAST_SECONDS_BETWEEN = 9 * 60
"""A little less than the ten minutes between two scheduled pulls, so that one that starts late does not skip a turn."""

_FAILURES_IN_A_ROW = 3
_A_DAY_SECONDS = 24 * 3600
_LOCK = "delivery-reports"
_P = ParamSpec("_P")
_T = TypeVar("_T")
_Do = Callable[..., Awaitable[Any]]


@dataclass(slots=True)
class Pulled:
    """What a pull did: requests made, messages that moved on, messages that ended without a report.

    ``open`` is how many still wait, ``problems`` says which requests failed; what they asked about stays due.
    ``second_copies`` is how many there are in the campaigns that were searched for them.
    """

    requests: int = 0
    moved: int = 0
    expired: int = 0
    open: int = 0
    second_copies: int = 0
    problems: list[str] = field(default_factory=list)


async def pull_reports_of(name: str) -> Pulled:
    """``pull_reports`` for the campaign of that name, beside whatever else is done with it."""
    async with open_delivery(name) as run:
        return await pull_reports(run)


async def pull_reports(run: CampaignRun) -> Pulled:
    """Ask for the reports of every open message, due or not, and move the messages; many ids at a time.

    Side by side, as the account allows, once the provider has answered a first question.

    Raises:
        TryAgain: the provider could not be reached; what was pulled so far is kept.
    """
    pulled = Pulled()
    now = time.time()
    if run.descriptor.looks_up and not run.delivery.test:  # a test sends nothing, so there is nothing to report
        chunks = [chunk.id for chunk in reporting.open_chunks(run.ledger, run.delivery)]
        most = run.descriptor.bounds.ids_per_report
        questions = reporting.questions(run.ledger, chunks, most)
        at_once = 1
        while some := list(islice(questions, at_once)):
            told = await _ask_side_by_side(run.gateway, run.do, some, pulled, most)
            answered = takewhile(lambda one: one[1] is None, told)  # a chunk may reach from one question into the next
            await run.do(reporting.note_asked, [chunk for question, _ in answered for chunk in question.completes], now)
            if (error := next(filter(None, (error for _, error in told)), None)) is not None:
                raise error
            at_once = run.concurrency
    pulled.expired = await _expire(run.do, run.delivery, now)
    pulled.open = sum(chunk.messages for chunk in reporting.open_chunks(run.ledger, run.delivery))
    pulled.second_copies = await find_second_copies(run)
    return pulled


async def pull_due_reports(settings: Settings | None = None, clock: Callable[[], float] = time.time) -> Pulled:
    """Ask about everything that is due, of all campaigns together; apply parked news; end what is silent for 72 hours.

    Beside a campaign that is being sent, too: the ledger checks each move. A request that fails is noted and the
    next one made, unless it is the third in a row or every other would fail alike.

    Raises:
        AlreadyRunning: another process is at it.
    """
    settings = settings or load_settings()
    with open_ledger(settings) as ledger:
        if not ledger.locks.acquire(_LOCK):
            raise AlreadyRunning("the delivery reports are being pulled already, by another process")
        writer = LedgerWriter(ledger)
        try:
            return await _Round(settings, ledger, writer.do, clock()).run()
        finally:
            writer.close()


def is_due(chunk: OpenChunk, delivery: Delivery, now: float) -> bool:
    """Whether it is time to ask about a chunk again: never before its dispatch, and once more when its 72 hours are over."""
    dispatched_at = _dispatched_at(chunk, delivery)
    asked_at = max(dispatched_at, chunk.asked_at or 0.0)
    if now - dispatched_at >= NO_REPORT_AFTER_SECONDS > asked_at - dispatched_at:
        return True
    return now - asked_at >= max(LEAST_SECONDS_BETWEEN, SHARE_OF_AGE * (now - dispatched_at))


def is_search_due(campaign: PlannedCampaign, newest_attempt: float, now: float) -> bool:
    """Whether it is time to look for second copies again. As for reports: the older the last request, the more rarely."""
    age = now - newest_attempt
    sought_at = max(newest_attempt, campaign.copies_sought_at or 0.0)
    if age > NO_REPORT_AFTER_SECONDS:
        return False
    return now - sought_at >= max(LEAST_SECONDS_BETWEEN, SHARE_OF_AGE * age)


def recent_names(settings: Settings | None = None, clock: Callable[[], float] = time.time) -> list[str]:
    """The campaigns and events whose totals reports may still change, or may have changed in the last day."""
    with open_ledger(settings) as ledger:
        since = clock() - NO_REPORT_AFTER_SECONDS - _A_DAY_SECONDS
        waiting = {chunk.campaign_id for chunk in reporting.open_chunks(ledger)}
        records = [record for record in deliveries.all_records(ledger) if not record.test]
        return [record.name for record in records if record.id in waiting or _last_begun(record) > since]


@dataclass(frozen=True, slots=True)
class _AtCampaign:
    """A campaign at its provider, for a look for second copies."""

    descriptor: Descriptor
    account: Account
    gateway: CampaignGateway
    delivery: PlannedCampaign
    through: _Do

    async def do(self, verb: Callable[Concatenate[Ledger, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run one of the ledger's verbs."""
        done: _T = await self.through(verb, *args, **kwargs)
        return done


class _Round:
    """One pull of everything that is due at ``now``."""

    def __init__(self, settings: Settings, ledger: Ledger, do: _Do, now: float) -> None:
        self._settings = settings
        self._ledger = ledger
        self._do = do
        self._now = now
        self._records = {record.id: record for record in deliveries.all_records(ledger) if not record.test}
        self._missed: set[int] = set()
        self._pulled = Pulled()

    async def run(self) -> Pulled:
        """Ask, then end what stays silent."""
        self._pulled.moved += await asyncio.to_thread(apply_parked, self._ledger)
        waiting = self._waiting()
        due = [chunk for chunk in waiting if self._is_due(chunk)]
        suspected = await self._suspected()
        asked = [self._records[chunk.campaign_id].gateway for chunk in due] + [record.gateway for record in suspected]
        refused: SettingsError | None = None
        for name in dict.fromkeys(asked):
            ours = [chunk.id for chunk in due if self._records[chunk.campaign_id].gateway == name]
            try:
                await self._ask_gateway(by_name(name), ours, [record for record in suspected if record.gateway == name])
            except SettingsError as error:  # the other gateways are asked all the same
                refused = error
                self._missed.update(ours)
        await self._end_silent(waiting)
        if refused is not None:
            raise refused
        self._pulled.open = sum(chunk.messages for chunk in self._waiting())
        return self._pulled

    def _waiting(self) -> list[OpenChunk]:
        return [chunk for chunk in reporting.open_chunks(self._ledger) if chunk.campaign_id in self._records]

    def _is_due(self, chunk: OpenChunk) -> bool:
        """Tickets have no reports to pull: postbacks come for them."""
        delivery = self._records[chunk.campaign_id]
        return delivery.kind == Kind.CAMPAIGN and is_due(chunk, delivery, self._now)

    async def _ask_gateway(self, descriptor: Descriptor, due: Sequence[int], suspected: Sequence[PlannedCampaign]) -> None:
        """Ask one gateway about all that is due there. A gateway that cannot be asked is skipped; it may push."""
        if not descriptor.looks_up:
            return
        gateway = descriptor.open(self._settings)
        try:
            await self._ask_about(gateway, due, descriptor)
            await self._seek_copies(descriptor, gateway, suspected)
        finally:
            await gateway.aclose()

    async def _ask_about(self, gateway: CampaignGateway, due: Sequence[int], descriptor: Descriptor) -> None:
        """Ask about all of it; a chunk counts as asked about once all of it was.

        Side by side, as the account allows, for as long as answers come; one after the other before the first and after a
        failure, so that a provider that is away is not asked more often than needed.
        """
        most, at_once = descriptor.bounds.ids_per_report, descriptor.account(self._settings).concurrency
        questions = reporting.questions(self._ledger, due, most)
        failures = answered = 0
        while some := list(islice(questions, at_once if answered and not failures else 1)):
            if failures >= _FAILURES_IN_A_ROW:
                self._missed.update(*(question.chunks for question in some))
                continue
            completed: set[int] = set()
            for question, error in await _ask_side_by_side(gateway, self._do, some, self._pulled, most):
                if error is None:
                    failures, answered = 0, answered + 1
                    completed |= question.completes - self._missed
                else:
                    self._pulled.problems.append(str(error))
                    self._missed |= question.chunks
                    failures = _FAILURES_IN_A_ROW if getattr(error, "stops_run", False) else failures + 1
            await self._do(reporting.note_asked, completed, self._now)

    async def _suspected(self) -> list[PlannedCampaign]:
        """The campaigns whose turn it is and of which some messages may have been taken twice, even if no report is open."""
        newest = await self._do(copies.newest_attempts)
        known = ((self._records.get(one), at) for one, at in newest.items())
        campaigns = [(one, at) for one, at in known if isinstance(one, PlannedCampaign)]
        return [one for one, at in campaigns if is_search_due(one, at, self._now)]

    async def _seek_copies(
        self, descriptor: Descriptor, gateway: CampaignGateway, suspected: Sequence[PlannedCampaign]
    ) -> None:
        account = account_of(self._ledger, descriptor, self._settings)
        for record in suspected:
            try:
                lookup = _AtCampaign(descriptor, account, gateway, record, self._do)
                self._pulled.second_copies += await find_second_copies(lookup, self._now)
            except (GatewayError, InputError) as error:
                self._pulled.problems.append(str(error))

    async def _end_silent(self, waiting: Sequence[OpenChunk]) -> None:
        """End what was silent for too long, except in campaigns about which the provider could not be asked just now."""
        unheard = {chunk.campaign_id for chunk in waiting if chunk.id in self._missed}
        silent = {chunk.campaign_id for chunk in waiting if self._age(chunk) > NO_REPORT_AFTER_SECONDS}
        for campaign_id in sorted(silent - unheard):
            self._pulled.expired += await _expire(self._do, self._records[campaign_id], self._now)

    def _age(self, chunk: OpenChunk) -> float:
        return self._now - _dispatched_at(chunk, self._records[chunk.campaign_id])


async def _ask_side_by_side(
    gateway: CampaignGateway, do: _Do, questions: Sequence[ReportQuery], pulled: Pulled, most: int
) -> list[tuple[ReportQuery, GatewayError | InputError | None]]:
    """Each question, in order, with what went wrong with it."""
    asked = (_ask(gateway, do, question.ids, pulled, most) for question in questions)
    told: list[tuple[ReportQuery, GatewayError | InputError | None]] = []
    for question, answer in zip(questions, await asyncio.gather(*asked, return_exceptions=True), strict=True):
        if answer is not None and not isinstance(answer, (GatewayError, InputError)):
            raise answer
        told.append((question, answer))
    return told


async def _ask(gateway: CampaignGateway, do: _Do, ids: Sequence[str], pulled: Pulled, most: int) -> None:
    """Ask about these, every page of the answer, and move the messages. What was not asked about is passed over.

    If the provider does not show that many at once, it is asked about half of them, and so on.
    """
    try:
        await _ask_at_once(gateway, do, ids, pulled, most)
    except InputError:
        if len(ids) == 1:
            raise
        half = len(ids) // 2
        for some in (ids[:half], ids[half:]):
            await _ask(gateway, do, some, pulled, most)


async def _ask_at_once(gateway: CampaignGateway, do: _Do, ids: Sequence[str], pulled: Pulled, most: int) -> None:
    wanted, seen = frozenset(ids), set[str]()
    page = pages = 1
    while page <= pages:
        pulled.requests += 1
        answer = await gateway.reports(ids=ids, page=page, limit=most)
        new = [one for one in answer.reports if one.provider_id not in seen]
        if page > 1 and not new:
            break  # a page that repeats others
        seen |= {one.provider_id for one in new}
        moved = await do(reporting.apply_reports, [one for one in new if one.provider_id in wanted])
        pulled.moved += moved  # a statement of its own: others count meanwhile
        page, pages = page + 1, min(answer.pages, len(ids))


async def _expire(do: _Do, delivery: Delivery, now: float) -> int:
    send_at, hold_seconds = _delay(delivery)
    silent_since = now - NO_REPORT_AFTER_SECONDS
    if send_at > silent_since:
        return 0
    states = UNREPORTED_STATES if send_at or hold_seconds else (MessageState.ACCEPTED,)
    expired: int = await do(reporting.expire, delivery, sent_before=silent_since - hold_seconds, states=states)
    return expired


def _last_begun(delivery: Delivery) -> float:
    return max(delivery.run_started_at or delivery.created_at, _delay(delivery)[0])


def _dispatched_at(chunk: OpenChunk, delivery: Delivery) -> float:
    """When the provider was to hand on the messages of a chunk; their age counts from then."""
    return max(chunk.sent_at + _delay(delivery)[1], chunk.send_at)


def _delay(delivery: Delivery) -> tuple[float, float]:
    """The moment of dispatch that the campaign's file names (0 if it names none), and the seconds it has chunks held."""
    if not isinstance(delivery, PlannedCampaign):
        return 0.0, 0.0
    content = delivery.content
    return content.send_at.timestamp() if content.send_at else 0.0, content.hold_seconds
