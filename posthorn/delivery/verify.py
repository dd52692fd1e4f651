"""Verifying: the provider's own list (files/index) must show every file before anything is sent."""

from __future__ import annotations

from posthorn.delivery.run import CampaignRun
from posthorn.delivery.upload import by_id, is_listed
from posthorn.errors import TryAgain
from posthorn.ledger import media


class NotListed(TryAgain):
    """A file that the provider took is not in its list (yet), or has another size there."""


async def verify_media(run: CampaignRun) -> int:
    """Check every file of the campaign against the provider's list; returns how many were checked.

    Raises:
        NotListed: one is missing or differs in size; may be asked again, the list may lag behind.
    """
    items = await run.do(media.of, run.campaign)
    if not items:
        return 0
    listed = by_id(await run.gateway.list_files())
    missing = []
    for item in items:
        verified = is_listed(item, listed.get(item.file_id or ""))
        await run.do(media.keep_verified, run.campaign, item, verified=verified)
        if not verified:
            missing.append(item.media.source)
    if missing:
        raise NotListed(f"the provider does not list (or lists with another size): {', '.join(missing)}; nothing was sent")
    return len(items)
