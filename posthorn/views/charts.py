"""Pictures for artifacts, as SVG within a data: address, which both of Prefect's UIs show inside Markdown.

They hold counts, names of states and moments; never a number of a person.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from zoneinfo import ZoneInfo

COLOURS = {
    "delivered": "#1a7f4b",
    "accepted": "#57b884",
    "scheduled": "#8fd0ae",
    "no_report": "#b9c4be",
    "sending": "#3b82c4",
    "pending": "#c9d8e6",
    "waiting": "#c9d8e6",
    "undelivered": "#e0a030",
    "unknown": "#d9482b",
    "rejected": "#9d2b17",
    "suppressed": "#8d8d8d",
    "cancelled": "#a9a9a9",
    "duplicate": "#d0d0d0",
    "invalid": "#bcbcbc",
}
"""A colour per state: green has arrived, blue is under way, red needs a person, grey was not to be sent."""

_WIDTH, _BAR, _COLUMNS = 720, 26, 48
_TEXT = 'font-family="sans-serif" font-size="12" fill="#333"'


def states_bar(counted: Mapping[str, int]) -> str:
    """One bar of the rows by state, with a legend, as a Markdown image; empty if there are no rows."""
    parts = [(state, counted[state]) for state in COLOURS if counted.get(state)]
    total = sum(count for _, count in parts)
    if not total:
        return ""
    shapes, x = [], 0.0
    for state, count in parts:
        width = max(2.0, _WIDTH * count / total)
        shapes.append(f'<rect x="{x:.1f}" y="0" width="{width:.1f}" height="{_BAR}" fill="{COLOURS[state]}"/>')
        x += width
    shapes = [f'<g transform="scale({_WIDTH / x:.5f} 1)">{"".join(shapes)}</g>']
    for at, (state, count) in enumerate(parts):
        left, top = 180 * (at % 4), _BAR + 12 + 20 * (at // 4)
        shapes.append(f'<rect x="{left}" y="{top}" width="10" height="10" fill="{COLOURS[state]}"/>')
        shapes.append(f'<text x="{left + 15}" y="{top + 10}" {_TEXT}>{escape(state.replace("_", " "))} {count:,}</text>')
    said = ", ".join(f"{state.replace('_', ' ')} {count:,}" for state, count in parts)
    return _image(said, shapes, _BAR + 16 + 20 * -(-len(parts) // 4))


def over_time(moments: Sequence[tuple[float, int]], zone: str) -> str:
    """How many messages were answered when (seconds since 1970), as columns in a Markdown image; empty below two moments."""
    if len(moments) < 2:
        return ""
    since, until = min(at for at, _ in moments), max(at for at, _ in moments)
    width = max(1.0, (until - since) / _COLUMNS)
    columns = [0] * (int((until - since) / width) + 1)
    for at, count in moments:
        columns[int((at - since) / width)] += count
    most, step, height = max(columns), _WIDTH / len(columns), 120
    if not most:
        return ""
    shapes = [
        f'<rect x="{at * step:.1f}" y="{18 + height * (1 - count / most):.1f}" width="{max(1.0, step - 1):.1f}"'
        f' height="{height * count / most:.1f}" fill="{COLOURS["accepted"]}"/>'
        for at, count in enumerate(columns)
    ]
    seconds = f"{width:,.0f} s" if width < 120 else f"{width / 60:,.0f} min"
    shapes.append(f'<text x="0" y="12" {_TEXT}>messages answered, up to {most:,} in {seconds}</text>')
    shapes.append(f'<text x="0" y="{height + 34}" {_TEXT}>{_clock(since, zone)}</text>')
    shapes.append(f'<text x="{_WIDTH}" y="{height + 34}" text-anchor="end" {_TEXT}>{_clock(until, zone)}</text>')
    return _image(f"messages over time, {_clock(since, zone)} to {_clock(until, zone)}", shapes, height + 42)


def _clock(seconds: float, zone: str) -> str:
    return f"{datetime.fromtimestamp(seconds, ZoneInfo(zone)):%Y-%m-%d %H:%M:%S %Z}"


def _image(said: str, shapes: Sequence[str], height: int) -> str:
    """On white, because one of the two UIs is dark."""
    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + 20}" height="{height + 20}">'
        f'<rect width="100%" height="100%" fill="#fff"/><g transform="translate(10 10)">{"".join(shapes)}</g></svg>'
    )
    return f"![{said}](data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()})"
