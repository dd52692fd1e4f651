"""Planning: a campaign or event file becomes a delivery in the ledger, or is merged into the one that is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from posthorn.delivery.planning.load import load_wish
from posthorn.delivery.planning.merge import Consent, Merge
from posthorn.delivery.planning.wish import Batch, ListReading, Wish
from posthorn.delivery.provider.probe import refuse_ignored_test
from posthorn.delivery.running.locks import try_lock, wait_for_lock
from posthorn.delivery.running.names import process_name
from posthorn.delivery.suppression.optouts import take_refusals
from posthorn.errors import AlreadyRunning, FileChanged, InputError, NotMerged
from posthorn.ledger import deliveries, planning
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.merging import Change
from posthorn.ledger.planning import NewDelivery
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Kind
from posthorn.settings import Settings, SettingsError, load_settings

NOTHING_ACCEPTED = Consent()


async def plan_campaign(path: Path, *, workers: int = 1, consent: Consent = NOTHING_ACCEPTED) -> Delivery:
    """Plan the campaign of that file, or merge it into what is planned. See ``plan_file``.

    Raises:
        SettingsError: several worker processes are to send it, and the ledger cannot serve them.
    """
    settings = load_settings()
    if workers > 1 and settings.database_url.startswith("sqlite"):
        raise SettingsError(
            f"workers: {workers} processes need the ledger on PostgreSQL; set POSTHORN_DATABASE_URL, or send it with one"
        )
    return await asyncio.to_thread(plan_file, path, settings, consent=consent)


async def plan_event(path: Path, *, consent: Consent = NOTHING_ACCEPTED) -> Delivery:
    """Plan the event of that file, or merge it into what is planned. See ``plan_file``."""
    return await asyncio.to_thread(plan_file, path, load_settings(), kind=Kind.EVENT, consent=consent)


def plan_file(
    path: Path, settings: Settings, *, kind: Kind = Kind.CAMPAIGN, consent: Consent = NOTHING_ACCEPTED
) -> Delivery:
    """Plan the campaign or event of that file, or merge it into what is planned; a test is planned anew each time.

    New rows are a wave of their own, known ones stay, missing ones are refused. Rejected rows go to ``<name>.rejects.csv``
    beside the file; they never stop the rest. Codes are generated here, once, and stored before anything is sent. If it is
    killed at any point, it leaves nothing behind.

    Raises:
        InputError: the file, its media or its list cannot be used, or its list needs a person's word; nothing was planned.
        DeliveryChanged: the name is planned with other content; what differs is listed.
        AlreadyRunning: another process plans or sends it right now.
    """
    wish = load_wish(path, kind, settings)
    refuse_if_running(wish)
    with (
        open_ledger(settings) as ledger,
        planning_lock(ledger, wish.name, test=wish.test, has_news=partial(_has_news, wish)),
    ):
        return _plan(ledger, wish, path.parent / f"{wish.name}.rejects.csv", consent)


def _plan(ledger: Ledger, wish: Wish, rejects: Path, consent: Consent) -> Delivery:
    planned = None if wish.test else deliveries.find(ledger, wish.name, test=wish.test)
    merge = Merge(ledger, wish, planned, consent if consent.by else replace(consent, by=process_name()))
    wish.refuse_unsendable(planned, is_new=merge.is_content_new, is_late=merge.is_late)
    if wish.test:
        refuse_ignored_test(ledger, wish.gateway, wish.settings)
    if planned is not None and not merge.is_new:
        as_read = {key: planned.options[key] for key in ("reading",) if key in planned.options}
        deliveries.change_options(ledger, planned, {**merge.options(), **as_read})
        return planned
    new = NewDelivery(
        name=wish.name,
        gateway=wish.gateway.name,
        content=merge.content,
        options=merge.options(),
        chunk_size=wish.chunk_size,
        canary=wish.waves.canary if wish.waves else 0,
        ramp=wish.waves.ramp if wish.waves else (1.0,),
        test=wish.test,
        media=wish.media(),
        rejects_file=str(rejects.absolute()),
        list_hash=merge.list_hash,
    )
    reading = wish.read(rejects)
    refuse_changed_meanwhile(wish, merge, reading)

    def check(_delivery_id: int) -> Change:
        merge.refuse()
        return merge.change(reading, merge.cautions(reading))

    take_refusals(ledger)
    done = planning.plan(ledger, new, _NewRows(merge, reading), check, planned)
    if done is None:
        intake = reading.intake
        problem = f"none of the {intake.input:,} rows of {intake.path} can be sent to; see {rejects}"
        raise InputError(wish.list_key, problem)
    return done


def refuse_changed_meanwhile(wish: Wish, merge: Merge, reading: ListReading) -> None:
    """Refuse a list that was changed while it was read.

    Raises:
        FileChanged: it is not the one whose hash was taken.
    """
    if wish.list_hash(reading.intake.sha256) != merge.list_hash:
        problem = f"{reading.intake.path} was changed while it was planned; nothing was planned, start again"
        raise FileChanged(wish.list_key, problem)


class _NewRows:
    """The rows of a list that are not planned yet, as the ledger takes them."""

    def __init__(self, merge: Merge, reading: ListReading) -> None:
        self._merge, self._reading = merge, reading

    @property
    def invalid(self) -> int:
        return self._reading.intake.invalid

    @property
    def duplicate(self) -> int:
        return self._reading.intake.duplicate

    def __iter__(self) -> Iterator[Batch]:
        return self._merge.new_rows(self._reading)


def refuse_if_running(wish: Wish) -> None:
    """Say at once that the campaign is running elsewhere, before anything is started for it.

    Raises:
        AlreadyRunning: with since when and by whom.
        NotMerged: the same, and the file has changed since that run read it.
    """
    with open_ledger(wish.settings) as ledger:
        planned = deliveries.find(ledger, wish.name, test=wish.test)
        if planned is None:
            return
        try:
            try_lock(ledger, planned)
        except AlreadyRunning as error:
            if not _has_news(wish, planned):
                raise
            raise NotMerged(
                f"{error}. What is new in the file was not merged, because it is running: send it again once that is over"
            ) from None


def _has_news(wish: Wish, planned: Delivery) -> bool:
    """Whether the file has changed since it was last read."""
    return planned.list_hash != wish.list_hash() or planned.content != wish.content()


@contextmanager
def planning_lock(
    ledger: Ledger, name: str, *, test: bool = False, has_news: Callable[[Delivery], bool] = lambda _: False
) -> Iterator[None]:
    """Hold the lock of a campaign or event while it is planned. With ``has_news``, wait while somebody looks after it.

    Raises:
        AlreadyRunning: another process plans or sends it.
        LedgerError: another process has looked after it for ten minutes.
    """
    key = deliveries.lock_key(name, test=test)
    planned = deliveries.find(ledger, name, test=test)
    if planned is not None:
        # A lookup does not use the options. But a look that has begun knows nothing of rows that are merged after it.
        if not try_lock(ledger, planned) and has_news(planned):
            wait_for_lock(ledger, planned)
    elif not ledger.locks.acquire(key):
        raise AlreadyRunning(f"{name} is already running elsewhere: another process is planning it")
    try:
        yield
    finally:
        ledger.locks.release(key)
