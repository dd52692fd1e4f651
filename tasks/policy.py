"""What every task has in common: no caching, no stored results, and retries by error class."""

from __future__ import annotations

from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

RETRIES = 4
FIRST_DELAY_SECONDS = 1


async def error_allows_retry(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a task's error allows another try.

    It must be async and await the state: the sync form in Prefect's own example never sees the error of an async
    task, and would retry refused credentials.
    """
    error = await state.aresult(raise_on_failure=False)
    return bool(getattr(error, "retryable", False))


POLICY: dict[str, Any] = {
    "retries": RETRIES,
    "retry_delay_seconds": exponential_backoff(FIRST_DELAY_SECONDS),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": error_allows_retry,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
"""The policy of a task that may be run again at any time: the ledger knows what is left."""
