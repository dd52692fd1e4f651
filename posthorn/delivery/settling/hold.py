"""When a held campaign is looked at for the last time: close before the provider dispatches what was sent again.

A late copy is only withdrawn by a look that comes after it. The moment is kept in the ledger, so that another process takes
the look if the run that should have taken it is gone.
"""

from __future__ import annotations

import time

from posthorn.delivery.running.run import CampaignRun
from posthorn.ledger import copies, deliveries

FOR_LAST_LOOK = "for its last look: all is sent, some of it again, and a late copy can be withdrawn until it is dispatched"
"""The reason, as the run says it."""

_COARSEST_SECONDS = 10.0
_SHARE_OF_WAIT = 0.1


async def note_last_look(run: CampaignRun, *, after: float = 0.0) -> float | None:
    """Find and keep the moment (seconds) of the next last look after ``after``; None if no more is due.

    Each request that may leave a surplus copy has its own moment, because the provider dispatches each at its own time.
    """
    hold_seconds = run.delivery.content.hold_seconds
    moment = None
    if hold_seconds and not run.delivery.test:
        begun = await run.do(copies.begun, run.delivery)
        now = time.time()
        ahead = [one for one in begun if one + hold_seconds > now]
        moment = min((one for one in (_moment(run, one, hold_seconds) for one in ahead) if one > after), default=None)
    await run.do(deliveries.note_last_look, run.delivery, moment)
    return moment


def _moment(run: CampaignRun, begun: float, hold_seconds: float) -> float:
    """When to look for copies of a request that began at ``begun``: a little before what it asked for is dispatched.

    The moments of requests that began shortly after one another are one, the earliest.
    """
    before = run.account.last_look_seconds
    wait_seconds = hold_seconds - (before if before < hold_seconds else hold_seconds / 2)
    grid_seconds = min(_COARSEST_SECONDS, wait_seconds * _SHARE_OF_WAIT)
    return (begun + wait_seconds) // grid_seconds * grid_seconds
