"""Checking: everything that can be known about a campaign or an event before anything is sent, or even planned.

``check`` and ``send`` ask the same functions: what one of them refuses, the other does too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from posthorn.content.campaign import load_campaign
from posthorn.content.definition import CampaignContent, Content
from posthorn.content.event import AttendeeIntake
from posthorn.content.plain import plain
from posthorn.content.recipients.phones import country_of, is_landline, rejected_kinds
from posthorn.content.warnings import Caution
from posthorn.delivery.limits.budget import beyond
from posthorn.delivery.limits.hours import Dispatch, is_wider, shown_hours
from posthorn.delivery.limits.passed import refuse_passed
from posthorn.delivery.planning.campaignwish import CampaignWish
from posthorn.delivery.planning.checked import Checked, Merged, Reading
from posthorn.delivery.planning.eventwish import EventWish
from posthorn.delivery.planning.load import load_wish
from posthorn.delivery.planning.merge import Consent, Merge
from posthorn.delivery.planning.wish import Batch, ListReading, Wish
from posthorn.delivery.provider.probe import hold_words, refuse_ignored_test
from posthorn.delivery.suppression.optouts import unheard_refusals
from posthorn.errors import InputError
from posthorn.gateways import registry
from posthorn.ledger import deliveries, suppression, totals
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Kind, Phone
from posthorn.prices import Tariff, amount
from posthorn.settings import Settings, load_settings

MAX_REJECTS = 100_000  # a file with more than that is the wrong file
_FIRST_ROWS = 10
NOTHING_ACCEPTED = Consent()


def check_campaign(path: Path, consent: Consent = NOTHING_ACCEPTED) -> Checked:
    """Check the campaign of that file; nothing is sent, planned or written.

    Raises:
        InputError: it could not be sent; every problem is named.
        DeliveryChanged: its name is taken by other content.
    """
    settings = load_settings()
    campaign = load_campaign(path, registry.bounds_of(Kind.CAMPAIGN))
    return examine(CampaignWish(campaign, settings, look_at_urls=True), consent)


def check_event(path: Path, consent: Consent = NOTHING_ACCEPTED) -> Checked:
    """Check the event of that file; nothing is sent, planned or written.

    A code of each length is drawn, shrunk and recompressed as carriers do, and read again.

    Raises:
        InputError: it could not be sent; every problem is named.
        DeliveryChanged: its name is taken by other content.
    """
    return examine(load_wish(path, Kind.EVENT, load_settings()), consent)


def refuse_without_credentials(checked: Checked, settings: Settings) -> None:
    """Refuse what `send` would refuse because credentials are missing.

    Raises:
        SettingsError: the message names the variables.
    """
    registry.by_name(checked.gateway).check_credentials(settings)


def examine(wish: Wish, consent: Consent = NOTHING_ACCEPTED) -> Checked:
    """Everything that sending a file would do. If its list is as it was last read, it is only looked up.

    Raises:
        InputError: it could not be sent; every problem is named.
        DeliveryChanged: its name is taken by other content.
    """
    with open_ledger(wish.settings) as ledger:
        planned = None if wish.test else deliveries.find(ledger, wish.name)
        merge = Merge(ledger, wish, planned, consent)
        wish.refuse_unsendable(planned, is_new=merge.is_content_new, is_late=merge.is_late)
        if wish.test:
            refuse_ignored_test(ledger, wish.gateway, wish.settings)
        if planned is not None and not merge.is_new:
            refuse_passed(ledger, planned)
            return _planned(ledger, planned, wish)
        listed = wish.read(None)
        hold = _hold(ledger, wish) if planned is None else None
        reading = _read(ledger, merge, listed)
        if planned is None and not reading.valid:
            raise InputError(wish.list_key, none_valid(reading, listed.intake.path))
        merge.refuse()
        if planned is not None and not merge.is_content_new:
            refuse_passed(ledger, planned, merge.differences.new)
        further = [*_beyond_cap(wish, reading), *_skipped(merge)]
        cautions = merge.cautions(listed, further)
        already = None if planned is None else planned_already(ledger, planned)
        merged = _merged(ledger, merge)
    differences = merge.differences
    return Checked(
        kind=wish.kind,
        reading=reading,
        warnings=[*cautions, *_approval(wish, differences.new)],
        requests=-(-differences.new // wish.chunk_size),
        already=already,
        merged=None if planned is None else merged,
        hold=hold,
        **_facts(wish, reads=planned is None),
    )


def _merged(ledger: Ledger, merge: Merge) -> Merged:
    differences, planned = merge.differences, merge.planned
    is_moved = planned is not None and _moment(planned.content) != _moment(merge.content)
    return Merged(
        new=differences.new,
        known=differences.known,
        taken_out=len(differences.missing),
        still_out=differences.still_out,
        numbers=len(differences.numbers),
        columns=len(differences.fields),
        content=merge.changes,
        still_scheduled=totals.totals(ledger, planned)["scheduled"] if planned is not None and is_moved else 0,
    )


def _moment(content: Content) -> datetime | None:
    return content.send_at if isinstance(content, CampaignContent) else None


def _skipped(merge: Merge) -> Sequence[Caution]:
    if not merge.skipped:
        return []
    return [Caution("repeat", f"{merge.skipped:,} numbers have had the same lately under another name: they are left out")]


def none_valid(reading: Reading, path: Path) -> str:
    """The error that no row can be sent to: the column, why, and the first rows."""
    said = f"none of the {reading.rows:,} rows of {path} is a valid number; {reading.column_line()}"
    if reading.left_out:
        said += f"; only_where left out {reading.left_out:,} rows"
    if not reading.rows:
        return said
    first = [f"  line {one.line}: {plain(one.value, most=60)}: {plain(one.reason)}" for one in reading.rejects[:_FIRST_ROWS]]
    return "\n".join([said, f"reasons: {reading.reasons_line()}", *first])


def _facts(wish: Wish, *, reads: bool) -> dict[str, Any]:
    settings, now = wish.settings, datetime.now(UTC)
    account = wish.gateway.account(settings)
    facts: dict[str, Any] = {"name": wish.name, "gateway": wish.gateway.name, "region": settings.default_region}
    if isinstance(wish, EventWish):
        hours = shown_hours(settings, wish.hours, now)
        return {**facts, "mms_id": wish.event.mms_id, "hours": hours, "price": account.price_per_message}
    assert isinstance(wish, CampaignWish)
    campaign = wish.campaign
    dispatch = Dispatch(campaign.send_at, campaign.hold_minutes)
    return {
        **facts,
        "title": campaign.title,
        "text_length": len(campaign.text or ""),
        "test": campaign.test,
        "chunk_size": wish.chunk_size,
        "moment": campaign.send_at,
        "waves": campaign.waves,
        "hours": None if campaign.test else shown_hours(settings, campaign.hours, now, dispatch),
        "zones": (account.timezone, settings.timezone),
        "media": wish.media(),
        "price": account.price_per_message,
        "looks": campaign.looks(allow_loopback=wish.allows_loopback) if reads else (),
    }


def planned_already(ledger: Ledger, planned: Delivery) -> int:
    """How many of the planned messages an earlier run has dealt with."""
    return planned.input - planned.invalid - planned.duplicate - totals.totals(ledger, planned)["pending"]


def _planned(ledger: Ledger, planned: Delivery, wish: Wish) -> Checked:
    """A file whose list is as it was last read. It is not read again, so nothing about it can be refused."""
    reading = Reading(
        rows=planned.input,
        valid=planned.input - planned.invalid - planned.duplicate,
        invalid=planned.invalid,
        duplicate=planned.duplicate,
        suppressed=totals.totals(ledger, planned)["suppressed"],
    )
    return Checked(
        kind=planned.kind,
        reading=reading,
        warnings=[],
        requests=-(-reading.valid // wish.chunk_size),
        already=planned_already(ledger, planned),
        **_facts(wish, reads=False),
    )


def _read(ledger: Ledger, merge: Merge, listed: ListReading) -> Reading:
    """Read the whole list once, compare it with the ledger, and count what is in it."""
    intake = listed.intake
    intake.keep_rejects = MAX_REJECTS
    tariff = None if merge.wish.test else merge.wish.gateway.account(merge.wish.settings).tariff
    counted = _Counted(listed, tariff, _suppressed(ledger, merge.wish), landlines=merge.wish.landlines)
    for _ in merge.new_rows(counted):
        pass
    events = intake if isinstance(intake, AttendeeIntake) else None
    kinds = Counter({"mobile": intake.accepted - counted.fixed, "landline": counted.fixed}) + rejected_kinds(intake.reasons)
    return Reading(
        column=intake.file.phone_title,
        header_line=intake.file.header_line,
        barcode_column=events.code_title if events else None,
        rows=intake.input,
        valid=intake.accepted,
        invalid=intake.invalid,
        duplicate=intake.duplicate,
        suppressed=counted.suppressed,
        left_out=intake.left_out,
        generated=events.generated if events else 0,
        by_kind=dict(kinds.most_common()),
        by_country=dict(counted.countries.most_common()),
        reasons=dict(intake.reasons.most_common()),
        rejects=intake.first_rejects,
        cost=amount(counted.spent) if counted.tariff else None,
    )


def _beyond_cap(wish: Wish, reading: Reading) -> Sequence[Caution]:
    sentence = beyond(wish.settings, reading.cost, wish.max_cost)
    return [Caution("cost_cap", sentence)] if sentence else []


def _hold(ledger: Ledger, wish: Wish) -> tuple[int, bool, str] | None:
    """For how many minutes the provider keeps its messages, and how sure that is."""
    if not isinstance(wish, CampaignWish) or not wish.campaign.hold_minutes or wish.test:
        return None
    return wish.campaign.hold_minutes, *hold_words(ledger, wish.gateway, wish.settings)


def _suppressed(ledger: Ledger, wish: Wish) -> Container[int]:
    """Who would be suppressed if it were planned now: by the list, and by what refusals would add to it."""
    listed = suppression.codes(ledger, suppression.scope_for(wish.kind, wish.options()))
    return {*listed, *(one.phone for one in unheard_refusals(ledger))}


class _Counted:
    """A list that is read, and whose numbers are counted on the way by country, kind and price."""

    def __init__(self, listed: ListReading, tariff: Tariff | None, out: Container[int], *, landlines: bool) -> None:
        self._listed, self._landlines, self._out = listed, landlines, out
        self.tariff, self.spent, self.suppressed = tariff, 0, 0
        self.intake = listed.intake
        self.countries: Counter[str] = Counter()
        self.fixed = 0

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._listed:
            phones: list[Phone] = [one[1] if isinstance(one, tuple) else one.phone for one in batch]
            self.countries.update(map(country_of, phones))
            self.fixed += sum(map(is_landline, phones)) if self._landlines else 0
            sent = [phone for phone in phones if phone not in self._out]
            self.suppressed += len(phones) - len(sent)
            self.spent += self.tariff.total(sent) if self.tariff else 0
            yield batch

    def cautions(self) -> list[Caution]:
        """Warnings about what is probably a mistake; complete once the rows have been read."""
        return self._listed.cautions()


def _approval(wish: Wish, count: int) -> Sequence[Caution]:
    if wish.test or not count:
        return []
    above, house = wish.settings.approve_above, wish.settings.hours()
    reasons = []
    if wish.asks_approval or (above is not None and count > above):
        reasons.append(Caution("approval", "a person has to approve it before the first send"))
    if is_wider(house, wish.hours):
        wider = f"send_hours: {wish.hours} goes beyond POSTHORN_SEND_HOURS ({house}); a person has to approve that"
        reasons.append(Caution("approval_hours", wider))
    return reasons
