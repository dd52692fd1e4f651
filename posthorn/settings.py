"""Every setting, typed and described: from the environment (``POSTHORN_…``, nested with ``__``) and from ``.env``.

Secrets are ``SecretStr`` and never printed. A wrong value is refused with the variable's name and what is expected.
"""

from __future__ import annotations

import difflib
import importlib.util
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from posthorn.hours import Hours, read_hours
from posthorn.prices import read_prices, read_rate

PREFIX = "POSTHORN_"
_DEFAULT_REGION = "PL"
_NUMBER = re.compile(r"[+-]?\d{1,12}(\.\d{1,6})?")
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9_.-]*[a-z0-9])?")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
_MAX_SHOWN = 10**12
_E164 = re.compile(r"\+[1-9][0-9]{7,14}")
_HOST = re.compile(r"[A-Za-z0-9._:-]+")


class SettingsError(Exception):
    """The settings are wrong or incomplete; the message names each variable and what it expects."""


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("expected a URL that starts with https://") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected a URL that starts with https://")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("expected https:// (plain http is allowed on this machine only, for the sandbox)")
    if parts.username or parts.password:
        raise ValueError("expected a URL without a user name or password: they have settings of their own")
    return url


def _checked_proxy(secret: SecretStr) -> SecretStr:
    expected = "expected http://host:port of a proxy; a user name and a password may stand before the host, percent-encoded"
    try:
        parts = urlsplit(secret.get_secret_value())
        has_port = parts.port is not None
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in _PROXY_SCHEMES or not has_port or not _HOST.fullmatch(parts.hostname or ""):
        raise ValueError(expected)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(expected)
    if parts.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise ValueError("expected http:// or https://; a socks proxy needs a library: pip install 'httpx[socks]'")
    return secret


def _checked_number(secret: SecretStr) -> SecretStr:
    if not _E164.fullmatch(secret.get_secret_value().replace(" ", "")):
        raise ValueError("expected one number with its country code, such as +48500600700")
    return SecretStr(secret.get_secret_value().replace(" ", ""))


def is_loopback(url: str) -> bool:
    """Whether a URL is of this machine itself."""
    try:
        host = urlsplit(url).hostname or ""
        return host in _LOOPBACK or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, or no URL at all
        return False


