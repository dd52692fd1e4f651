"""What a campaign's status looks like: rows for tables, the table in text, the exit code for scripts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from posthorn.gateways.registry import code_words
from posthorn.ledger import deliveries, totals
from posthorn.ledger.store.engine import Ledger, open_ledger
from posthorn.models import Kind
from posthorn.views.tables import Paint, table, unpainted

EXIT_OK = 0
EXIT_NEEDS_ATTENTION = 3
EXIT_STOPPED = 4

_MEANINGS = {
    "invalid": "not a phone number; see the rejects file",
    "duplicate": "the number stands in the file already; see the rejects file",
    "suppressed": "not to be messaged (opted out, or too often lately): never sent; the codes say why",
    "pending": "not sent yet",
    "sending": "in a request right now",
    "accepted": "taken by the provider, no report yet",
    "scheduled": "kept by the provider until its time",
    "rejected": "refused by the provider",
    "unknown": "nobody can tell yet whether it was taken; never simply sent again",
    "delivered": "reported as delivered",
    "undelivered": "reported as not delivered",
    "no_report": "no report within 72 hours",
    "cancelled": "withdrawn or stopped before it was sent",
}

BY_A_PERSON = ("the run was cancelled", "the run was interrupted", "a person set the run to")
"""How the reason begins if a person stopped the run: then there is no cause to remove."""

_LEFT_BEHIND = "in a request when the run was killed; the next run looks them up"


def campaign_status(ledger: Ledger, name: str, *, test: bool = False) -> dict[str, Any]:
    """The status of a campaign or event, in the shape of ``status --json``.

    Raises:
        DeliveryNotFound: there is none of that name.
    """
    return totals.status(ledger, deliveries.get(ledger, name, test=test))


def status_now(name: str, *, test: bool = False) -> dict[str, Any]:
    """``campaign_status`` on the ledger of the settings."""
    with open_ledger() as ledger:
        return campaign_status(ledger, name, test=test)


def status_rows(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per state that holds a message, its meaning in words, and the sum, which must be the input.

    Second copies are not part of the sum: each stands beside a message that is in it.
    """
    counted = {name: count for name, count in status["totals"].items() if name != "input" and count}
    meanings = _MEANINGS if status["state"] == "running" else {**_MEANINGS, "sending": _LEFT_BEHIND}
    rows = [{"state": name, "messages": count, "meaning": meanings[name]} for name, count in counted.items()]
    balance = "equals the input" if status["balanced"] else f"differs from the input of {status['totals']['input']}"
    rows.append({"state": "sum", "messages": sum(counted.values()), "meaning": balance})
    if status["second_copies"]:
        meaning = "taken by the provider beside the messages above"
        rows.append({"state": "second copies", "messages": status["second_copies"], "meaning": meaning})
    return rows


def status_table(status: Mapping[str, Any], paint: Paint = unpainted) -> str:
    """The status as text: name, state, totals, provider codes; ``paint`` colours the states."""
    test = " (test: nothing was sent)" if status["test"] else ""
    because = ""
    if _is_unfinished(status) or status["waiting_until"] or status["second_copies"]:
        because = f": {status['because'] or 'not finished'}"
    state = paint(status["state"], status["state"].replace("_", " "))
    rows = [(paint(one["state"], one["state"]), f"{one['messages']:,}", one["meaning"]) for one in status_rows(status)]
    lines = [f"{status['kind']} {status['name']}{test}: {state}{because}", ""]
    lines.append(table(("state", "messages", "meaning"), rows, right=("messages",)))
    if status["state"] == "stopped" and "`posthorn" not in because:
        lines += ["", f"next: {go_on(status)}"]
    if status["errors"]:
        codes = [(code, f"{count:,}", words) for code, count, words in codes_in_words(status)]
        lines += ["", table(("code", "messages", "meaning"), codes, right=("messages",))]
    if status["contradictory_news"]:
        seen = "not applied, because it contradicts the messages it names; `posthorn webhooks --parked` lists it"
        lines += ["", f"contradictory news: {status['contradictory_news']:,} ({seen})"]
    return "\n".join(lines)


def go_on(status: Mapping[str, Any]) -> str:
    """What to do about a delivery that stopped before its end, if its reason does not say so itself."""
    command = f"{Kind[status['kind'].upper()].command} send"
    again = f"run `{command}` with the same file: it sends the rest"
    because = status["because"]
    if because is None or because.startswith(BY_A_PERSON):
        return again
    if because.startswith("not approved"):
        return f"correct the file and run `{command}` again, which asks again"
    return f"remove the cause (`posthorn doctor` looks for it), then {again}"


def codes_in_words(status: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """The provider's codes, how many messages carry each, and what it means; most frequent first."""
    return [(code, count, code_words(status["gateway"], code)) for code, count in status["errors"].items()]


def _is_unfinished(status: Mapping[str, Any]) -> bool:
    return bool(status["totals"]["pending"] or status["totals"]["sending"]) and status["state"] != "running"


def artifact_key(kind: str, name: str) -> str:
    """``campaign-autumn-sale``: Prefect allows lower-case letters, digits and dashes in a key."""
    return f"{kind}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}"


def exit_code(status: Mapping[str, Any]) -> int:
    """0 all accounted for, 3 something needs a person or its time, 4 stopped before the end."""
    if status["state"] == "cancelled":
        is_open = status["totals"]["unknown"] or status["totals"]["scheduled"] or status["second_copies"]
        return EXIT_NEEDS_ATTENTION if is_open or status["waiting_until"] else EXIT_OK
    codes = {"needs_attention": EXIT_NEEDS_ATTENTION, "waiting": EXIT_NEEDS_ATTENTION, "stopped": EXIT_STOPPED}
    return codes.get(status["state"], EXIT_OK)
