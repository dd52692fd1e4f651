"""What is shown in Prefect of a delivery, read as a person reads it."""

from __future__ import annotations

import re

from prefect.artifacts import Artifact

_ROW = re.compile(r"^\| ([a-z][a-z ]*) \| ([\d,]+) \|", re.MULTILINE)


def states_in(page: str) -> dict[str, int]:
    """The states of a card's table with their counts."""
    return {name.replace(" ", "_"): int(count.replace(",", "")) for name, count in _ROW.findall(page) if name != "sum"}


async def page_of(key: str) -> str:
    """The page that is shown under a key; empty where there is none."""
    artifact = await Artifact.aget(key)
    return "" if artifact is None else str(artifact.data)


async def address_of(key: str) -> str:
    """Where the UI shows what is under a key."""
    artifact = await Artifact.aget(key)
    assert artifact is not None
    return f"/v2/artifacts/artifact/{artifact.id}"


async def shown_states(key: str) -> dict[str, int]:
    """``states_in`` the page that is shown under a key."""
    return states_in(await page_of(key))
