"""Going on with a campaign: what was planned stays as it was planned, whatever is changed about the pace meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthorn.sandbox.server import Sandbox
from posthorn.settings import Settings
from tests.delivery.journey import counted, deliver, numbers, write_campaign


def sizes_of_requests(box: Sandbox) -> list[int]:
    """Of those that were taken."""
    return [len(one["body"]["phone"]) for one in box.traffic.log("messages/send_mms") if one["fault"] is None]


@pytest.mark.parametrize(("setting", "line"), [(7, ""), (1_000, ""), (50, "chunk_size = 7\n"), (7, "chunk_size = 400\n")])
async def test_a_chunk_size_that_is_changed_between_two_runs_changes_no_chunk(
    setting: int, line: str, box: Sandbox, settings: Settings, tmp_path: Path
) -> None:
    """Chunks are frozen when they are planned: a claim is for exactly the numbers that its request names."""
    box.faults.replace([{"call": "messages/send_mms", "at": [4], "fault": "error_code", "code": 1011}])
    settings.serwersms.concurrency = 1
    file = write_campaign(tmp_path, numbers(480))
    assert counted(await deliver(file, settings)) == {"accepted": 150, "pending": 330}
    settings.serwersms.chunk_size = setting
    file.write_text(file.read_text(encoding="utf-8") + line, encoding="utf-8")
    for _ in range(2):
        assert counted(await deliver(file, settings)) == {"accepted": 480}
    assert sizes_of_requests(box) == [50] * 9 + [30]
    assert (box.truth()["accepted"], box.truth()["twice"]) == (480, 0)
