"""Every request of ours as it leaves this machine, for docs/wire.md: made by the real clients, read off a real socket.

``python -m tests.gateways.wire_page`` writes the page's part anew; a test compares it.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from posthorn.content.stopwords import StopWords
from posthorn.gateways.serwersms.client import SerwerSms
from posthorn.gateways.skycore.client import CAMPAIGNS, TEMPLATES, Skycore
from posthorn.models import Media, MmsRequest, Phone, TicketRequest
from posthorn.settings import SerwerSmsSettings, SkycoreSettings
from tests.gateways.raw_server import Conversation, RawServer, ok

PAGE = Path(__file__).parents[2] / "docs" / "wire.md"
BEGIN, END = "<!-- requests: python -m tests.gateways.wire_page -->", "<!-- end of requests -->"

A, B = Phone(48500600700), Phone(48500600701)
NOON = datetime(2036, 11, 30, 12, 0, tzinfo=UTC)
PICTURE = b"\x89PNG\r\n\x1a\n&=+"
TICKET = TicketRequest("35674", Phone(16501234123), "60856", "Ticket_12345", "12333")
_BOUNDARY = "0123456789abcdef" * 2  # as long as a real one, which is random
_ANSWER = b'{"success":true,"id":"b67d70c22d","queued":1,"unsent":0,"correct":1,"failed":0}'
_REFUSED = b'{"error":{"code":1006,"type":"InvalidData","message":"Invalid data format"}}'
_XML = b"<RESPONSE><STATUS>Success</STATUS><TRACKINGID>MMS_1</TRACKINGID><MMSIDS>35674</MMSIDS><ID>1</ID></RESPONSE>"


@dataclass(frozen=True, slots=True)
class Shown:
    """One request: what makes it, and where each of its choices comes from."""

    title: str
    call: Callable[[Any], Awaitable[Any]]
    choices: tuple[tuple[str, str], ...]
    settings: dict[str, Any] = field(default_factory=dict)
    answers: tuple[bytes, ...] = ()


JSON_BODY = (
    "JSON, by POST; `.json` behind the action",
    "the vendor's clients since 2022; the page names POST alone",
)
TOKEN = ("the token in a header", "authorisation page, recommended there")
PHONES = ("numbers in full, with `+`; one as a string, several as an array", "introduction and sending-mms pages")
_CLIENTS_AND_TESTS = (("the call and its parameters", "the vendor's clients and tests"),)
KNOWN_TO_CLIENTS = ("`type`, `page`, `order` (and `limit`)", "the vendor's clients alone; left out after a refusal")


def _file(encoding: str) -> Callable[[Any], Awaitable[Any]]:
    async def call(gateway: SerwerSms) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "poster.png"
            path.write_bytes(PICTURE)
            return await gateway.upload(Media("poster.png", "poster.png", "image/png", str(path)), encoding=encoding)

    return call


async def _pulled(gateway: SerwerSms) -> None:
    """What ``posthorn suppress pull`` asks: the blacklist as below, 5,000 at once, then this."""
    async for _ in gateway.opt_outs(since=NOON, stop_words=StopWords("STOP")):
        pass


SERWERSMS = (
    Shown(
        "files/add, by URL",
        lambda g: g.add_file(url="https://example.com/map.png", name="map.png"),
        (JSON_BODY, TOKEN, ("`type`, `url`", "sending-mms page"), ("`name`", "the vendor's tests; not documented")),
    ),
    Shown(
        "files/add, multipart",
        _file("multipart"),
        (("a multipart body with a file name", "sending-mms page: upload the file from the disk. No client does it"),),
    ),
    Shown(
        "files/add, form",
        _file("form"),
        (
            ("the bytes, percent-escaped, in a field", "the vendor's client of API v1 (`plik_mms`)"),
            ("`name`", "the vendor's tests: nothing else tells the type"),
        ),
    ),
    Shown(
        "files/add, base64",
        _file("base64"),
        (("base64 text in JSON", "comments of the vendor's clients, for `send_mms.file`"),),
    ),
    Shown("files/index", lambda g: g.list_files(), (("`type`", "the vendor's clients always send it"),)),
    Shown("files/view", lambda g: g.view_file("b67d70c22d"), _CLIENTS_AND_TESTS),
    Shown(
        "files/delete",
        lambda g: g.delete_file("b67d70c22d"),
        _CLIENTS_AND_TESTS,
    ),
    Shown(
        "messages/send_mms, one chunk",
        lambda g: g.send(MmsRequest("Autumn sale", [A, B], ["b67d70c22d"], "Until Sunday")),
        (
            PHONES,
            ("`title`, `file_id`, `text`", "sending-mms page"),
            ("`details`", "sending-mms page: without it no message could be told from another"),
            (
                "no `unique_id`, no `sender`, no `system`",
                "no page names them for MMS; others' clients work without",
            ),
        ),
    ),
    Shown(
        "messages/send_mms, one number, held, only checked, with a login",
        lambda g: g.send(MmsRequest("Jesień", [A], ["b67d70c22d", "39b0d42508"], send_at=NOON, test=True)),
        (
            ("`username` and `password` in the body", "sending-mms page"),
            ("several files as an array", "sending-mms page: up to 10"),
            (
                "`date` to the minute, in the zone of the settings",
                "sending-mms page; the zone is inferred",
            ),
            ("`test`", "sending-mms page"),
            ("letters beyond ASCII as UTF-8", "the vendor's clients"),
        ),
        {"token": None, "username": "webapi_ops", "password": "PASSWORD"},
    ),
    Shown(
        "messages/send_mms, asked in XML",
        lambda g: g.send(MmsRequest("Autumn sale", [A], ["b67d70c22d"])),
        (("`.xml` behind the action, the body as before", "the vendor's clients; the page shows both formats"),),
        {"response_format": "xml"},
        (b"<xml><success>true</success><queued>1</queued><unsent>0</unsent></xml>",),
    ),
    Shown(
        "messages/reports, by ids",
        lambda g: g.reports(ids=["32039da8e9", "844c2b4af0"], limit=500),
        (("`id`, at most 500", "reports page"), KNOWN_TO_CLIENTS),
    ),
    Shown(
        "messages/reports, by numbers and time",
        lambda g: g.reports(phones=[A], since=NOON, until=NOON),
        (("`phone`, `date_from`, `date_to`", "reports page; the zone is inferred"), KNOWN_TO_CLIENTS),
    ),
    Shown(
        "messages/reports, after a refusal of what only clients know",
        lambda g: g.reports(ids=["32039da8e9"], limit=500),
        (("only what its page names", "reports page"),),
        answers=(_REFUSED, _ANSWER),
    ),
    Shown(
        "messages/view",
        lambda g: _ignored(g.view_message("32039da8e9")),
        _CLIENTS_AND_TESTS,
    ),
    Shown(
        "messages/delete",
        lambda g: g.withdraw(["32039da8e9", "844c2b4af0"]),
        (("`id`, one or many", "deleting page, which speaks of SMS: for MMS it is inferred"),),
    ),
    Shown(
        "account/limits",
        lambda g: g.limits(),
        (("`show_type`", "account page; no body is empty, for the vendor's clients never send an empty one"),),
    ),
    Shown(
        "blacklist/index",
        lambda g: g.blacklist(limit=100),
        (("`phone`", "black-list page"), ("`page`, `limit`", "the vendor's clients")),
    ),
    Shown(
        "messages/recived",
        _pulled,
        (
            ("the spelling, `date_from`", "incoming-messages page; newer clients write `received`"),
            ("`page`, `limit`", "the vendor's clients; left out after a refusal"),
            ("no `read`", "incoming-messages page: it would hide the answers from everybody else"),
        ),
    ),
    Shown(
        "error/3103",
        lambda g: _ignored(g.explain_error(3103)),
        (
            ("the address", "general-communications page"),
            ("`system`", "every client of the vendor's sends such a tag; here so that the body is not empty"),
        ),
    ),
)

SKYCORE = (
    Shown(
        "sendMMSBarcode, `transport = post`",
        lambda g: g.send(TICKET),
        (
            ("XML in the field `xml` of a form", "overview of 2013, E100's text; lower case"),
            ("tags and their order", "sendMMSBarcode page, its example"),
            ("the number as digits", "appendix D: no `+`, no `00`"),
            ("ASCII, other letters as `&#…;`", "ours: no charset is named"),
        ),
    ),
    Shown(
        "sendMMSBarcode, `transport = raw`",
        lambda g: g.send(TICKET),
        (
            (
                "XML as the body, `text/xml; charset=utf-8`",
                "the vendor's latest introduction; a client did so for years",
            ),
        ),
        {"transport": "raw"},
    ),
    Shown(
        "sendMMSBarcode, `transport = get`",
        lambda g: g.send(TICKET),
        (
            ("names and action in lower case", "sendMMSBarcode page, its GET example"),
            ("the key in the address", "the same: avoid"),
        ),
        {"transport": "get"},
    ),
    Shown(
        "sendMMSBarcode, with everything optional",
        lambda g: g.send(
            TicketRequest(
                "35674",
                Phone(16501234123),
                "60856",
                "Ticket_12345",
                extras={
                    "ddm_title": "Hi",
                    "ddm_text": "Your ticket comes",
                    "ddm_timeout": 5,
                    "custom_subject": "Gala",
                    "custom_texts": {2: "Row 5"},
                    "data": {"first_name": "Zoë"},
                },
            )
        ),
        (("the optional tags", "later revisions of the sendMMSBarcode page, 2013-10-31 to 2015-04-14"),),
    ),
    Shown("getMmsIds", lambda g: g.listed(*TEMPLATES), (("the action, without parameters", "method page"),)),
    Shown("getMmsCampaigns", lambda g: g.listed(*CAMPAIGNS), (("the action, without parameters", "method page"),)),
)


async def _ignored(call: Awaitable[Any]) -> None:
    """Whatever the canned answer comes to: the request is what counts."""
    with suppress(Exception):
        await call


async def sent(shown: Shown, provider: str) -> bytes:
    """The last request that the call makes, as the server read it."""
    canned = list(shown.answers) or [_XML if provider == "skycore" else _ANSWER]

    async def behave(talk: Conversation) -> None:
        while True:
            await talk.request()
            await talk.say(ok(canned.pop(0) if len(canned) > 1 else canned[0]))

    async with RawServer(behave) as server:
        if provider == "skycore":
            own = SkycoreSettings(base_url=f"{server.url}/API/wxml/1.3/index.php", **{"api_key": "KEY", **shown.settings})
            async with Skycore(own) as gateway:
                await shown.call(gateway)
        else:
            theirs = SerwerSmsSettings(base_url=server.url, **{"token": "TOKEN", **shown.settings})
            async with SerwerSms(theirs) as gateway:
                await shown.call(gateway)
        return server.executed[-1].replace(server.url.removeprefix("http://").encode(), _HOSTS[provider])


_HOSTS = {"serwersms": b"api2.serwersms.pl", "skycore": b"secure.skycore.com"}


def readable(raw: bytes) -> str:
    """A request on lines: CRLF ends one, other bytes that are not text are escaped, a random boundary is a fixed one."""
    text = raw.decode("utf-8", "backslashreplace")
    if found := re.search("boundary=([0-9a-f]{32})", text):
        text = text.replace(found[1], _BOUNDARY)
    lines = text.split("\r\n")
    shown = ("".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in line) for line in lines)
    return "\n".join(shown).rstrip("\n")


async def parts() -> AsyncIterator[str]:
    """The page's part, piece by piece."""
    for provider, title, entries in (("serwersms", "SerwerSMS", SERWERSMS), ("skycore", "Skycore", SKYCORE)):
        yield f"### {title}\n"
        for one in entries:
            rows = "\n".join(f"| {what} | {source} |" for what, source in one.choices)
            request = readable(await sent(one, provider))
            yield f"#### {one.title}\n\n```http\n{request}\n```\n\n| choice | source |\n|---|---|\n{rows}\n"


async def written() -> str:
    """The page with its part as it has to be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n" + "\n".join([part async for part in parts()]) + f"\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(asyncio.run(written()), encoding="utf-8")
