"""A process that sends an event's tickets, for the drill to kill: ``ticket_worker FILE DATABASE_URL SANDBOX_URL``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from posthorn.errors import AlreadyRunning
from tests.delivery.event_journey import send_event, ticket_settings


def main() -> None:
    file, url = Path(sys.argv[1]), sys.argv[2]
    print("started", flush=True)
    try:
        asyncio.run(send_event(file, ticket_settings(url, file.parent, concurrency=4)))
    except AlreadyRunning:
        sys.exit(75)


if __name__ == "__main__":
    main()
