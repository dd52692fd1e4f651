"""Fetches the first bytes of a media URL once, as the provider will. It never asks a private host, nor another host.

The provider fetches the URL itself, later and from elsewhere, so whatever is found here is only a warning.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from urllib.parse import urljoin, urlsplit

from posthorn.content.filekind import HEAD_BYTES
from posthorn.content.media.looks import other_kind
from posthorn.content.plain import plain
from posthorn.content.warnings import Caution

_SECONDS = 5.0
_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PAGES = {
    "dropbox.com": "a Dropbox page; end it with ?dl=1, or use the file itself",
    "drive.google.com": "a Google Drive page; use the file itself",
    "docs.google.com": "a Google page; use the file itself",
    "photos.google.com": "a Google Photos page; use the file itself",
    "photos.app.goo.gl": "a Google Photos page; use the file itself",
    "1drv.ms": "a OneDrive page; use the file itself",
    "onedrive.live.com": "a OneDrive page; use the file itself",
    "icloud.com": "an iCloud page; use the file itself",
    "wetransfer.com": "a WeTransfer page; use the file itself",
    "we.tl": "a WeTransfer page; use the file itself",
    "imgur.com": "an Imgur page; use the address of the picture (i.imgur.com)",
    "facebook.com": "a Facebook page; use the file itself",
    "instagram.com": "an Instagram page; use the file itself",
}
_DIRECT = ("dl=1", "raw=1", "export=download")


class _Refused(Exception):
    """The reason why a URL was not checked."""


def page_caution(source: str) -> Caution | None:
    """A warning if a URL is a known service's page about a file and not the file itself, else None."""
    parts = urlsplit(source)
    host = (parts.hostname or "").removeprefix("www.")
    found = _PAGES.get(host)
    if found is None or any(word in parts.query for word in _DIRECT):
        return None
    return Caution("media_page", f"{plain(source)}: this looks like {found}")


def look_at_url(source: str, *, allow_loopback: bool = False) -> Caution | None:
    """A warning if the first bytes that the URL returns now do not match its ending, else None.

    ``allow_loopback`` permits addresses of this machine, for the sandbox.
    """
    try:
        head = _first_bytes(source, allow_loopback=allow_loopback)
    except _Refused as refused:
        return Caution(
            "media_unreachable",
            f"{plain(source)}: could not be checked ({plain(str(refused), most=200)}); the provider fetches it itself",
        )
    extension = urlsplit(source).path.rpartition(".")[2].lower()
    problem = "is empty" if not head else other_kind(head, extension)
    return Caution("media_content", f"{plain(source)}: what is there now {problem}") if problem else None


def _first_bytes(source: str, *, allow_loopback: bool) -> bytes:
    ends = time.monotonic() + _SECONDS
    url, host = source, urlsplit(source).hostname
    for _ in range(_MAX_REDIRECTS + 1):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname != host:
            raise _Refused("it redirects to another host")
        address = _address(parts.hostname or "", _port(url), allow_loopback=allow_loopback)
        head, location = _fetched(url, address, ends)
        if location is None:
            return head
        url = urljoin(url, location)
    raise _Refused("it redirects too often")


def _port(url: str) -> int:
    parts = urlsplit(url)
    try:
        return parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise _Refused("its port is not a number") from None


def _address(host: str, port: int, *, allow_loopback: bool) -> str:
    """The address to ask. It is looked up once and kept, since a second lookup could lead elsewhere."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _Refused("its host is not known") from None
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses or not all(_is_allowed(one, allow_loopback=allow_loopback) for one in addresses):
        raise _Refused("its host is not a public one")
    return str(addresses[0])


def _is_allowed(address: ipaddress.IPv4Address | ipaddress.IPv6Address, *, allow_loopback: bool) -> bool:
    mapped = getattr(address, "ipv4_mapped", None) or address
    if mapped.is_loopback:
        return allow_loopback
    return bool(mapped.is_global) and not mapped.is_multicast


def _fetched(url: str, address: str, ends: float) -> tuple[bytes, str | None]:
    """The first bytes, or the address that it redirects to."""
    import httpx  # slow to import, and only a check of a URL needs it

    asked = httpx.URL(url)
    pinned = asked.copy_with(host=address)
    headers = {"Host": asked.netloc.decode("ascii"), "Accept-Encoding": "identity", "User-Agent": "posthorn"}
    head = b""
    try:
        with (
            httpx.Client(timeout=_SECONDS, trust_env=False, follow_redirects=False) as client,
            client.stream("GET", pinned, headers=headers, extensions={"sni_hostname": asked.host}) as answer,
        ):
            if answer.status_code in _REDIRECTS and "location" in answer.headers:
                return b"", answer.headers["location"]
            if answer.status_code != httpx.codes.OK:
                raise _Refused(f"HTTP {answer.status_code}")
            for block in answer.iter_raw(HEAD_BYTES):
                head += block
                if len(head) >= HEAD_BYTES or time.monotonic() > ends:
                    break
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise _Refused(type(error).__name__) from None
    return head[:HEAD_BYTES], None
