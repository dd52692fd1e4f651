"""Uploading: every media item gets an id at the provider, an old one where the provider still keeps the same content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from posthorn.delivery.run import CampaignRun
from posthorn.errors import GatewayError
from posthorn.ledger import media
from posthorn.ledger.media import MediaRecord
from posthorn.models import StoredFile


async def upload_media(run: CampaignRun) -> int:
    """Give each media item of the campaign a file id; returns how many had to be uploaded.

    May be run again: what is stored and still listed is not uploaded twice.

    Raises:
        TryAgain: the provider could not be reached or did not answer; a second copy of a file does no harm.
        StopRun: the provider refuses the file or the account.
    """
    items = await run.do(media.of, run.delivery)
    if not items:
        return 0
    listed = by_id(await run.gateway.list_files())
    uploaded = 0
    for item in items:
        known = item.file_id
        if known is None and item.media.sha256 is not None:  # what stands behind a URL may have changed since
            known = await run.do(media.known_file_id, run.delivery.gateway, item.fingerprint)
        if known is None or not is_listed(item, listed.get(known)):
            try:
                known = await run.gateway.upload(item.media)
            except GatewayError as error:  # the provider's answer does not say which file it was
                error.args = (f"{item.media.source}: {error}",)
                raise
            uploaded += 1
        await run.do(media.keep_file_id, run.delivery, item, known)
    return uploaded


def by_id(files: Sequence[StoredFile]) -> Mapping[str, StoredFile]:
    """The provider's files by their ids."""
    return {file.id: file for file in files}


def is_listed(item: MediaRecord, file: StoredFile | None) -> bool:
    """Whether the provider lists the item's file with the right size (where both sizes are known)."""
    return file is not None and (item.media.size is None or file.size is None or file.size == item.media.size)
