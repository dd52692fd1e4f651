"""What scripts and people read: the status and its JSON, the plan, the doctor. None of it needs Prefect or sends."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from posthorn.models import TOTALS
from posthorn.settings import Settings
from tests.commands import Desk, order, told
from tests.conftest import sandbox_settings
from tests.delivery.journey import deliver, numbers, write_campaign

TOKEN = "demo-token"
STATUS_KEYS = ["name", "kind", "gateway", "state", "totals", "balanced", "errors", "test", "because"]
STATUS_KEYS += ["waiting_until", "second_copies", "contradictory_news", "waves"]


def settings_of(desk: Desk, url: str) -> Settings:
    settings = sandbox_settings(url, desk.folder / ".posthorn", breaker_after=1)
    gateway = settings.serwersms.model_copy(update={"token": type(settings.serwersms.token)(TOKEN)})
    return settings.model_copy(update={"serwersms": gateway})


@pytest.fixture
def sent(desk: Desk, box_url: str) -> Desk:
    """A desk with a campaign that is sent: 60 numbers, one of them twice, and a row that is not a number."""
    file = write_campaign(desk.folder, [*numbers(60), numbers(1)[0], "12"])
    asyncio.run(deliver(file, settings_of(desk, box_url)))
    return desk


def test_status_as_json_has_every_key_and_adds_up(sent: Desk) -> None:
    ended = sent.run("campaign", "status", "sale", "--json")
    status = ended.json
    assert sorted(status) == sorted(STATUS_KEYS)
    assert list(status["totals"]) == list(TOTALS)
    assert all(type(count) is int for count in status["totals"].values())
    assert {name: count for name, count in status["totals"].items() if count} == {
        "input": 62,
        "invalid": 1,
        "duplicate": 1,
        "accepted": 60,
    }
    assert (status["name"], status["kind"], status["state"]) == ("sale", "campaign", "finished")
    assert (status["balanced"], status["errors"], status["test"], status["because"]) == (True, {}, False, None)
    assert (ended.code, ended.err) == (0, "")


def test_status_as_a_table_shows_each_state_and_the_sum(sent: Desk) -> None:
    ended = sent.run("campaign", "status", "sale")
    rows = dict(re.findall(r"│ (\w+) +│ +([\d,]+) │", ended.out))
    assert rows == {"invalid": "1", "duplicate": "1", "accepted": "60", "sum": "62"}
    assert ended.out.startswith("campaign sale: finished\n")
    assert ended.code == 0


def test_status_imports_nothing_that_it_does_not_need(sent: Desk) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "posthorn", "campaign", "status", "sale"]
    traced = subprocess.run(command, cwd=sent.folder, env=sent.environment(), capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in traced.stderr.splitlines()}
    assert "sqlalchemy" in imported
    assert imported & {"prefect", "httpx", "aiohttp", "alembic", "PIL", "phonenumbers", "psycopg"} == set()


def test_a_campaign_that_needs_a_person_says_so_by_its_exit_code(desk: Desk, box_url: str) -> None:
    file = write_campaign(desk.folder, numbers(60), chunk_size=60)
    order("PUT", box_url, "faults", [{"call": "messages/send_mms", "fault": "reset_before"}])
    asyncio.run(deliver(file, settings_of(desk, box_url)))
    ended = desk.run("campaign", "status", "sale", "--json")
    assert (ended.json["state"], ended.json["totals"]["unknown"], ended.code) == ("needs_attention", 60, 3)


def test_a_campaign_that_stopped_says_why_and_what_is_left(desk: Desk, box_url: str) -> None:
    order("PUT", box_url, "faults", [{"call": "messages/send_mms", "at": [1], "fault": "error_code", "code": 1011}])
    asyncio.run(deliver(write_campaign(desk.folder, numbers(60), chunk_size=60), settings_of(desk, box_url)))
    ended = desk.run("campaign", "status", "sale", "--json")
    assert (ended.json["state"], ended.json["totals"]["pending"], ended.code) == ("stopped", 60, 4)
    assert "1011" in ended.json["because"]


def test_the_same_name_with_other_content_is_refused_with_what_differs(sent: Desk, box_url: str) -> None:
    requests = told(box_url, "truth")["requests"]
    write_campaign(sent.folder, numbers(61), title='"Winter sale"')
    for verb in ("send", "check"):
        ended = sent.run("campaign", verb, "sale.toml")
        assert 'title was "Autumn sale", is now "Winter sale"' in ended.err
        assert "give this file another name" in ended.err
        assert ended.code == 2
    assert told(box_url, "truth")["requests"] == requests


def test_reports_are_pulled_and_move_the_messages(sent: Desk, box_url: str) -> None:
    order("POST", box_url, "clock", {"advance_seconds": 600})
    ended = sent.run("campaign", "report", "sale", "--json")
    totals = ended.json["totals"]
    assert totals["delivered"] + totals["undelivered"] == 60
    assert "60 messages moved on" in ended.err
    assert ended.code == 0


def test_check_prints_the_plan_and_every_rejected_row(desk: Desk, box_url: str) -> None:
    write_campaign(desk.folder, [*numbers(60), numbers(1)[0], *(["call me"] * 150)])
    ended = desk.run("campaign", "check", "sale.toml")
    assert "211: 60 valid, 150 invalid, 1 duplicate" in ended.out
    assert re.search(r"│ +62 +│ \S+ +│ duplicate of line 2", ended.out)
    assert re.findall(r"│ +(\d+) +│ call me +│ not a number", ended.out) == [str(line) for line in range(63, 213)]
    assert (ended.code, ended.err) == (0, "")
    assert told(box_url, "truth")["requests"] == {}
    assert not list(desk.folder.glob("*.rejects.csv")), "a check writes nothing"

    plan = desk.run("campaign", "check", "sale.toml", "--json").json
    assert (plan["input"], plan["valid"], plan["invalid"], plan["duplicate"], plan["requests"]) == (211, 60, 150, 1, 1)
    assert len(plan["rejects"]) == 151


# What the desk has exported, what the doctor says of it, and its exit code.
PATIENTS = {
    "all well": ({"PREFECT_API_URL": ""}, "answers; MMS without limit", 0),
    "no credentials": ({"POSTHORN_SERWERSMS__TOKEN": ""}, "neither is set", 2),
    "a wrong token": ({"POSTHORN_SERWERSMS__TOKEN": "wrong-secret"}, "check POSTHORN_SERWERSMS__TOKEN", 2),
    "nobody there": ({"POSTHORN_SERWERSMS__BASE_URL": "http://127.0.0.1:9"}, "check the account", 2),
    "a slip of the pen": ({"POSTHORN_SERWERSMS__TOKN": "x"}, "did you mean POSTHORN_SERWERSMS__TOKEN?", 2),
    "a Prefect that is away": ({}, "start the server, unset PREFECT_API_URL, or set its login", 2),
}


@pytest.mark.parametrize("case", PATIENTS)
def test_the_doctor_says_what_works_and_what_to_do_and_no_secret(case: str, desk: Desk, box_url: str) -> None:
    variables, words, code = PATIENTS[case]
    ended = desk.run("doctor", "--json", **variables)
    said = " ".join(f"{one['seen']} {one['advice']}" for one in ended.json["findings"])
    assert words in said
    assert ended.code == code
    assert ended.json["settings"]["POSTHORN_SERWERSMS__BASE_URL"] == variables.get("POSTHORN_SERWERSMS__BASE_URL", box_url)
    assert TOKEN not in ended.out + ended.err
    assert "wrong-secret" not in ended.out + ended.err
    assert told(box_url, "truth")["send_requests"] == 0


def test_the_doctors_table_is_for_people(desk: Desk) -> None:
    ended = desk.run("doctor", PREFECT_API_URL="")
    assert re.search(r"│ ok +│ campaign gateway +│ answers", ended.out)
    assert re.search(r"POSTHORN_SERWERSMS__TOKEN +│ \(set\)", ended.out)
    assert ended.code == 0


def test_the_sandbox_says_loudly_what_it_is_and_how_to_use_it(desk: Desk, tmp_path: Path) -> None:
    process = desk.start("sandbox", "--port", "0")
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("ready "):
            break
    said, url = "".join(lines), lines[-1].split()[1]
    assert "THIS IS A SANDBOX" in said
    assert f"export POSTHORN_SERWERSMS__BASE_URL={url}" in said
    assert "INFER" in said, "it lists what is inferred"
    assert told(url, "truth")["accepted"] == 0
    process.terminate()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "stopped after 0 sends" in out
