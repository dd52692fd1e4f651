"""Show deliveries in the Prefect UI: a card each, an overview, unknown and rejected messages. No phone numbers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.client.schemas.objects import ArtifactCollection
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from posthorn.delivery.running.run import AnyRun
from posthorn.views.cards import Card, card, card_and_overview, overview_now
from posthorn.views.details import rejects_page, unknown_page
from posthorn.views.overview import OVERVIEW
from posthorn.views.status import artifact_key
from tasks.news import tell, tell_ending
from tasks.policy import POLICY
from tasks.story import tell_standing

PROGRESS_EVERY_SECONDS = 5.0
_LINK = re.compile(r"/v2/artifacts/key/([\w.-]+)")


@task(name="publish", task_run_name="publish totals", **POLICY)
async def publish(name: str, *, test: bool = False) -> dict[str, Any]:
    """Show a delivery as the artifact ``campaign-<name>`` (``event-<name>``), update the overview, emit events.

    Returns the status.
    """
    shown, overview = await asyncio.to_thread(card_and_overview, name, test=test)
    last = await shown_last(shown.key)
    if not test:
        await _put_details(name, shown)
    await _put(shown.key, await linked(shown.page), shown.headline)
    tell_standing(shown.status, shown.headline, address(await show_overview(overview)))
    if _is_news(last, shown):
        tell_ending(shown.status)
    return shown.status


def _is_news(last: ArtifactCollection | None, shown: Card) -> bool:
    """Whether to emit an event, so that an automation does not send an e-mail after every lookup.

    A flow that sends always emits how it ended. A flow that only looks emits it if it differs from what was shown last.
    """
    is_sender = str(flow_run.flow_name).startswith("send-")
    return is_sender or last is None or last.description != shown.headline


async def _put_details(name: str, shown: Card) -> None:
    """The pages behind a card's counts, if there is, or was, anything to show."""
    counted = shown.status["totals"]
    unknown = artifact_key("unknown", name)
    if counted["unknown"] or await shown_last(unknown) is not None:
        page = await asyncio.to_thread(unknown_page, name)
        await _put_once(unknown, page, f"unknown: {counted['unknown']:,}")
    rejected = counted["invalid"] + counted["duplicate"]
    if rejected and shown.rejects_file:
        said = await asyncio.to_thread(rejects_page, name, Path(shown.rejects_file))
        if said is not None:
            await _put_once(artifact_key("rejects", name), said, f"rejected rows: {rejected:,}")


@asynccontextmanager
async def progress(run: AnyRun) -> AsyncIterator[None]:
    """Keep the card of a running delivery up to date inside the block."""
    shown = await _card(run)
    await _put(shown.key, await linked(shown.page), shown.headline)
    await show_overview(await asyncio.to_thread(overview_now))
    tell("started", shown.status)
    follower = asyncio.create_task(_follow(run, shown))
    try:
        yield
    finally:
        follower.cancel()
        await asyncio.wait([follower])
        await _tell_news(run)


async def _follow(run: AnyRun, shown: Card) -> None:
    while True:
        await asyncio.sleep(PROGRESS_EVERY_SECONDS)
        try:
            await _tell_news(run)
            now = await _card(run)
            if now.page != shown.page:
                await _put(now.key, await linked(now.page), now.headline)
                shown = now
        except Exception:  # noqa: BLE001 - what cannot be shown stops no send
            get_run_logger().warning("the progress could not be shown", exc_info=True)


async def _tell_news(run: AnyRun) -> None:
    """Emit the event that a cap is nearly used up."""
    for said in run.budget.take_news():
        tell("cost", {**(await _card(run)).status, "because": said})


async def _card(run: AnyRun) -> Card:
    """Run it in a separate thread: the ledger's thread has requests to record."""
    return await asyncio.to_thread(card, run.ledger, run.delivery.name, run.settings, test=run.delivery.test)


async def shown_last(key: str) -> ArtifactCollection | None:
    """The artifact that is shown under a key, if there is one."""
    return (await _latest([key])).get(key)


async def _latest(keys: Collection[str]) -> dict[str, ArtifactCollection]:
    wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=list(keys)))
    async with get_client() as client:
        return {one.key: one for one in await client.read_latest_artifacts(artifact_filter=wanted)}


async def linked(page: str) -> str:
    """The page with each link leading to the newest artifact of its key: Prefect's page of a key only lists versions."""
    latest = await _latest(set(_LINK.findall(page)))
    return _LINK.sub(lambda found: address(latest[found[1]].latest_id) if found[1] in latest else found[0], page)


def address(artifact: UUID) -> str:
    """Where the UI shows an artifact."""
    return f"/v2/artifacts/artifact/{artifact}"


async def show_overview(page: str) -> UUID:
    """Show the page of all deliveries; returns the artifact's id. All runs update the same one, so its address stays."""
    return await _put_once(OVERVIEW, await linked(page), "The newest campaigns and events; what needs a person comes first")


async def _put(key: str, page: str, headline: str) -> None:
    """Show a page. A run has one artifact for each key, and overwrites it only if something changed.

    A new version every few seconds would fill Prefect's database, and an old one would stay beside it.
    """
    last = await shown_last(key)
    if last is None or str(last.flow_run_id) != str(flow_run.id):
        await acreate_markdown_artifact(markdown=page, key=key, description=headline)
    else:
        await _renew(last, page, headline)


async def _put_once(key: str, page: str, headline: str) -> UUID:
    """``_put`` for an artifact that all runs share; returns its id."""
    last = await shown_last(key)
    if last is None:
        return await acreate_markdown_artifact(markdown=page, key=key, description=headline)
    await _renew(last, page, headline)
    return last.latest_id


async def _renew(last: ArtifactCollection, page: str, headline: str) -> None:
    if (last.data, last.description) != (page, headline):
        async with get_client() as client:
            await client.update_artifact(last.latest_id, ArtifactUpdate(data=page, description=headline))
