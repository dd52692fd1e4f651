"""`posthorn metrics`: the ledger as Prometheus metrics."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn.cli.output import cannot_listen
from posthorn.process.terminal import say

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def metrics(
    host: Annotated[str, typer.Option(help="Address to listen on; campaign names are in the metrics.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 picks a free one.")] = 9464,
    alerts: Annotated[
        bool, typer.Option("--alerts", help="Print the alert rules, with links to POSTHORN_RUNBOOK_URL, and end.")
    ] = False,
) -> None:
    """Serve metrics for Prometheus until stopped: messages by state, unknown ones, requests, latency, credit left.

    Every scrape reads the ledger; nothing is kept elsewhere, and a running send is not disturbed. Alert rules and a
    dashboard are in the folder deployments.

    \b
        posthorn metrics
        posthorn metrics --alerts
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from prometheus_client import CollectorRegistry, start_http_server

    from posthorn.ledger.store.engine import Ledger
    from posthorn.loopback import is_loopback
    from posthorn.settings import load_settings
    from posthorn.views.metrics import CreditWatch, LedgerCollector

    if alerts:
        rules = files("deployments").joinpath("alerts.yml").read_text(encoding="utf-8")
        guide = load_settings().runbook_url
        print(rules.replace("runbook_url: docs/operations.md", f"runbook_url: {guide}"), end="", flush=True)
        if "://" not in guide:
            say(
                f"their links lead to {guide}: set POSTHORN_RUNBOOK_URL to the address where your people read the guide (https://…)"
            )
        return
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    settings = load_settings()
    ledger = Ledger(settings.database_url)
    credit = CreditWatch(settings)
    registry = CollectorRegistry()
    registry.register(LedgerCollector(ledger, credit, settings))
    try:
        server, thread = start_http_server(port, host, registry)
    except (OSError, UnicodeError) as error:
        raise cannot_listen(host, port, error) from None
    if (app := server.get_app()) is not None:
        server.set_app(_without_web_pages(app, any_host=not is_loopback(host)))
    try:
        say(f"ready http://{host}:{server.server_port}/metrics")
        stopped.wait()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        credit.close()
        ledger.close()


def _without_web_pages(app: WSGIApplication, *, any_host: bool) -> WSGIApplication:
    """The same application, closed to web pages: they must not read the names of campaigns."""
    from posthorn.loopback import refusal

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def header(name: str) -> list[str]:
            value = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
            return [] if value is None else [value]

        if (reason := refusal(header, any_host=any_host)) is None:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [f"the request is refused: {reason}\n".encode()]

    return answer
