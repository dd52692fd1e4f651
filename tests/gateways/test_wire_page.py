"""docs/wire.md shows every request of ours byte for byte: what it says is what is really sent, and no call is missing."""

from __future__ import annotations

import ast
import inspect
import re

from posthorn.gateways.serwersms import account, client, files, optouts
from posthorn.gateways.skycore import client as skycore_client
from tests.gateways.wire_page import PAGE, written


async def test_the_page_shows_what_is_sent() -> None:
    assert PAGE.read_text(encoding="utf-8") == await written(), "python -m tests.gateways.wire_page writes it anew"


def test_no_call_of_ours_is_missing_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    asked = set()
    for module in (account, client, files, optouts):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch("[a-z]+/[a-z_]+", node.value):
                asked.add(node.value)
    actions = set(re.findall(r'"((?:get|send)M[A-Za-z]+)"', inspect.getsource(skycore_client)))
    assert {"files/add", "messages/send_mms", "blacklist/index", "messages/recived"} <= asked
    assert {"sendMMSBarcode", "getMmsIds", "getMmsCampaigns"} <= actions
    assert [call for call in sorted(asked) if f"POST /{call}." not in page] == []
    assert [
        action
        for action in sorted(actions)
        if f"<ACTION>{action}</ACTION>" not in page.replace("%3C", "<").replace("%3E", ">").replace("%2F", "/")
    ] == []
