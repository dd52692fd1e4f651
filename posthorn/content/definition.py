"""The typed content of a delivery, a campaign's or an event's, read from what the ledger keeps.

The ledger keeps it as JSON. A key that an older version did not write has its default. A key of a later version is kept
and ignored. Content is written back exactly as it was read, so the hash that a person approved stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from posthorn.errors import LedgerError
from posthorn.models import Kind, mms_number


def _as_datetime(value: object) -> object:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


Moment = Annotated[datetime, BeforeValidator(_as_datetime), PlainSerializer(datetime.isoformat)]
"""A moment in UTC. As JSON it is ``2026-11-30T08:00:00+00:00``, which is what ledgers hold."""


class _Kept(BaseModel):
    """Content of either kind. Two are equal if they mean the same, whether or not a default value is written out."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", hide_input_in_errors=True)

    kind: ClassVar[Kind]

    @classmethod
    def read(cls, kept: Mapping[str, object]) -> Self:
        """The content that the ledger keeps as these JSON values.

        Raises:
            LedgerError: a key that every version writes is missing, or a value cannot be understood by this version.
        """
        try:
            return cls.model_validate(kept)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise LedgerError(
                f"the ledger holds content of {cls.kind.noun} that cannot be read ({problems}); if a later Posthorn has"
                " written it, upgrade this one"
            ) from None

    def as_kept(self) -> dict[str, Any]:
        """The JSON values that the ledger keeps: the given keys in the order of the fields, then unknown ones."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def in_full(self) -> dict[str, Any]:
        """The JSON values of every key, given or not, to compare two contents key by key."""
        return self.model_dump(mode="json", by_alias=True)


class CampaignContent(_Kept):
    """What a campaign sends to everybody. ``media`` are ``sha256:…`` of a file's bytes, or URLs, in their order."""

    kind: ClassVar[Kind] = Kind.CAMPAIGN

    title: str
    text: str | None = None
    media: list[str] = Field(default_factory=list)
    send_at: Moment | None = None
    hold_minutes: int | None = None
    test: bool = False
    gateway: str | None = None

    @property
    def hold_seconds(self) -> float:
        """How long the provider holds each message; 0 if it does not."""
        return 60.0 * (self.hold_minutes or 0)

    @property
    def repeats(self) -> tuple[object, ...]:
        """What two campaigns have in common if one repeats the other."""
        return self.title, self.text, self.media


class EventContent(_Kept):
    """What an event's tickets are made of: a stored MMS of the provider, and optional parameters of its request."""

    kind: ClassVar[Kind] = Kind.EVENT

    mms_id: str
    sender: str = Field(alias="from")
    campaign_ref: str | None = None
    barcode: str = "column"
    ddm_title: str | None = None
    ddm_text: str | None = None
    ddm_timeout: int | None = None
    device: str | None = None
    custom_subject: str | None = None
    custom_texts: dict[str, str] = Field(default_factory=dict)
    data: dict[str, str] = Field(default_factory=dict)
    from_mask: str | None = None
    gateway: str | None = None

    @property
    def repeats(self) -> tuple[object, ...]:
        """What two events have in common if one repeats the other: the stored MMS, whatever else a ticket says."""
        return (mms_number(self.mms_id),)


Content: TypeAlias = CampaignContent | EventContent


def read_content(kind: Kind, kept: Mapping[str, object]) -> Content:
    """The content of a delivery of that kind, from the JSON values that the ledger keeps.

    Raises:
        LedgerError: as ``read``.
    """
    return EventContent.read(kept) if kind is Kind.EVENT else CampaignContent.read(kept)
