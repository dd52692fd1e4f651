"""Waiting for what another does, with a deadline: an event awaited, not a fixed sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(happened: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until ``happened`` is true."""
    async with asyncio.timeout(seconds):
        while not happened():  # noqa: ASYNC110 - what is awaited has no event to offer
            await asyncio.sleep(0.02)
