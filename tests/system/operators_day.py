"""A day at the operators' desk, in real Chromium against `make serve`: every form is pressed, every page is read.

Afterwards no phone number and no secret stands in what Prefect keeps or shows. POSTHORN_TEST_PICTURES names a folder to keep
pictures of the pages in.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from posthorn.cli.samples import write_campaign
from posthorn.cli.sandbox_process import SandboxProcess, sandbox_process
from tests.commands import order, told
from tests.system.browser import CHROMIUM, Page, chromium, wait_for
from tests.system.serving import Served, serving, text

ROWS = 64
GUESTS = 4
PRESSES = 10
ANSWER_SECONDS = 20.0
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
LABELLED = (
    "document.getElementById([...document.querySelectorAll('label')]"
    ".find((one) => one.innerText.trim().replace(' (Optional)', '') === {label!r})?.htmlFor)"
)


@dataclass(frozen=True, slots=True)
class Day:
    """The served house, the operator's page, and the sandbox behind it."""

    served: Served
    page: Page
    box: SandboxProcess

    def run(self, name: str) -> dict[str, Any] | None:
        """The newest run of that name."""
        found = self.served.all("flow_runs", flow_runs={"name": {"any_": [name]}}, sort="START_TIME_DESC")
        return found[0] if found else None

    def until(self, name: str, *types: str) -> dict[str, Any]:
        """The run of that name, once its state is one of these types; that it ends otherwise is not waited out."""

        def reached() -> bool:
            run = self.run(name)
            return run is not None and run["state_type"] in (*types, *FINAL)

        wait_for(reached, lambda: f"{name}: {self.run(name)}\n{text(self.served.shown)}")
        run = self.run(name)
        assert run is not None
        assert run["state_type"] in types, (run["state_name"], run["state"]["message"], text(self.served.shown))
        return run

    def look(self, path: str, picture: str, *words: str) -> str:
        """Open a page and read it, once it has these words."""
        self.page.open(self.served.root + path)
        for one in words:
            self.page.wait(f"document.body.innerText.replaceAll('\\n', ' ').includes({one!r})")
        self.served.picture(self.page, picture)
        return self.page.text()

    def artifact(self, key: str) -> str:
        """The address of what is shown under a key."""
        (latest,) = self.served.all("artifacts/latest", artifacts={"key": {"any_": [key]}})
        return f"/v2/artifacts/artifact/{latest['latest_id']}"

    def fill(self, **fields: str) -> None:
        """Paste into fields; ``_choose``n from a list where the field is one."""
        for label, value in fields.items():
            control = LABELLED.format(label=label)
            self.page.wait(control)
            if self.page.run(f"{control}.tagName") == "BUTTON":
                self.page.run(f"{control}.dataset.wanted = ''")
                self.page.click("[data-wanted]", str(self.page.run(f"{control}.innerText.trim()")))
                self.page.click("[role=option]", value)
                self.page.run(f"delete {control}.dataset.wanted")
            else:
                self.page.run(f"{control}.focus()")
                self.page.paste(value)

    def press(self, selector: str, label: str, done: Callable[[], bool]) -> None:
        """Press a button; and again, as a person does, where nothing came of it: Prefect's SQLite takes one writer."""
        for _ in range(PRESSES):
            self.page.click(selector, label)
            deadline = time.monotonic() + ANSWER_SECONDS
            while time.monotonic() < deadline:
                if done():
                    return
                time.sleep(0.2)
        raise AssertionError(f"nothing came of {label}: {self.page.text()}")

    def submit(self, deployment: str, picture: str = "", **fields: str) -> None:
        """Start a run from its form."""
        self.page.open(
            f"{self.served.root}/v2/deployments/deployment/{self.served.deployment(deployment)}/run?parameters=%7B%7D"
        )
        self.fill(**fields)
        if picture:
            self.served.picture(self.page, picture)
        of_it = {"deployments": {"id": {"any_": [self.served.deployment(deployment)]}}}
        before = len(self.served.all("flow_runs", **of_it))
        self.press("button", "Submit", lambda: len(self.served.all("flow_runs", **of_it)) > before)

    def resume(self, run: dict[str, Any], picture: str, **fields: str) -> None:
        """Fill in the dialog of a run that is paused."""
        self.page.open(f"{self.served.root}/v2/runs/flow-run/{run['id']}")
        self.page.click("button[aria-haspopup=menu]", "Open menu")
        self.page.click("[role=menuitem]", "Resume")
        self.page.wait("document.querySelector('[role=dialog] label')")
        self.fill(**fields)
        self.served.picture(self.page, picture)
        self.press("[role=dialog] button", "Resume", lambda: (self.run(run["name"]) or {})["state_type"] != "PAUSED")


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    if CHROMIUM is None:
        pytest.skip("NO CHROMIUM: nobody pressed the operators' forms or read their pages (apt-get install chromium)")
    with sandbox_process("--speed", "0") as box:
        variables = {"POSTHORN_SERWERSMS__CHUNK_SIZE": "50", "POSTHORN_DATABASE_URL": f"sqlite:///{tmp_path / 'ledger.db'}"}
        with serving(tmp_path, {**variables, **box.variables}) as served, chromium(tmp_path / "profile") as browser:
            yield Day(served, served.log_in(browser), box)


