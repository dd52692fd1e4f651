"""Counts and money in words, one form everywhere: ``1 ticket``, ``1,204 tickets``, ``84.28 (1,204 at 0.07)``."""

from __future__ import annotations

from decimal import Decimal


def many(count: int, one: str, several: str = "") -> str:
    """``1 ticket``, ``1,204 tickets``; ``several`` is the plural, if it is not formed with an s."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def money(amount: Decimal) -> str:
    """``84.28``: an amount in the account's currency. No provider reports which currency that is."""
    return f"{amount:,.2f}"


def cost(messages: int, price: Decimal) -> str:
    """``84.28 (1,204 at 0.07)``: what this many messages cost at this price each."""
    return f"{money(messages * price)} ({messages:,} at {price})"
