"""What everybody else may know of a gateway: its name, bounds, abilities, words and push routes. Knows no provider.

A descriptor is light: what a provider's package needs to call it (its HTTP client) is imported when it is first opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from posthorn.gateways.probing import Probe
from posthorn.models import Bounds, Kind, News, OptOut, Phone, TicketRequest
from posthorn.prices import Tariff
from posthorn.settings import Settings

_MAX_FORM_FIELDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The pace and the clock of an account, from its gateway's settings. Times are in seconds.

    ``key`` tells accounts of one gateway apart in the ledger, without revealing their credentials. ``encodings`` are
    those in which a file from disk may be uploaded, in the order in which they are tried; empty if there is only one way.
    ``test_number`` is the operator's own number, for sends that are only checked. ``clock_offset_seconds`` is how far the
    provider's dates are known to be ahead. ``takes_back`` is False if the account was seen not to keep messages until a
    moment, or not to withdraw them. ``account_concurrency`` bounds the requests in flight of all processes,
    ``concurrency`` those of one. ``timezone`` is that of the provider's dates. ``chunk_size`` is how many numbers a
    request has unless the file says otherwise.
    """

    base_url: str
    has_credentials: bool
    concurrency: int = 1
    account_concurrency: int = 1
    breaker_after: int = 3
    min_interval_seconds: float = 0.0
    timeout_seconds: float = 30.0
    chunk_size: int = 1
    timezone: str = "UTC"
    settle_seconds: float = 600.0
    last_look_seconds: float = 90.0
    price_per_message: Decimal | None = None
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    key: str = ""
    encodings: tuple[str, ...] = ()
    test_number: Phone | None = field(default=None, repr=False)
    clock_offset_seconds: float = 0.0
    takes_back: bool = True

    @property
    def tariff(self) -> Tariff | None:
        """What it charges by country prefix; None if no price is known."""
        return None if self.price_per_message is None else Tariff.of(self.price_per_message, self.prices)

    @property
    def is_local(self) -> bool:
        """Whether the provider is a stand-in on this machine: settings allow plain http only for that."""
        return self.base_url.startswith("http://")


@dataclass(frozen=True, slots=True)
class Push:
    """One request that a provider has pushed: its body as it came, and the parameters of its query."""

    content_type: str
    body: bytes = b""
    query: Mapping[str, str] = field(default_factory=dict)

    def form(self) -> Mapping[str, str]:
        """The fields of a form in the body, the last one of each name; empty if the body is not a form.

        Raises:
            Unreadable: it is not UTF-8, or has more fields than a form of a provider has.
        """
        if self.content_type != "application/x-www-form-urlencoded":
            return {}
        try:
            return dict(parse_qsl(self.body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MAX_FORM_FIELDS))
        except UnicodeDecodeError as error:
            raise Unreadable(error.reason) from None  # the error itself quotes the body
        except ValueError as error:
            raise Unreadable(str(error)) from None


class Unreadable(ValueError):
    """What was pushed cannot be read; the message says why, without quoting it."""


Reader: TypeAlias = Callable[[Push], Sequence[News | OptOut]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a provider pushes to: ``https://host/SECRET/<path>``, with ``query`` behind it as its panel wants it.

    ``open`` makes the reader of its requests, which raises ``Unreadable``. ``what`` is what one request is called.
    """

    path: str
    methods: tuple[str, ...]
    max_bytes: int
    open: Callable[[Settings], Reader]
    what: str = "push"
    query: str = ""

    @property
    def address(self) -> str:
        """The end of the address to give the provider."""
        return f"{self.path}?{self.query}" if self.query else self.path


def account_key(*parts: str) -> str:
    """A short name for an account, derived from its address and its login, that reveals neither."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _no_words(_: str) -> str:
    return ""


def _no_secrets(_: Settings) -> Sequence[str]:
    return ()


def _any_ticket(_: TicketRequest) -> None:
    """Nothing to refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """One gateway. ``name`` is stored with every campaign or event that goes through it: never change it.

    ``open`` makes a ``CampaignGateway`` or a ``TicketGateway``, by its ``kind``; it raises ``SettingsError`` if
    credentials are missing. ``variables`` is the prefix of its settings, ``credentials`` names those of its login.

    ``secrets`` are those of the settings, to be kept out of everything that is shown.

    The abilities: ``looks_up`` (it can be asked what became of a message), ``holds`` (it keeps messages until a moment),
    ``withdraws`` (it takes back what it keeps), ``uploads`` (it takes files), ``tests`` (it checks a request without
    sending it), ``file_types`` (it is a ``FileStore`` of these, the one for messages first), ``tells_account`` (it is an
    ``AccountApi``), ``tells_opt_outs`` (it is an ``OptOutSource``). ``blacklisted_codes`` are the codes and
    reasons by which it says that a number is blacklisted. ``probe`` turns what is inferred of an account into what is known.
    """

    name: str
    title: str
    kind: Kind
    account: Callable[[Settings], Account]
    open: Callable[[Settings], Any]
    variables: str
    credentials: str
    bounds: Bounds = field(default_factory=Bounds)
    code_words: Callable[[str], str] = _no_words
    check_ticket: Callable[[TicketRequest], None] = _any_ticket
    routes: tuple[Route, ...] = ()
    looks_up: bool = False
    holds: bool = False
    withdraws: bool = False
    uploads: bool = False
    tests: bool = False
    file_types: tuple[str, ...] = ()
    tells_account: bool = False
    tells_opt_outs: bool = False
    blacklisted_codes: tuple[str, ...] = ()
    probe: Probe | None = None
    secrets: Callable[[Settings], Sequence[str]] = _no_secrets

    def check_credentials(self, settings: Settings) -> None:
        """Refuse early if the credentials are missing.

        Raises:
            SettingsError: the message names the variables.
        """
        if not self.account(settings).has_credentials:
            self.open(settings)  # its own words say what is missing
