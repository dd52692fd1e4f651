"""A proof: the real message of a file, planned or not, sent now to an operator's own number.

It goes the way of every message: its files are uploaded and verified, it is claimed before its request leaves, and
recorded after. It is never repeated by itself. A ticket's proof has a code of its own, which is void on the door list.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeGuard, TypeVar

from posthorn.content.definition import CampaignContent, EventContent
from posthorn.content.event import AttendeeIntake
from posthorn.content.media.barcode import new_barcode_id
from posthorn.content.recipients.number import read_phone
from posthorn.delivery.limits.budget import Budget
from posthorn.delivery.limits.hours import Clock, Gate
from posthorn.delivery.planning.load import load_wish
from posthorn.delivery.planning.wish import Wish
from posthorn.delivery.preparing.tickets import ticket_request
from posthorn.delivery.preparing.upload import upload_files
from posthorn.delivery.preparing.verify import verify_files
from posthorn.delivery.running.names import new_owner
from posthorn.delivery.running.place import AtProvider, account_of
from posthorn.errors import (
    ClaimGone,
    GatewayError,
    HeldBack,
    InputError,
    RecipientRefused,
    SlowDown,
    Stopped,
    TryAgain,
)
from posthorn.ledger import deliveries, proofs
from posthorn.ledger.claims import owner_key
from posthorn.ledger.costs import CapReached
from posthorn.ledger.deliveries import Delivery, PlannedCampaign, delivery_of
from posthorn.ledger.media import MediaRecord
from posthorn.ledger.planning import Row
from posthorn.ledger.proofs import NewProof, ProofClaim
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import (
    UNREPORTED_STATES,
    Answer,
    Kind,
    MessageState,
    MmsRequest,
    Phone,
    ProofOutcome,
    TicketRequest,
    mask_phone,
)
from posthorn.prices import amount
from posthorn.settings import Settings

MAX_PROOFS = 10
"""Proofs of one command: more people than that are a campaign."""

_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
_MAX_ID_LENGTH = 64
_OUTCOMES = {
    **dict.fromkeys(UNREPORTED_STATES, ProofOutcome.TAKEN),
    MessageState.REJECTED: ProofOutcome.REFUSED,
    MessageState.PENDING: ProofOutcome.NOT_TAKEN,
}
_T = TypeVar("_T")
_D = TypeVar("_D", bound=Delivery)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The proofs that are asked for: of which file, to whom, and at what cost (None: no price is known)."""

    wish: Wish
    phones: Sequence[Phone]
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one proof. ``to`` is masked, ``code`` a ticket's, ``problem`` why it was not taken."""

    to: str
    outcome: ProofOutcome
    code: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Proofs:
    """The proofs that were claimed, in order, and why the others were not."""

    sent: Sequence[Sent]
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class _Place(AtProvider, Generic[_D]):
    """Where the proofs are sent from. Its delivery comes from the file, not from the ledger: nothing planned is touched."""

    delivery: _D
    owner: str
    gate: Gate
    budget: Budget
    by: str


_AnyPlace: TypeAlias = _Place[Delivery]


@dataclass(frozen=True, slots=True)
class _Common:
    """What all proofs of the file share: a campaign's files, or an attendee's other columns."""

    file_ids: Sequence[str] = ()
    fields: Mapping[str, str] | None = None


def ask_for(file: Path, kind: Kind, numbers: Sequence[str], settings: Settings) -> Wanted:
    """Check the file and the numbers; nothing is sent.

    Raises:
        InputError: what is wrong with the file, a number, or with sending to it.
        SettingsError: credentials are missing.
    """
    wish = load_wish(file, kind, settings)
    if wish.test:
        raise InputError("test", "the provider only checks what a test sends; for a proof, take test = true out of the file")
    phones = list(dict.fromkeys(_own_number(number, settings) for number in numbers))
    if not 1 <= len(phones) <= MAX_PROOFS:
        raise InputError("--to", f"expected 1 to {MAX_PROOFS} numbers, given {len(phones)}; send to more with a campaign")
    wish.refuse_unsendable(None, is_new=True, is_late=True)
    wish.gateway.check_credentials(settings)
    with open_ledger(settings) as ledger:
        _planned(ledger, wish)
        if listed := proofs.suppressed(ledger, phones):
            raise _on_the_list([Phone(one) for one in sorted(listed)])
    tariff = wish.gateway.account(settings).tariff
    return Wanted(wish, phones, None if tariff is None else amount(tariff.total(phones)))


