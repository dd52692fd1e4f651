"""Reads SerwerSMS's callbacks: one message's state, in the query string (or form) of a URL that we gave the provider.

Set in the panel as the address for delivery reports, in one line::

    https://your.host/SECRET/serwersms?id=#SMSID#&state=#STAN#&date=#DATA#&reason=#PRZYCZYNA#

The provider replaces the words between the # signs with values, so the names of the parameters are ours. Sources: the
NAT page's example and the panel's manual (reference, section 6). Neither says whether it is called for MMS, whether values
are encoded, or what a receiver is to answer. Callbacks carry no signature, so they are hints: they move messages on and
never back, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from zoneinfo import ZoneInfo

from posthorn.gateways.descriptor import Reader, Unreadable
from posthorn.gateways.serwersms import answers, codes
from posthorn.models import MessageState, News

_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_MAX_REASON_LENGTH = 64


def reader(timezone: str) -> Reader:
    """Makes the reader of a callback. Its parameters are in the query or in a form; if both have one, the query's counts.

    ``timezone`` is that of the provider's dates.
    """
    zone = ZoneInfo(timezone)
    return lambda push: [read({**push.form(), **push.query}, zone)]


def read(parameters: Mapping[str, str], zone: ZoneInfo) -> News:
    """The news in the parameters of a callback, with the words of the delivery reports; the date is the provider's, local.

    ``state`` is None for a word that reports do not know: then only asking tells. ``happened_at`` is the date of any state;
    in the hour that repeats in autumn, its second passing.

    Raises:
        Unreadable: no id, or none that a message of this provider could have.
    """
    message_id = parameters.get("id", "").strip()
    if not _ID.fullmatch(message_id):
        raise Unreadable("no id of a message")
    state = codes.REPORT_STATES.get(parameters.get("state", "").strip().lower())
    reason = "".join(character for character in parameters.get("reason", "") if character.isprintable()).strip()
    return News(
        message_id,
        state,
        reason=reason[:_MAX_REASON_LENGTH] or None,
        delivered_at=answers.moment(parameters.get("date"), zone) if state == MessageState.DELIVERED else None,
        happened_at=answers.moment(parameters.get("date"), zone, fold=1),
    )
