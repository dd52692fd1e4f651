"""Verifying, before anything is sent: the provider lists every file (files/index), and the account's credit will do."""

from __future__ import annotations

from posthorn.delivery.run import CampaignRun
from posthorn.delivery.upload import by_id, is_listed
from posthorn.errors import CreditExhausted, PermissionMissing, TryAgain
from posthorn.ledger import media, totals


class NotListed(TryAgain):
    """A file that the provider took is not in its list (yet), or has another size there."""


async def verify_media(run: CampaignRun) -> int:
    """Check every file of the campaign against the provider's list; returns how many were checked.

    Raises:
        NotListed: one is missing or differs in size; may be asked again, the list may lag behind.
    """
    items = await run.do(media.of, run.delivery)
    if not items:
        return 0
    listed = by_id(await run.gateway.list_files())
    missing = []
    for item in items:
        verified = is_listed(item, listed.get(item.file_id or ""))
        await run.do(media.keep_verified, run.delivery, item, verified=verified)
        if not verified:
            missing.append(item.media.source)
    if missing:
        raise NotListed(f"the provider does not list (or lists with another size): {', '.join(missing)}; nothing was sent")
    return len(items)


async def verify_credit(run: CampaignRun) -> None:
    """Check that the account may send as many messages as are still to be sent (account/limits).

    Raises:
        CreditExhausted: it may not; nothing was sent, and running again after a top-up goes on.
        PermissionMissing: the account has no MMS at all.
    """
    if run.delivery.test:  # a test sends nothing, so it costs nothing
        return
    needed = (await run.do(totals.totals, run.delivery))["pending"]
    if not needed:
        return
    credit = await run.gateway.credit()
    if not credit.available:
        raise PermissionMissing("the account may not send MMS; ask the provider to enable it. Nothing was sent")
    if credit.left is not None and credit.left < needed:
        raise CreditExhausted(
            f"the account's MMS limit is {credit.left:,}, but {needed:,} are to be sent. Nothing was sent; top it up"
        )
