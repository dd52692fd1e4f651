"""The truth is told in full, never faulted, and the command runs, announces and ends as scripts need it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import httpx
import pytest

BEARER = {"Authorization": "Bearer sandbox-token"}
ONE = "+48500600700"

COMMAND = (
    sys.executable, "-c",
    "import typer; from posthorn.cli.sandbox import sandbox; app = typer.Typer(); app.command()(sandbox); app()",
)  # fmt: skip


async def test_the_truth_has_every_key(caller):
    await caller.send(ONE, "45616")
    truth = await caller.told("truth")
    totals = {"accepted": 1, "numbers": 1, "twice": 0, "dispatched": 1, "scheduled": 0, "withdrawn": 0}
    assert totals.items() <= truth.items()
    assert totals.items() <= truth["serwersms"].items()
    assert truth["requests"] == {"messages/send_mms": 1}
    assert (truth["send_requests"], truth["max_in_flight"], truth["in_flight"], truth["faults"]) == (1, 1, 0, {})


async def test_the_truth_is_never_faulted(sandbox):
    async with sandbox(faults=["status_before:status=503"]) as caller:
        assert (await caller.http.post("/files/index")).status_code == 503
        assert (await caller.told("truth"))["faults"] == {"status_before@*": 1}


async def test_requests_in_flight_are_counted_at_their_highest(sandbox):
    async with sandbox(latency_seconds=0.2) as caller:
        await asyncio.gather(*(caller.call("files/index") for _ in range(5)))
        assert caller.box.truth()["max_in_flight"] == 5


async def test_latency_delays_the_answer_and_not_the_work(sandbox):
    async with sandbox(latency_seconds=5) as caller:
        body = {"title": "T", "text": "x", "phone": ONE}
        with pytest.raises(httpx.ReadTimeout):
            await caller.http.post("/messages/send_mms", json=body, headers=BEARER, timeout=0.2)
        assert caller.box.truth()["accepted"] == 1


@pytest.mark.parametrize("query", [{"phone": "+48500600701"}, {"phone": "500600701"}, {"phone": "48500600701"}], ids=str)
async def test_messages_are_found_by_number_however_it_is_written(caller, query):
    await caller.send(ONE, "+48500600701")
    await caller.send("+48500600701", title="Winter")
    told = await caller.told("messages", **query)
    assert [item["title"] for item in told["items"]] == ["Autumn", "Winter"]
    assert (await caller.told("messages", **query, title="Winter"))["items"][0]["send"] == 2


async def test_messages_are_told_page_by_page_with_what_was_refused(caller):
    await caller.send(ONE, "45616", "+48500600702")
    first = await caller.told("messages", limit=2)
    last = await caller.told("messages", limit=2, page=2)
    assert (first["more"], last["more"]) == (True, False)
    told = {item["phone"]: (item["accepted"], item["error_code"], item["status"]) for item in first["items"] + last["items"]}
    refused = told.pop("45616")
    assert refused == (False, 3103, "unsent")
    assert set(told.values()) == {(True, None, "in_progress")}


async def test_requests_are_logged_without_credentials(caller):
    await caller.http.post("/files/index", json={"username": "sandbox", "password": "sandbox", "type": "mms"})
    await caller.send(ONE)
    await caller.http.post("/files/add", content=b"{", headers=BEARER)
    index, send, broken = await caller.told("requests")
    assert (index["method"], index["path"], index["body"]) == ("POST", "/files/index", {"type": "mms"})
    assert send["body"]["phone"] == [ONE]
    assert broken["body"] == {"unreadable": 1}
    assert "sandbox-token" not in json.dumps([index, send, broken])
    assert "User-Agent" in {name.title() for name in send["headers"]}
    assert len(await caller.told("requests", call="messages/send_mms")) == 1


async def test_uploads_are_logged_without_their_content(caller):
    await caller.http.post("/files/add", data={"type": "mms"}, files={"file": ("a.png", b"12345")}, headers=BEARER)
    (logged,) = await caller.told("requests")
    assert logged["body"]["file"] == {"name": "a.png", "content_type": "image/png", "size": 5}


async def test_reset_forgets_everything(sandbox):
    async with sandbox(credit=3, faults=["empty@files/index"]) as caller:
        await caller.send(ONE)
        await caller.add_file()
        before = await caller.told("messages")
        assert (await caller.order("POST", "reset", {})).status_code == 200
        truth = await caller.told("truth")
        assert (truth["accepted"], truth["requests"], truth["faults"]) == (0, {}, {})
        assert (await caller.call("files/index"))["items"] == []
        again = await caller.send(ONE)
        assert again["items"][0]["id"] != before["items"][0]["id"]
        assert caller.box.truth()["twice"] == 0
        assert caller.box.serwersms.account.credit == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "nothing", None, 404),
        ("POST", "truth", {}, 404),
        ("POST", "clock", {"forward": 1}, 400),
        ("POST", "clock", {"speed": -1}, 400),
        ("PUT", "credit", {}, 400),
        ("PUT", "credit", {"mms": 1, "mode": "half"}, 400),
        ("PUT", "faults", 3, 400),
    ],
)
async def test_an_order_that_cannot_be_understood_is_refused(caller, method, path, body, status):
    answer = await caller.order(method, path, body)
    assert answer.status_code == status
    assert "error" in answer.json()


async def test_the_speed_can_be_changed_while_it_runs(caller):
    await caller.send(ONE)
    await caller.order("POST", "clock", {"speed": 1_000_000})
    assert (await caller.told("messages"))["items"][0]["status"] == "delivered"


async def _run(*arguments):
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert process.stdout is not None
    return process


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
async def test_the_command_announces_itself_and_ends_with_the_truth(tmp_path, signal_number):
    ready = tmp_path / "ready"
    process = await _run("--port", "0", "--token", "mine", "--fault", "empty@files/index:9", "--ready-file", str(ready))
    shown = ""
    async with asyncio.timeout(20):
        while not shown.splitlines() or not shown.splitlines()[-1].startswith("ready "):
            line = await process.stdout.readline()
            assert line
            shown += line.decode()
    url = shown.splitlines()[-1].removeprefix("ready ")
    assert "THIS IS A SANDBOX" in shown
    assert f"export POSTHORN_SERWERSMS__BASE_URL={url}" in shown
    assert "export POSTHORN_SERWERSMS__TOKEN=mine" in shown
    assert all(f"  {label}  " in shown for label in ("DOC", "CLIENT", "INFER"))
    assert ready.read_text() == f"{url}\n"
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": "Bearer mine"}) as http:
        body = {"title": "T", "text": "x", "phone": ONE}
        assert (await http.post("/messages/send_mms", json=body)).json()["queued"] == 1
    process.send_signal(signal_number)
    out, err = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, err) == (0, b"")
    assert "stopped after 1 sends: accepted 1, numbers 1, twice 0" in out.decode()
    assert "empty@files/index struck 0 times" in out.decode()


async def test_a_quiet_command_prints_the_ready_line_first():
    process = await _run("--port", "0", "--quiet")
    assert (await asyncio.wait_for(process.stdout.readline(), 20)).startswith(b"ready http://127.0.0.1:")
    process.terminate()
    await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [(["--fault", "explode"], "explode"), (["--fault", "{"], "--fault"), (["--undelivered", "2"], "undelivered")],
    ids=["an unknown fault", "broken JSON", "a share above one"],
)
async def test_the_command_refuses(arguments, problem):
    process = await _run("--port", "0", *arguments)
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert problem in err.decode()


async def test_the_command_says_when_its_port_is_taken(caller):
    process = await _run("--port", str(caller.box.port))
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, b"cannot listen" in err) == (2, True)


async def test_faults_are_read_from_a_file(tmp_path):
    file = tmp_path / "faults.json"
    file.write_text('[{"fault": "status_before", "call": "files/index", "status": 503}]')
    process = await _run("--port", "0", "--quiet", "--faults-file", str(file))
    url = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().split()[1]
    async with httpx.AsyncClient() as http:
        assert (await http.post(f"{url}/files/index")).status_code == 503
    process.terminate()
    await asyncio.wait_for(process.communicate(), 10)


async def test_the_truth_tells_whoever_was_reached_twice(caller):
    """What all drills go by: the same number under the same title, in whatever request."""
    other = "+48500600701"
    await caller.send(ONE, other)
    await caller.send(other, title="Winter")
    assert caller.box.truth()["twice"] == 0, "another title"
    await caller.send(ONE)
    truth = caller.box.truth()
    assert (truth["accepted"], truth["numbers"], truth["twice"]) == (4, 2, 1)
    await caller.send(ONE, other)
    assert caller.box.truth()["twice"] == 2
    assert await caller.told("counts", title="Autumn") == {ONE: 3, other: 2}
    assert await caller.told("counts") == {ONE: 3, other: 3}
