"""Every query of the dashboard and of the alerts is answered by a real Prometheus that has scraped real metrics."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry, start_http_server

from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.running.run import open_delivery
from posthorn.delivery.settling.report import pull_reports
from posthorn.delivery.suppression.optouts import pull_opt_outs
from posthorn.ledger import approvals
from posthorn.ledger.store.engine import Ledger
from posthorn.sandbox.server import Sandbox
from posthorn.views.metrics import CreditWatch, LedgerCollector
from tests.conftest import sandbox_settings
from tests.delivery.journey import deliver, numbers, write_campaign
from tests.delivery.waiting import until

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
PANELS = json.loads((DEPLOYMENTS / "dashboard.json").read_text(encoding="utf-8"))["panels"]
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"].replace("$campaign", ".*").replace("$__rate_interval", "5s")
    for panel in PANELS
    for target in panel["targets"]
}
PATIENCE_SECONDS = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[tuple[httpx.Client, int]]:
    """A running Prometheus that scrapes a port of this machine every second, with our rules; and that port."""
    if (program := shutil.which("prometheus")) is None:
        pytest.skip("prometheus is not installed (Debian: apt-get install prometheus): the dashboard's queries were not run")
    scraped, own = free_port(), free_port()
    (tmp_path / "alerts.yml").write_bytes((DEPLOYMENTS / "alerts.yml").read_bytes())
    job = {"job_name": "posthorn", "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}]}
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [job],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    process = subprocess.Popen(
        [
            program,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{own}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{own}/api/v1", trust_env=False, timeout=30) as client:
            yield client, scraped
    finally:
        process.terminate()
        process.wait(30)


def answer(client: httpx.Client, path: str, **asked: str) -> Any:
    said = client.get(path, params=asked).raise_for_status().json()
    assert said["status"] == "success", said
    return said["data"]


async def test_each_panel_shows_something_and_each_rule_is_evaluated(
    box: Sandbox, tmp_path: Path, prometheus: tuple[httpx.Client, int]
) -> None:
    client, port = prometheus
    box.faults.replace([{"call": "messages/send_mms", "at": [2], "fault": "status_before", "status": 500}])  # 50 unknown
    settings = sandbox_settings(box.url, tmp_path, concurrency=1)
    settings.serwersms.price_per_message = Decimal("0.07")
    waiting = plan_file(write_campaign(tmp_path, numbers(150)[120:], name="waiting"), settings)
    file = write_campaign(tmp_path, numbers(120))
    ledger, credit = Ledger(settings.database_url), CreditWatch(settings)
    registry = CollectorRegistry()
    registry.register(LedgerCollector(ledger, credit, settings))
    server, thread = start_http_server(port, "127.0.0.1", registry)
    try:
        await until(lambda: is_scraped(client), seconds=PATIENCE_SECONDS)  # before it is sent: rates need two looks
        await deliver(file, settings)
        box.clock.advance(3600)
        async with open_delivery("sale", settings=settings) as desk:
            await pull_reports(desk)
        await pull_opt_outs(settings)
        approvals.ask(ledger, waiting, "content")
        wanted = dict(QUERIES)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while wanted and time.monotonic() < deadline:
            wanted = {title: query for title, query in wanted.items() if not answer(client, "/query", query=query)["result"]}
        assert wanted == {}, "these show nothing"
        assert value(client, QUERIES["Cost A"]) == pytest.approx(70 * 0.07)
        assert value(client, QUERIES["Delivery rate A"]) == 1.0
        assert value(client, QUERIES["Approvals waiting A"]) == 1.0
        await until(lambda: rules_of(client)["PosthornApprovalWaiting"]["state"] == "pending", seconds=PATIENCE_SECONDS)
        assert {name: rule["health"] for name, rule in rules_of(client).items() if rule["health"] != "ok"} == {}
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        credit.close()
        ledger.close()


def is_scraped(client: httpx.Client) -> bool:
    try:
        return bool(answer(client, "/query", query="posthorn_ledger_readable == 1")["result"])
    except httpx.TransportError:
        return False  # it is starting


def rules_of(client: httpx.Client) -> dict[str, Any]:
    return {rule["name"]: rule for group in answer(client, "/rules")["groups"] for rule in group["rules"]}


def value(client: httpx.Client, query: str) -> float:
    return float(answer(client, "/query", query=query)["result"][0]["value"][1])
