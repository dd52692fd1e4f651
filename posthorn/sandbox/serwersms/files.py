"""The calls files/add, files/index, files/view and files/delete. Fetches only from this machine; other URLs are made up.

Accepted types are those of the newer sending-mms-messages page (gif, jpeg, jpg, png, txt); a switch brings the older list.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import zlib
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import aiohttp

from posthorn.sandbox.serwersms.account import Account, File
from posthorn.sandbox.serwersms.answers import Document
from posthorn.sandbox.serwersms.errors import ApiError
from posthorn.sandbox.serwersms.params import Params

_TYPES = {"gif": "image/gif", "jpeg": "image/jpeg", "jpg": "image/jpeg", "png": "image/png", "txt": "text/plain"}
_LEGACY_EXTENSIONS = frozenset(
    ("xls", "doc", "ppt", "rtf", "tar", "tgz", "zip", "pdf", "smi", "smil", "ogg", "cab", "odf", "otc", "odc", "mid", "mp2")
    + ("mp3", "m3u", "wav", "wma", "aiff", "ra", "ram", "svg", "djvu", "wbmp", "ico", "rtx", "csv", "java", "vcf", "vcs")
    + ("3gp", "3g2", "mov", "asf", "avi", "movie", "mp4", "mpeg")
)
_BEGINNINGS = {b"GIF8": "gif", b"\xff\xd8\xff": "jpg", b"\x89PNG": "png"}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_FETCH_SECONDS = 10


async def add(account: Account, params: Params) -> Document:
    """files/add: by ``url`` or by ``file``, never both."""
    kind, url = params.text("type"), params.text("url")
    has_file = params.values.get("file") not in (None, "")
    if kind not in ("mms", "voice") or not (url or has_file):
        raise ApiError(2000)
    if url and has_file:
        raise ApiError(1006)
    name, size = await _fetched(account, url) if url else _uploaded(params)
    file = _stored(account, params.text("name") or name, name, size, kind)
    return {"success": True, "id": file.id}


def _stored(account: Account, shown: str, name: str, size: int, kind: str) -> File:
    extension = PurePosixPath(name).suffix.lower().lstrip(".")
    allowed = extension in _TYPES or (account.options.legacy_file_types and extension in _LEGACY_EXTENSIONS)
    if size > account.options.max_file_bytes:
        raise ApiError(4000)
    if size == 0 or not allowed:
        raise ApiError(4002)
    return account.add_file(shown, size, kind)


def _uploaded(params: Params) -> tuple[str, int]:
    """Name and size of what came in ``file``: a multipart file, or text that is base64 or the content itself."""
    if upload := params.upload("file"):
        return upload.name, len(upload.content)
    content = decoded(params.text("file") or "")
    return _named(params.text("name"), content), len(content)


def decoded(text: str) -> bytes:
    """The bytes of an inline file: base64 where it is valid base64, else the text as it is."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()


def _named(name: str | None, content: bytes) -> str:
    if name and "." in name:
        return name
    extension = next((known for start, known in _BEGINNINGS.items() if content.startswith(start)), "txt")
    return f"{name or 'file'}.{extension}"


async def _fetched(account: Account, url: str) -> tuple[str, int]:
    """Name and size of the file at a URL: truly fetched from this machine, made up for every other host."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise ApiError(4001) from error
    name = PurePosixPath(unquote(parts.path)).name
    if parts.scheme not in ("http", "https") or not host or host.endswith(".invalid"):
        raise ApiError(4001)
    if host not in _LOOPBACK:
        return name, 10_000 + zlib.crc32(url.encode()) % 90_000
    return name, await _size_at(url, account.options.max_file_bytes)


async def _size_at(url: str, limit: int) -> int:
    try:
        async with (
            asyncio.timeout(_FETCH_SECONDS),
            aiohttp.ClientSession() as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise ApiError(4001)
            size = 0
            while size <= limit and (part := await answer.content.read(65_536)):
                size += len(part)
            return size
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise ApiError(4001) from error


async def index(account: Account, params: Params) -> Document:
    """files/index: every stored file, or those of one type; on a test account none, whatever was added."""
    kind = params.text("type")
    listed = () if account.options.test_account else account.files.values()
    return {"items": [_shown(account, file) for file in listed if kind in (None, file.type)]}


async def view(account: Account, params: Params) -> Document:
    """files/view: one file without a wrapper."""
    return _shown(account, _found(account, params))


async def delete(account: Account, params: Params) -> Document:
    """files/delete."""
    del account.files[_found(account, params).id]
    return {"success": True}


def _found(account: Account, params: Params) -> File:
    file_id = params.text("id")
    if file_id is None:
        raise ApiError(2000)
    if file_id not in account.files:
        raise ApiError(4001)
    return account.files[file_id]


def _shown(account: Account, file: File) -> Document:
    return {"id": file.id, "name": file.name, "size": file.size, "type": file.type, "date": account.stamp(file.date)}
