"""``posthorn sandbox`` offers the Skycore account's behaviour as options and says where it comes from."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager

import httpx
import pytest
from defusedxml import ElementTree

COMMAND = (
    sys.executable, "-c",
    "import typer; from posthorn.cli.sandbox import sandbox; app = typer.Typer(); app.command()(sandbox); app()",
)  # fmt: skip


@asynccontextmanager
async def _command(*arguments):
    """The URL of a running command and what it printed before."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--port", "0", *arguments, stdout=asyncio.subprocess.PIPE, env={**os.environ, "NO_COLOR": "1"}
    )
    lines = [""]
    async with asyncio.timeout(30):
        while not lines[-1].startswith("ready "):
            lines.append((await process.stdout.readline()).decode())
            assert lines[-1]
    async with httpx.AsyncClient(base_url=lines[-1].split()[1]) as http:
        yield http, "".join(lines)
    process.terminate()
    await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0


async def test_it_prints_the_variables_and_where_each_behaviour_comes_from():
    async with _command("--api-key", "mine") as (http, shown):
        assert f"export POSTHORN_SKYCORE__BASE_URL={http.base_url}/API/wxml/1.3/index.php" in shown.replace("//API", "/API")
        assert "export POSTHORN_SKYCORE__API_KEY=mine" in shown
        assert all(f"  {label}  " in shown for label in ("DOC", "CLIENT", "INFER", "UNKNOWN"))


ACCOUNT = [
    *("--api-key", "mine", "--template", "1", "--template", "2", "--template-without-barcode", "3"),
    *("--shortcode", "41044", "--campaign", "77", "--enforce-campaign-check", "--opted-out", "16500000001"),
    *("--blacklist", "16500000002", "--ticket-credit", "1", "--tracking-ids", "base64"),
]


async def test_the_account_is_as_the_options_say(seed_params):
    asked = [
        ({"api_key": "sandbox-key"}, "E104"),
        ({"mmsid": "35674"}, "E241"),
        ({"mmsid": "3"}, "E633"),
        ({"sender": "60856"}, "E111"),
        ({"campaignref": "12333"}, "E714"),
        ({"to": "16500000001"}, "E715"),
        ({"to": "16500000002"}, "E114"),
        ({}, None),
        ({"mmsid": "2"}, "E713"),
    ]
    right = {"api_key": "mine", "mmsid": "1", "sender": "41044", "campaignref": "77"}
    async with _command("--quiet", *ACCOUNT) as (http, _):
        answers = [await http.get("/API/wxml/1.3/", params=seed_params(**{**right, **changes})) for changes, _ in asked]
        roots = [ElementTree.fromstring(answer.text) for answer in answers]
        assert [root.findtext("ERRORCODE") for root in roots] == [code for _, code in asked]
        assert roots[-2].findtext("TRACKINGID").startswith("TU1T")


SINGLE = {
    "--billing-problem": ["E713"],
    "--min-interval 60": [None, "E106"],
    "--quota 1": [None, "E120"],
    "--throughput 1": [None, "E113"],
    "--unsupported 1": ["E628"],
    "--encoding 1000000": ["E626"],
    "--fault error_code@sendMMSBarcode:1:code=E503": ["E503", None],
}


@pytest.mark.parametrize(("options", "codes"), SINGLE.items(), ids=SINGLE)
async def test_one_option_is_enough_for(seed_params, options, codes):
    async with _command("--quiet", *options.split()) as (http, _):
        answers = await asyncio.gather(*(http.get("/API/wxml/1.3/", params=seed_params()) for _ in codes))
        seen = [ElementTree.fromstring(answer.text).findtext("ERRORCODE") for answer in answers]
        assert sorted(seen, key=str) == sorted(codes, key=str)


POSTBACKS = {
    "": ({"N101", "N102"}, "POSTBACK"),
    "--late-barcode-failure 1": ({"E101"}, "POSTBACK"),
    "--link-sms 1": ({"N101", "N202"}, "POSTBACK"),
    "--undelivered 1 --postback-duplicates 1 --postback-shuffle": ({"N101", "E102"}, "POSTBACK"),
    "--postback-shape old --postback-as raw": ({"N101", "N102"}, "NOTIFICATION"),
}


@pytest.mark.parametrize(("options", "expected"), POSTBACKS.items(), ids=[name or "nothing more" for name in POSTBACKS])
async def test_postbacks_come_with_a_url_and(seed_params, receiver, options, expected):
    given = ["--postback-url", receiver.url, "--speed", "0", "--undelivered", "0", "--silent", "0", *options.split()]
    async with _command("--quiet", *given) as (http, _):
        await http.get("/API/wxml/1.3/", params=seed_params())
        await http.post("/_sandbox/clock", json={"advance_seconds": 400})
        told = (await http.post("/_sandbox/postbacks", json={"flush": True})).json()
        assert told["acknowledged"] == told["sent"] > 0
        codes = {one.text for root in receiver.news for one in root.iter("CODE")}
        assert codes == expected[0]
        assert any(one.tag == expected[1] for root in receiver.news for one in root.iter())
