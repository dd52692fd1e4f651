"""Reads the body of a request within its bounds: a maximum of bytes, a few seconds, and no content encoding."""

from __future__ import annotations

import asyncio

from aiohttp import BodyPartReader, web
from aiohttp.http import HttpProcessingError
from aiohttp.streams import StreamReader

RECEIVE_SECONDS = 10.0
"""The provider itself waits ten seconds for the whole exchange."""

_MAX_PARTS = 20
_PIECE_BYTES = 65_536


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """The body. Of a multipart form, which one client of the provider sends, it is the field ``xml`` (or ``XML``).

    Raises:
        HTTPException: 413 too large, 408 too slow, 415 encoded, 400 no such field, 411 a multipart form of no stated length.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise web.HTTPUnsupportedMediaType(text="send it without a content encoding\n")
    if (request.content_length or 0) > max_bytes:
        raise web.HTTPRequestEntityTooLarge(max_bytes, request.content_length or 0)
    try:
        async with asyncio.timeout(RECEIVE_SECONDS):
            if request.content_type == "multipart/form-data":
                return await _xml_field(request)
            return await _all_of(request.content, max_bytes)
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body did not come in time\n") from None


async def _all_of(content: StreamReader, max_bytes: int) -> bytes:
    body = bytearray()
    async for piece in content.iter_chunked(_PIECE_BYTES):
        if len(body) + len(piece) > max_bytes:
            raise web.HTTPRequestEntityTooLarge(max_bytes, len(body) + len(piece))
        body += piece
    return bytes(body)


async def _xml_field(request: web.Request) -> bytes:
    if request.content_length is None:  # the parts have no bound of their own
        raise web.HTTPLengthRequired
    try:
        reader = await request.multipart()
        for _ in range(_MAX_PARTS):
            part = await reader.next()
            if part is None:
                break
            if isinstance(part, BodyPartReader) and (part.name or "").lower() == "xml":
                return bytes(await part.read())
    except (ValueError, RuntimeError, HttpProcessingError):
        raise web.HTTPBadRequest(text="not a readable form\n") from None
    return b""
