"""What is shown to a person who decides whether to send: a table for a terminal, a page with the pictures."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from posthorn.content import moments
from posthorn.content.amounts import cost, money
from posthorn.content.definition import CampaignContent, Content, EventContent
from posthorn.content.media.looks import look
from posthorn.content.media.thumbnails import thumbnail
from posthorn.content.waves import Waves
from posthorn.delivery.deciding.approval import content_of, to_send_again
from posthorn.delivery.limits.hours import effective_hours, is_wider, own_hours
from posthorn.errors import GatewayError, InputError
from posthorn.gateways.descriptor import Account, Descriptor
from posthorn.gateways.registry import by_name
from posthorn.ledger import claiming, costs, deliveries, history, media, totals, waves
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Kind, Media
from posthorn.prices import amount
from posthorn.settings import Settings, load_settings
from posthorn.views.markdown import table, written
from posthorn.views.tables import facts

_HOW = """**To decide**: Resume (⋮ → Resume in the menu of this run), choose *send it* or *do not send it*, and give a name.
Or use the form `approve`, or at a terminal `COMMAND approve NAME` (`--refuse` for a no). The decision covers exactly
what is shown here: whatever changes afterwards is asked about again."""


_GUESSED_SECONDS = 1.0
"""How many seconds a request is assumed to take if this ledger has none to go by."""


@dataclass(frozen=True, slots=True)
class Question:
    """A delivery that waits for a person's decision; ``rows`` are (what, value) for a table, without phone numbers."""

    kind: Kind
    name: str
    content: str
    rows: list[tuple[str, str]]
    media: Sequence[Media] = ()

    def as_text(self) -> str:
        """The question as it stands at a terminal: a line for each thing that is said of it."""
        return facts(self.rows)


def question_now(kind: Kind, name: str) -> Question:
    """A delivery of that kind as the person who decides has to see it, whether or not an approval is asked for."""
    settings = load_settings()
    with open_ledger(settings) as ledger:
        delivery = deliveries.get(ledger, name, kind=kind)
        return question(ledger, delivery, content_of(delivery), settings)


def question_page(asked: Question) -> str:
    """The question in Markdown. A picture is small here, with its real size and weight beside it."""
    said = dict(asked.rows)
    parts = [f"# {written(asked.name)}: send it?"]
    headline = [f"**{written(said[f'{asked.kind.item}s to send'])}**", f"cost {written(said['cost'])}"]
    parts.append(" · ".join([*headline, *([written(said["dispatch"])] if "dispatch" in said else [])]))
    if asked.kind is Kind.CAMPAIGN:  # what a ticket looks like, the stored MMS at the provider says
        parts.append(f"### {written(said['title'])}")
        parts += [f"> {written(line)}" for line in said["text"].splitlines() if line.strip()]
    parts += [_picture(item) for item in asked.media]
    others = [(written(what), written(value)) for what, value in asked.rows if what not in ("title", "text")]
    how = _HOW.replace("NAME", asked.name).replace("COMMAND", asked.kind.command)
    parts += [how, table(("what", "value"), others)]
    return "\n\n".join(parts) + "\n"


def question(ledger: Ledger, delivery: Delivery, content_hash: str, settings: Settings) -> Question:
    """What a person who decides about a delivery is shown; the provider is asked for the credit that is left."""
    counted = totals.totals(ledger, delivery)
    requests = len(claiming.pending_chunks(ledger, delivery))
    items = [item.media for item in media.of(ledger, delivery)]
    rejected = counted["invalid"] + counted["duplicate"]
    again = to_send_again(ledger, delivery, counted)
    gateway = by_name(delivery.gateway)
    account = gateway.account(settings)
    content = delivery.content
    rows = [
        (delivery.kind.name.lower(), delivery.name),
        *(_message_rows(content, items) if isinstance(content, CampaignContent) else _ticket_rows(content)),
        (f"{delivery.kind.item}s to send", f"{counted['pending']:,} of {counted['input']:,} rows"),
        *([("to send again if not listed", f"{again:,} of unknown outcome")] if again else []),
        *([("not to be messaged", f"{counted['suppressed']:,} are suppressed")] if counted["suppressed"] else []),
        ("rejected rows", f"{rejected:,}, see {delivery.rejects_file}" if rejected else "none"),
        ("requests", f"{requests:,}"),
        ("cost", _cost_words(ledger, delivery, counted["pending"], account)),
        *_max_cost(delivery),
        *([("credit left", _credit(gateway, settings))] if isinstance(content, CampaignContent) else []),
        ("expected duration", _duration(ledger, delivery, requests, account.concurrency)),
        *_dispatch(content, account.timezone, settings.timezone),
        *_hours(delivery, settings),
        *_waves(ledger, delivery),
        *_as_read(delivery.options.get("reading", {})),
        ("content", content_hash[:12]),
    ]
    return Question(delivery.kind, delivery.name, content_hash, rows, items)


