"""The metrics: what the ledger says, by the names that the alert rules and the dashboard use, and no number among them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.running.run import open_run
from posthorn.delivery.suppression.optouts import pull_opt_outs
from posthorn.ledger import approvals, deliveries
from posthorn.ledger.store.engine import Ledger
from posthorn.models import TOTALS
from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from posthorn.views.metrics import CreditWatch, LedgerCollector
from tests.commands import Desk
from tests.conftest import sandbox_settings
from tests.delivery.journey import deliver, numbers, write_campaign
from tests.delivery.waiting import until

SEND = "messages/send_mms"
DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
ALERTS = DEPLOYMENTS / "alerts.yml"
OF_PROMETHEUS = {"up"}

Samples = dict[tuple[str, ...], float]


class Exporter:
    """What `posthorn metrics` serves, without its server."""

    def __init__(self, settings: Settings) -> None:
        self.ledger, self.credit = Ledger(settings.database_url), CreditWatch(settings)
        self.registry = CollectorRegistry()
        self.registry.register(LedgerCollector(self.ledger, self.credit, settings))

    def text(self) -> str:
        return generate_latest(self.registry).decode()

    def samples(self) -> Samples:
        return samples(self.text())


def samples(text: str) -> Samples:
    """Each sample's value by its name and the values of its labels."""
    families = text_string_to_metric_families(text)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


@contextmanager
def exporter(settings: Settings) -> Iterator[Exporter]:
    opened = Exporter(settings)
    try:
        yield opened
    finally:
        opened.credit.close()
        opened.ledger.close()


@pytest.fixture
async def sent(box: Sandbox, tmp_path: Path) -> Settings:
    """120 numbers in three requests: one number of the first is refused, the second never arrives."""
    box.faults.replace(
        [{"call": SEND, "at": [1], "fault": "item_error", "code": 3103}, {"call": SEND, "at": [2], "fault": "reset_before"}]
    )
    settings = sandbox_settings(box.url, tmp_path, concurrency=1)
    settings.serwersms.price_per_message = Decimal("0.07")
    await deliver(write_campaign(tmp_path, [*numbers(120), "12"]), settings)
    return settings


async def test_the_metrics_say_what_the_ledger_says(sent: Settings) -> None:
    with exporter(sent) as served:
        told = served.samples()
        states = {state: told["posthorn_messages", "sale", "campaign", state] for state in TOTALS if state != "input"}
        assert {state: count for state, count in states.items() if count} == {
            "invalid": 1,
            "accepted": 69,
            "rejected": 1,
            "unknown": 50,
        }
        assert told["posthorn_unknown_messages", "sale", "campaign"] == 50
        assert told["posthorn_cost", "sale", "campaign"] == pytest.approx(69 * 0.07), "what was taken, at the price"
        assert told["posthorn_requests_total", "serwersms", "answered"] == 2
        assert told["posthorn_requests_total", "serwersms", "unknown"] == 1
        assert told["posthorn_requests_total", "skycore", "unknown"] == 0, "there before it happens, so that it can increase"
        assert told["posthorn_request_seconds_count", "serwersms"] == 3
        assert told["posthorn_campaign_balanced", "sale", "campaign"] == 1
        assert told["posthorn_campaign_running", "sale", "campaign"] == 0
        assert 0 <= told["posthorn_oldest_unknown_seconds", "sale", "campaign"] < 60
        assert 0 <= time.time() - told["posthorn_last_answer_timestamp_seconds", "serwersms"] < 60
        assert not re.search(r"48500\d{6}", served.text()), "no number in full"
        async with open_run("sale", settings=sent):
            assert served.samples()["posthorn_campaign_running", "sale", "campaign"] == 1


async def test_a_counter_never_falls_although_a_late_answer_changes_an_outcome(sent: Settings) -> None:
    with exporter(sent) as served:
        before = served.samples()
        with served.ledger.write() as connection:
            connection.execute(sa.text("UPDATE attempt SET outcome = 'late' WHERE outcome = 'unknown'"))
        after = served.samples()
    assert after["posthorn_requests_total", "serwersms", "late"] == 1
    counters = [key for key in before if key[0].endswith(("_total", "_bucket", "_count", "_sum"))]
    assert [key for key in counters if after[key] < before[key]] == []


