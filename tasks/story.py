"""What a run writes to its Logs tab: a few dozen lines, however large it is. No phone numbers."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL
from typing_extensions import override

from posthorn.delivery.running.run import AnyRun
from posthorn.errors import PosthornError
from posthorn.ledger import totals
from posthorn.models import taken_of
from posthorn.settings import SettingsError


class OneLine(logging.Filter):
    """Leaves out two things: tracebacks of errors that a person can fix (the message is enough), steps that ended well."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is kept."""
        if record.exc_info and isinstance(record.exc_info[1], (PosthornError, SettingsError)):
            record.exc_info = None
        return record.getMessage() != "Finished in state Completed()"


for _name in ("prefect.task_runs", "prefect.flow_runs"):
    logging.getLogger(_name).addFilter(OneLine())


def tell_plan(status: Mapping[str, Any]) -> None:
    """Log what is planned: rows, how many will be sent, how many were sent."""
    counted = status["totals"]
    rejected = counted["invalid"] + counted["duplicate"]
    line = "planned %s: %s rows, %s rejected, %s to send, %s sent so far"
    left = counted["pending"] + counted["sending"]
    said = [f"{count:,}" for count in (counted["input"], rejected, left, _sent(counted))]
    get_run_logger().info(line, status["name"], *said)


async def tell_batch(run: AnyRun, first: int, last: int, requests: int, began: float) -> None:
    """Log that a batch has ended: its requests, its pace, and the delivery's progress."""
    counted = await run.do(totals.totals, run.delivery)
    seconds = max(0.001, time.monotonic() - began)
    line = "chunks %d to %d: %s requests in %.1f s (%.1f a second); sent %s, left %s, unknown %s"
    left = counted["pending"] + counted["sending"]
    said = [f"{count:,}" for count in (_sent(counted), left, counted["unknown"])]
    get_run_logger().info(line, first, last, f"{requests:,}", seconds, requests / seconds, *said)


async def tell_failed(run: AnyRun, first: int, last: int, error: Exception) -> None:
    """Log that a batch has ended early: why, and how many messages are left."""
    counted = await run.do(totals.totals, run.delivery)
    line = "chunks %d to %d ended early: %s; %s messages are left to send, %s are unknown"
    left = counted["pending"] + counted["sending"]
    get_run_logger().warning(line, first, last, error, f"{left:,}", f"{counted['unknown']:,}")


def tell_standing(status: Mapping[str, Any], headline: str, overview: str) -> None:
    """Log the status, and where all deliveries are shown (a path in the UI)."""
    counted = status["totals"]
    to_send = counted["input"] - counted["invalid"] - counted["duplicate"]
    get_run_logger().info("%s %s: sent %s of %s", status["name"], headline, f"{_sent(counted):,}", f"{to_send:,}")
    if url := PREFECT_API_URL.value():
        get_run_logger().info("all deliveries: %s%s", url.removesuffix("/api"), overview)


def _sent(counted: Mapping[str, int]) -> int:
    return taken_of(counted)
