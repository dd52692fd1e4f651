"""Proxies of the environment: the Prefect client uses them, but must not for this machine's own server.

Posthorn's own calls use no proxy of the environment: providers are called directly, or through POSTHORN_PROXY_URL.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from posthorn.settings import is_loopback

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
_NOT_A_PROXY = frozenset({"no_proxy", "posthorn_proxy_url"})


class UnusableProxy(Exception):
    """A proxy of the environment cannot be used to reach a Prefect server elsewhere; the message names the variable."""


def names() -> list[str]:
    """The variables, in any case, that name a proxy here: ``["ALL_PROXY", "http_proxy"]``."""
    return sorted(
        name for name, value in os.environ.items() if value and name.lower().endswith("_proxy") and not _is_other(name)
    )


def spare_loopback(*hosts: str) -> None:
    """Change this process's environment, which children inherit, so that loopback and ``hosts`` are called directly.

    If the HTTP client cannot use the proxies at all (socks without its library, a malformed URL), it would refuse even those
    calls: then the proxies are removed from the environment.
    """
    _add_exceptions(*_LOOPBACK_NAMES, *hosts)
    if _problem() is not None:
        for name in [*names(), "NO_PROXY", "no_proxy"]:
            os.environ.pop(name, None)
        _add_exceptions(*_LOOPBACK_NAMES, *hosts)


def settle_for(api_url: str) -> None:
    """``spare_loopback`` for the Prefect server that the operator configured; one elsewhere may be called through a proxy.

    Raises:
        UnusableProxy: the server is elsewhere, and the HTTP client cannot use the proxies.
    """
    if is_loopback(api_url):
        spare_loopback(urlsplit(api_url).hostname or "")
        return
    _add_exceptions(*_LOOPBACK_NAMES)
    if (problem := _problem()) is not None:
        raise UnusableProxy(
            f"{', '.join(names()) or 'NO_PROXY'}: the Prefect client cannot use it: {problem}; correct it, or unset it"
        )


def _is_other(name: str) -> bool:
    return name.lower() in _NOT_A_PROXY


def _add_exceptions(*hosts: str) -> None:
    """Write both spellings: some clients read one, some the other, and the lower-case one wins if both are set."""
    for name in ("NO_PROXY", "no_proxy"):
        said = os.environ.get(name) or os.environ.get(name.swapcase()) or ""
        listed = [host.strip() for host in said.split(",") if host.strip()]
        if "*" not in listed:
            os.environ[name] = ",".join(dict.fromkeys([*listed, *hosts]))


def _problem() -> str | None:
    """What the HTTP client, made as Prefect makes it, says about the proxies; None if it accepts them."""
    exceptions = {host for name in ("NO_PROXY", "no_proxy") for host in os.environ.get(name, "*").split(",")}
    if not names() and exceptions <= {"*", *_LOOPBACK_NAMES}:
        return None  # the client, which takes a while to import, finds nothing of the operator's here

    import httpx  # see the package

    try:
        httpx.Client(verify=False).close()  # noqa: S501 - it calls nobody; loading certificates takes a while
    except ImportError:
        return "socks needs a library that is not installed (pip install 'httpx[socks]')"
    except (ValueError, httpx.InvalidURL):
        return "expected http://host:port"
    return None