async def test_a_stopped_campaign_is_told_until_it_is_finished(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": SEND, "at": [1], "fault": "error_code", "code": 1011}])
    settings, file = sandbox_settings(box.url, tmp_path), write_campaign(tmp_path, numbers(120))
    await deliver(file, settings)
    with exporter(settings) as served:
        assert served.samples()["posthorn_campaign_stopped", "sale", "campaign"] == 1
        await deliver(file, settings)
        assert served.samples()["posthorn_campaign_stopped", "sale", "campaign"] == 0


def test_what_waits_for_a_person_is_told_and_what_a_person_stopped_is_no_alarm(box: Sandbox, tmp_path: Path) -> None:
    settings = sandbox_settings(box.url, tmp_path)
    waiting = plan_file(write_campaign(tmp_path, numbers(20), name="waiting"), settings)
    stopped = plan_file(write_campaign(tmp_path, numbers(40)[20:], name="stopped"), settings)
    with exporter(settings) as served:
        approvals.ask(served.ledger, waiting, "content")
        started = deliveries.start_run(served.ledger, stopped, by="Ada")
        for because, alarm in (("no credit", 1.0), ("the run was cancelled", 0.0)):
            deliveries.end_run(served.ledger, stopped, started, stopped_because=because)
            told = served.samples()
            assert told["posthorn_campaign_stopped", "stopped", "campaign"] == alarm
            assert told["posthorn_approval_waiting", "stopped", "campaign"] == 0.0
            assert told["posthorn_approval_waiting", "waiting", "campaign"] == 1.0


def test_the_rules_link_into_the_guide_that_the_settings_name(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"POSTHORN_RUNBOOK_URL": "https://ops.example/guide"})
    ended = desk.run("metrics", "--alerts")
    assert ended.err == ""
    rules = yaml.safe_load(ended.out)
    urls = [rule["annotations"]["runbook_url"] for group in rules["groups"] for rule in group["rules"]]
    assert all(url.startswith("https://ops.example/guide#posthorn") for url in urls)
    assert "set POSTHORN_RUNBOOK_URL" in Desk(tmp_path).run("metrics", "--alerts").err, "a link from elsewhere needs a host"


async def test_the_credit_is_asked_for_once_however_often_it_is_scraped(box: Sandbox, tmp_path: Path) -> None:
    box.serwersms.set_credit(1234, None)
    with exporter(sandbox_settings(box.url, tmp_path)) as served:
        await until(lambda: ("posthorn_credit_left", "serwersms") in served.samples())
        for _ in range(3):
            assert served.samples()["posthorn_credit_left", "serwersms"] == 1234
    assert box.truth()["requests"]["account/limits"] == 1


async def test_a_provider_that_refuses_fails_no_scrape(box: Sandbox, tmp_path: Path) -> None:
    box.faults.replace([{"call": "account/limits", "fault": "error_code", "code": 1001}])
    with exporter(sandbox_settings(box.url, tmp_path)) as served:
        await until(lambda: box.truth()["requests"].get("account/limits", 0) > 0)
        told = served.samples()
    assert told["posthorn_ledger_readable",] == 1
    assert [key for key in told if key[0].startswith("posthorn_credit")] == []


async def test_a_ledger_that_cannot_be_read_is_told_as_that(sent: Settings) -> None:
    with exporter(sent) as served:
        with served.ledger.write() as connection:
            connection.execute(sa.text("DROP VIEW v_hourly"))
            connection.execute(sa.text("ALTER TABLE attempt RENAME TO elsewhere"))
        told = served.samples()
    assert told["posthorn_ledger_readable",] == 0
    assert [key for key in told if key[0].startswith("posthorn_messages")] == []


