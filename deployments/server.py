"""Prefect's server behind an origin check. It needs a login to start, and answers only requests to its own host name.

``python -m deployments.server`` takes Prefect's own settings (PREFECT_…) and replaces ``prefect server start``.
`make serve` and runs at a terminal start it with ``--socket``, the number of a listening socket that they keep open.
"""

from __future__ import annotations

import argparse
import gc
import socket
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders

from posthorn.loopback import refusal
from posthorn.process.terminal import fail
from posthorn.settings import SettingsError, load_settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ITSELF = "prefect-in-memory"
"""The host name that Prefect's server uses for calls to itself (prefect.server.api.clients)."""
_PROTECTION = {
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class OriginCheck:
    """ASGI middleware: requests that ``posthorn.loopback`` refuses get 403, over HTTP and before a websocket opens."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI's own name
        if scope["type"] not in ("http", "websocket") or _is_own(scope):
            await self._app(scope, receive, send)
        elif (reason := refusal(Headers(scope=scope).getlist, self._names)) is not None:
            await _refuse(scope["type"], reason, receive, send)
        else:
            await self._app(scope, receive, _protected(send))


def _is_own(scope: Scope) -> bool:
    """Whether the server calls itself, as its automations do: within the process, without a socket.

    A request from a socket has the socket's address here, whatever its Host header says.
    """
    return (scope.get("server") or ("",))[0] == _ITSELF


def _protected(send: Send) -> Send:
    """Add headers to answers that keep other pages from framing or embedding them."""

    async def send_protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_PROTECTION)
        await send(message)

    return send_protected


async def _refuse(kind: str, reason: str, receive: Receive, send: Send) -> None:
    if kind == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the browser sees 403
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send(
        {
            "type": "http.response.body",
            "body": f"the request is refused: {reason} (further names: POSTHORN_HOST_NAMES)\n".encode(),
        }
    )


def serve(listening: socket.socket | None) -> None:
    """Run the server until a signal ends it, on that socket or on the address of Prefect's settings.

    Raises:
        SettingsError: no login is set, so anybody could run commands.
    """
    with _quick_imports():
        import uvicorn
        from prefect import settings as prefect
        from prefect.settings import temporary_settings

    with temporary_settings(set_defaults=_defaults(prefect)):
        if not prefect.PREFECT_SERVER_API_AUTH_STRING.value():
            raise SettingsError(
                "PREFECT_SERVER_API_AUTH_STRING is not set, and who reaches a Prefect server can run commands. Set it to"
                " posthorn: followed by what this prints: python3 -c 'import secrets; print(secrets.token_urlsafe(24))'"
            )
        config = uvicorn.Config(
            _app_with_origin_check(),
            host=prefect.PREFECT_SERVER_API_HOST.value(),
            port=prefect.PREFECT_SERVER_API_PORT.value(),
            timeout_keep_alive=prefect.PREFECT_SERVER_API_KEEPALIVE_TIMEOUT.value(),
            ws_ping_interval=prefect.PREFECT_SERVER_API_WEBSOCKET_PING_INTERVAL.value(),
            ws_ping_timeout=prefect.PREFECT_SERVER_API_WEBSOCKET_PING_TIMEOUT.value(),
            log_level=prefect.PREFECT_SERVER_LOGGING_LEVEL.value().lower(),
            server_header=False,
        )
        uvicorn.Server(config).run(sockets=[listening] if listening else None)


def _defaults(prefect: Any) -> dict[Any, str]:
    return {
        # Prefect's default is every origin. The UI comes from this server itself, so no other origin needs to read anything.
        prefect.PREFECT_SERVER_CORS_ALLOWED_ORIGINS: "",
        # The UI calls, and gives the login to, the server that it was loaded from; never PREFECT_API_URL.
        prefect.PREFECT_UI_API_URL: "/api",
    }


@contextmanager
def _quick_imports() -> Iterator[None]:
    """Import without collecting garbage: that takes a fifth of the start of Prefect's server.

    What is imported stays in memory, so later collections skip it, too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _app_with_origin_check() -> ASGIApp:
    with _quick_imports():
        from prefect.server.api.server import create_app  # it reads the settings when it is imported
        from prefect.server.services import task_run_recorder
    # The recorder cuts its interval to whole seconds, and with 0 it burns a core.
    task_run_recorder.int = float  # type: ignore[attr-defined]
    with _quick_imports():  # apart: it calls gc.collect(), which passes over what was imported before
        app = create_app(final=True)
    app.add_middleware(OriginCheck, names=load_settings().own_names())
    return app


def main() -> int:
    """Serve; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deployments.server", description=__doc__)
    parser.add_argument("--socket", type=int, help="number of an inherited listening socket")
    number = parser.parse_args().socket
    try:
        serve(None if number is None else socket.socket(fileno=number))
    except SettingsError as error:
        return fail(error, 2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