def _message_rows(content: CampaignContent, items: Sequence[Media]) -> list[tuple[str, str]]:
    """What each message of a campaign is."""
    sources = [item.source for item in items]
    return [("title", content.title), ("text", content.text or "none"), ("media", ", ".join(sources) or "none")]


def _ticket_rows(content: EventContent) -> list[tuple[str, str]]:
    """What each ticket of an event is; a placeholder stands for the attendee's own column."""
    rows = [("stored MMS", content.mms_id), ("from", content.sender)]
    rows += [("campaign", content.campaign_ref)] if content.campaign_ref else []
    rows += [("subject", content.custom_subject)] if content.custom_subject else []
    return rows + [(f"text of slide {slide}", text) for slide, text in content.custom_texts.items()]


def _cost_words(ledger: Ledger, delivery: Delivery, messages: int, account: Account) -> str:
    if account.price_per_message is None or account.tariff is None:
        return f"unknown: {by_name(delivery.gateway).variables}__PRICE_PER_MESSAGE is not set"
    if not account.prices:
        return cost(messages, account.price_per_message)
    return f"{money(amount(costs.pending_cost(ledger, delivery, account.tariff)))} ({messages:,} by country prefix)"


def _max_cost(delivery: Delivery) -> list[tuple[str, str]]:
    most = delivery.options.get("max_cost")
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


def _duration(ledger: Ledger, delivery: Delivery, chunks: int, concurrency: int) -> str:
    measured = history.seconds_per_request(ledger, delivery.gateway)
    seconds = (_GUESSED_SECONDS if measured is None else measured) * chunks / concurrency
    basis = "if a request takes 1 s" if measured is None else f"at {measured:.2f} s a request, as lately"
    return f"{timedelta(seconds=max(1, round(seconds)))} ({concurrency} at a time, {basis})"


def _as_read(reading: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was inferred when the list was planned, and what is doubtful."""
    column = [("numbers from", f'column "{reading["column"]}"')] if reading.get("column") else []
    return column + [("warning", message) for message in reading.get("warnings", ())]


def _hours(delivery: Delivery, settings: Settings) -> list[tuple[str, str]]:
    house, own = settings.hours(), own_hours(delivery.options)
    hours = effective_hours(house, own, is_approved=True)
    wider = f", beyond those of the house ({house})" if is_wider(house, own) else ""
    return [("hours", f"{hours} ({settings.timezone}){wider}")] if hours else []


def _waves(ledger: Ledger, delivery: Delivery) -> list[tuple[str, str]]:
    """How it goes out, and what became of the wave that was halted."""
    plan = Waves.of(delivery.options)
    rows = [("waves", str(plan))] if plan else []
    if delivery.halted_because is not None:
        rows.append(("halted", delivery.halted_because))
        if delivery.open_wave is not None:
            rows += waves.outcomes(ledger, delivery, delivery.open_wave).as_rows(f"wave {delivery.open_wave}")
    return rows


def _dispatch(content: Content, provider_zone: str, own_zone: str) -> list[tuple[str, str]]:
    """When the provider hands a campaign's messages on; tickets go with their requests."""
    if isinstance(content, EventContent):
        return []
    if content.send_at is not None:
        return [("dispatch", moments.shown(content.send_at, provider_zone, own_zone))]
    return [("dispatch", f"{content.hold_minutes} minutes after each request" if content.hold_minutes else "at once")]


def _picture(item: Media) -> str:
    if item.path is None:
        return f"{written(item.source)}: fetched by the provider"
    try:
        words = look(Path(item.path), item.source).as_text()
    except InputError as error:
        return f"{written(item.source)}: {written(str(error))}"
    small = thumbnail(Path(item.path))
    if small is None:
        return f"{written(item.source)}: {words}"
    name, data = written(item.source), base64.b64encode(small).decode()
    return f"![{name}](data:image/jpeg;base64,{data})\n\n{name}: {words}"
