"""Checks a campaign's attachments, on disk or by URL, before anything is sent. It uploads and downloads nothing."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from posthorn.content.filenames import existing
from posthorn.content.regularfile import opened
from posthorn.errors import InputError
from posthorn.models import Media

# The table of the provider's "Sending MMS" page as it was in the copy this product was built from; where the page names an
# extension twice, the first content type holds.
_CONTENT_TYPES = """
application/vnd.ms-excel xls xlm xla xlc xlt xlw
application/msword doc dot
application/vnd.ms-powerpoint ppt pps pot
application/rtf rtf
application/x-tar tgz tar
application/zip zip
application/pdf pdf
application/smil+xml smi smil
application/ogg ogg
application/vnd.ms-cab-compressed cab
application/vnd.oasis.opendocument.formula odf
application/vnd.oasis.opendocument.chart-template otc
application/vnd.oasis.opendocument.chart odc
audio/midi mid midi kar rmi
audio/mpeg mpga mp2 mp2a mp3 m2a m3a
audio/mpeg3 mp3
audio/mp3 mp3
audio/x-mpegurl m3u
audio/wav wav
audio/x-ms-wma wma
audio/x-aiff aif aiff aifc
audio/x-pn-realaudio ram ra
image/pjpeg pjpeg
image/gif gif
image/jpeg jpeg jpg jpe
image/jpg jpeg jpg jpe
image/png png
image/svg+xml svg svgz
image/vnd.djvu djvu djv
image/vnd.wap.wbmp wbmp wbmp
image/x-icon ico
text/plain txt text conf def list log in
text/richtext rtx
text/csv csv
text/x-java-source java
text/x-vcard vcf
text/x-vcalendar vcs
video/3gpp 3gp
video/3gpp2 3g2
video/quicktime qt mov
video/x-ms-asf asf asx
video/avi avi
video/x-msvideo avi
video/x-sgi-movie movie
video/mp4 mp4 mp4v mpg4
video/mpeg mpeg mpg mpe m1v m2v
"""


def _table(page: str) -> dict[str, str]:
    types: dict[str, str] = {}
    for line in page.split("\n"):
        content_type, *extensions = line.split() or [""]
        for extension in extensions:
            types.setdefault(extension, content_type)
    return types


CONTENT_TYPES = _table(_CONTENT_TYPES)
"""Content type by file extension (lower case, without the dot): what the provider's page lists."""

CURRENT_EXTENSIONS = frozenset({"gif", "jpeg", "jpg", "png", "txt"})
"""What the newer version of that page still lists; the rest may be refused by the provider (its error 4002)."""

_LOCAL_NAMES = (".local", ".internal", ".localhost", ".lan", ".home.arpa")


def check_media(source: str, base_dir: Path, *, allow_loopback: bool = False) -> Media:
    """The file that ``source`` names: a path (relative to ``base_dir``), or an http(s) URL that the provider fetches itself.

    A file is read once, for its hash and size. For a URL nothing is fetched or looked up; ``allow_loopback``
    permits addresses of this machine, for the sandbox.

    Raises:
        InputError: no such file, not readable, empty, of a type the provider does not list, or not a public URL.
    """
    scheme, separator, _ = source.partition("://")
    if separator:
        return _checked_url(source, scheme.lower(), allow_loopback=allow_loopback)
    path = existing(base_dir / source, "media")
    content_type = _content_type(source, path.name)
    sha256, size = _fingerprint(path, source)
    return Media(source=source, name=path.name, content_type=content_type, path=str(path), sha256=sha256, size=size)


def media_name(source: str) -> str:
    """The file name at the end of a path or URL."""
    is_url = "://" in source
    return urlsplit(source).path.rpartition("/")[2] if is_url else Path(source).name


def retired_types_warning(names: Iterable[str]) -> str | None:
    """A warning about file ``names`` whose type the provider's newer page no longer lists, or None."""
    retired = [name for name in names if _extension(name) not in CURRENT_EXTENSIONS]
    if not retired:
        return None
    return (
        f"media: the provider may refuse {', '.join(retired)}: its newer documentation lists only "
        f"{', '.join(sorted(CURRENT_EXTENSIONS))}"
    )


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _content_type(source: str, name: str) -> str:
    extension = _extension(name)
    if extension in CONTENT_TYPES:
        return CONTENT_TYPES[extension]
    problem = f"the type .{extension} is not known" if extension else "its name has no ending that shows its type"
    raise InputError(
        "media",
        f"{source}: {problem}; the provider takes pictures (jpg, png, gif), text (txt), and by its older "
        "documentation also sound (mp3, wav, mid), video (mp4, 3gp, mpeg) and office files (pdf, doc, xls)",
    )


def _fingerprint(path: Path, source: str) -> tuple[str, int]:
    """SHA-256 (hex) and size in bytes of a file."""
    with opened(path, "media", label=f"{source}: ") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    if not size:
        raise InputError("media", f"{source}: {path} is empty")
    return sha256, size


def _checked_url(source: str, scheme: str, *, allow_loopback: bool) -> Media:
    if scheme not in ("http", "https"):
        raise InputError("media", f"{source}: expected a path, or a URL that starts with https:// or http://")
    try:
        parts = urlsplit(source)
        _ = parts.port
    except ValueError as error:
        raise InputError("media", f"{source}: not a URL ({error})") from None
    if parts.username or parts.password:
        raise InputError("media", "a URL must hold no user name or password: it is stored and shown")
    if not parts.hostname or source != source.strip() or not source.isprintable() or " " in source:
        raise InputError("media", f"{source}: not a URL; expected https://host/path/name.jpg")
    _refuse_private(source, parts, allow_loopback=allow_loopback)
    name = media_name(source)
    return Media(source=source, name=name, content_type=_content_type(source, name))


def _refuse_private(source: str, parts: SplitResult, *, allow_loopback: bool) -> None:
    """Only public hosts: the provider fetches the URL, and a private address is nothing, or something else, over there."""
    host = (parts.hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        loopback = host == "localhost" or host.endswith(".localhost")
        public = "." in host and not host.endswith(_LOCAL_NAMES) and not host.replace(".", "").isdigit()
    else:
        loopback, public = address.is_loopback, address.is_global and not address.is_multicast
    if not public and not (loopback and allow_loopback):
        raise InputError("media", f"{source}: the provider cannot fetch from {host}; expected a public host")
