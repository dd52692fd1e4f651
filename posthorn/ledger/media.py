"""The media of a campaign and the files a provider already keeps for us."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from posthorn.ledger.deliveries import Delivery, PlannedCampaign
from posthorn.ledger.store import tables
from posthorn.ledger.store.engine import Ledger, sql
from posthorn.models import Media

_STORE = sql(
    "INSERT INTO stored_file (gateway, fingerprint, file_id, stored_at) VALUES (:gateway, :fingerprint, :file, :now)"
    " ON CONFLICT (gateway, fingerprint) DO UPDATE SET file_id = excluded.file_id, stored_at = excluded.stored_at"
)


@dataclass(frozen=True, slots=True)
class MediaRecord:
    """One media item of a campaign, with its id at the provider once it is stored there."""

    position: int
    media: Media
    file_id: str | None
    verified_at: float | None
    refused: str | None = None

    @property
    def fingerprint(self) -> str:
        """What makes two items the same content: the sha256, or the URL."""
        return self.media.sha256 or self.media.source


def of(ledger: Ledger, delivery: Delivery) -> list[MediaRecord]:
    """The campaign's media, in the order of its file."""
    query = sa.select(tables.media).where(tables.media.c.campaign_id == delivery.id).order_by(tables.media.c.position)
    with ledger.read() as connection:
        return [
            MediaRecord(
                row.position,
                Media(row.source, row.name, row.content_type, row.path, row.sha256, row.size),
                row.file_id,
                row.verified_at,
                row.refused,
            )
            for row in connection.execute(query)
        ]


def known_file_id(ledger: Ledger, gateway: str, fingerprint: str) -> str | None:
    """The id under which the provider was last given this content, or None."""
    query = sa.select(tables.stored_file.c.file_id).where(
        tables.stored_file.c.gateway == gateway, tables.stored_file.c.fingerprint == fingerprint
    )
    with ledger.read() as connection:
        file_id: str | None = connection.execute(query).scalar()
    return file_id


def stored(ledger: Ledger, gateway: str) -> dict[str, float]:
    """The ids of all files that the provider was given, and when (seconds)."""
    query = sa.select(tables.stored_file.c.file_id, tables.stored_file.c.stored_at).where(
        tables.stored_file.c.gateway == gateway
    )
    with ledger.read() as connection:
        return {row.file_id: row.stored_at for row in connection.execute(query)}


def used_by(ledger: Ledger, gateway: str, file_ids: Sequence[str]) -> list[str]:
    """Campaigns with one of these files of which something is still to be sent, or kept by the provider."""
    open_chunk = sa.or_(*(tables.chunk.c[state] > 0 for state in ("pending", "scheduled", "unknown")))
    query = (
        sa.select(tables.campaign.c.name)
        .distinct()
        .join(tables.media, tables.media.c.campaign_id == tables.campaign.c.id)
        .join(tables.chunk, tables.chunk.c.campaign_id == tables.campaign.c.id)
        .where(tables.campaign.c.gateway == gateway, tables.media.c.file_id.in_(file_ids), open_chunk)
        .order_by(tables.campaign.c.name)
    )
    with ledger.read() as connection:
        return list(connection.execute(query).scalars())


def keep_file_id(ledger: Ledger, campaign: PlannedCampaign, item: MediaRecord, file_id: str) -> None:
    """Remember the provider's id for this item, for the campaign and for later campaigns with the same content.

    If two campaigns upload the same file at the same time, the later id is kept.
    """
    values = {"gateway": campaign.gateway, "fingerprint": item.fingerprint, "file": file_id, "now": time.time()}
    with ledger.write() as connection:
        connection.execute(_STORE, values)
        connection.execute(_item(campaign, item).values(file_id=file_id, verified_at=None, refused=None))


def keep_refused(ledger: Ledger, campaign: PlannedCampaign, item: MediaRecord, why: str) -> None:
    """Remember that the provider refuses this file: its campaign may have another one, even if something has left."""
    with ledger.write() as connection:
        connection.execute(_item(campaign, item).values(refused=why))


def keep_verified(ledger: Ledger, campaign: PlannedCampaign, item: MediaRecord, *, verified: bool) -> None:
    """Remember that the provider lists the file (or, with ``verified=False``, that it no longer does)."""
    with ledger.write() as connection:
        connection.execute(_item(campaign, item).values(verified_at=time.time() if verified else None))


def _item(campaign: PlannedCampaign, item: MediaRecord) -> sa.Update:
    return tables.media.update().where(tables.media.c.campaign_id == campaign.id, tables.media.c.position == item.position)