def _checked_folder(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("expected a path")
    return path


def _checked_region(region: str) -> str:
    if region == _DEFAULT_REGION:
        return region
    from phonenumbers import SUPPORTED_REGIONS  # slow to import, for every command

    if region.upper() not in SUPPORTED_REGIONS:
        raise ValueError("expected a two-letter region such as PL, DE or US")
    return region.upper()


def _checked_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("expected a time zone such as Europe/Warsaw") from error
    return name


def _checked_database(url: str) -> str:
    scheme, _, rest = url.partition("://")
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        raise ValueError("expected postgresql://user@host:port/database, with % in a password written as %25") from error
    if scheme in ("postgres", "postgresql", "postgresql+psycopg") and rest:
        return f"postgresql+psycopg://{rest}"
    path = rest.partition("?")[0]
    if scheme != "sqlite" or not path.startswith("/"):
        raise ValueError("expected sqlite:///path/to/file.db or postgresql://user@host/database")
    if path in ("/", "/:memory:") or "mode=memory" in rest:
        raise ValueError("expected a file, sqlite:///path/to/file.db: a ledger in memory forgets who was messaged")
    return url


def _checked_names(names: str) -> str:
    listed = [name.strip().lower() for name in names.split(",") if name.strip()]
    if any(not _HOST_NAME.fullmatch(name) for name in listed):
        raise ValueError("expected host names without https:// and port, such as mms.example.com, separated by commas")
    return ",".join(listed)


def _checked_hours(text: str) -> str:
    return str(read_hours(text))


def _checked_prices(text: str) -> str:
    read_prices(text)
    return text


def _checked_rate(text: str) -> str:
    read_rate(text)
    return text


def _checked_words(words: str) -> str:
    listed = [word.strip() for word in words.split(",") if word.strip()]
    if not listed or not all(any(one.isalnum() for one in word) for word in listed):
        raise ValueError("expected words separated by commas, such as STOP,WYPISZ")
    return ",".join(listed)


Url = Annotated[str, AfterValidator(_checked_url)]
BaseUrl = Annotated[Url, AfterValidator(lambda url: url.rstrip("/"))]  # paths are put behind it
Region = Annotated[str, AfterValidator(_checked_region)]
Zone = Annotated[str, AfterValidator(_checked_zone)]
DatabaseUrl = Annotated[str, AfterValidator(_checked_database)]
HostNames = Annotated[str, AfterValidator(_checked_names)]
StopWordList = Annotated[str, AfterValidator(_checked_words)]
ProxyUrl = Annotated[SecretStr, AfterValidator(_checked_proxy)]
TestNumber = Annotated[SecretStr, AfterValidator(_checked_number)]
Folder = Annotated[Path, AfterValidator(_checked_folder)]
PricesText = Annotated[str, AfterValidator(_checked_prices)]
RateText = Annotated[str, AfterValidator(_checked_rate)]
HoursText = Annotated[str, AfterValidator(_checked_hours)]
"""The hours as ``posthorn.hours`` writes them, so that the same hours are the same text."""


class NotifySettings(BaseModel):
    """Who is notified when a delivery needs a person, and how."""

    model_config = ConfigDict(hide_input_in_errors=True)

    slack_url: SecretStr | None = Field(None, description="Incoming webhook of the Slack channel that is notified")
    webhook_url: SecretStr | None = Field(None, description="URL that is sent JSON with subject and text")
    smtp_url: SecretStr | None = Field(
        None, description="Mail server, as smtp://user:password@host:587 (STARTTLS where offered) or smtps://host:465"
    )
    email_from: str = Field("posthorn@localhost", max_length=200, description="Sender of the e-mails")
    email_to: str = Field("", max_length=1000, description="Addresses, comma-separated, that are notified by e-mail")


class SerwerSmsSettings(BaseModel):
    """The account and the pace of SerwerSMS.pl, which sends campaigns."""

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: BaseUrl = Field("https://api2.serwersms.pl", description="Where the HTTPS API v2 is")
    token: SecretStr | None = Field(None, description="API token of the panel (recommended)")
    username: str | None = Field(None, description="API user, where there is no token")
    password: SecretStr | None = Field(None, description="Password of the API user")
    upload: Literal["auto", "multipart", "form", "base64"] = Field(
        "auto", description="Encoding of files from disk: multipart, form, base64; auto tries them and remembers what worked"
    )
    test_number: TestNumber | None = Field(
        None, description="Your own number, as +48500600700: a send with test=true to it proves files that no listing shows"
    )
    response_format: Literal["json", "xml"] = Field("json", description="Which format answers are asked in: json or xml")
    chunk_size: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Numbers per request; 50-200 advised. A killed process leaves concurrency x chunk size in doubt",
    )
    concurrency: int = Field(8, ge=1, le=64, description="Requests in flight per process")
    account_concurrency: int = Field(
        32, ge=1, le=1024, description="Requests in flight over all processes (a limit in Prefect, set by `make deploy`)"
    )
    timeout_seconds: float = Field(30, gt=0, le=600, description="Longest wait for one answer")
    timezone: Zone = Field("Europe/Warsaw", description="Time zone of the provider's dates, which carry none")
    settle_seconds: float = Field(
        600,
        ge=0,
        le=86_400,
        description="How long an unconfirmed send is looked up before it is called unknown for good; not below the timeout",
    )
    last_look_seconds: float = Field(
        90,
        ge=10,
        le=3600,
        description="How long before its dispatch a held message that was sent twice is looked at for the last time",
    )
    breaker_after: int = Field(
        3, ge=1, le=100, description="Unknown outcomes in a row after which nothing more is sent in this run"
    )
    price_per_message: Decimal | None = Field(
        None,
        ge=0,
        le=1000,
        decimal_places=6,
        description="What one message costs, in your currency; shown before a campaign is approved",
    )
    prices: PricesText | None = Field(
        None, description="Prices by country prefix, such as 48=0.07, 49=0.12; for others PRICE_PER_MESSAGE holds"
    )

    @field_validator("settle_seconds")
    @classmethod
    def _not_below_the_timeout(cls, seconds: float, info: ValidationInfo) -> float:
        """A request may be carried out while its answer is awaited: a look before that proves nothing."""
        timeout = info.data.get("timeout_seconds", 0.0)
        if seconds < timeout:
            raise ValueError(f"expected at least POSTHORN_SERWERSMS__TIMEOUT_SECONDS, which is {timeout:g}")
        return seconds

    def has_credentials(self) -> bool:
        """Whether a token, or a user with a password, is set."""
        return bool(self.token and self.token.get_secret_value()) or bool(
            self.username and self.password and self.password.get_secret_value()
        )


