"""The ledger as Prometheus metrics, read anew at each scrape. No number, no secret, and only so many campaigns as labels."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from posthorn.errors import GatewayError, LedgerError
from posthorn.gateways import registry
from posthorn.gateways.descriptor import Descriptor
from posthorn.ledger import parked, refusals, suppression
from posthorn.ledger.measures import BUCKETS_SECONDS, RequestCount, Requests, Standing, standings
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Kind, Scope, taken_of
from posthorn.settings import Settings, SettingsError
from posthorn.views.status import BY_A_PERSON

CREDIT_EVERY_SECONDS = 3600.0
"""How often an account's credit is asked for: the provider advises about hourly (account/limits)."""

_OUTCOMES = ("answered", "not_taken", "unknown", "abandoned", "late")
_NONE_TIMED = (0,) * (len(BUCKETS_SECONDS) + 1)

_logger = logging.getLogger(__name__)


class CreditWatch:
    """Asks each campaign gateway for the account's credit once an hour, in a thread of its own: no scrape waits for it.

    Without credentials nothing is asked and nothing is shown. ``answers`` is what is left and when that was said (seconds),
    by gateway. The last answer stays while a provider does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="credit", daemon=True)
        self._gateways = [one for one in registry.for_kind(Kind.CAMPAIGN) if one.account(settings).has_credentials]
        self.answers: dict[str, tuple[float, float]] = {}
        if self._gateways:
            self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()

    def _work(self) -> None:
        while not self._closed.is_set():
            for one in self._gateways:
                try:
                    asyncio.run(self._ask(one))
                except (GatewayError, SettingsError) as error:
                    _logger.warning("the credit could not be asked for: %s", error)
            self._closed.wait(CREDIT_EVERY_SECONDS)

    async def _ask(self, descriptor: Descriptor) -> None:
        gateway = descriptor.open(self._settings)
        try:
            credit = await gateway.credit()
        finally:
            await gateway.aclose()
        left = 0.0 if not credit.available else math.inf if credit.left is None else float(credit.left)
        self.answers = {**self.answers, descriptor.name: (left, time.time())}


class LedgerCollector(Collector):
    """Reads the ledger at each scrape. Where it cannot be read, the metrics say just that."""

    def __init__(self, ledger: Ledger, credit: CreditWatch, settings: Settings) -> None:
        self._ledger = ledger
        self._credit = credit
        self._prices = _prices(settings)
        self._requests = RequestCount()
        self._opt_outs: tuple[object, Mapping[tuple[Scope, str], int]] = (None, {})
        self._highest: dict[tuple[str, ...], float] = {}
        self._one_at_a_time = threading.Lock()

    @override
    def collect(self) -> Iterator[Metric]:
        """Every metric; called by the registry, from several threads."""
        with self._one_at_a_time:
            try:
                shown = standings(self._ledger)
                families = [*_of_campaigns(shown), _of_cost(shown, self._prices), *self._of_requests()]
                families += [self._of_news(), *self._of_opt_outs()]
                readable = 1
            except LedgerError as error:
                _logger.warning("the ledger could not be read: %s", error)
                families, readable = [], 0
        yield _gauge("posthorn_ledger_readable", "Whether the ledger could be read for this scrape.", [], [((), readable)])
        yield from families
        if answers := self._credit.answers:
            labels = ["gateway"]
            left = [((gateway,), count) for gateway, (count, _) in answers.items()]
            asked = [((gateway,), at) for gateway, (_, at) in answers.items()]
            yield _gauge("posthorn_credit_left", "Messages the account may still send, asked hourly.", labels, left)
            yield _gauge("posthorn_credit_asked_timestamp_seconds", "When the credit was last answered.", labels, asked)

    def _of_requests(self) -> Iterator[Metric]:
        counted = _with_zeros(self._requests.count(self._ledger))
        total = CounterMetricFamily("posthorn_requests", "Requests that ended, by outcome.", labels=["gateway", "outcome"])
        for one in counted:
            total.add_metric([one.gateway, one.outcome], self._never_less("count", one.gateway, one.outcome, now=one.count))
        yield total
        yield self._durations(counted)
        answers = [one for one in counted if one.outcome == "answered" and one.count]
        answered = [((one.gateway,), one.last_ended_at) for one in answers]
        yield _gauge("posthorn_last_answer_timestamp_seconds", "When a request was last answered.", ["gateway"], answered)

    def _of_news(self) -> Metric:
        said = "News kept aside because it contradicts the message that has its id."
        return _gauge("posthorn_contradictory_news", said, [], [((), parked.count_contradictory(self._ledger))])

    def _of_opt_outs(self) -> Iterator[Metric]:
        said = "Numbers that must not be messaged, by scope and who said so."
        counted = [((scope.name.lower(), source), count) for (scope, source), count in self._counted_opt_outs().items()]
        yield _gauge("posthorn_suppressed_numbers", said, ["scope", "source"], counted)
        pulled = [((gateway,), at) for gateway, at in refusals.pulled_at(self._ledger).items()]
        said = "When a provider last reported all its opt-outs."
        yield _gauge("posthorn_opt_outs_pulled_timestamp_seconds", said, ["gateway"], pulled)

    def _counted_opt_outs(self) -> Mapping[tuple[Scope, str], int]:
        """Counted anew only where the list has changed: it may be long."""
        newest = suppression.newest_word(self._ledger)
        if newest != self._opt_outs[0]:
            self._opt_outs = (newest, suppression.counted(self._ledger))
        return self._opt_outs[1]

    def _durations(self, counted: list[Requests]) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "posthorn_request_seconds", "From the claim of a request's recipients to its outcome.", labels=["gateway"]
        )
        bounds = [*(str(bound) for bound in BUCKETS_SECONDS), "+Inf"]
        for gateway in sorted({one.gateway for one in counted}):
            ones = [one for one in counted if one.gateway == gateway]
            heights = [sum(column) for column in zip(*(one.timed for one in ones), strict=True)]
            buckets = [
                (bound, self._never_less("bucket", gateway, bound, now=height))
                for bound, height in zip(bounds, heights, strict=True)
            ]
            seconds = self._never_less("seconds", gateway, now=sum(one.seconds for one in ones))
            family.add_metric([gateway], buckets, seconds)
        return family

    def _never_less(self, *key: str, now: float) -> float:
        """A counter must not fall, although an attempt whose answer comes late changes its outcome."""
        highest = self._highest[key] = max(now, self._highest.get(key, now))
        return highest


def _with_zeros(counted: Sequence[Requests]) -> list[Requests]:
    """Also a line for what has not happened yet: Prometheus sees no increase if a series begins above zero."""
    found = {(one.gateway, one.outcome) for one in counted}
    gateways = [one.name for one in registry.GATEWAYS]
    wanted = [(gateway, outcome) for gateway in gateways for outcome in _OUTCOMES]
    return [*counted, *(Requests(*key, 0, 0.0, _NONE_TIMED, 0.0) for key in wanted if key not in found)]


def _of_campaigns(shown: list[Standing]) -> Iterator[Metric]:
    states = [((one.name, one.kind, state), count) for one in shown for state, count in one.states.items()]
    yield _gauge("posthorn_messages", "Rows of the input by state.", ["campaign", "kind", "state"], states)
    labels = ["campaign", "kind"]
    for name, said, values in (
        ("unknown_messages", "Messages whose outcome nobody can tell.", [one.states["unknown"] for one in shown]),
        ("campaign_balanced", "Whether the states add up to the input.", [one.is_balanced for one in shown]),
        ("campaign_running", "Whether a process runs it right now.", [one.is_running for one in shown]),
        (
            "campaign_stopped",
            "Whether it ended early by itself and nobody runs it.",
            [_stopped_by_itself(one) for one in shown],
        ),
        ("approval_waiting", "Whether it waits for a person's approval.", [one.asks_since is not None for one in shown]),
    ):
        rows = [((one.name, one.kind), value) for one, value in zip(shown, values, strict=True)]
        yield _gauge(f"posthorn_{name}", said, labels, rows)
    waits = [((one.name, one.kind), one.goes_on_at) for one in shown if one.goes_on_at is not None]
    said = "When its rest is sent by itself, where it waits for its hours or for reports."
    yield _gauge("posthorn_campaign_goes_on_timestamp_seconds", said, labels, waits)
    now = time.time()
    ages = [((one.name, one.kind), now - at) for one in shown if (at := one.oldest_unknown_at) is not None]
    yield _gauge("posthorn_oldest_unknown_seconds", "Age of the oldest request of unknown outcome.", labels, ages)


def _prices(settings: Settings) -> Mapping[str, Decimal]:
    """What a message costs, by gateway; those without a price are left out."""
    found = {one.name: one.account(settings).price_per_message for one in registry.GATEWAYS}
    return {name: price for name, price in found.items() if price is not None}


def _of_cost(shown: Sequence[Standing], prices: Mapping[str, Decimal]) -> Metric:
    rows = [
        ((one.name, one.kind), float(prices[one.gateway] * taken_of(one.states))) for one in shown if one.gateway in prices
    ]
    said = "What the messages cost that the provider took, at the usual price of its gateway's settings."
    return _gauge("posthorn_cost", said, ["campaign", "kind"], rows)


def _stopped_by_itself(one: Standing) -> bool:
    """A deliberate stop is not an alarm: whoever stopped it knows."""
    return one.is_stopped and not (one.stopped_because or "").startswith(BY_A_PERSON)


def _gauge(name: str, said: str, labels: list[str], rows: Sequence[tuple[tuple[str, ...], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, said, labels=labels)
    for values, value in rows:
        family.add_metric(list(values), float(value))
    return family
