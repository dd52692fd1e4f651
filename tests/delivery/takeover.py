"""What the two sides of a takeover share: settings for one ledger, and the second process."""

from __future__ import annotations

from pathlib import Path

from posthorn.settings import SerwerSmsSettings, Settings


def settings_of(url: str, sandbox: str, folder: Path) -> Settings:
    """One request at a time, and the shortest time between two looks that is sensible."""
    gateway = SerwerSmsSettings(base_url=sandbox, token="sandbox-token", chunk_size=50, timeout_seconds=2, concurrency=1)
    gateway.settle_seconds = 0.3  # below the timeout, which settings refuse: nobody waits that long in a test
    return Settings(database_url=url, state_dir=folder, guard_dir=folder / "marks", serwersms=gateway)
