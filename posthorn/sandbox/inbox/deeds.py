"""What a person, or a test, can do to a message: answer STOP, set its outcome, repeat its callback, withdraw it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posthorn.sandbox.inbox.entries import Found
from posthorn.sandbox.serwersms.messages import Ref
from posthorn.sandbox.skycore.tickets import Ticket

if TYPE_CHECKING:
    from posthorn.sandbox.server import Sandbox

DEEDS: dict[str, str] = {
    "stop": "Reply STOP",
    "delivered": "Mark delivered",
    "undelivered": "Mark undelivered",
    "silent": "Never report on it",
    "callback": "Resend the callback",
    "withdraw": "Withdraw",
}
"""Every deed and the label of its button."""


class DeedRefused(Exception):
    """The deed cannot be done to this message now; the error says why."""


async def do(box: Sandbox, found: Found, deed: str) -> str:
    """Do it; returns a sentence that says what was done.

    Raises:
        DeedRefused: it cannot be done, or there is no such deed.
    """
    if deed not in DEEDS:
        raise DeedRefused(f"{deed}: expected one of {', '.join(DEEDS)}")
    _, one, position = found
    try:
        if isinstance(one, Ticket):
            return _to_ticket(box, one, deed)
        return await _to_message(box, (one, position), deed)
    except ValueError as error:
        raise DeedRefused(str(error)) from error


async def _to_message(box: Sandbox, ref: Ref, deed: str) -> str:
    batch, position = ref
    account, message_id = box.serwersms.account, batch.id_of(position)
    if deed == "stop":
        account.answer(batch.phones[position], "STOP", message_id)
        return "The number answered STOP. It is on the provider's blacklist now."
    if deed == "callback":
        await box.serwersms.callbacks.tell_again((batch, position))
        return "The callback was made again."
    if deed == "withdraw":
        if account.messages.withdraw(message_id, box.clock.age()) is None:
            raise ValueError("only a message that is saved can be withdrawn")
        account.refund(1)
        return "The message is withdrawn."
    account.messages.mark((batch, position), deed, box.clock.wall())
    box.serwersms.callbacks.forget((batch, position))
    return _said(deed)


def _to_ticket(box: Sandbox, ticket: Ticket, deed: str) -> str:
    account, postbacks = box.skycore.account, box.skycore.postbacks
    if deed == "stop":
        account.stop(ticket.to)
        campaign = ticket.campaign_ref or min(account.options.campaigns, default="")
        if campaign in account.options.campaigns:
            postbacks.tell_subscription("N302", campaign, ticket.to)
        return "The number answered STOP. It is no longer subscribed, and cannot be subscribed again by the API."
    if deed == "callback":
        postbacks.tell_again(ticket)
        return "The postback is made again."
    if deed == "withdraw":
        raise ValueError("this provider takes no ticket back")
    account.tickets.mark(ticket, deed, box.clock.age())
    postbacks.tell_anew(ticket)
    return _said(deed)


def _said(deed: str) -> str:
    return "The message is never reported on." if deed == "silent" else f"The message is {deed} now."