def _own_number(number: str, settings: Settings) -> Phone:
    try:
        return read_phone(number, settings)
    except InputError as error:
        raise InputError("--to", error.problem) from None


def _on_the_list(phones: Sequence[Phone]) -> InputError:
    named = ", ".join(mask_phone(phone) for phone in phones)
    return InputError(
        "--to", f"{named} must get nothing at all; `posthorn suppress check` says why, `posthorn suppress remove` ends it"
    )


def _planned(ledger: Ledger, wish: Wish) -> Delivery | None:
    planned = deliveries.find(ledger, wish.name)
    if planned is not None and (planned.kind != wish.kind or planned.closed_at is not None):
        why = "is another kind of delivery" if planned.kind != wish.kind else "was erased and is closed"
        raise InputError("name", f"{wish.name} {why}; give the file another name")
    return planned


async def send_proofs(wanted: Wanted, *, by: str, clock: Clock = time.time) -> Proofs:
    """Send each proof once, one after the other. An error that concerns all of them leaves the rest unsent.

    Raises:
        Waits: it is outside the delivery's hours; with the next moment inside. Nothing was sent.
        Stopped, GatewayError: nothing was sent, and why.
    """
    wish, settings = wanted.wish, wanted.wish.settings
    with open_ledger(settings) as ledger:
        gateway = wish.gateway.open(settings)
        try:
            place = _place(ledger, wish, gateway, by, clock)
            place.gate.refuse_claim()
            proofs.abandon_dead(ledger)
            with _living(place):
                return await _send_each(place, wanted, await _common(place, wish))
        finally:
            await gateway.aclose()


def _place(ledger: Ledger, wish: Wish, gateway: Any, by: str, clock: Clock) -> _AnyPlace:
    settings, planned = wish.settings, _planned(ledger, wish)
    content = wish.content()
    if isinstance(content, CampaignContent):  # a proof goes now
        content = content.model_copy(update={"send_at": None, "hold_minutes": None})
    shown = delivery_of(
        content,
        id=0,
        name=wish.name,
        test=False,
        gateway=wish.gateway.name,
        options=wish.options(),
        rejects_file=None,
        input=0,
        invalid=0,
        duplicate=0,
        created_at=clock(),
        run_started_at=None,
        run_by=None,
        stopped_because=None,
        cancelled_at=None,
    )
    account = account_of(ledger, wish.gateway, settings)
    # What is not planned has no sum of its own yet; its first claim counts its proofs.
    uncapped = {key: value for key, value in shown.options.items() if key != "max_cost"}
    paying = replace(shown, options=uncapped) if planned is None else replace(shown, id=planned.id)
    gate = Gate(shown, settings, account.timeout_seconds, clock)
    budget = Budget(paying, settings, clock)
    return _Place(settings, wish.gateway, account, gateway, ledger, shown, new_owner(), gate, budget, by)


def _living(place: _AnyPlace) -> AbstractContextManager[bool]:
    """Hold the lock by which others know that this process lives: its proofs are under way, not forgotten."""
    return place.ledger.locks.hold(owner_key(place.owner))


def _is_campaigns(place: _AnyPlace) -> TypeGuard[_Place[PlannedCampaign]]:
    return isinstance(place.delivery, PlannedCampaign)


async def _common(place: _AnyPlace, wish: Wish) -> _Common:
    content = place.delivery.content
    if isinstance(content, EventContent):
        await _patiently(lambda: place.gateway.preflight(content.mms_id, content.campaign_ref))
        return _Common(fields=_somebodys_fields(wish))
    assert _is_campaigns(place)
    items = [MediaRecord(position, one, None, None) for position, one in enumerate(wish.media())]
    stored, _ = await _patiently(lambda: upload_files(place, items))
    await _patiently(lambda: verify_files(place, stored))
    return _Common(file_ids=[one.file_id for one in stored if one.file_id])


def _somebodys_fields(wish: Wish) -> Mapping[str, str]:
    """The other columns of the first attendee; of an empty list, each column's name for its value."""
    reading = wish.read(None)
    first = next((row for batch in reading for row in batch if isinstance(row, Row)), None)
    if first is not None and first.fields is not None:
        return first.fields
    assert isinstance(reading.intake, AttendeeIntake)
    return {column: column for column in reading.intake.sent_columns}


