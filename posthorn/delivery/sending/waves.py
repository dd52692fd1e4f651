"""Waves: a canary goes first, its reports are judged, and only then more may be claimed. Silence is not success.

Nothing waits here: a run that has to wait for reports ends, and goes on by its name. What failed is a person's to decide.
"""

from __future__ import annotations

import time
from contextlib import suppress

from posthorn.content.waves import Halt, Waves
from posthorn.delivery.deciding.approval import ask_about_halt
from posthorn.delivery.running.run import CampaignRun
from posthorn.delivery.settling.report import pull_reports
from posthorn.errors import Halted, TryAgain, Waits
from posthorn.ledger import deliveries, waves
from posthorn.ledger.waves import Outcomes
from posthorn.models import WaitsFor

PATIENCE = 3.0
"""For this many times its wait a wave may lack the reports to be judged; then a person is asked."""

MAX_ASKED = 10_000
"""A run asks for the reports of up to this many messages itself; those of larger waves come by the schedule."""

_LEAST_WAIT_SECONDS = 60.0


async def opened_next(run: CampaignRun) -> bool:
    """Open the next wave of a campaign if the last one went well; False if there is nothing more to send now.

    The run is stopped with why: until when it waits, or what went wrong, which is kept for a person to decide.
    """
    plan = Waves.of(run.delivery.options)
    if plan is None or run.delivery.test:
        return False
    if isinstance(run.stopped, Halted) and run.delivery.halted_because is None:
        await _halt(run, str(run.stopped))
    await run.refresh()
    wave = run.delivery.open_wave
    if run.is_stopped() or wave is None or wave >= await run.do(waves.last_wave, run.delivery):
        return False
    told = await _told_now(run, plan, wave)
    if told.pending:
        return False
    waited = run.clock() - (told.ended_at or 0.0)
    if went_wrong := judged(plan, told, waited):
        run.stop(Halted(went_wrong))
        await _halt(run, went_wrong)
        return False
    if waited < plan.wait_seconds or told.known < _enough(plan.halt, told):
        await _wait(run, _next_look(plan, told, run.clock()))
        return False
    await run.do(waves.open_next, run.delivery)
    await run.refresh()
    return not run.is_stopped()


async def _told_now(run: CampaignRun, plan: Waves, wave: int) -> Outcomes:
    """What became of a wave. If its wait is over, the provider is asked first."""
    told = await run.do(waves.outcomes, run.delivery, wave)
    is_over = run.clock() - (told.ended_at or 0.0) >= plan.wait_seconds
    if is_over and told.known < told.sent <= MAX_ASKED:
        with suppress(TryAgain):  # what is known already says something, too
            await pull_reports(run)
        told = await run.do(waves.outcomes, run.delivery, wave)
    return told


def judged(plan: Waves, told: Outcomes, waited_seconds: float) -> str | None:
    """What is wrong with a wave, for a person to decide; None if nothing is, or if it is too early to tell.

    The share of what is known counts, once enough is known. Too few reports after a long time are wrong as well.
    """
    if plan.halt.is_reached(told.bad, told.known):
        return f"{_told(told)}; halt_at is {plan.halt}"
    if waited_seconds >= PATIENCE * plan.wait_seconds and told.known < _enough(plan.halt, told):
        return f"too few reports to judge by after {waited_seconds / 60:,.0f} minutes: {_told(told)}"
    return None


def _enough(halt: Halt, told: Outcomes) -> int:
    """How many outcomes have to be known; a smaller wave is judged by all of its messages."""
    return min(halt.least, told.sent)


def _told(told: Outcomes) -> str:
    return (
        f"{told.bad:,} of {told.known:,} went wrong (rejected {told.rejected:,}, undelivered {told.undelivered:,},"
        f" unknown {told.unknown:,}; no report of {told.silent:,})"
    )


def _next_look(plan: Waves, told: Outcomes, now: float) -> float:
    """When to look again: once its wait is over, then a few times until patience ends."""
    over = (told.ended_at or now) + plan.wait_seconds
    return over if over > now else now + max(_LEAST_WAIT_SECONDS, plan.wait_seconds / 4)


async def _wait(run: CampaignRun, until: float) -> None:
    moment = time.strftime("%H:%M:%S", time.localtime(until))
    run.stop(
        Waits(f"waits for the reports of wave {run.delivery.open_wave} until {moment}", reason=WaitsFor.CANARY, until=until)
    )
    await run.do(deliveries.note_going_on, run.delivery, WaitsFor.CANARY, until)


async def _halt(run: CampaignRun, because: str) -> None:
    wave = run.delivery.open_wave
    which = "the canary" if run.delivery.is_canary else f"wave {wave}" if wave else "the run"
    await run.do(waves.halt, run.delivery, f"{which} was halted: {because}")
    await run.refresh()
    await ask_about_halt(run)
