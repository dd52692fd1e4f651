"""A stand-in for Skycore inside the process: answers what a test says, by POST or GET, and keeps every request."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import httpx
from defusedxml import ElementTree

from posthorn.gateways.skycore.client import Skycore
from posthorn.models import Phone, TicketRequest
from posthorn.settings import SkycoreSettings

BASE = "https://secure.skycore.com/API/wxml/1.3/index.php"
KEY = "qTFkykO9JTfahCOqJ0V2Wf5Cg1t8iWlZ"  # the key of the page's examples
PHONE = Phone(16501234123)


def ticket(**values: Any) -> TicketRequest:
    """The ticket of the page's examples, without its campaign."""
    fields = {"mms_id": "35674", "phone": PHONE, "sender": "60856", "barcode_id": "Ticket_12345", **values}
    return TicketRequest(**fields)


def response(**leaves: Any) -> bytes:
    """A RESPONSE with these leaves, in this order; a list is the same tag several times."""
    pairs = [(tag, text) for tag, texts in leaves.items() for text in (texts if isinstance(texts, list) else [texts])]
    return f"<RESPONSE>{''.join(f'<{tag}>{escape(str(text))}</{tag}>' for tag, text in pairs)}</RESPONSE>".encode()


SUCCESS = response(STATUS="Success", MMSID="35674", TRACKINGID="MMS_12346", TO="16501234123")


def failure(code: str, info: str = "Said about 16501234123 by the provider") -> bytes:
    return response(STATUS="Failure", ERRORCODE=code, TO="16501234123", ERRORINFO=info)


class Scripted:
    """``answer`` is bytes, a whole ``httpx.Response``, or a dict of them by lower-case action."""

    def __init__(self, answer: Any = SUCCESS, transport: str = "post", **values: Any) -> None:
        self.answer = answer
        self.requests: list[httpx.Request] = []
        settings = SkycoreSettings(**{"api_key": KEY, "transport": transport, **values})
        self.gateway = Skycore(settings, transport=httpx.MockTransport(self._handle))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        answer = self.answer[sent_action(request)] if isinstance(self.answer, dict) else self.answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, content=answer)

    @property
    def request(self) -> httpx.Request:
        """The only request."""
        (request,) = self.requests
        return request


def form(request: httpx.Request) -> dict[str, str]:
    """The fields of a posted form, as a server reads them."""
    return dict(parse_qsl(request.content.decode("ascii"), keep_blank_values=True, strict_parsing=True))


def query(request: httpx.Request) -> dict[str, str]:
    """The parameters of a query string, as a server reads them; given twice is an error of the test."""
    pairs = parse_qsl(request.url.query.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def posted(request: httpx.Request) -> list[Any]:
    """The posted XML as nested pairs of tag and trimmed text."""
    root = ElementTree.fromstring(form(request)["xml"], forbid_dtd=True)
    assert root.tag == "REQUEST"
    return pairs(root)


def pairs(element: Any) -> list[Any]:
    return [(child.tag, pairs(child) if len(child) else (child.text or "")) for child in element]


def sent_action(request: httpx.Request) -> str:
    if request.method == "GET":
        return query(request)["action"]
    return dict(posted(request))["ACTION"].lower()
