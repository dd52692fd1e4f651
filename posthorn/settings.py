"""Every setting, typed and described: from the environment (``POSTHORN_…``, nested with ``__``) and from ``.env``.

Secrets are ``SecretStr`` and never printed. A wrong value is refused with the variable's name and what is expected.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values
from phonenumbers import SUPPORTED_REGIONS
from pydantic import AfterValidator, BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "POSTHORN_"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class SettingsError(Exception):
    """The settings are wrong or incomplete; the message names each variable and what it expects."""


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected a URL that starts with https://")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("expected https:// (plain http is allowed on this machine only, for the sandbox)")
    return url.rstrip("/")


def _checked_region(region: str) -> str:
    if region.upper() not in SUPPORTED_REGIONS:
        raise ValueError("expected a two-letter region such as PL, DE or US")
    return region.upper()


def _checked_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("expected a time zone such as Europe/Warsaw") from error
    return name


def _checked_database(url: str) -> str:
    if url.startswith(("postgres://", "postgresql://")):
        return "postgresql+psycopg://" + url.split("://", 1)[1]
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("expected sqlite:///path/to/file.db or postgresql://user@host/database")
    return url


BaseUrl = Annotated[str, AfterValidator(_checked_url)]
Region = Annotated[str, AfterValidator(_checked_region)]
Zone = Annotated[str, AfterValidator(_checked_zone)]
DatabaseUrl = Annotated[str, AfterValidator(_checked_database)]


class SerwerSmsSettings(BaseModel):
    """The account and the pace of SerwerSMS.pl, which sends campaigns."""

    base_url: BaseUrl = Field("https://api2.serwersms.pl", description="Where the HTTPS API v2 is")
    token: SecretStr | None = Field(None, description="API token of the panel (recommended)")
    username: str | None = Field(None, description="API user, where there is no token")
    password: SecretStr | None = Field(None, description="Password of the API user")
    response_format: Literal["json", "xml"] = Field("json", description="Which format answers are asked in: json or xml")
    chunk_size: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Numbers per request; 50-200 advised. A killed process leaves concurrency x chunk size in doubt",
    )
    concurrency: int = Field(8, ge=1, le=64, description="Requests in flight per process")
    timeout_seconds: float = Field(30, gt=0, le=600, description="Longest wait for one answer")
    timezone: Zone = Field("Europe/Warsaw", description="Time zone of the provider's dates, which carry none")
    settle_seconds: float = Field(
        600, ge=0, le=86_400, description="How long an unconfirmed send is looked up before it is called unknown for good"
    )
    breaker_after: int = Field(
        3, ge=1, le=100, description="Unknown outcomes in a row after which nothing more is sent in this run"
    )

    def has_credentials(self) -> bool:
        """Whether a token, or a user with a password, is set."""
        return bool(self.token and self.token.get_secret_value()) or bool(
            self.username and self.password and self.password.get_secret_value()
        )


class SkycoreSettings(BaseModel):
    """The account and the pace of Skycore, which sends barcode tickets."""

    base_url: BaseUrl = Field("https://secure.skycore.com/API/wxml/1.3/index.php", description="Where the wxml 1.3 API is")
    api_key: SecretStr | None = Field(None, description="API key of the account")
    transport: Literal["post", "get"] = Field(
        "post", description="post (XML in a form field) or get (key in the URL: avoid)"
    )
    concurrency: int = Field(4, ge=1, le=64, description="Requests in flight per process")
    min_interval_seconds: float = Field(0, ge=0, le=3600, description="Shortest time between the starts of two requests")
    timeout_seconds: float = Field(30, gt=0, le=600, description="Longest wait for one answer")
    breaker_after: int = Field(
        3, ge=1, le=100, description="Unknown outcomes in a row after which nothing more is sent in this run"
    )


class Settings(BaseSettings):
    """All of Posthorn's settings."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", env_file=".env", env_file_encoding="utf-8", extra="ignore"
    )

    database_url: DatabaseUrl = Field(
        "sqlite:///.posthorn/ledger.db", description="The ledger; PostgreSQL for more than one worker"
    )
    state_dir: Path = Field(Path(".posthorn"), description="Folder for raw answers, locks and the local Prefect server")
    default_region: Region = Field("PL", description="Region of numbers written without a country prefix")
    serwersms: SerwerSmsSettings = Field(default_factory=SerwerSmsSettings, description="SerwerSMS.pl, for campaigns")
    skycore: SkycoreSettings = Field(default_factory=SkycoreSettings, description="Skycore, for barcode tickets")


def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a value is wrong; every wrong variable is named with what it expects.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = [f"{_variable(item['loc'])}: {_expectation(item)}" for item in error.errors(include_input=False)]
        raise SettingsError("\n".join(problems)) from None


def variables(model: type[BaseModel] = Settings, prefix: str = PREFIX) -> Iterator[tuple[str, Any]]:
    """Every variable's name with its pydantic field, in order: ``("POSTHORN_DATABASE_URL", FieldInfo)``."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from variables(info.annotation, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}", info


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each POSTHORN_ variable, set here or in ``.env``, that no setting has: mostly a slip of the pen."""
    known = [name for name, _ in variables()]
    present = {**dotenv_values(".env"), **(os.environ if environ is None else environ)}
    sentences = []
    for name in sorted(present):
        if name.upper().startswith(PREFIX) and name.upper() not in known and "TEST" not in name:
            close = difflib.get_close_matches(name.upper(), known, n=1)
            sentences.append(f"{name} is no setting of Posthorn" + (f"; did you mean {close[0]}?" if close else ""))
    return sentences


def _variable(location: tuple[int | str, ...]) -> str:
    return PREFIX + "__".join(str(part).upper() for part in location)


def _expectation(item: Mapping[str, Any]) -> str:
    """Pydantic's message, as an expectation: "Input should be less than 5" -> "expected less than 5"."""
    message: str = item["msg"]
    return message.removeprefix("Value error, ").replace("Input should be", "expected")
