"""What an earlier campaign stored at the provider is used again only where it is surely the same content."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthorn.delivery.planning.plan import plan_file
from posthorn.delivery.preparing.upload import upload_media
from posthorn.delivery.running.run import open_run
from posthorn.settings import Settings
from tests.delivery.journey import numbers, write_campaign


@pytest.mark.parametrize(("source", "uploads"), [("poster.png", [1, 0, 0]), ("https://example.com/poster.png", [1, 0, 1])])
async def test_a_file_is_known_by_its_hash_and_a_url_by_nothing(
    source: str, uploads: list[int], settings: Settings, tmp_path: Path
) -> None:
    done = []
    for name in ("monday", "monday", "friday"):  # what stands behind a URL may have changed by Friday
        file = write_campaign(tmp_path, numbers(3), name=name, media=f'["{source}"]', title=f'"{name}"')
        async with open_run(plan_file(file, settings).name, settings=settings) as run:
            done.append(await upload_media(run))
    assert done == uploads
