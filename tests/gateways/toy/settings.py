"""The toy gateway's own settings, ``TOY_…`` in the environment: posthorn/settings.py knows nothing of them."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ToySettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="TOY_")

    base_url: str = Field("https://toy.example", description="Where its API is")
    token: SecretStr | None = Field(None, description="API token of the account")
    chunk_size: int = Field(7, ge=1, le=20, description="Numbers per request")
    concurrency: int = Field(2, ge=1, description="Requests in flight per process")
    settle_seconds: float = Field(0.2, ge=0, description="How long an unconfirmed send is looked up")
