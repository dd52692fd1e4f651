"""Uploading: every media item gets an id at the provider; an old one if the provider still keeps the same content.

If a provider's pages leave open how a file is encoded, each of its encodings is tried until one is seen to be understood.
That one is remembered for the account. Storing a file twice does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from posthorn.delivery.running.place import AtCampaign, Place
from posthorn.delivery.running.run import CampaignRun
from posthorn.errors import FileRefused, GatewayError, PermissionMissing, RequestRefused, TryAgain
from posthorn.gateways.contract import CampaignGateway
from posthorn.gateways.storedfile import Condition, Look, look_at
from posthorn.ledger import accounts, media
from posthorn.ledger.media import MediaRecord
from posthorn.models import Known, Media, StoredFile


async def upload_media(run: CampaignRun) -> int:
    """Give each media item of the campaign a file id; returns how many had to be uploaded.

    May be run again: what is stored and still listed is not uploaded twice.

    Raises:
        TryAgain: the provider could not be reached or did not answer; a second copy of a file does no harm.
        StopRun: the provider refuses the file or the account.
    """
    _, uploaded = await upload_files(run, await run.do(media.of, run.delivery))
    return uploaded


async def upload_files(run: AtCampaign, items: Sequence[MediaRecord]) -> tuple[list[MediaRecord], int]:
    """``upload_media`` of these items: returns them with their ids, and how many had to be uploaded.

    Raises:
        TryAgain, StopRun: as ``upload_media``.
    """
    if not items:
        return [], 0
    stored = []
    listed = by_id(await run.gateway.list_files())
    uploaded = 0
    for item in items:
        known = item.file_id
        if known is None and item.media.sha256 is not None:  # what is behind a URL may have changed since
            known = await run.do(media.known_file_id, run.delivery.gateway, item.fingerprint)
        if known is None or not (await seen(run.gateway, item.media, known, listed)).will_do:
            try:
                known = await store(run, item.media)
            except GatewayError as error:  # the provider's answer does not say which file it was
                error.args = (f"{item.media.source}: {error}",)
                if isinstance(error, RequestRefused):
                    await run.do(media.keep_refused, run.delivery, item, str(error))
                raise
            uploaded += 1
        await run.do(media.keep_file_id, run.delivery, item, known)
        stored.append(replace(item, file_id=known))
    return stored, uploaded


def by_id(files: Sequence[StoredFile]) -> Mapping[str, StoredFile]:
    """The provider's files by their ids."""
    return {file.id: file for file in files}


async def seen(gateway: CampaignGateway, item: Media, file_id: str, listed: Mapping[str, StoredFile]) -> Look:
    """What the provider shows of the file: in its list, or if it is not there, when asked by its id."""
    file = listed.get(file_id)
    if file is None:
        with suppress(RequestRefused, PermissionMissing, TryAgain):  # no page documents it: the list is what counts
            file = await gateway.view_file(file_id)
    return await asyncio.to_thread(look_at, item, file)


async def store(place: Place, item: Media) -> str:
    """Upload one file in the first encoding that is understood; returns its id at the provider.

    Raises:
        RequestRefused: no encoding is understood.
        GatewayError: as any upload.
    """
    encodings = place.account.encodings if item.path is not None else ()
    if not encodings:
        return await place.gateway.upload(item)
    known = await place.do(accounts.findings, place.descriptor.name, place.account.key)
    remembered = known[Known.UPLOAD].value if Known.UPLOAD in known else None
    problems = []
    for encoding in sorted(encodings, key=lambda one: one != remembered):
        try:
            file_id = await place.gateway.upload(item, encoding=encoding)
        except FileRefused as error:
            problems.append(f"as {encoding}: {error}")
            continue
        found = await seen(place.gateway, item, file_id, by_id(await place.gateway.list_files()))
        if found.condition is not Condition.GARBLED:
            if found.will_do and encoding != remembered:
                await _remember(place, encoding, found)
            return file_id
        problems.append(f"as {encoding}: {found.words}")
        with suppress(GatewayError):  # it only lies about
            await place.gateway.delete_file(file_id)
    raise RequestRefused(_refused(place, problems))


async def _remember(place: Place, encoding: str, found: Look) -> None:
    await place.do(
        accounts.keep,
        place.descriptor.name,
        place.account.key,
        Known.UPLOAD,
        verdict="confirmed",
        value=encoding,
        seen=f"a file came as {encoding}; {found.words}",
    )


def _refused(place: Place, problems: Sequence[str]) -> str:
    said = f"{place.descriptor.title} does not understand the file ({'; '.join(problems)}). Nothing was sent"
    host = "host it on a web server and name its URL in media"
    if len(place.account.encodings) > 1:
        return f"{said}; {host}"
    return f"{said}; set {place.descriptor.variables}__UPLOAD=auto, or {host}"
