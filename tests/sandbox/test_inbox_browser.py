"""The inbox in real Chromium: a campaign and an event sent by the real flows are seen, searched, opened, answered.

POSTHORN_TEST_PICTURES names a folder to keep pictures of it in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from posthorn.cli.samples import write_campaign, write_event
from posthorn.cli.sandbox_process import SandboxProcess, sandbox_process
from posthorn.content.media.barcode import decode
from posthorn.process.prefect_server import starting_prefect_server
from tests.commands import Desk, told
from tests.system.browser import CHROMIUM, Page, chromium

HOSTILE = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"


@pytest.fixture(scope="module")
def box() -> Iterator[SandboxProcess]:
    if CHROMIUM is None:
        pytest.skip("NO CHROMIUM: nobody looked at the sandbox's inbox (apt-get install chromium)")
    with sandbox_process("--speed", "0", "--undelivered", "0", "--silent", "0") as box:
        yield box


@pytest.fixture(scope="module")
def sent(box: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A campaign and an event, sent by the real flows; the same desk can send more."""
    folder = tmp_path_factory.mktemp("desk")
    campaign, event = write_campaign(folder, 60), write_event(folder, 12)
    with starting_prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        server.await_health()
        desk = Desk(folder, {**box.variables, **server.api.variables()})
        for ended in (desk.run("campaign", "send", str(campaign)), desk.run("tickets", "send", str(event))):
            assert ended.code in (0, 3), ended.err
        yield desk


@pytest.fixture(scope="module")
def page(sent: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("browser") / "profile") as browser:
        page = browser.page()
        page.call("Runtime.enable")
        sized(page, 1440, 900)
        yield page


def sized(page: Page, width: int, height: int) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)


def shot(page: Page, name: str, folder: Path) -> Path:
    """A picture of the page, also kept where somebody wants to look at it."""
    path = Path(os.environ.get("POSTHORN_TEST_PICTURES", folder)) / f"inbox-{name}.png"
    page.picture(path)
    return path


def press(page: Page, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "")


def push(page: Page, label: str) -> None:
    """Push a button with the keyboard, once the page is whole."""
    button = f"[...document.querySelectorAll('button')].find((one) => one.innerText.trim() === {label!r})"
    page.wait(f"document.readyState === 'complete' && {button}")
    page.run(f"{button}.focus()")
    page.enter()


def search(page: Page, url: str, words: str) -> None:
    """Type words into the search with the keyboard alone, from anywhere on the list."""
    page.open(f"{url}/")
    press(page, "/")
    page.wait("document.activeElement.id === 'q'")
    page.paste(words)
    page.enter()
    page.wait(f"document.title.startsWith({words!r})")


def hostile_sent(box: SandboxProcess) -> None:
    """Two messages whose title and text are markup, one to a number that is markup as well."""
    message = {"title": HOSTILE[:40], "text": HOSTILE, "phone": ["+48500600799", HOSTILE]}
    token = {"Authorization": f"Bearer {box.variables['POSTHORN_SERWERSMS__TOKEN']}"}
    httpx.post(f"{box.url}/messages/send_mms", json=message, headers=token).raise_for_status()


def rows(page: Page) -> int:
    return int(page.run("document.querySelectorAll('.row').length"))


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_pictures_and_codes_are_seen_as_a_phone_shows_them(
    page: Page, box: SandboxProcess, tmp_path: Path, width: int, height: int
) -> None:
    sized(page, width, height)
    search(page, box.url, "title:autumn")
    assert rows(page) == 50
    shot(page, f"list-{width}", tmp_path)
    page.run("document.querySelector('.row').click()")
    page.wait("document.querySelector('.bubble img')?.complete")
    assert page.run("document.querySelector('.bubble img').naturalWidth") == 320
    assert "Everything -30% until Sunday" in page.text()
    shot(page, f"campaign-{width}", tmp_path)

    code = next(item["code"] for item in told(box.url, "api/messages", q="state:accepted")["items"] if item["code"])
    search(page, box.url, f"code:{code}")
    page.run("document.querySelector('.row').click()")
    page.wait("document.querySelector('.barcode')?.complete")
    assert decode(shot(page, f"ticket-{width}", tmp_path).read_bytes()) == [code], "a scanner reads it off the screen"
    for address in ("/", "/_sandbox/chaos", "/_sandbox/docs"):
        page.open(box.url + address)
        assert page.run("document.documentElement.scrollWidth") <= width, f"{address} does not fit"
    sized(page, 1440, 900)


