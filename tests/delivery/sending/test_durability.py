"""What is known only here is made durable here: an answer that the ledger cannot take, and a lock before each claim."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from posthorn.delivery.deliver import Steps, deliver_campaign
from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.running.run import Run, open_run
from posthorn.delivery.sending.exchange import campaign_exchange
from posthorn.delivery.sending.permit import clock_seconds
from posthorn.delivery.sending.send import Exchange, _record, send_batch
from posthorn.errors import ClaimGone, GatewayError, GivenBack, LedgerError, TryAgain
from posthorn.ledger import deliveries
from posthorn.models import Answer, MessageState, Receipt
from posthorn.sandbox.server import Sandbox
from tests.delivery.journey import counted, deliver, numbers, status_of, write_campaign
from tests.delivery.sending.test_permit import end_sessions
from tests.delivery.takeover import settings_of
from tests.ledger.conftest import postgres_template, postgres_url
from tests.ledger.ledgers import LATEST, another, attempts, claim_one

__all__ = ["postgres_template", "postgres_url"]
_ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("how", ["slow", "failing"])
async def test_an_answer_that_the_ledger_does_not_take_is_durable_in_the_spool(
    how: str, box: Sandbox, tmp_path: Path
) -> None:
    settings = settings_of(f"sqlite:///{tmp_path / 'ledger.db'}", box.url, tmp_path)
    plan_file(write_campaign(tmp_path, numbers(50), media="[]"), settings)
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tests.delivery.sending.fsyncs", how, settings.database_url, box.url],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.stdout.splitlines()[0] == "synced"
    assert counted(await deliver(tmp_path / "sale.toml", settings)) == {"accepted": 50}
    assert (box.truth()["accepted"], box.truth()["twice"]) == (50, 0)


@pytest.mark.parametrize(
    ("proven_before", "says_goodbye"),
    [(math.inf, True), (0.0, True), (60.0, False)],
    ids=["never proven", "proven a moment ago", "proven long ago, on a link that is cut"],
)
async def test_nothing_is_claimed_any_more_once_the_lock_is_lost(
    proven_before: float,
    says_goodbye: bool,
    box: Sandbox,
    postgres_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_of(postgres_url, box.url, tmp_path)
    plan_file(write_campaign(tmp_path, numbers(300), media="[]"), settings)

    async def send_without_the_lock(run: Run[Any], exchange: Exchange, first: int, last: int) -> int:
        end_sessions(settings.database_url)
        with suppress(LedgerError):  # the first question finds the dead sessions; what is asked for below is the lock alone
            await run.do(deliveries.get, "sale")
        run.ahead.lock_proven_at = clock_seconds() - proven_before
        if not says_goodbye:
            monkeypatch.setattr(run.ledger.locks, "may_be_gone", lambda _key: False)
        return await send_batch(run, exchange, first, last)

    async with open_run("sale", settings=settings) as run:
        with pytest.raises(LedgerError, match="the lock of sale is lost"):
            await deliver_campaign(run, Steps(send=send_without_the_lock))
    with another(settings.database_url) as ledger:
        assert [attempts(ledger, chunk) for chunk in range(1, 7)] == [[]] * 6
    assert counted(status_of("sale", settings)) == {"pending": 300}
    assert box.truth()["send_requests"] == 0


@pytest.mark.parametrize(
    "outcome",
    [Answer([Receipt(MessageState.ACCEPTED, "id-1")]), ClaimGone("held back"), GivenBack("waited"), TryAgain("refused")],
    ids=["an answer", "held back", "given back", "not taken"],
)
async def test_the_spool_has_what_became_of_a_request_before_the_ledger_is_asked(
    outcome: Answer | GatewayError, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's thread may hang: what is known must outlive this process all the same."""
    settings = settings_of(f"sqlite:///{tmp_path / 'ledger.db'}", box.url, tmp_path)
    plan_file(write_campaign(tmp_path, numbers(1), media="[]", test="true"), settings)
    spooled: list[str] = []

    async def away(run: Run[Any, Any], *_: object) -> None:
        spooled.extend(line for file in run.spool.folder.glob("*.jsonl") for line in file.read_text().splitlines())
        raise LedgerError("the ledger is away")

    async with open_run("sale", test=True, settings=settings) as run:
        claim = await run.do(claim_one, run.delivery, run.owner, 1, LATEST)
        assert claim is not None
        with monkeypatch.context() as patched:
            patched.setattr(Run, "record", away)
            with pytest.raises(LedgerError, match="the ledger is away"):
                await _record(run, await campaign_exchange(run), claim, outcome)
        assert [json.loads(line)["chunk"] for line in spooled] == [claim.chunk_id]
