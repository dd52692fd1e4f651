"""The files that an account holds at its provider, for an operator: list, add, view, delete."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from posthorn.content.media.files import check_media
from posthorn.content.plain import plain
from posthorn.delivery.preparing.upload import seen, store
from posthorn.delivery.running.place import AtProvider, able, at
from posthorn.errors import InputError
from posthorn.gateways.contract import FileStore
from posthorn.gateways.descriptor import Descriptor
from posthorn.ledger import media
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Media, StoredFile
from posthorn.settings import load_settings


def keeper(gateway: str | None, kind: str | None) -> tuple[Descriptor, str]:
    """The gateway that keeps files of that type, and the type; its first type if none is named.

    Raises:
        InputError: no such gateway, or it does not keep such files.
    """
    descriptor = able(gateway, lambda one: one.file_types, "keeps files")
    if kind is not None and kind not in descriptor.file_types:
        raise InputError("--type", f"expected one of {', '.join(descriptor.file_types)}")
    return descriptor, kind or descriptor.file_types[0]


async def listed(descriptor: Descriptor, kind: str) -> Sequence[StoredFile]:
    """Every file of that type."""
    async with at(descriptor) as place:
        files: FileStore = place.gateway
        return await files.list_files(type=kind)


async def viewed(descriptor: Descriptor, kind: str, file_id: str) -> StoredFile:
    """One file.

    Raises:
        InputError: there is none of that id.
    """
    async with at(descriptor) as place:
        files: FileStore = place.gateway
        found = await files.view_file(file_id, type=kind)
    if found is None:
        shown = plain(file_id, most=64)
        raise InputError("ID", f"{shown}: {descriptor.title} has no file of that id and type; see `posthorn files list`")
    return found


async def added(descriptor: Descriptor, kind: str, source: str, name: str | None) -> tuple[str, str]:
    """Store a file from disk or by its URL; returns its id, and how the provider shows it.

    Raises:
        InputError: it does not exist, no message may hold its type, or that kind of file cannot be stored this way.
        StopRun: the provider refuses it.
    """
    async with at(descriptor) as place:
        files: FileStore = place.gateway
        if kind != descriptor.file_types[0]:
            if "://" not in source:
                raise InputError("SOURCE", f"{kind} files are taken by URL only; host it on a web server and name its URL")
            return await files.add_file(type=kind, url=source, name=name), "stored"
        item = check_media(source, Path.cwd(), allow_loopback=place.account.is_local)
        if name is not None:
            item = Media(item.source, name, item.content_type, item.path, item.sha256, item.size)
        file_id = await store(place, item)
        return file_id, await _how(place, item, file_id)


async def _how(place: AtProvider, item: Media, file_id: str) -> str:
    files: FileStore = place.gateway
    listing = {one.id: one for one in await files.list_files(type=place.descriptor.file_types[0])}
    return (await seen(place.gateway, item, file_id, listing)).words


async def deleted(descriptor: Descriptor, kind: str, file_ids: Sequence[str]) -> list[str]:
    """Delete them; the ids of those that were not deleted."""
    async with at(descriptor) as place:
        return [file_id for file_id in file_ids if not await _is_deleted(place.gateway, kind, file_id)]


async def _is_deleted(files: FileStore, kind: str, file_id: str) -> bool:
    is_there = await files.view_file(file_id, type=kind) is not None
    return is_there and await files.delete_file(file_id, type=kind)


def used_by(descriptor: Descriptor, file_ids: Sequence[str]) -> list[str]:
    """Campaigns of the ledger that these files belong to and of which something may still be sent or dispatched."""
    ledger = Ledger(load_settings().database_url)
    try:
        return media.used_by(ledger, descriptor.name, file_ids)
    finally:
        ledger.close()
