"""Colours of states at a terminal: never in a pipe, a file or JSON, nor if NO_COLOR is set."""

from __future__ import annotations

import os
import sys

_GREEN, _CYAN, _YELLOW, _RED, _GREY = 32, 36, 33, 31, 90
_COLOURS = {
    **dict.fromkeys(("finished", "delivered"), _GREEN),
    **dict.fromkeys(("running", "sending", "accepted", "scheduled"), _CYAN),
    **dict.fromkeys(("waiting", "needs_attention", "pending", "unknown", "no_report", "second copies"), _YELLOW),
    **dict.fromkeys(("stopped", "rejected", "undelivered"), _RED),
    **dict.fromkeys(("cancelled", "invalid", "duplicate", "suppressed"), _GREY),
}


def paint(state: str, text: str) -> str:
    """The text in the colour of that state, a delivery's or a message's; unchanged if colours cannot be shown."""
    colour = _COLOURS.get(state)
    return text if colour is None or not _is_shown() else f"\x1b[{colour}m{text}\x1b[0m"


def _is_shown() -> bool:
    """See https://no-color.org: the variable counts whatever its value, unless it is empty."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
