"""What messages cost, by the country prefix of the number, in millionths; and how often a number may be written to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

MILLIONTHS = 1_000_000
_MOST = Decimal(1000)
_PREFIX = re.compile(r"\+?([1-9]\d{0,6})")
_EXPECTED_PRICES = "expected prices by country prefix, such as 48=0.07, 49=0.12"
_RATE = re.compile(r"([1-9]\d{0,3})\s*/\s*([1-9]\d{0,3})\s*([hd])", re.IGNORECASE)
_SECONDS = {"h": 3600.0, "d": 86_400.0}


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices in millionths: a number's price is that of the longest prefix that fits it, or else the usual one."""

    usual: int
    by_prefix: Mapping[str, int]

    @classmethod
    def of(cls, usual: Decimal, prices: Mapping[str, Decimal]) -> Tariff:
        """The tariff of an account."""
        return cls(millionths(usual), {prefix: millionths(price) for prefix, price in prices.items()})

    @property
    def longest(self) -> int:
        """How many digits of a number decide its price."""
        return max(map(len, self.by_prefix), default=0)

    def price(self, digits: str) -> int:
        """What one message to a number that begins with these digits (at least ``longest`` of them) costs."""
        for length in range(self.longest, 0, -1):
            if (found := self.by_prefix.get(digits[:length])) is not None:
                return found
        return self.usual

    def total(self, phones: Iterable[int]) -> int:
        """What one message to each of the numbers costs."""
        if not self.by_prefix:
            return self.usual * sum(1 for _ in phones)
        return sum(self.price(str(phone)) for phone in phones)


def millionths(amount: Decimal) -> int:
    """An amount of money as the ledger keeps it."""
    return int(amount * MILLIONTHS)


def amount(count: int) -> Decimal:
    """What the ledger keeps, as an amount of money."""
    return Decimal(count) / MILLIONTHS


def read_prices(text: str) -> dict[str, Decimal]:
    """``48=0.07, 49=0.12``: prices by country prefix, as an operator writes them.

    Raises:
        ValueError: they cannot be read; the message says what is expected.
    """
    prices: dict[str, Decimal] = {}
    for item in text.split(","):
        prefix, _, price = item.partition("=")
        found = _PREFIX.fullmatch(prefix.strip())
        try:
            value = Decimal(price.strip())
        except InvalidOperation:
            raise ValueError(_EXPECTED_PRICES) from None
        if found is None or not value.is_finite() or not 0 <= value <= _MOST:
            raise ValueError(_EXPECTED_PRICES)
        if found[1] in prices:
            raise ValueError(f"{_EXPECTED_PRICES}; {found[1]} is given twice")
        prices[found[1]] = value
    return prices


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``most`` messages to one number within ``seconds``."""

    most: int
    seconds: float


def read_rate(text: str) -> Rate:
    """``1/24h`` or ``3/7d``.

    Raises:
        ValueError: it cannot be read.
    """
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise ValueError("expected a number of messages in a time, such as 1/24h or 3/7d")
    return Rate(int(found[1]), int(found[2]) * _SECONDS[found[3].lower()])
