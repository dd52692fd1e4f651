"""Who may ask a server on this machine: no page of another origin, and nobody who used a name that is not the server's.

A browser lets any page send requests to loopback. It names the page in ``Origin``, and in ``Host`` the name that
it used. That exposes a page whose own name was made to point here (DNS rebinding). It authenticates nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

_CROSS = frozenset({"cross-site", "same-site"})  # same site is not same origin: another port of this machine is


def is_loopback(host: str) -> bool:
    """Whether a server that listens on ``host`` can be reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refusal(header: Callable[[str], Sequence[str]], names: Collection[str] = (), *, any_host: bool = False) -> str | None:
    """Why a request must not be answered; None if it may.

    ``header`` gives all values of a header. ``names`` are those by which others reach the server, perhaps through a proxy;
    ``localhost`` and addresses need not be among them: they cannot be rebound. ``any_host``: its names are not known.
    """
    hosts = header("Host")
    if len(hosts) > 1 or not (any_host or all(_is_own(host, names) for host in hosts)):
        return "it came by a host name that is not this server's"
    if any(not _is_from_here(origin, hosts, names) for origin in header("Origin")):
        return "it came from a page of another origin"
    # Pictures, scripts and forms by GET carry no Origin; a link that somebody follows is welcome.
    if _CROSS.intersection(header("Sec-Fetch-Site")) and "navigate" not in header("Sec-Fetch-Mode"):
        return "it came from a page of another origin"
    return None


def _is_own(host: str, names: Collection[str]) -> bool:
    name = _name(f"//{host}")
    if name == "localhost" or name in names:
        return True
    try:
        return not ip_address(name).is_unspecified  # 0.0.0.0 leads here, too, in some browsers
    except ValueError:
        return False


def _is_from_here(origin: str, hosts: Sequence[str], names: Collection[str]) -> bool:
    """Whether the page came from this server: by the same name and port, or through a proxy of a known name."""
    return origin.lower().partition("://")[2] in [host.lower() for host in hosts if host] or _name(origin) in names


def _name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
