"""Verifying, before anything is sent: the provider has every file, and the account's credit suffices.

The provider's list proves a file. Some accounts list none, so there are other proofs: asking for the file by its id; a send
to the operator's own number that is only checked; the operator's word (``verify = "trust"``). An account that was never
seen to list a file of ours goes on with a warning, because a list that is always empty says nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posthorn.delivery.preparing.upload import by_id, seen
from posthorn.delivery.running.place import AtCampaign
from posthorn.delivery.running.run import CampaignRun, CreditBefore
from posthorn.errors import CreditExhausted, OutcomeUnknown, PermissionMissing, RequestRefused, StopRun, TryAgain
from posthorn.gateways.storedfile import Condition, Look
from posthorn.ledger import accounts, media, totals
from posthorn.ledger.media import MediaRecord
from posthorn.models import UNREPORTED_STATES, Known, MmsRequest, StoredFile, mask_phone, taken_of

LAG_SECONDS = 6.0
"""For how long a list may not show yet what was uploaded; the retries of the task take 7.5 s at least."""

_logger = logging.getLogger(__name__)


class NotListed(TryAgain):
    """A file that the provider took is not visible there (yet), or is garbled."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """One item, and what was seen of its file."""

    item: MediaRecord
    look: Look

    @property
    def words(self) -> str:
        return f"{self.item.media.source}: {self.look.words}"


async def verify_media(run: CampaignRun) -> int:
    """Check that the provider has every file of the campaign; returns how many were checked.

    Raises:
        NotListed: one is not visible or is garbled. It may be asked again, because the list may lag behind.
        StopRun: a send that was only checked was refused because of them.
    """
    return await verify_files(run, await run.do(media.of, run.delivery))


async def verify_files(run: AtCampaign, items: Sequence[MediaRecord]) -> int:
    """``verify_media`` of these items.

    Raises:
        NotListed, StopRun: as ``verify_media``.
    """
    if not items:
        return 0
    listed = by_id(await run.gateway.list_files())
    await _note_listing(run, listed)
    looks = [_Seen(item, await seen(run.gateway, item.media, item.file_id or "", listed)) for item in items]
    for one in looks:
        await run.do(media.keep_verified, run.delivery, one.item, verified=one.look.will_do)
        if one.look.condition is Condition.RESAVED:
            _logger.warning("%s: %s", run.delivery.name, one.words)
    unseen = [one for one in looks if one.look.condition is Condition.UNSEEN]
    is_garbled = any(one.look.condition is Condition.GARBLED for one in looks)
    door = await _second_door(run, unseen, listed) if unseen and not is_garbled else None
    if door is not None:
        _logger.warning("%s: %s; %s", run.delivery.name, "; ".join(one.words for one in unseen), door)
        for one in unseen:
            await run.do(media.keep_verified, run.delivery, one.item, verified=True)
    missing = [] if door is not None else [one for one in looks if not one.look.will_do]
    if missing:
        way = _what_to_do(run) if len(missing) == len(unseen) else "host it on a web server and name its URL in media"
        raise NotListed(f"{'; '.join(one.words for one in missing)}. Nothing was sent; {way}")
    return len(items)


async def _note_listing(run: AtCampaign, listed: Mapping[str, StoredFile]) -> None:
    """Remember of an account that its list shows files of ours, the first time it does."""
    known = await run.do(accounts.findings, run.delivery.gateway, run.account.key)
    if Known.LISTS_FILES not in known and listed.keys() & await run.do(media.stored, run.delivery.gateway):
        await run.do(
            accounts.keep,
            run.delivery.gateway,
            run.account.key,
            Known.LISTS_FILES,
            verdict="confirmed",
            value="yes",
            seen="its list shows a file of a campaign",
        )


async def _second_door(run: AtCampaign, unseen: Sequence[_Seen], listed: Mapping[str, StoredFile]) -> str | None:
    """Why files that no list shows may be sent all the same, in words; None if nothing speaks for it.

    Raises:
        StopRun: a send that was only checked was refused, so they are not there.
    """
    if run.delivery.options.get("verify") == "trust":
        return 'sent all the same, because the campaign says verify = "trust"'
    known = await run.do(accounts.findings, run.delivery.gateway, run.account.key)
    proves = known[Known.TEST_PROVES].value != "no" if Known.TEST_PROVES in known else True
    if run.account.test_number is not None and run.descriptor.tests and proves:
        return await _checked_by_a_send(run, unseen)
    given = await run.do(media.stored, run.delivery.gateway)
    lists = known[Known.LISTS_FILES].value if Known.LISTS_FILES in known else ""
    if lists == "yes":
        return None
    is_fresh = lists != "no" and any(time.time() - given.get(one.item.file_id or "", 0.0) < LAG_SECONDS for one in unseen)
    if listed.keys() & given.keys() or is_fresh:
        return None
    return "this account was never seen to list a file, as test accounts do not: sent all the same"


async def _checked_by_a_send(run: AtCampaign, unseen: Sequence[_Seen]) -> str:
    number = run.account.test_number
    assert number is not None
    file_ids = [one.item.file_id for one in unseen if one.item.file_id]
    title = run.delivery.content.title
    names = ", ".join(one.item.media.source for one in unseen)
    said = f"{names}: no list shows it, and a send with test=true to {mask_phone(number)} "
    try:
        answer = await run.gateway.send(MmsRequest(title, [number], file_ids, test=True))
    except (StopRun, OutcomeUnknown) as error:
        raise RequestRefused(f"{said}failed ({error}). Nothing was sent; {_what_to_do(run)}", code=error.code) from None
    if answer.receipts[0].state not in UNREPORTED_STATES:
        code = answer.receipts[0].error
        raise RequestRefused(f"{said}was not taken ({code or 'no reason given'}). Nothing was sent; {_what_to_do(run)}")
    return f"a send with test=true to {mask_phone(number)} took them"


def _what_to_do(run: AtCampaign) -> str:
    proof = f"set {run.descriptor.variables}__TEST_NUMBER to your own number, or " if run.descriptor.tests else ""
    return f'{proof}verify = "trust" in the campaign\'s file to send them unproven'


async def verify_credit(run: CampaignRun) -> None:
    """Check that the account may still send all that is pending (account/limits); the answer is kept for the audit.

    Raises:
        CreditExhausted: it may not. Nothing was sent; after a top-up the same run goes on.
        PermissionMissing: the account has no MMS at all.
    """
    if run.delivery.test:  # a test sends nothing, so it costs nothing
        return
    counted = await run.do(totals.totals, run.delivery)
    needed = counted["pending"]
    if not needed:
        return
    credit = await run.gateway.credit()
    if not credit.available:
        raise PermissionMissing("the account may not send MMS; ask the provider to enable it. Nothing was sent")
    if credit.left is not None and credit.left < needed:
        raise CreditExhausted(
            f"the account's MMS limit is {credit.left:,}, but {needed:,} are to be sent. Nothing was sent; top it up"
        )
    if credit.left is not None:
        run.credit = CreditBefore(credit.left, taken_of(counted) + counted["unknown"])
