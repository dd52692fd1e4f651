"""The calls files/add, files/index, files/view and files/delete. Files of URLs on other machines are made up, not fetched.

Accepted types are those of the newer sending-mms-messages page (gif, jpeg, jpg, png, txt); a switch brings the older list.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import zlib
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import aiohttp

from posthorn.sandbox.serwersms.account import Account, File
from posthorn.sandbox.serwersms.answers import Document
from posthorn.sandbox.serwersms.errors import ApiError
from posthorn.sandbox.serwersms.params import Params
from posthorn.sandbox.wire import Upload

_TYPES = {"gif": "image/gif", "jpeg": "image/jpeg", "jpg": "image/jpeg", "png": "image/png", "txt": "text/plain"}
_LEGACY_EXTENSIONS = frozenset(
    ("xls", "doc", "ppt", "rtf", "tar", "tgz", "zip", "pdf", "smi", "smil", "ogg", "cab", "odf", "otc", "odc", "mid", "mp2")
    + ("mp3", "m3u", "wav", "wma", "aiff", "ra", "ram", "svg", "djvu", "wbmp", "ico", "rtx", "csv", "java", "vcf", "vcs")
    + ("3gp", "3g2", "mov", "asf", "avi", "movie", "mp4", "mpeg")
)
_VOICE_EXTENSIONS = frozenset({"wav", "mp3"})
_BEGINNINGS = {b"GIF8": "gif", b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"RIFF": "wav", b"ID3": "mp3", b"\xff\xfb": "mp3"}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_FETCH_SECONDS = 10


async def add(account: Account, params: Params) -> Document:
    """files/add: by ``url`` or by ``file``, never both."""
    kind, url = params.text("type"), params.text("url")
    given = params.files("file")
    if kind not in ("mms", "voice") or not (url or given):
        raise ApiError(2000)
    if url and given:
        raise ApiError(1006)
    if url:
        name, size, content = await _fetched(account, url)
    else:
        name, content = _uploaded(account, given[0], params.text("name"))
        size = len(content)
    file = _stored(account, params.text("name") or name, name, size, kind, content)
    return {"success": True, "id": file.id}


def _stored(account: Account, shown: str, name: str, size: int, kind: str, content: bytes | None) -> File:
    extension = PurePosixPath(name).suffix.lower().lstrip(".")
    known = _VOICE_EXTENSIONS if kind == "voice" else _TYPES
    allowed = extension in known or (account.options.legacy_file_types and extension in _LEGACY_EXTENSIONS)
    if size > account.options.max_file_bytes:
        raise ApiError(4000)
    if size == 0 or not allowed:
        raise ApiError(4002)
    if content is not None and account.options.account == "reencodes":
        content = _saved_anew(content)
        size = len(content)
    return account.add_file(shown, size, kind, content)


def attached(account: Account, given: Upload | str | bytes) -> File:
    """A file that comes with a send.

    Raises:
        ApiError: 4000, it is too large; 4002, an MMS may not hold its type.
    """
    name, content = _uploaded(account, given, None)
    return _stored(account, "inline", name, len(content), "mms", content)


def _uploaded(account: Account, given: Upload | str | bytes, named: str | None) -> tuple[str, bytes]:
    """Name and bytes of what came in ``file``.

    Raises:
        ApiError: 2000, this account does not accept its encoding; 4002, it should be base64 and is not.
    """
    options = account.options
    if isinstance(given, Upload):
        if not options.counts("multipart"):
            raise ApiError(2000)
        return given.name, given.content
    if not (options.counts("form") or options.counts("base64")):
        raise ApiError(2000)
    raw = given if isinstance(given, bytes) else given.encode()
    content = _from_base64(raw) if options.counts("base64") else raw
    if content is None:
        if not options.counts("form"):
            raise ApiError(4002)
        content = raw
    return _named(named, content), content


def _from_base64(raw: bytes) -> bytes | None:
    try:
        return base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        return None


def _saved_anew(content: bytes) -> bytes:
    """A picture as a provider that shrinks pictures saves it; other files stay as they are."""
    from PIL import Image, UnidentifiedImageError  # takes a while to load

    try:
        with Image.open(io.BytesIO(content)) as picture:
            saved, kind, colours = io.BytesIO(), picture.format or "PNG", picture.convert("RGB")
            if kind == "JPEG":
                colours.save(saved, kind, quality=60)
            else:
                colours.quantize(64).save(saved, kind)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return content
    return saved.getvalue()


def _named(name: str | None, content: bytes) -> str:
    if name and "." in name:
        return name
    extension = next((known for start, known in _BEGINNINGS.items() if content.startswith(start)), "txt")
    return f"{name or 'file'}.{extension}"


async def _fetched(account: Account, url: str) -> tuple[str, int, bytes | None]:
    """Name, size and bytes of the file at a URL: fetched if it is on this machine, made up for any other host."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise ApiError(4001) from error
    name = PurePosixPath(unquote(parts.path)).name
    if parts.scheme not in ("http", "https") or not host or host.endswith(".invalid"):
        raise ApiError(4001)
    if host not in _LOOPBACK:
        return name, 10_000 + zlib.crc32(url.encode()) % 90_000, None
    content = await _content_at(url, account.options.max_file_bytes)
    return name, len(content), content


async def _content_at(url: str, limit: int) -> bytes:
    """The content, or a little more than ``limit`` bytes of it."""
    try:
        async with (
            asyncio.timeout(_FETCH_SECONDS),
            aiohttp.ClientSession() as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise ApiError(4001)
            content = bytearray()
            while len(content) <= limit and (part := await answer.content.read(65_536)):
                content += part
            return bytes(content)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise ApiError(4001) from error


async def index(account: Account, params: Params) -> Document:
    """files/index: every stored file, or those of one type; on a test account none, whatever was added."""
    kind = params.text("type")
    listed = account.files.values() if account.options.lists_files else ()
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
    file = account.files.get(file_id)
    # Clients always name the type; without it the id is enough.
    if file is None or params.text("type") not in (None, file.type):
        raise ApiError(4001)
    return file


def _shown(account: Account, file: File) -> Document:
    return {"id": file.id, "name": file.name, "size": file.size, "type": file.type, "date": account.stamp(file.date)}