def test_the_command_serves_them_on_loopback_until_it_is_stopped(sent: Settings, tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"POSTHORN_DATABASE_URL": sent.database_url})
    process = desk.start("metrics", "--port", "0")
    assert process.stderr is not None
    ready = process.stderr.readline()
    url = ready.split()[1]
    assert url.startswith("http://127.0.0.1:")
    try:
        served = httpx.get(url, timeout=10)
        strangers = [{"Host": "evil.example"}, {"Origin": "http://127.0.0.1:3000"}, {"Sec-Fetch-Site": "cross-site"}]
        refused = {httpx.get(url, timeout=10, headers=stranger).status_code for stranger in strangers}
        taken = desk.run("metrics", "--port", url.rpartition(":")[2].partition("/")[0])
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert samples(served.text)["posthorn_unknown_messages", "sale", "campaign"] == 50
    assert process.returncode == 0
    assert refused == {403}, "the names of campaigns are not for web pages"
    assert (taken.code, "cannot listen on" in taken.err) == (2, True)


async def test_alerts_and_dashboard_ask_for_metrics_that_are_served(box: Sandbox, sent: Settings) -> None:
    await pull_opt_outs(sent)
    with exporter(sent) as served:
        await until(lambda: ("posthorn_credit_left", "serwersms") in served.samples())
        names = {key[0] for key in served.samples()}
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    dashboard = json.loads((DEPLOYMENTS / "dashboard.json").read_text())
    asked = {rule["alert"]: rule["expr"] for rule in rules} | {
        panel["title"]: " ".join(target["expr"] for target in panel["targets"]) for panel in dashboard["panels"]
    }
    assert len(asked) > 12
    for title, expression in asked.items():
        found = set(re.findall(r"\bposthorn_\w+", expression))
        assert found, title
        assert found <= names, title
    for rule in rules:
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_promtool_accepts_the_rules_and_they_fire(tmp_path: Path) -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus): the alert rules were not checked")
    (tmp_path / "alerts.yml").write_bytes(ALERTS.read_bytes())
    (tmp_path / "cases.yml").write_text(
        yaml.safe_dump({"rule_files": ["alerts.yml"], "tests": [firing(*case) for case in FIRING]})
    )
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "cases.yml"]):
        done = subprocess.run(["promtool", *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


UP = {'up{job="posthorn"}': "1x60", "posthorn_ledger_readable": "1x60"}

# The series, minute by minute, the minute to look at, and which alerts fire then.
FIRING = [
    ({**UP}, 30, []),
    ({**UP, 'posthorn_unknown_messages{campaign="a"}': "0x5 50x60"}, 15, []),
    ({**UP, 'posthorn_unknown_messages{campaign="a"}': "0x5 50x60"}, 25, ["PosthornUnknownMessages"]),
    ({**UP, 'posthorn_campaign_stopped{campaign="a"}': "0x5 1x60"}, 12, ["PosthornCampaignStopped"]),
    ({**UP, 'posthorn_approval_waiting{campaign="a"}': "1x60"}, 8, []),
    ({**UP, 'posthorn_approval_waiting{campaign="a"}': "1x60"}, 12, ["PosthornApprovalWaiting"]),
    ({**UP, 'posthorn_campaign_balanced{campaign="a"}': "1x5 0x60"}, 8, ["PosthornUnbalanced"]),
    ({**UP, 'posthorn_credit_left{gateway="a"}': "999x60"}, 10, ["PosthornCreditLow"]),
    ({**UP, 'posthorn_credit_left{gateway="a"}': "1000x60"}, 10, []),
    (
        {
            **UP,
            **{
                f'posthorn_requests_total{{gateway="a",outcome="{o}"}}': f"0+{n}x60"
                for o, n in (("answered", 7), ("unknown", 3))
            },
        },
        25,
        ["PosthornRequestsFailing"],
    ),
    (
        {
            **UP,
            **{
                f'posthorn_requests_total{{gateway="a",outcome="{o}"}}': f"0+{n}x60"
                for o, n in (("answered", 9), ("unknown", 1))
            },
        },
        25,
        [],
    ),
    ({"posthorn_ledger_readable": "1x60"}, 10, ["PosthornMetricsDown"]),
    ({**UP, "posthorn_ledger_readable": "0x60"}, 10, ["PosthornMetricsDown"]),
]


def firing(series: dict[str, str], minute: int, alerts: list[str]) -> dict[str, Any]:
    """One of promtool's cases: these series, and which of all alerts must fire at that minute."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts],
            }
        ],
    }
