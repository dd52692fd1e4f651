"""Cancelling: a flow run that is asked to stop finishes what is under way, records and shows it, and ends as Cancelled.

The request comes by SIGTERM (from Prefect's worker, or from a machine that shuts down), by Ctrl-C, or by the run's own state
in Prefect, which it reads every two seconds: nothing else reaches a run that was started in a terminal. The same watcher
shows there what the run waits for. A server that does not answer stops nobody. The end of a run shows the delivery's
status, even if an error ends it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeAlias
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Failed, Running

from flows.ending import ALREADY_RUNNING, WITHDRAWN, ending
from posthorn.delivery.running.run import INTERRUPTED, AnyRun
from posthorn.delivery.running.waiting import Board, watched
from posthorn.errors import PosthornError, Stopped
from posthorn.ledger.deliveries import Delivery
from posthorn.settings import SettingsError
from posthorn.views.status import BY_A_PERSON
from tasks.publish import publish

_P = ParamSpec("_P")
_Flow: TypeAlias = Callable[_P, Coroutine[Any, Any, State[Any]]]

POLL_SECONDS = 2.0
_ANSWER_SECONDS = 10.0
_SHOW_SECONDS = 20.0
_CANCELLED = "the run was cancelled"
_OF_A_WORKER = "PREFECT__FLOW_RUN_ID"
"""If this is set, the process has one flow run, and ends with it."""


class Word:
    """The request to stop that this flow run got from outside, if any, and its reason."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.delivery: Delivery | None = None
        self._run: AnyRun | None = None
        self.has_ended = False
        self._task = asyncio.current_task()

    def stop(self, reason: str) -> None:
        """Stop gently: a delivery finishes what is under way; a flow that sends nothing is interrupted. Only once."""
        if self.reason is not None:
            return
        self.reason = reason
        get_run_logger().warning("%s: what is under way is finished, nothing more is started", reason)
        if self._run is not None:
            self._run.stop(Stopped(reason))
        elif self._task is not None and not self.has_ended:
            self._task.cancel()

    @contextmanager
    def reaches(self, run: AnyRun) -> Iterator[None]:
        """Let the request stop that run inside the block. After it the flow only shows its ending, uninterrupted."""
        self._run, self.delivery = run, run.delivery
        try:
            yield
        finally:
            self._run, self.has_ended = None, True

    def takes_interruption(self) -> bool:
        """Whether the flow's task was interrupted once, by this request or by Ctrl-C, and that is handled. Twice is not."""
        if self._task is None or self._task.cancelling() != 1:
            return False
        self._task.uncancel()
        self.reason = self.reason or INTERRUPTED
        return True


_word: ContextVar[Word] = ContextVar("word")


def told_to_stop() -> bool:
    """Whether this flow run was asked to stop: for flows that go from one campaign to the next."""
    return _word.get().reason is not None


def cancellable(flow: _Flow[_P]) -> _Flow[_P]:
    """Make a flow respect its own state in Prefect, and SIGTERM. If it is asked to stop, it always ends as Cancelled."""

    @functools.wraps(flow)
    async def run(*args: _P.args, **kwargs: _P.kwargs) -> State[Any]:
        token = _word.set(word := Word())
        try:
            with _sigterm(word):
                async with _watched(UUID(str(flow_run.id)), word):
                    state = await flow(*args, **kwargs)
        except asyncio.CancelledError:
            if not word.takes_interruption():
                raise
            return _cancelled(word, await _shown(word))
        except Exception as error:
            await _shown(word)
            if word.reason is None and isinstance(error, (PosthornError, SettingsError)):
                return Failed(message=str(error), data=error)
            if word.reason is None:
                raise
            return _cancelled(word, str(error), data=error)
        finally:
            _word.reset(token)
        return state if word.reason is None or state.name == WITHDRAWN else _cancelled(word, state.message)

    # Prefect builds the form of a run from the signature, and would look up its names in this module.
    run.__signature__ = inspect.signature(flow, eval_str=True)  # type: ignore[attr-defined]
    return run


def _cancelled(word: Word, message: str | None, data: Exception | None = None) -> State[Any]:
    """Why it was cancelled, and how it ended. The message of a stopped run already names the reason."""
    reason, said = word.reason or _CANCELLED, message or "nothing was sent by this run"
    return Cancelled(message=said if said.startswith(BY_A_PERSON) else f"{reason}; {said}", data=data)


