"""A stand-in for SerwerSMS inside the process: answers what a test says, in JSON or XML, and keeps every request."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

import httpx
import orjson

from posthorn.gateways.serwersms.client import SerwerSms
from posthorn.settings import SerwerSmsSettings

BASE = "https://api2.serwersms.pl"
TOKEN = "t0ken-of-the-panel"
PASSWORD = "p4ssword"


def settings(**values: Any) -> SerwerSmsSettings:
    credentials = {} if "username" in values or "token" in values else {"token": TOKEN}
    return SerwerSmsSettings(**credentials, **values)


def xml(value: Any, tag: str = "xml") -> str:
    """As the provider writes it: lists are ``<item>``s, everything else is text."""
    if isinstance(value, dict):
        return f"<{tag}>{''.join(xml(inner, key) for key, inner in value.items())}</{tag}>"
    if isinstance(value, list):
        return f"<{tag}>{''.join(xml(inner, 'item') for inner in value)}</{tag}>"
    if value is None:
        return f"<{tag}/>"
    return f"<{tag}>{escape(str(value).lower() if isinstance(value, bool) else str(value))}</{tag}>"


def document(value: Any, response_format: str) -> bytes:
    return orjson.dumps(value) if response_format == "json" else f'<?xml version="1.0"?>{xml(value)}'.encode()


class Scripted:
    """``answer`` is a dict (written in the asked format), bytes, or a whole ``httpx.Response``."""

    def __init__(self, answer: Any = None, **values: Any) -> None:
        self.answer = {"success": True} if answer is None else answer
        self.requests: list[httpx.Request] = []
        self.gateway = SerwerSms(settings(**values), transport=httpx.MockTransport(self._handle))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        if isinstance(self.answer, httpx.Response):
            return self.answer
        suffix = "xml" if request.url.path.endswith(".xml") else "json"
        body = self.answer if isinstance(self.answer, bytes) else document(self.answer, suffix)
        return httpx.Response(200, content=body)

    @property
    def asked(self) -> dict[str, Any]:
        """The JSON body of the only request."""
        (request,) = self.requests
        return orjson.loads(request.content)
