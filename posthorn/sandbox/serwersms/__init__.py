"""SerwerSMS.pl's HTTPS API v2 as its documentation describes it, for MMS. Shares no code with Posthorn's own gateway."""

from __future__ import annotations

from posthorn.sandbox.serwersms.options import SerwerSmsOptions

__all__ = ["SerwerSmsOptions"]  # the provider itself takes a while to load
