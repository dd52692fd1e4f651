"""The card of one delivery, in Markdown: how it stands, in a few words, with a bar and a chart."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from posthorn.ledger import deliveries, totals
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Kind, taken_of
from posthorn.settings import Settings, load_settings
from posthorn.views import charts
from posthorn.views.markdown import link, prose, table, written
from posthorn.views.overview import OVERVIEW, overview
from posthorn.views.status import artifact_key, codes_in_words, go_on, status_rows

_ASKS = {
    "needs_attention": "Somebody has to look: what is unknown or was refused does not settle by itself",
    "stopped": "It stopped before its end",
}
_FORMS = {
    "unknown": "What became of what is unknown, the form `settle` takes",
    "rejected": "What was refused, the form `resend-failed` sends again",
}


@dataclass(frozen=True, slots=True)
class Card:
    """One delivery as it is shown: its status, one line, and a page in Markdown. No phone number in any of it."""

    status: dict[str, Any]
    headline: str
    page: str
    rejects_file: str | None = None

    @property
    def key(self) -> str:
        """The key of its artifact."""
        return artifact_key(self.status["kind"], self.status["name"])


def card(ledger: Ledger, name: str, settings: Settings, *, test: bool = False) -> Card:
    """How a delivery is shown.

    Raises:
        DeliveryNotFound: there is none of that name.
    """
    delivery = deliveries.get(ledger, name, test=test)
    status = totals.status(ledger, delivery)
    page = "\n\n".join(_page(ledger, delivery, status, settings.timezone)) + "\n"
    return Card(status, _headline(status), page, delivery.rejects_file)


def card_now(name: str, *, test: bool = False) -> Card:
    """``card`` on the ledger of the settings."""
    settings = load_settings()
    with open_ledger() as ledger:
        return card(ledger, name, settings, test=test)


def card_and_overview(name: str, *, test: bool = False) -> tuple[Card, str]:
    """The card of one delivery, and the page of all of them, on the ledger of the settings."""
    settings = load_settings()
    with open_ledger() as ledger:
        return card(ledger, name, settings, test=test), overview(ledger, settings)


def overview_now() -> str:
    """The page of all deliveries, on the ledger of the settings."""
    with open_ledger() as ledger:
        return overview(ledger, load_settings())


def _headline(status: Mapping[str, Any]) -> str:
    """``stopped: no credit left``: how it stands, in one line."""
    because = f": {status['because']}" if status["because"] and status["state"] != "finished" else ""
    return f"{status['state'].replace('_', ' ')}{because}"


def _page(ledger: Ledger, delivery: Delivery, status: Mapping[str, Any], zone: str) -> list[str]:
    counted = status["totals"]
    parts = [f"# {written(delivery.name)}{' (test: nothing is sent)' if delivery.test else ''}", _first_line(status)]
    if said := _what_next(status):
        parts.append(f"> {said}")
    parts.append(charts.states_bar({name: count for name, count in counted.items() if name != "input"}))
    parts.append(_states(status))
    if status["errors"]:
        codes = [(f"`{written(code)}`", f"{count:,}", written(words or "")) for code, count, words in codes_in_words(status)]
        parts += ["### Codes of the provider", table(("code", "messages:", "meaning"), codes)]
    if pace := totals.messages_per_second(ledger, delivery):
        parts.append(f"Pace of the last run: {pace:,.1f} messages a second{until(status, pace, zone)}.")
    parts += [charts.over_time(totals.answered_over_time(ledger, delivery), zone), _links(delivery, status)]
    return [part for part in parts if part]


def _first_line(status: Mapping[str, Any]) -> str:
    """``**needs attention** · campaign · 1,100 of 1,200 delivered (92 %), 50 more taken``"""
    counted = status["totals"]
    to_send = counted["input"] - counted["invalid"] - counted["duplicate"]
    share = f" ({100 * counted['delivered'] // to_send} %)" if to_send else ""
    taken = taken_of(counted)
    return (
        f"**{status['state'].replace('_', ' ')}** · {status['kind']} · {taken:,} of {to_send:,} sent,"
        f" {counted['delivered']:,} delivered{share}"
    )


def _what_next(status: Mapping[str, Any]) -> str:
    """Why it stands so, and what to do, if there is anything to say."""
    said = [prose(status["because"])] if status["because"] and status["state"] != "finished" else []
    if status["state"] in _ASKS and not said:
        said.append(_ASKS[status["state"]])
    if status["state"] == "needs_attention":
        said += [words for state, words in _FORMS.items() if status["totals"][state]]
    if status["state"] == "stopped" and "`posthorn" not in (status["because"] or ""):
        said.append(f"Next: {go_on(status)}")
    if status["contradictory_news"]:
        said.append(f"contradictory news: {status['contradictory_news']:,}; `posthorn webhooks --parked` lists it")
    return ". ".join(one.rstrip(".") for one in said)


def _states(status: Mapping[str, Any]) -> str:
    rows = [
        (str(row["state"]).replace("_", " "), f"{row['messages']:,}", str(row["meaning"])) for row in status_rows(status)
    ]
    return table(("state", "messages:", "what it means"), rows)


def _links(delivery: Delivery, status: Mapping[str, Any]) -> str:
    counted = status["totals"]
    name = delivery.name
    links = [link("all deliveries", OVERVIEW)]
    if counted["unknown"]:
        links.append(link(f"the {counted['unknown']:,} unknown", artifact_key("unknown", name)))
    if counted["invalid"] + counted["duplicate"]:
        links.append(link("the rejected rows", artifact_key("rejects", name)))
    if delivery.options.get("approve"):
        links.append(link("what was approved", artifact_key("approval", name)))
    if delivery.kind is Kind.EVENT:
        links.append(f"door list: `posthorn tickets export {name}`")
    return " · ".join(links)


def until(status: Mapping[str, Any], pace: float, zone: str) -> str:
    """``; about 12 min left, until 2026-11-22 14:05 CET``; empty for a delivery that does not run."""
    left = status["totals"]["pending"] + status["totals"]["sending"]
    if not left or status["state"] != "running":
        return ""
    seconds = left / pace
    moment = datetime.fromtimestamp(time.time() + seconds, ZoneInfo(zone))
    return f"; about {math.ceil(seconds / 60):,} min left, until {moment:%Y-%m-%d %H:%M %Z}"