async def _shown(word: Word) -> str | None:
    """Show the status of an interrupted run's delivery; returns it in words. If that fails, the final state stays."""
    if word.delivery is None:
        return None
    try:
        async with asyncio.timeout(_SHOW_SECONDS):
            return ending(await publish(word.delivery.name, test=word.delivery.test)).message
    except Exception:  # noqa: BLE001 - the ledger has it, and the next flow that looks shows it
        get_run_logger().warning("the status of %s could not be shown", word.delivery.name, exc_info=True)
        return None


@contextmanager
def finish_when_cancelled(run: AnyRun) -> Iterator[None]:
    """Let a request from outside stop the run gently inside the block."""
    with _word.get().reaches(run):
        yield


@contextmanager
def _sigterm(word: Word) -> Iterator[None]:
    """Handle SIGTERM as a request to stop.

    Prefect's own handler raises in the middle of the event loop. Every request under way would be dropped and left unknown,
    and nothing would show the delivery's status.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # the CLI runs flows in a thread, and handles signals itself
        return
    loop = asyncio.get_running_loop()
    former = signal.getsignal(signal.SIGTERM)
    loop.add_signal_handler(signal.SIGTERM, word.stop, _CANCELLED)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        # Prefect sends SIGTERM after its cancellation; its own handler would interrupt the final report: Crashed.
        is_ending = word.reason is not None and _OF_A_WORKER in os.environ
        signal.signal(signal.SIGTERM, _nothing if is_ending else former)


def _nothing(_number: int, _frame: object) -> None:
    """Ignore the signal: the run is ending already."""


@asynccontextmanager
async def _watched(own: UUID, word: Word) -> AsyncIterator[None]:
    """Watch the run's own state while the block runs, and once more at its end, since then no other state is accepted."""
    with watched() as board:
        watcher = asyncio.create_task(_watch(own, word, board))
        try:
            yield
            word.has_ended = True
            if word.reason is None:
                async with get_client() as client:
                    await _look(client, own, word)
        finally:
            watcher.cancel()
            await asyncio.wait([watcher])


async def _watch(own: UUID, word: Word, board: Board) -> None:
    """Read the run's state every two seconds, and show there what the run waits for."""
    shown = last = None
    async with get_client() as client:
        while word.reason is None:
            await asyncio.sleep(POLL_SECONDS)
            state = await _look(client, own, word)
            now = None if board.now is None else str(board.now)
            if state is not None and state.is_running() and now == last != shown:  # only what lasts for two looks
                await _show(client, own, state, now, word)
                shown = now
            last = now


async def _look(client: PrefectClient, own: UUID, word: Word) -> State[Any] | None:
    """Read the run's state and respect it. None if the server does not answer or know the run: that stops nobody."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            state = (await client.read_flow_run(own)).state
    except Exception:  # noqa: BLE001 - whatever failed, no person asked to stop
        return None
    if (reason := _reason(state)) is not None:
        word.stop(reason)
    return state


def _reason(state: State[Any] | None) -> str | None:
    """Why a run in this state must stop; None if it need not.

    Crashed is not a reason: an automation sets it for every run without heartbeats for a while, and the server itself
    may be the cause. Neither is the answer of another process of the same run that found this one at work.
    """
    if state is None or state.name == ALREADY_RUNNING:
        return None
    if state.type in (StateType.CANCELLING, StateType.CANCELLED):
        return _CANCELLED
    if state.type in (StateType.COMPLETED, StateType.FAILED):
        return f"a person set the run to {state.name} in Prefect"
    return None


async def _show(client: PrefectClient, own: UUID, seen: State[Any], waiting: str | None, word: Word) -> None:
    """Show in the run's state what it waits for.

    Prefect changes a message only with a new state. That overwrites a state that a person set between our reading and our
    writing, so the history is read afterwards.
    """
    message = waiting or "goes on"
    get_run_logger().info(message)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await client.set_flow_run_state(own, Running(message=message))
            states = await client.read_flow_run_states(own)
    except Exception:  # noqa: BLE001 - what cannot be shown stops no send
        return
    for state in states:
        if state.timestamp > seen.timestamp and (reason := _reason(state)) is not None:
            word.stop(reason)
