"""A campaign through `posthorn campaign send`, as an operator runs it: real processes, real HTTP, the sandbox's truth."""

from __future__ import annotations

import csv
import json
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from PIL import Image

from posthorn.cli.sandbox_process import SandboxProcess
from tests.commands import Desk, order, told
from tests.delivery.journey import PNG, numbers, write_campaign

SEND = "messages/send_mms"
WAIT_SECONDS = 60.0


def write_the_big_one(folder: Path) -> Path:
    """10,000 rows, semicolons, cp1250: 137 of them invalid, 240 duplicates; two images and a text."""
    good = numbers(9_623)
    duplicates = [f"0048 {phone[3:6]} {phone[6:9]} {phone[9:]}" for phone in good[:240]]  # the same, written otherwise
    rows = [*good, *duplicates, *(f"{index}" for index in range(137))]
    rows = [rows[index * 7_919 % 10_000] for index in range(10_000)]  # shuffled, always alike
    with (folder / "odbiorcy.csv").open("w", encoding="cp1250", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Imię", "telefon", "miasto"])
        writer.writerows(["Żaneta", row, "Łódź; Górna"] for row in rows)
    (folder / "poster.png").write_bytes(PNG)
    Image.new("RGB", (8, 8), "orange").save(folder / "map.jpg")
    file = folder / "big.toml"
    lines = ('name = "big"', 'title = "Wyprzedaż"', 'text = "Wszystko -30%"', 'media = ["poster.png", "map.jpg"]')
    file.write_text("\n".join([*lines, 'recipients = "odbiorcy.csv"', "chunk_size = 200", ""]), encoding="utf-8")
    return file


def test_ten_thousand_rows_reach_everybody_once_and_a_second_run_nobody(
    desk: Desk, box_url: str, prefect_variables: dict[str, str]
) -> None:
    file = write_the_big_one(desk.folder)
    first = desk.run("campaign", "send", file.name, "--json")
    assert first.code == 0, first.err
    status = first.json
    assert {name: count for name, count in status["totals"].items() if count} == {
        "input": 10_000,
        "invalid": 137,
        "duplicate": 240,
        "accepted": 9_623,
    }
    assert (status["state"], status["balanced"]) == ("finished", True)

    truth = told(box_url, "truth")
    counts = told(box_url, "counts")
    assert (truth["accepted"], truth["numbers"], truth["twice"]) == (9_623, 9_623, 0)
    assert set(counts) == set(numbers(9_623))
    assert set(counts.values()) == {1}
    assert truth["requests"]["files/add"] == 2
    assert truth["send_requests"] <= 49
    calls = [entry["call"] for entry in told(box_url, "requests")]
    uploaded, sent = [at for at, call in enumerate(calls) if call == "files/add"], calls.index(SEND)
    assert "files/index" in calls[max(uploaded) + 1 : sent], "asked after the last upload, before the first send"

    rejects = list(csv.reader((desk.folder / "big.rejects.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rejects) == 1 + 137 + 240

    assert processes_of(desk) == [], "the Prefect server that was started for the run is gone"
    for table in ("task_run", "flow_run"):
        assert states_in_prefect(desk, table) == {"COMPLETED"}, f"{table}: it had recorded all before it was stopped"

    second = desk.run("campaign", "send", file.name, "--json", **prefect_variables)
    assert (second.code, second.json["totals"]) == (0, status["totals"])
    assert told(box_url, "truth")["send_requests"] == truth["send_requests"]
    assert told(box_url, "truth")["requests"]["files/add"] == 2


def test_a_server_of_its_own_starts_while_the_file_is_read_and_is_gone_when_that_is_refused(desk: Desk) -> None:
    ended = desk.run("campaign", "send", "sale.toml", PREFECT_API_URL="")
    assert "sale.toml does not exist" in ended.err
    assert (ended.code, ended.out) == (2, "")
    assert [*desk.folder.rglob("server.log")], "it had been started"
    assert processes_of(desk) == []


# What stops it: variables of the run, faults, the credit, words of the reason.
STOPPING: list[tuple[dict[str, str], list[dict[str, object]], int | None, str]] = [
    ({"POSTHORN_SERWERSMS__TOKEN": "wrong"}, [], None, "SerwerSMS"),
    ({}, [], 0, "the account's MMS limit is 0"),
    ({}, [{"call": SEND, "at": [2], "fault": "credit_midway", "items": 20}], None, "3004"),
]


def test_what_the_gateway_stops_is_finished_by_the_same_command_later(quick_desk: Desk, box_url: str) -> None:
    write_campaign(quick_desk.folder, numbers(300))
    quick_desk.variables["POSTHORN_SERWERSMS__CHUNK_SIZE"] = "50"
    for variables, faults, credit, words in STOPPING:
        order("PUT", box_url, "faults", faults)
        order("PUT", box_url, "credit", {"mms": credit})
        stopped = quick_desk.run("campaign", "send", "sale.toml", "--json", **variables)
        assert stopped.code == 4, stopped.err
        assert stopped.json["state"] == "stopped"
        assert words in stopped.json["because"]
        assert stopped.json["totals"]["pending"] == 300 - told(box_url, "truth")["accepted"] > 0
    assert told(box_url, "truth")["accepted"] > 0, "the last was stopped midway"

    order("PUT", box_url, "faults", [])
    order("PUT", box_url, "credit", {"mms": None})
    finished = quick_desk.run("campaign", "send", "sale.toml", "--json")
    assert (finished.code, finished.json["totals"]["accepted"]) == (0, 300), finished.err
    assert (told(box_url, "truth")["accepted"], told(box_url, "truth")["twice"]) == (300, 0)


def test_an_interrupted_send_finishes_what_is_in_flight_and_the_next_run_the_rest(
    slow_desk: Desk, slow_sandbox: SandboxProcess
) -> None:
    write_campaign(slow_desk.folder, numbers(1_600))
    for number in (signal.SIGINT, signal.SIGTERM):
        before = told(slow_sandbox.url, "truth")["send_requests"]
        process = slow_desk.start("campaign", "send", "sale.toml", "--json")
        wait_until(lambda before=before: told(slow_sandbox.url, "truth")["send_requests"] >= before + 3, process)
        process.send_signal(number)
        out, err = process.communicate(timeout=WAIT_SECONDS)
        truth, status = told(slow_sandbox.url, "truth"), json.loads(out)
        assert process.returncode == 4, err
        assert "stopping: waiting for the answers that are under way" in err
        assert (status["state"], status["because"]) == ("stopped", "the run was cancelled")
        assert truth["in_flight"] == 0
        assert 0 < truth["accepted"] < 1_600
        assert {name: count for name, count in status["totals"].items() if count} == {
            "input": 1_600,
            "accepted": truth["accepted"],
            "pending": 1_600 - truth["accepted"],
        }
    assert_the_next_run_finishes(slow_desk, slow_sandbox.url)


def test_an_interrupted_send_with_a_server_of_its_own_hands_in_its_last_words_before_that_is_stopped(
    slow_desk: Desk, slow_sandbox: SandboxProcess
) -> None:
    write_campaign(slow_desk.folder, numbers(1_600))
    process = slow_desk.start("campaign", "send", "sale.toml", PREFECT_API_URL="")
    wait_until(lambda: told(slow_sandbox.url, "truth")["send_requests"] >= 3, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 4
    assert "Error logging to API" not in err


def test_a_killed_send_leaves_nothing_running_and_a_second_run_finishes_with_nobody_twice(
    slow_desk: Desk, slow_sandbox: SandboxProcess
) -> None:
    write_campaign(slow_desk.folder, numbers(1_600))
    process = slow_desk.start("campaign", "send", "sale.toml", PREFECT_API_URL="")  # with a Prefect server of its own
    wait_until(lambda: told(slow_sandbox.url, "truth")["send_requests"] >= 3, process)
    assert any("deployments.server" in command for command in processes_of(slow_desk))
    process.kill()
    process.communicate(timeout=WAIT_SECONDS)
    wait_until(lambda: processes_of(slow_desk) == [])
    # What it had in flight was taken: the provider's list says so, and it is not sent again.
    assert_the_next_run_finishes(slow_desk, slow_sandbox.url)


def test_of_two_sends_at_once_one_sends_and_a_third_says_since_when_and_by_whom(
    slow_desk: Desk, slow_sandbox: SandboxProcess
) -> None:
    write_campaign(slow_desk.folder, numbers(2_000))
    processes = [slow_desk.start("campaign", "send", "sale.toml") for _ in range(2)]
    wait_until(lambda: any(process.poll() is not None for process in processes))
    refused, running = sorted(processes, key=lambda process: process.poll() is None)
    assert running.poll() is None
    running.send_signal(signal.SIGSTOP)  # so that it has not ended when the third one looks
    third = slow_desk.run("campaign", "send", "sale.toml", "--json")
    running.send_signal(signal.SIGCONT)
    assert re.search(rf"sale is already running since 20.*, by operator@.*, process {running.pid}\n", third.err)
    assert (third.code, third.json["state"]) == (0, "running")

    _, said = refused.communicate(timeout=WAIT_SECONDS)
    assert (refused.returncode, "sale is already running " in said) == (0, True), said
    _, said = running.communicate(timeout=WAIT_SECONDS)
    assert (running.returncode, "already running" in said) == (0, False), said
    truth = told(slow_sandbox.url, "truth")
    assert (truth["accepted"], truth["twice"], truth["send_requests"]) == (2_000, 0, 40)


def assert_the_next_run_finishes(desk: Desk, url: str) -> None:
    finished = desk.run("campaign", "send", "sale.toml", "--json")
    truth = told(url, "truth")
    assert finished.code == 0, finished.err
    assert finished.json["totals"]["accepted"] == 1_600
    assert finished.json["balanced"]
    assert (truth["accepted"], truth["twice"]) == (1_600, 0)


def states_in_prefect(desk: Desk, table: str) -> set[str]:
    with closing(sqlite3.connect(next(desk.folder.rglob("prefect.db")))) as prefect:
        return {state for (state,) in prefect.execute(f"SELECT DISTINCT state_type FROM {table}")}


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not happened():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes_of(desk: Desk) -> list[str]:
    """The processes that run in the desk's folder or were told of it, the sandbox aside."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(desk.folder).encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [command for command in found if "posthorn sandbox" not in command]
