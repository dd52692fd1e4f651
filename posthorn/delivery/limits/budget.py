"""What a delivery may spend, and how often a number may be messaged: the settings' and the file's rules, at each claim."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from posthorn.content.amounts import money
from posthorn.errors import CapsUsedUp, InputError, Stopped
from posthorn.gateways import registry
from posthorn.gateways.registry import by_name
from posthorn.ledger import costs
from posthorn.ledger.costs import Cap, CapReached, Limits, Nearing
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind
from posthorn.prices import Tariff, amount, millionths, read_rate
from posthorn.settings import Settings

_logger = logging.getLogger(__name__)


class Budget:
    """The limits of one delivery's claims. ``news`` is what somebody should be told; taking it clears it."""

    def __init__(self, delivery: Delivery, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._delivery = delivery
        self._settings = settings
        self._clock = clock
        self._zone = ZoneInfo(settings.timezone)
        self._rate = read_rate(settings.frequency_cap) if settings.frequency_cap else None
        self._tariff = by_name(delivery.gateway).account(settings).tariff
        self._max_cost = Decimal(delivery.options["max_cost"]) if delivery.options.get("max_cost") else None
        self._day: tuple[Cap, ...] = ()
        self.news: list[str] = []

    def limits(self) -> Limits:
        """What a claim has to respect now.

        Raises:
            Stopped: there is a cap and no price, so nothing can be kept below it.
        """
        if self._delivery.test:
            return Limits()
        caps = (*self._of_delivery(), *self._of_day(self._clock()))
        if caps and self._tariff is None:
            raise Stopped(f"{caps[0].name} needs a price: {_set_price(self._delivery.gateway)}. Nothing more is sent")
        rate = self._rate if self._delivery.kind == Kind.CAMPAIGN else None
        return Limits(rate, caps, self._tariff, self._tell)

    def make_room(self, ledger: Ledger, reached: CapReached) -> None:
        """Count anew what is spent of a cap that seems reached. Return if the claim fits after all.

        Raises:
            CapsUsedUp: it does not fit; with the amounts.
        """
        cap = reached.cap
        spent = costs.count_anew(ledger, cap, _tariffs(self._settings))
        if spent + reached.cost > cap.most:
            raise CapsUsedUp(
                f"{cap.name} of {_money(cap.most)} is reached: {_money(spent)} is spent or reserved, and the next request"
                f" costs {_money(reached.cost)}. {_way_on(cap)}"
            )

    def take_news(self) -> list[str]:
        """What somebody should be told, once."""
        told, self.news = self.news, []
        return told

    def _of_delivery(self) -> tuple[Cap, ...]:
        if self._max_cost is None:
            return ()
        scope = f"delivery {self._delivery.id}"
        return (Cap(scope, millionths(self._max_cost), "its max_cost", campaign_id=self._delivery.id),)

    def _of_day(self, now: float) -> tuple[Cap, ...]:
        cap = self._settings.daily_cost_cap
        if cap is not None and not (self._day and self._day[0].since <= now < self._day[0].until):
            day = datetime.fromtimestamp(now, UTC).astimezone(self._zone).date()
            since, until = (
                datetime(one.year, one.month, one.day, tzinfo=self._zone).timestamp()
                for one in (day, day + timedelta(days=1))
            )
            name = f"the day's cap (POSTHORN_DAILY_COST_CAP, {day} in {self._zone.key})"
            self._day = (Cap(f"day {day}", millionths(cap), name, since=since, until=until),)
        return self._day

    def _tell(self, nearing: Nearing) -> None:
        said = f"{nearing.cap.name} of {_money(nearing.cap.most)} is nearly used up: {_money(nearing.spent)} is spent"
        _logger.warning("%s: %s", self._delivery.name, said)
        self.news.append(said)


def _tariffs(settings: Settings) -> dict[str, Tariff]:
    """What each gateway charges, where that is known."""
    found = {one.name: one.account(settings).tariff for one in registry.GATEWAYS}
    return {name: tariff for name, tariff in found.items() if tariff is not None}


def refuse_unpriced(settings: Settings, gateway: str, max_cost: Decimal | None) -> None:
    """Refuse a delivery that has a cap, and whose gateway has no price: nothing could be kept below it.

    Raises:
        InputError: with the setting to set.
    """
    capped = "max_cost" if max_cost is not None else "POSTHORN_DAILY_COST_CAP" if settings.daily_cost_cap is not None else ""
    if capped and by_name(gateway).account(settings).tariff is None:
        raise InputError(capped, f"a cap needs a price: {_set_price(gateway)}")


def beyond(settings: Settings, cost: Decimal | None, max_cost: Decimal | None) -> str | None:
    """A sentence if a cap will stop it before its end, judged by its whole cost; None if none will, as far as known."""
    if cost is None:
        return None
    for cap, name in ((max_cost, "its max_cost"), (settings.daily_cost_cap, "the day's cap (POSTHORN_DAILY_COST_CAP)")):
        if cap is not None and cost > cap:
            return f"it costs {money(cost)}, and {name} is {money(cap)}: it will stop before its end"
    return None


def _set_price(gateway: str) -> str:
    return f"set {by_name(gateway).variables}__PRICE_PER_MESSAGE"


def _money(count: int) -> str:
    return money(amount(count))


def _way_on(cap: Cap) -> str:
    if cap.campaign_id is None:
        return "Run it again tomorrow, or raise the cap"
    return "Raise max_cost in its file, and run it again"
