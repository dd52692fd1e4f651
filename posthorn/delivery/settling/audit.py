"""The audit of a run: what the provider says it took should have cost something."""

from __future__ import annotations

from posthorn.delivery.running.run import CampaignRun
from posthorn.errors import GatewayError
from posthorn.ledger import totals
from posthorn.models import taken_of


async def audit_credit(run: CampaignRun) -> str | None:
    """What is odd about the account's credit, in words; None if nothing is, or nothing can be told.

    A coarse check: others may send with the same account, and somebody may top it up. So it speaks only if the credit is
    exactly what it was before the run. Messages dispatched later may be charged later. It is inferred, not documented, that
    the MMS limit of account/limits falls with each message. What was unknown before may be found now, and was paid then.
    """
    before, delivery = run.credit, run.delivery
    is_later = delivery.named_moment is not None or delivery.content.hold_minutes
    if before is None or is_later:
        return None
    taken = taken_of(await run.do(totals.totals, delivery)) - before.taken
    if taken <= 0:
        return None
    try:
        left = (await run.gateway.credit()).left
    except GatewayError:  # what was sent is not in doubt because of that
        return None
    if left != before.left:
        return None
    return (
        f"the account's MMS limit is {before.left:,} as before the run, although {taken:,} messages were taken: look in the"
        " provider's panel whether they go out"
    )