def test_a_row_is_opened_and_a_number_answers_stop(page: Page, box: SandboxProcess) -> None:
    search(page, box.url, "title:autumn")
    press(page, "j")
    press(page, "j")
    number = page.run("document.activeElement.querySelector('.to').innerText")
    page.enter()
    page.wait("document.querySelector('.phone')")
    assert number in page.text()
    push(page, "Reply STOP")
    page.wait("document.querySelector('.said')")
    assert "blacklist" in page.text()
    assert "answered: STOP" in page.text()
    (answer,) = httpx.post(
        f"{box.url}/messages/recived.json",
        json={},
        headers={"Authorization": f"Bearer {box.variables['POSTHORN_SERWERSMS__TOKEN']}"},
    ).json()["items"]
    assert answer["phone"] == number
    push(page, "Mark delivered")
    page.wait("document.querySelector('.state')?.innerText === 'delivered'")


def test_a_fault_that_is_switched_on_is_seen_by_the_next_run(page: Page, box: SandboxProcess, sent: Desk) -> None:
    page.open(f"{box.url}/_sandbox/chaos")
    page.run(
        "(() => { document.querySelector('[name=call]').value = 'messages/send_mms';"
        " document.querySelector('[name=next]').checked = true;"
        " document.querySelector('[name=code]').value = '3005' })()"
    )
    push(page, "error_code")
    page.wait("document.querySelector('[value=error_code]')?.ariaChecked === 'true'")
    file = sent.folder / "second.toml"
    file.write_text(
        (sent.folder / "campaign.toml").read_text().replace("demo-autumn-sale", "second").replace("Autumn sale", "Second")
    )
    ended = sent.run("campaign", "send", str(file))
    assert ended.code == 4, ended.err
    assert "3005" in ended.out + ended.err
    page.open(f"{box.url}/_sandbox/chaos")
    assert page.run("document.querySelector('tbody .num:nth-of-type(5)').innerText") == "1", "it has struck once"
    push(page, "Switch everything off")
    page.wait("!document.querySelector('tbody')")


def test_what_is_new_is_told_and_shown_on_a_key(page: Page, box: SandboxProcess) -> None:
    page.open(f"{box.url}/")
    before = page.run("document.querySelector('.row').dataset.key")
    hostile_sent(box)
    page.wait("document.querySelector('#new:not([hidden])')?.innerText === '2 new'")
    assert page.run("document.querySelector('.row').dataset.key") == before, "rows stay where they are"
    press(page, "n")
    page.wait(f"document.querySelector('.row')?.dataset.key !== {before!r}")
    assert "+48500600799" in page.text()


def test_nothing_hostile_runs_and_nothing_breaks(page: Page, box: SandboxProcess) -> None:
    hostile_sent(box)
    keys = [item["key"] for item in told(box.url, "api/messages", q="onerror")["items"]]
    assert keys
    said = "/_sandbox/chaos?said=<script>document.title='pwned'</script>"
    for address in ("/?q=onerror", *(f"/_sandbox/messages/{key}" for key in keys), said):
        page.open(box.url + address)
        assert "pwned" not in page.run("document.title")
        assert page.run("document.querySelectorAll('main script, main img[src=x]').length") == 0
        assert HOSTILE in page.text() or "said" in address
    page.run(
        "(() => { const one = document.createElement('script'); one.textContent = \"document.title = 'pwned'\";"
        " document.body.append(one) })()"
    )
    assert "pwned" not in page.run("document.title"), "the policy lets no script run that is not the page's own"


def test_it_works_in_the_dark_with_every_control_named(page: Page, box: SandboxProcess, tmp_path: Path) -> None:
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    for address in ("/", "/_sandbox/chaos", "/_sandbox/docs"):
        page.open(box.url + address)
        shot(page, f"dark-{address.rpartition('/')[2] or 'list'}", tmp_path)
        unnamed = page.run(
            "[...document.querySelectorAll('input:not([type=hidden]), select, button, a')].filter("
            "(one) => !(one.labels?.length || one.ariaLabel || one.textContent.trim())).length"
        )
        assert unnamed == 0
        assert (
            page.run(
                "(() => { const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);"
                " return r + g + b })()"
            )
            < 150
        )
    page.call("Emulation.setEmulatedMedia", features=[])