class SkycoreSettings(BaseModel):
    """The account and the pace of Skycore, which sends barcode tickets."""

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: Url = Field("https://secure.skycore.com/API/wxml/1.3/index.php", description="Where the wxml 1.3 API is")
    api_key: SecretStr | None = Field(None, description="API key of the account")
    transport: Literal["post", "raw", "get"] = Field(
        "post", description="post (XML in a form field), raw (XML as the body) or get (key in the URL: avoid)"
    )
    concurrency: int = Field(4, ge=1, le=64, description="Requests in flight per process")
    account_concurrency: int = Field(
        16, ge=1, le=1024, description="Requests in flight over all processes (a limit in Prefect, set by `make deploy`)"
    )
    min_interval_seconds: float = Field(0, ge=0, le=3600, description="Shortest time between the starts of two requests")
    timeout_seconds: float = Field(30, gt=0, le=600, description="Longest wait for one answer")
    breaker_after: int = Field(
        3, ge=1, le=100, description="Unknown outcomes in a row after which nothing more is sent in this run"
    )
    price_per_message: Decimal | None = Field(
        None,
        ge=0,
        le=1000,
        decimal_places=6,
        description="What one ticket costs, in your currency; shown before an event is approved",
    )


class Settings(BaseSettings):
    """All of Posthorn's settings."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    database_url: DatabaseUrl = Field(
        "sqlite:///.posthorn/ledger.db", repr=False, description="The ledger; PostgreSQL for more than one worker"
    )
    state_dir: Folder = Field(Path(".posthorn"), description="Folder for raw answers, locks and the local Prefect server")
    guard_dir: Path | None = Field(
        None,
        description="Folder of the claim marks: outside the ledger's, in no backup of it (~/.local/state/posthorn/marks)",
    )
    timezone: Zone = Field(
        "Europe/Warsaw", description="The operators' time zone: moments are shown in it, and hours are meant in it"
    )
    send_hours: HoursText | None = Field(
        None, description="When messages may reach people, such as Mon-Fri 08:00-20:00, Sat 09:00-18:00; empty: any time"
    )
    proxy_url: ProxyUrl | None = Field(
        None, description="Proxy for calls to providers only, where a network demands one; http://host:port"
    )
    default_region: Region = Field(_DEFAULT_REGION, description="Region of numbers written without a country prefix")
    barcode_length: int = Field(
        32, ge=1, le=255, description="Longest code of a ticket; ours: the provider's page names no limit"
    )
    approve_above: int | None = Field(
        None,
        ge=0,
        description="Deliveries to more numbers than this wait for a person's approval before the first send",
    )
    daily_cost_cap: Decimal | None = Field(
        None, ge=0, le=10_000_000, decimal_places=2, description="Most that all campaigns and events may cost in one day"
    )
    frequency_cap: RateText | None = Field(
        None, description="Most messages of campaigns to one number in a time, such as 1/24h or 3/7d; tickets are exempt"
    )
    retention_days: int = Field(
        365, ge=7, le=36_500, description="Days after which the numbers of a finished campaign are erased; counts stay"
    )
    stop_words: StopWordList = Field(
        "STOP,STOP ALL,UNSUBSCRIBE,CANCEL,END,QUIT,OPT OUT,WYPISZ,WYPISZ MNIE,REZYGNUJE,REZYGNACJA,KONIEC,USUN,USUN MNIE",
        description="Answers, comma-separated, after which a number gets no more campaigns; case and accents do not count",
    )
    webhook_secret: SecretStr | None = Field(
        None,
        description="Secret part of the URL that providers push to; 22 or more letters, digits or -._~ nobody can guess",
    )
    host_names: HostNames = Field(
        "",
        description="Names, comma-separated, by which others reach the webhooks or Prefect's UI, such as a proxy's",
    )
    runbook_url: str = Field(
        "docs/operations.md", max_length=500, description="Where the operations guide is read; alerts link into it"
    )
    notify: NotifySettings = Field(
        default_factory=NotifySettings, description="Who is notified when a delivery needs a person"
    )
    serwersms: SerwerSmsSettings = Field(default_factory=SerwerSmsSettings, description="SerwerSMS.pl, for campaigns")
    skycore: SkycoreSettings = Field(default_factory=SkycoreSettings, description="Skycore, for barcode tickets")

    def hours(self) -> Hours | None:
        """When messages may reach people; None: at any time."""
        return None if self.send_hours is None else read_hours(self.send_hours)

    def own_names(self) -> frozenset[str]:
        """The host names of ``host_names``."""
        return frozenset(name for name in self.host_names.split(",") if name)

    def proxy_for(self, base_url: str) -> str | None:
        """The proxy through which a provider at ``base_url`` is called; this machine is never called through one."""
        return None if self.proxy_url is None or is_loopback(base_url) else self.proxy_url.get_secret_value()


def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a value is wrong; every wrong variable is named with what it expects.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = [f"{_variable(item['loc'])}: {expectation(Settings, item)}" for item in error.errors()]
    except SourceError as error:
        problems = [f"{name}: expected its parts, each set by itself" for name in _groups() if _names(error, name)]
    except (OSError, UnicodeDecodeError):
        problems = [".env: expected a readable file of UTF-8 text"]
    raise SettingsError("\n".join(problems))


def variables(model: type[BaseModel] = Settings, prefix: str = PREFIX) -> Iterator[tuple[str, Any]]:
    """Every variable's name with its pydantic field, in order: ``("POSTHORN_DATABASE_URL", FieldInfo)``."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from variables(info.annotation, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}", info


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each POSTHORN_ variable, set here or in ``.env``, that is no setting: mostly a typing error."""
    known = [name for name, _ in variables()]
    present = {**dotenv_values(".env"), **(os.environ if environ is None else environ)}
    sentences = []
    for name in sorted(present):
        if name.upper().startswith(PREFIX) and name.upper() not in known and "TEST" not in name:
            close = difflib.get_close_matches(name.upper(), known, n=1)
            sentences.append(f"{name} is not a setting of Posthorn" + (f"; did you mean {close[0]}?" if close else ""))
    return sentences


def _variable(location: tuple[int | str, ...]) -> str:
    return PREFIX + "__".join(str(part).upper() for part in location)


def _groups() -> Iterator[str]:
    """The variable that stands for a whole group of settings: nobody should set it."""
    return iter(dict.fromkeys(name.rpartition("__")[0] for name, _ in variables() if "__" in name))


def _names(error: SourceError, group: str) -> bool:
    return f'"{group.removeprefix(PREFIX).lower()}"' in str(error)


def expectation(model: type[BaseModel], item: Mapping[str, Any]) -> str:
    """What a field of ``model`` expects, and what it got, from one of pydantic's errors.

    "expected a whole number from 1 to 100000, got 0". A secret, a URL and anything long is never quoted.
    """
    info = _field(model, item["loc"])
    if item["type"] == "missing":
        return "is missing"
    if item["type"] == "value_error":
        expected = str(item["ctx"]["error"])
    else:
        described = _described(info, whole=item["type"] != "string_type") if info else ""
        expected = f"expected {described}" if described else str(item["msg"]).replace("Input should be", "expected")
    return expected + ("" if info is None or _is_private(info) else _got(item["input"]))


def _is_private(info: FieldInfo) -> bool:
    return not info.repr or SecretStr in [_bare(kind) for kind in (info.annotation, *get_args(info.annotation))]


def _field(model: type[BaseModel], location: Sequence[int | str]) -> FieldInfo | None:
    """The field that an error is about: the innermost known one."""
    info: FieldInfo | None = None
    for part in location:
        info = model.model_fields.get(str(part), info)
        if info and isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            model = info.annotation
    return info


def _described(info: FieldInfo, *, whole: bool) -> str:
    """The values that a field, or one entry of it, takes, in words; empty for a type without words here."""
    if whole and get_origin(info.annotation) is list:
        return "a list in square brackets"
    kinds = [_bare(kind) for kind in get_args(info.annotation) or (info.annotation,) if kind is not NoneType]
    if get_origin(info.annotation) is Literal:
        return " or ".join(kinds)
    words = {
        bool: "true or false",
        int: f"a whole number{_bounds(info)}",
        float: f"a number{_bounds(info)}",
        Decimal: f"a number{_bounds(info)}",
        str: "text in quotes",
        SecretStr: "text",
        Path: "a path",
        datetime: "a date and time with its offset from UTC, such as 2026-11-30T09:00:00+01:00",
    }
    if isinstance(kinds[0], type) and issubclass(kinds[0], BaseModel):
        return "its parts, each set by itself"
    return words.get(kinds[0], "")


def _bare(kind: Any) -> Any:
    """The type itself where it carries validators."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _bounds(info: FieldInfo) -> str:
    limits = {name: getattr(rule, name) for rule in info.metadata for name in ("ge", "gt", "le") if hasattr(rule, name)}
    low, above, high = limits.get("ge"), limits.get("gt"), limits.get("le")
    if low is not None:
        return f" from {low} to {high}" if high is not None else f" of at least {low}"
    if above is not None:
        return f" above {above}" + (f" and up to {high}" if high is not None else "")
    return ""


def _got(value: object) -> str:
    """What was given, if it is short and plain; otherwise nothing, because it may be a secret in the wrong place."""
    if isinstance(value, bool):
        return f", got {str(value).lower()}"
    if isinstance(value, int) and abs(value) >= _MAX_SHOWN:
        return ""
    if isinstance(value, int | float | Decimal | datetime) or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        return f", got {value}"
    if isinstance(value, str) and len(value) <= 12 and "://" not in value and "@" not in value:
        return f", got {value!r}"
    return ""
