"""One campaign's run in this process: its lock, its ledger thread, its pace, and the reason why it stops early.

The run holds the campaign's lock from the first step to the last, so there is one run per campaign. The lock is the
operating system's or the database's: it is free the moment this process dies, and not before. Helpers in other processes
may send for the run: each chunk is claimed by one of them, and each has a lock of its own that says whether it lives.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeAlias, TypeGuard, TypeVar

from posthorn.content.waves import Waves
from posthorn.delivery.limits.budget import Budget
from posthorn.delivery.limits.halting import Halting
from posthorn.delivery.limits.hours import Clock, Gate
from posthorn.delivery.running.ahead import ClaimsAhead
from posthorn.delivery.running.locks import PAUSE_SECONDS, attempts, for_lookup, lock_for_lookup, try_lock
from posthorn.delivery.running.names import new_owner, process_name
from posthorn.delivery.running.pace import Pace
from posthorn.delivery.running.place import account_of
from posthorn.delivery.running.waiting import board, clock_time
from posthorn.errors import Halted, LedgerError, NotRunning, Stopped, Waits
from posthorn.gateways.contract import CampaignGateway, TicketGateway
from posthorn.gateways.registry import by_name
from posthorn.ledger import claiming, claims, deliveries, sending
from posthorn.ledger.deliveries import Delivery, PlannedCampaign, PlannedEvent
from posthorn.ledger.departures import Departures, sweep
from posthorn.ledger.marks import Mark
from posthorn.ledger.spool import Spool, import_spool
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.ledger.store.writer import LedgerWriter
from posthorn.ledger.suppression import Watch
from posthorn.models import Kind
from posthorn.settings import Settings, load_settings
from posthorn.statefolder import check_writable

_logger = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")
_G = TypeVar("_G", bound=CampaignGateway | TicketGateway)
_D_co = TypeVar("_D_co", bound=Delivery, covariant=True)

INTERRUPTED = "the run was interrupted"
"""The reason of a run that Ctrl-C broke off before it could say more."""


class CreditBefore(NamedTuple):
    """Before a run sends: how many messages the account could send, and how many of the delivery may have been taken."""

    left: int
    taken: int


class Run(Generic[_G, _D_co]):
    """What the steps of one run share. ``owner`` names this process in claims; ``stopped`` says why nothing more is sent.

    ``sending_lock_key`` is the lock without which this process may claim nothing. ``mark`` is where its claims are noted
    outside the ledger; it is None until the restore check has let the run send. ``gate`` says when something may be sent,
    ``budget`` what it may cost. ``watch`` is what this process has read of the suppression list, ``credit`` what the
    account could send as the run began.
    A request holds one of the ``slots``; ``ahead`` is about the claims that wait for one.

    A plain class without dataclass fields: Prefect walks dataclasses that it is given as task arguments.
    """

    __slots__ = (
        "_board",
        "_writer",
        "account",
        "ahead",
        "budget",
        "clock",
        "concurrency",
        "credit",
        "delivery",
        "descriptor",
        "gate",
        "gateway",
        "halting",
        "ledger",
        "mark",
        "owner",
        "pace",
        "sending_lock_key",
        "settings",
        "slots",
        "spool",
        "stopped",
        "watch",
    )

    def __init__(
        self, settings: Settings, ledger: Ledger, delivery: _D_co, gateway: _G, pace: Pace, clock: Clock = time.time
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self.delivery = delivery
        self.gateway = gateway
        self.owner = new_owner()
        self.sending_lock_key = delivery.lock_key
        self.mark: Mark | None = None
        self.pace = pace
        self.descriptor = by_name(delivery.gateway)
        self.account = account_of(ledger, self.descriptor, settings)
        self.concurrency = self.account.concurrency
        self.gate = Gate(delivery, settings, self.account.timeout_seconds, clock)
        self.clock = clock
        self.halting = Halting(Waves.of(delivery.options))
        self.budget = Budget(delivery, settings, clock)
        self.slots = asyncio.Semaphore(self.concurrency)
        self.ahead = ClaimsAhead(self.concurrency, Departures(ledger.uuid, self.owner))
        self.spool = Spool(settings.state_dir / "spool", ledger, self.owner)
        self.stopped: Exception | None = None
        self.credit: CreditBefore | None = None
        self.watch = Watch()
        self._writer = LedgerWriter(ledger)
        self._board = board()

    async def do(self, verb: Callable[Concatenate[Ledger, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run one of the ledger's verbs in the ledger's thread; it is durable when this returns."""
        return await self._writer.do(verb, *args, **kwargs)

    async def record(self, verb: Callable[Concatenate[Ledger, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """``do`` for a verb that touches only one claim of this run: several may run at once."""
        return await self._writer.record(verb, *args, **kwargs)

    async def refresh(self) -> None:
        """Read the campaign anew, and stop if another process has stopped or cancelled it meanwhile."""
        self.delivery = await self.do(deliveries.refreshed, self.delivery)
        self.gate.refresh(self.delivery)
        self._stop_as(self.delivery)

    async def recheck(self) -> None:
        """Stop where another process has stopped or cancelled the campaign, and see how long the suppression list is now.

        The campaign's content stays what it was, for the requests that are made of it.
        """
        now, self.ahead.listed = await self.do(claiming.asked_again, self.delivery)
        self._stop_as(now)

    def _stop_as(self, delivery: Delivery) -> None:
        if delivery.cancelled_at is not None:
            self.stop(Stopped(f"{delivery.name} was cancelled"))
        elif delivery.halted_because is not None:
            self.stop(Halted(delivery.halted_because))
        elif delivery.stopped_because is not None:
            self.stop(Stopped(f"it was stopped elsewhere: {delivery.stopped_because}"))

    def stop(self, reason: Exception) -> None:
        """Send nothing more in this run; what is in flight is finished. The first reason stands."""
        self.stopped = self.stopped or reason
        self.pace.wake()

    def is_stopped(self) -> bool:
        """Whether nothing more is to be sent in this run."""
        return self.stopped is not None

    def waiting_for(self, reason: str, until: float | None = None) -> AbstractContextManager[None]:
        """Tell whoever watches the run that the block waits: ``for …`` or ``to …``, and until when (seconds since 1970)."""
        if until is not None:
            _logger.info("%s: the run waits until %s %s", self.delivery.name, clock_time(until), reason)
        return self._board.waiting(reason, until)

    def close(self) -> None:
        """Let the ledger's thread finish its work, then end it, and close the spool."""
        self._writer.close()
        self.spool.close()
        self.ahead.departures.end(self.ledger)
        if self.mark is not None:
            self.mark.close()


CampaignRun: TypeAlias = Run[CampaignGateway, PlannedCampaign]
TicketRun: TypeAlias = Run[TicketGateway, PlannedEvent]
AnyRun: TypeAlias = Run[Any, Delivery]


def can_look_up(run: AnyRun) -> TypeGuard[CampaignRun]:
    """Whether the provider can be asked what it has of the delivery. No provider of tickets can."""
    return isinstance(run.delivery, PlannedCampaign) and run.descriptor.looks_up


@asynccontextmanager
async def open_run(
    name: str, *, test: bool = False, by: str = "", settings: Settings | None = None, clock: Clock = time.time
) -> AsyncIterator[CampaignRun]:
    """Run a planned campaign: hold its lock, and tell the ledger at the end how the run ended.

    Chunks that a dead process left in the middle of a request become unknown first.

    Raises:
        AlreadyRunning: another process runs it.
        DeliveryNotFound: it was never planned.
        SettingsError: credentials are missing.
    """
    async with open_delivery(name, test=test, settings=settings, clock=clock) as run, _running(run, by):
        yield run


@asynccontextmanager
async def open_ticket_run(
    name: str, *, by: str = "", settings: Settings | None = None, clock: Clock = time.time
) -> AsyncIterator[TicketRun]:
    """``open_run`` for a planned event."""
    settings = settings or load_settings()
    async with _open(settings, name, Kind.EVENT, clock=clock) as run, _running(run, by):
        yield run


@asynccontextmanager
async def open_lookup(name: str, *, settings: Settings | None = None) -> AsyncIterator[CampaignRun]:
    """Look after a campaign that nobody runs, without running it. Its reason for having stopped stays, nothing is sent.

    Chunks that a dead process left in the middle of a request become unknown first. A run that is started meanwhile waits.

    Raises:
        AlreadyRunning: another process runs it, or looks after it.
        DeliveryNotFound: it was never planned.
        SettingsError: credentials are missing.
    """
    async with open_delivery(name, settings=settings) as run:
        lock_for_lookup(run.ledger, run.delivery)
        await _take_over(run)
        run.stop(Stopped("this process only looks up what is unknown"))
        yield run


@asynccontextmanager
async def open_helper(
    name: str, *, settings: Settings | None = None, clock: Clock = time.time
) -> AsyncIterator[CampaignRun]:
    """Help another process's run to send. The helper has only a lock of its own, and neither begins nor ends the run.

    It goes on when the other process dies. Whatever stops it stops the whole run, and the other way round.

    Raises:
        NotRunning: nobody runs the campaign, so there is no run to help: it waits for approval, was stopped, or is over.
        DeliveryNotFound: it was never planned.
        SettingsError: credentials are missing.
    """
    async with open_delivery(name, settings=settings, clock=clock) as run:
        if not _is_running(run):
            raise NotRunning(f"nobody runs {name}, so there is no run to help; nothing was sent")
        check_writable(run.spool.folder)
        run.sending_lock_key = claims.owner_key(run.owner)
        run.ledger.locks.acquire(run.sending_lock_key)
        run.ahead.departures.begin()
        await run.do(_import_spool, run.spool)
        try:
            yield run
        except Exception as error:
            run.stop(error)
            raise
        finally:
            stops_all = run.stopped is not None and not isinstance(run.stopped, Waits)
            if stops_all and run.ledger.locks.still_held(run.sending_lock_key):
                deliveries.stop_run(run.ledger, run.delivery, because=_reason(run.stopped) or "a helper stopped")


@asynccontextmanager
async def open_delivery(
    name: str, *, test: bool = False, settings: Settings | None = None, clock: Clock = time.time
) -> AsyncIterator[CampaignRun]:
    """What the steps need of a planned campaign without running it: enough to pull its reports.

    Raises:
        DeliveryNotFound: it was never planned.
        SettingsError: credentials are missing.
    """
    async with _open(settings or load_settings(), name, Kind.CAMPAIGN, test=test, clock=clock) as run:
        yield run


@asynccontextmanager
async def _open(
    settings: Settings, name: str, kind: Kind, *, test: bool = False, clock: Clock = time.time
) -> AsyncIterator[Run[Any, Any]]:
    with open_ledger(settings) as ledger:
        delivery = deliveries.get(ledger, name, test=test, kind=kind)
        gateway = by_name(delivery.gateway)
        account = gateway.account(settings)
        pace = Pace(account.breaker_after, min_interval_seconds=account.min_interval_seconds)
        run: Run[Any, Any] = Run(settings, ledger, delivery, gateway.open(settings), pace, clock)
        try:
            yield run
        finally:
            run.close()
            await run.gateway.aclose()


@asynccontextmanager
async def _running(run: AnyRun, by: str) -> AsyncIterator[None]:
    check_writable(run.spool.folder)
    await _wait_for_lock(run)
    await _take_over(run)
    run.ahead.departures.begin()
    started = await run.do(deliveries.start_run, run.delivery, by=by or process_name())
    try:
        yield
    except BaseException as error:
        run.stop(error if isinstance(error, Exception) else InterruptedError(INTERRUPTED))
        with suppress(LedgerError):  # the first error says more
            _end(run, started)
        raise
    else:
        _end(run, started)


def _end(run: AnyRun, started: float) -> None:
    """Tell the ledger how the run ended: what it waits for now, or why it stopped."""
    if isinstance(run.stopped, Waits):
        deliveries.end_run(run.ledger, run.delivery, started, goes_on_for=run.stopped.reason, goes_on_at=run.stopped.until)
    else:
        deliveries.end_run(run.ledger, run.delivery, started, stopped_because=_reason(run.stopped))


async def _take_over(run: AnyRun) -> None:
    """Settle what dead processes left of a campaign whose lock is ours."""
    run.ledger.locks.acquire(claims.owner_key(run.owner))
    await run.do(_import_spool, run.spool)
    await run.do(sending.abandon_dead, run.delivery)
    await run.do(sweep)


async def _wait_for_lock(run: AnyRun) -> None:
    """Take the lock to run this campaign. While another process only looks after it, wait for that to end.

    Raises:
        AlreadyRunning: another process runs it; with since when and by whom.
        LedgerError: the lookup has not ended for ten minutes.
    """
    if try_lock(run.ledger, run.delivery):
        return
    with run.waiting_for(*for_lookup(run.delivery)):
        for _ in attempts(run.ledger, run.delivery):
            await asyncio.sleep(PAUSE_SECONDS)


def _is_running(run: AnyRun) -> bool:
    """Whether somebody runs the campaign right now. A process that plans it or looks after it holds its lock, too."""
    is_started = run.delivery.run_started_at is not None and run.delivery.stopped_because is None
    return is_started and deliveries.is_run(run.ledger, run.delivery.lock_key)


def _import_spool(ledger: Ledger, spool: Spool) -> int:
    return import_spool(spool.folder, ledger)


def _reason(stopped: Exception | None) -> str | None:
    return None if stopped is None else str(stopped) or type(stopped).__name__
