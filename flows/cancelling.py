"""Cancelling: a flow run that is told to stop finishes what is under way, records it, and ends as Cancelled.

It is told by SIGTERM (how Prefect cancels under a worker, and how a machine stops one), or by its own state in Prefect,
which it reads every two seconds: nothing else reaches a run that was started in a terminal. The same watcher shows there
what the run waits for. A server that does not answer stops nobody.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
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
from prefect.states import Cancelled, Running

from flows.ending import ALREADY_RUNNING
from posthorn.delivery.run import Run
from posthorn.delivery.waiting import Board, watched
from posthorn.errors import Stopped

_P = ParamSpec("_P")
_Flow: TypeAlias = Callable[_P, Coroutine[Any, Any, State[Any]]]

POLL_SECONDS = 2.0
_ANSWER_SECONDS = 10.0
_CANCELLED = "the run was cancelled"


class Word:
    """What this flow run was told from outside: nothing, or to stop, and why."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._run: Run[Any] | None = None
        self.has_ended = False
        self._task = asyncio.current_task()

    def stop(self, reason: str) -> None:
        """Stop kindly: a delivery ends what is under way; where nothing is sent, the flow is interrupted. Once is enough."""
        if self.reason is not None:
            return
        self.reason = reason
        get_run_logger().warning("%s: what is under way is finished, nothing more is begun", reason)
        if self._run is not None:
            self._run.stop(Stopped(reason))
        elif self._task is not None and not self.has_ended:
            self._task.cancel()

    @contextmanager
    def reaches(self, run: Run[Any]) -> Iterator[None]:
        """Have the word stop that run inside the block. After it the flow only shows how it ended: that is not cut short."""
        self._run = run
        try:
            yield
        finally:
            self._run, self.has_ended = None, True

    def interrupted(self) -> bool:
        """Whether a cancellation of the flow's task that is under way was this word's; it is over then."""
        mine = self.reason is not None and self._task is not None and self._task.cancelling() == 1
        if mine and self._task is not None:
            self._task.uncancel()
        return mine


_word: ContextVar[Word] = ContextVar("word")


def told_to_stop() -> bool:
    """Whether this flow run was told to stop: for a flow that goes from one campaign to the next."""
    return _word.get().reason is not None


def heeds_cancellation(flow: _Flow[_P]) -> _Flow[_P]:
    """Have a flow heed its own state in Prefect; told to stop, it ends as Cancelled whatever it came to."""

    @functools.wraps(flow)
    async def heeding(*args: _P.args, **kwargs: _P.kwargs) -> State[Any]:
        token = _word.set(word := Word())
        try:
            async with _watched(UUID(str(flow_run.id)), word):
                state = await flow(*args, **kwargs)
        except asyncio.CancelledError:
            if not word.interrupted():
                raise
            return Cancelled(message=word.reason)
        except Exception as error:
            if word.reason is None:
                raise
            return Cancelled(message=_because(word.reason, str(error)), data=error)
        finally:
            _word.reset(token)
        return state if word.reason is None else Cancelled(message=_because(word.reason, state.message or "nothing is lost"))

    # Prefect makes the form of a run from the signature, and would look its names up in this module.
    heeding.__signature__ = inspect.signature(flow, eval_str=True)  # type: ignore[attr-defined]
    return heeding


def _because(reason: str, message: str) -> str:
    """Why it was cancelled and how it ended; a run that was stopped by the word names it already."""
    return message if message.startswith(reason) else f"{reason}; {message}"


@contextmanager
def finish_when_cancelled(run: Run[Any]) -> Iterator[None]:
    """Have a word from outside stop the run kindly inside the block; SIGTERM does at its end what it would have done.

    Prefect's own handler raises in the middle of the event loop: every request under way would be dropped and left unknown.
    """
    with _word.get().reaches(run), _sigterm(run):
        yield


@contextmanager
def _sigterm(run: Run[Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # the CLI runs flows in a thread, and sees to signals itself
        return
    came = False

    def stop() -> None:
        nonlocal came
        came = True
        run.stop(Stopped(_CANCELLED))

    loop = asyncio.get_running_loop()
    former = signal.getsignal(signal.SIGTERM)
    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, former)
        if came:
            signal.raise_signal(signal.SIGTERM)


@asynccontextmanager
async def _watched(own: UUID, word: Word) -> AsyncIterator[None]:
    """Watch the run's own state while the block runs, and once more at its end: no other state would be accepted then."""
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
    """Read the run's state every two seconds, and show there what it waits for."""
    shown = last = None
    async with get_client() as client:
        while word.reason is None:
            await asyncio.sleep(POLL_SECONDS)
            state = await _look(client, own, word)
            now = None if board.now is None else str(board.now)
            if state is not None and state.is_running() and now == last != shown:  # what lasts for two looks
                await _show(client, own, state, now, word)
                shown = now
            last = now


async def _look(client: PrefectClient, own: UUID, word: Word) -> State[Any] | None:
    """The run's state, heeded. A server that is away, or does not know the run any more, stops nobody: None."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            state = (await client.read_flow_run(own)).state
    except Exception:  # noqa: BLE001 - whatever it is, it is no word of a person
        return None
    if (reason := _reason(state)) is not None:
        word.stop(reason)
    return state


def _reason(state: State[Any] | None) -> str | None:
    """Why a run in this state is to stop; None where it is not.

    Crashed is no such word: an automation says it of every run that was silent for a while, and the server's silence may be
    the cause. Nor is what another process of the same run answered because this one is at work.
    """
    if state is None or state.name == ALREADY_RUNNING:
        return None
    if state.type in (StateType.CANCELLING, StateType.CANCELLED):
        return _CANCELLED
    if state.type in (StateType.COMPLETED, StateType.FAILED):
        return f"a person set the run to {state.name} in Prefect"
    return None


async def _show(client: PrefectClient, own: UUID, seen: State[Any], waiting: str | None, word: Word) -> None:
    """Say in the run's state what it waits for.

    Prefect changes the message of a state with a new state only. One that a person set between our question and our answer
    is overwritten by it, so the history is read afterwards.
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
