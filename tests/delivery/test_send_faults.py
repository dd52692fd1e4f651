"""Every way a send can go wrong, one at a time: nobody twice by the sandbox's own truth, everybody in one state."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.conftest import sandbox_settings
from tests.delivery.journey import counted, deliver, numbers, write_campaign

SEND = "messages/send_mms"
EVERYONE = {"accepted": 500}
ONE_CHUNK_UNKNOWN = {"accepted": 450, "unknown": 50}

# fault of the third request, what the ledger says after the run, how many the sandbox took, the state
ONE_FAULT = {
    "reset before": ({"fault": "reset_before"}, ONE_CHUNK_UNKNOWN, 450, "needs_attention"),
    "reset after": ({"fault": "reset_after"}, ONE_CHUNK_UNKNOWN, 500, "needs_attention"),
    "close before": ({"fault": "close_before"}, ONE_CHUNK_UNKNOWN, 450, "needs_attention"),
    "close after": ({"fault": "close_after"}, ONE_CHUNK_UNKNOWN, 500, "needs_attention"),
    "hang before": ({"fault": "hang_before"}, ONE_CHUNK_UNKNOWN, 450, "needs_attention"),
    "hang after": ({"fault": "hang_after"}, ONE_CHUNK_UNKNOWN, 500, "needs_attention"),
    **{
        f"{status} {when}": ({"fault": f"status_{when}", "status": status}, ONE_CHUNK_UNKNOWN, taken, "needs_attention")
        for status in (500, 502, 503, 504)
        for when, taken in (("before", 450), ("after", 500))
    },
    "truncated": ({"fault": "truncated"}, ONE_CHUNK_UNKNOWN, 500, "needs_attention"),
    "truncated chunked": ({"fault": "truncated_chunked"}, ONE_CHUNK_UNKNOWN, 500, "needs_attention"),
    "truncated without a length": ({"fault": "truncated_no_length"}, ONE_CHUNK_UNKNOWN, 500, "needs_attention"),
    "dripped": ({"fault": "drip", "seconds": 0.5}, ONE_CHUNK_UNKNOWN, 500, "needs_attention"),
    "empty": ({"fault": "empty"}, ONE_CHUNK_UNKNOWN, 500, "needs_attention"),
    "null": ({"fault": "null"}, ONE_CHUNK_UNKNOWN, 500, "needs_attention"),
    "HTML": ({"fault": "html"}, ONE_CHUNK_UNKNOWN, 500, "needs_attention"),
    "bad gzip": ({"fault": "bad_gzip"}, ONE_CHUNK_UNKNOWN, 500, "needs_attention"),
    "redirect": ({"fault": "redirect", "location": "/messages/send_mms.json"}, ONE_CHUNK_UNKNOWN, 450, "needs_attention"),
    "missing items": ({"fault": "missing_items", "items": 7}, {"accepted": 493, "unknown": 7}, 500, "needs_attention"),
    "item twice": ({"fault": "duplicate_item"}, EVERYONE, 500, "finished"),
    "foreign item": ({"fault": "foreign_item"}, EVERYONE, 500, "finished"),
    "items as an object": ({"fault": "items_dict"}, None, 500, None),
    "no items": ({"fault": "no_items"}, EVERYONE, 500, "finished"),
    "numbers without a prefix": ({"fault": "bare_phones"}, EVERYONE, 500, "finished"),
    "1010 before": ({"fault": "error_code", "code": 1010}, ONE_CHUNK_UNKNOWN, 450, "needs_attention"),
    "1010 after": ({"fault": "error_code_after", "code": 1010}, ONE_CHUNK_UNKNOWN, 500, "needs_attention"),
    "a part, then 500": ({"fault": "prefix_then_status", "items": 20}, ONE_CHUNK_UNKNOWN, 470, "needs_attention"),
}


@pytest.mark.parametrize("case", ONE_FAULT)
async def test_one_fault_leaves_everybody_in_one_state_and_nobody_twice(case: str, box: Sandbox, tmp_path: Path) -> None:
    rule, expected, taken, state = ONE_FAULT[case]
    box.faults.replace([{"call": SEND, "at": [3], **rule}])
    settings = sandbox_settings(box.url, tmp_path, concurrency=2)
    status = await deliver(write_campaign(tmp_path, numbers(500)), settings)
    truth = box.truth()
    assert sum(truth["faults"].values()) == 1
    assert (truth["accepted"], truth["twice"]) == (taken, 0)
    assert status["balanced"]
    if expected is not None:
        assert counted(status) == expected
        assert status["state"] == state
    again = await deliver(tmp_path / "sale.toml", settings)
    assert box.truth()["send_requests"] == truth["send_requests"], "a second run sends nothing that may have been sent"
    assert again["totals"] == status["totals"]
