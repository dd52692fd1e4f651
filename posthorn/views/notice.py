"""The notification about a delivery: a subject and a few lines. It holds no phone number."""

from __future__ import annotations

from posthorn.views.cards import card_now
from posthorn.views.status import BY_A_PERSON, go_on

_SUBJECTS = {
    "needs_attention": "needs attention",
    "stopped": "has stopped",
    "waiting": "waits",
    "cost": "has nearly used up what it may cost",
}


def notice(name: str, happening: str) -> tuple[str, str] | None:
    """Subject and text about a delivery; None if a person stopped it on purpose: then nobody is notified.

    Raises:
        DeliveryNotFound: there is none of that name.
    """
    card = card_now(name)
    status = card.status
    because = status["because"] or ""
    if happening == "stopped" and because.startswith(BY_A_PERSON):
        return None
    counted = status["totals"]
    lines = [card.headline, "", *(f"{state.replace('_', ' ')}: {count:,}" for state, count in counted.items() if count)]
    if status["state"] == "stopped":
        lines += ["", f"Next: {go_on(status)}"]
    lines += ["", f"In Prefect: the artifact {card.key}, or posthorn-overview for all of them."]
    return f"Posthorn: {status['kind']} {name} {_SUBJECTS.get(happening, happening.replace('_', ' '))}", "\n".join(lines)