async def _patiently(step: Callable[[], Awaitable[_T]]) -> _T:
    """A harmless step, repeated as often as a run's task would repeat it: a list may lag."""
    for pause in _PAUSES_SECONDS:
        try:
            return await step()
        except TryAgain:
            await asyncio.sleep(pause)
    return await step()


async def _send_each(place: _AnyPlace, wanted: Wanted, common: _Common) -> Proofs:
    sent: list[Sent] = []
    for phone in wanted.phones:
        if sent:
            await asyncio.sleep(place.account.min_interval_seconds)
        code = new_barcode_id() if place.delivery.kind == Kind.EVENT else None
        try:
            claimed = _claim(place, phone, code)
        except (Stopped, InputError) as error:
            if not sent:
                raise
            return Proofs(sent, str(error))
        done, stops = await _send_one(place, claimed, common)
        sent.append(done)
        if stops is not None:
            return Proofs(sent, str(stops))
    return Proofs(sent)


def _claim(place: _AnyPlace, phone: Phone, code: str | None) -> ProofClaim:
    """Claim a proof, durably, before its request leaves."""
    delivery, content = place.delivery, place.delivery.content
    place.gate.refuse_claim()
    new = NewProof(
        delivery.kind,
        delivery.name,
        delivery.gateway,
        phone,
        place.by,
        title=content.title if isinstance(content, CampaignContent) else None,
        mms_id=content.mms_id if isinstance(content, EventContent) else None,
        code=code,
    )
    while True:
        try:
            return proofs.claim(place.ledger, new, place.owner, place.budget.limits())
        except CapReached as reached:
            place.budget.make_room(place.ledger, reached)
        except proofs.Suppressed:
            raise _on_the_list([phone]) from None


async def _send_one(place: _AnyPlace, claimed: ProofClaim, common: _Common) -> tuple[Sent, GatewayError | None]:
    """Make the one request of a proof and record its outcome; also returns what keeps the others from being sent."""
    to, code = mask_phone(claimed.new.phone), claimed.new.code
    try:
        answer: Answer = await place.gateway.send(
            _request(place, claimed.new, common), before=partial(_let_leave, place, claimed)
        )
    except GatewayError as error:
        outcome = _outcome_of(error)
        proofs.record(place.ledger, claimed, outcome, error=error.code, problem=str(error))
        stops = error if error.stops_run or error.slows_all else None
        return Sent(to, outcome, code, str(error)), stops
    except InputError as error:
        proofs.record(place.ledger, claimed, ProofOutcome.NOT_TAKEN, problem=str(error))
        raise
    except BaseException:  # interrupted at an unknown moment
        proofs.record(place.ledger, claimed, ProofOutcome.UNKNOWN, problem="interrupted")
        raise
    receipt = answer.receipts[0]
    outcome = _OUTCOMES.get(receipt.state, ProofOutcome.UNKNOWN)
    provider_id = receipt.provider_id if _is_usable(receipt.provider_id) else None
    problem = receipt.error or "; ".join(answer.anomalies) or None
    proofs.record(place.ledger, claimed, outcome, provider_id=provider_id, error=receipt.error, problem=problem)
    return Sent(to, outcome, code, None if outcome == ProofOutcome.TAKEN else problem), answer.stop


def _request(place: _AnyPlace, new: NewProof, common: _Common) -> MmsRequest | TicketRequest:
    content = place.delivery.content
    if isinstance(content, CampaignContent):
        return MmsRequest(content.title, [new.phone], common.file_ids, content.text)
    assert new.code is not None  # each proof of a ticket has one
    return ticket_request(content, new.phone, new.code, common.fields or {})


async def _let_leave(place: _AnyPlace, claimed: ProofClaim) -> None:
    """Hold a request back if its hours have ended, or if others may think by now that its process is dead."""
    try:
        place.gate.refuse_to_leave()
    except Stopped as because:
        raise HeldBack(because) from None
    if not (place.ledger.locks.still_held(owner_key(place.owner)) and proofs.stands(place.ledger, claimed)):
        raise ClaimGone("the proof was held back: the lock of its process was lost. Ask for it again")


def _outcome_of(error: GatewayError) -> ProofOutcome:
    if error.maybe_sent or (isinstance(error, SlowDown) and error.is_undocumented):
        return ProofOutcome.UNKNOWN
    return ProofOutcome.REFUSED if isinstance(error, RecipientRefused) else ProofOutcome.NOT_TAKEN


def _is_usable(provider_id: str | None) -> bool:
    return provider_id is not None and len(provider_id) <= _MAX_ID_LENGTH and provider_id.isprintable()
