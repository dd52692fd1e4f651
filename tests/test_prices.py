"""Prices and rates as operators write them; a price is that of the longest prefix that fits."""

from __future__ import annotations

from decimal import Decimal

import pytest

from posthorn.prices import Rate, Tariff, amount, read_prices, read_rate


def test_the_longest_prefix_decides_and_the_usual_price_holds_for_the_rest() -> None:
    tariff = Tariff.of(Decimal("0.30"), read_prices("48=0.07, +1 = 0.01,1242=0.5"))
    assert [amount(tariff.total([phone])) for phone in (48500600700, 16502530000, 12422530000, 44700900000)] == [
        Decimal("0.07"),
        Decimal("0.01"),
        Decimal("0.5"),
        Decimal("0.3"),
    ]
    assert amount(Tariff.of(Decimal("0.1"), {}).total(range(3))) == Decimal("0.3"), "a tenth is a tenth"


@pytest.mark.parametrize(
    "text", ["", "48", "48:0.07", "48=", "48=x", "48=-1", "48=NaN", "048=1", "PL=0.07", "48=0.07,", "48=1001"]
)
def test_prices_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected prices by country prefix, such as 48=0\.07"):
        read_prices(text)


def test_a_prefix_has_one_price() -> None:
    with pytest.raises(ValueError, match="48 is given twice"):
        read_prices("48=0.07, +48=0.08")


@pytest.mark.parametrize(("text", "rate"), [("1/24h", Rate(1, 86_400.0)), ("3 / 7D", Rate(3, 604_800.0))])
def test_a_rate_is_a_number_in_a_time(text: str, rate: Rate) -> None:
    assert read_rate(text) == rate


@pytest.mark.parametrize("text", ["", "1", "0/24h", "1/0h", "1/24", "1/24m", "x/24h"])
def test_a_rate_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 1/24h or 3/7d"):
        read_rate(text)
