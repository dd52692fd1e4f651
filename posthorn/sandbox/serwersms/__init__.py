"""SerwerSMS.pl's HTTPS API v2 as its documentation describes it, for MMS. Shares no code with Posthorn's own gateway."""

from __future__ import annotations

from posthorn.sandbox.serwersms.options import SerwerSmsOptions
from posthorn.sandbox.serwersms.provider import SerwerSms

__all__ = ["SerwerSms", "SerwerSmsOptions"]