@pytest.mark.timeout(600)
def test_a_day_at_the_desk(day: Day, tmp_path: Path) -> None:
    day.page.call("Emulation.setDeviceMetricsOverride", width=1400, height=1100, deviceScaleFactor=1, mobile=False)
    once = [{"call": "messages/send_mms", "at": [1], "fault": "item_error", "code": 3103}]
    order("PUT", day.box.url, "faults", [*once, {"call": "sendMMSBarcode", "at": [2], "fault": "reset_after"}])
    day.submit("campaign", "3-form", campaign_file=f"'{sale(tmp_path, 'autumn')}'")
    day.submit("campaign", campaign_file=str(sale(tmp_path, "winter")))
    day.submit("tickets", event_file=str(event(tmp_path)))

    the_picture_is_seen_and_approved(day)
    day.until("campaign winter.toml", "PAUSED")
    day.submit("cancel", "7-cancel", name="winter", sure="cancel it for good")
    assert day.until("tickets jazz.toml", "FAILED")["state_name"] == "NeedsAttention"
    unknown = day.look(
        day.artifact("unknown-jazz-night"), "8-unknown", "1 unknown", "posthorn tickets resolve jazz-night CODE"
    )
    line = re.search(r"^\s*(\d+)\s+\+1 \*\*\*", unknown, re.MULTILINE)
    assert line, unknown
    said = {"by": "Ada", "why": "the attendee showed it"}
    day.submit("settle", "9-settle", name="jazz-night", lines=line[1], outcome="it was sent", **said)
    asked_for_a_number(day)
    assert day.until("campaign autumn.toml", "FAILED")["state_name"] == "NeedsAttention"
    day.look(day.artifact("campaign-autumn"), "10-card", "needs attention", "invalid recipient number")
    day.submit("resend-failed", "11-resend", name="autumn", by="Ada", why="the number is right")

    assert day.until("settle jazz-night", "COMPLETED")["state"]["message"] == "1 settled as accepted, 0 still unknown"
    assert day.until("cancel winter", "CANCELLED")["state_name"] == "Withdrawn"
    assert day.until("campaign winter.toml", "CANCELLED")["state_name"] == "Withdrawn"
    number = (tmp_path / "autumn" / "recipients.csv").read_text().split("\n")[2]
    a_number_is_found_and_not_kept(day, number)
    day.until("resend failed of autumn", "COMPLETED")
    assert day.until("rest of autumn", "COMPLETED")["state"]["message"] == f"all {ROWS} rows accounted for"
    everything_is_on_the_overview(day)
    assert told(day.box.url, "truth")["serwersms"]["accepted"] == ROWS - 6  # five are no numbers, one stands twice
    nothing_secret_is_kept(day, number, tmp_path)


def the_picture_is_seen_and_approved(day: Day) -> None:
    run = day.until("campaign autumn.toml", "PAUSED")
    day.look(day.artifact("approval-autumn"), "4-approval", "autumn: send it?", "Everything -30% until Sunday")
    day.page.wait("document.querySelector('article img, main img, img[src^=data]')?.naturalWidth > 100")
    day.look(f"/v2/runs/flow-run/{run['id']}", "5-waits", "Paused", "waits for approval since")
    day.resume(run, "6-resume", Decision="send it", Name="Ada")


def asked_for_a_number(day: Day) -> None:
    """`find` has no field: it is started by Quick run."""
    day.page.open(f"{day.served.root}/v2/deployments/deployment/{day.served.deployment('find')}")
    day.page.click("button", "Run")
    day.page.click("[role=menuitem]", "Quick run")


def a_number_is_found_and_not_kept(day: Day, number: str) -> None:
    day.resume(day.until("find a number", "PAUSED"), "12-find", Number=number)
    ended = day.until("find a number", "COMPLETED")
    assert re.fullmatch(r"\+48 \*\*\* \*\*\* \d{3}: \d messages; .*", ended["state"]["message"]), ended["state"]["message"]
    assert ended["parameters"] == {}
    day.look(day.artifact("found"), "13-found", "2 messages of this ledger", "autumn")


def everything_is_on_the_overview(day: Day) -> None:
    """By the address that the terminal shows; each name leads to its card."""
    address = re.findall(r"all deliveries: (\S+)", text(day.served.shown))[0].removeprefix(day.served.root)
    shown = day.look(address, "14-overview", "Deliveries", "All")
    for words in (r"autumn\s+finished", r"winter\s+cancelled", r"jazz-night\s+finished"):
        assert re.search(words, shown), shown
    day.page.run("[...document.querySelectorAll('a')].find((one) => one.innerText === 'autumn').click()")
    day.page.wait(f"document.body.innerText.includes('finished · campaign · {ROWS - 6} of {ROWS - 6} sent')")
    day.served.picture(day.page, "15-card")


def nothing_secret_is_kept(day: Day, asked: str, folder: Path) -> None:
    """Neither in Prefect's database as it is read, nor in its bytes once it has stopped, nor in logs, nor in metrics."""
    metrics = scraped(day.served)
    numbers = {bare(line.split(",")[-1]) for line in (folder / "autumn" / "recipients.csv").read_text().split("\n")}
    numbers |= {bare(line.split(",")[0]) for line in (folder / "jazz" / "attendees.csv").read_text().split("\n")}
    numbers = {number for number in {*numbers, bare(asked)} if len(number) >= 9}
    assert len(numbers) == ROWS - 6 + GUESTS
    secrets = {day.box.variables[name] for name in ("POSTHORN_SERWERSMS__TOKEN", "POSTHORN_SKYCORE__API_KEY")}
    secrets.add(day.served.login.partition(":")[2])
    database = next(folder.rglob("prefect.db"))
    with sqlite3.connect(database, timeout=30) as connection:
        held = "\n".join(connection.iterdump())
    day.served.process.terminate()
    assert day.served.process.wait(150) == 0
    places = {"its dump": held, "metrics": metrics}
    for path in database.parent.rglob("*"):
        if path.is_file() and path.name != "served-at":  # the login itself, for its owner alone
            places[str(path)] = path.read_bytes().decode("latin-1")
    # What the terminal shows is the login, to whoever sits at it, and nothing else.
    places["the terminal"] = text(day.served.shown).replace(day.served.login, "")
    for place, content in places.items():
        run_together = re.sub(r"[ ()-]", "", content)
        assert [number for number in numbers if number in run_together] == [], place
        assert [secret for secret in secrets if secret in content] == [], place


def scraped(served: Served) -> str:
    """What Prometheus would read."""
    process = served.desk.start("metrics", "--port", "0")
    try:
        assert process.stderr is not None
        ready = re.search(r"http://\S+", process.stderr.readline())
        assert ready
        return httpx.get(ready[0]).raise_for_status().text
    finally:
        process.terminate()
        process.communicate(timeout=30)


def bare(number: str) -> str:
    """The nine or ten digits that every way of writing a number has."""
    return re.sub(r"\D", "", number)[-9:]


def sale(folder: Path, name: str) -> Path:
    """A campaign that asks first, with a picture of its own."""
    own = folder / name
    own.mkdir()
    file = own / f"{name}.toml"
    content = write_campaign(own, ROWS).read_text().replace("demo-autumn-sale", name).replace("Autumn sale", f"{name} sale")
    file.write_text(f'{content}approve = true\non_repeat = "send"\n')
    return file


def event(folder: Path) -> Path:
    own = folder / "jazz"
    own.mkdir()
    file = own / "jazz.toml"
    file.write_text('name = "jazz-night"\nmms_id = 35674\nfrom = 60856\nattendees = "attendees.csv"\n')
    rows = "".join(f"+1 650 253 {number:04},CODE-{number}\n" for number in range(GUESTS))
    (own / "attendees.csv").write_text(f"phone,barcode_id\n{rows}")
    return file
