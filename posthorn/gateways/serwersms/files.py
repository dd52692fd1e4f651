"""The calls files/add, files/index, files/view and files/delete: what the account holds for MMS, and for voice calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from posthorn.errors import FileRefused, GatewayError, InputError, RequestRefused
from posthorn.gateways.serwersms import answers, codes, requests
from posthorn.gateways.serwersms.bounds import FILE_TYPES
from posthorn.gateways.serwersms.connection import LISTING_BYTES, Connection
from posthorn.gateways.serwersms.encodings import ENCODINGS, body_of
from posthorn.models import Media, StoredFile

_ODD_BODY = frozenset({None, 200, 400, 415, 422})
"""HTTP statuses of a refusal without a code; None: the answer was read and named no id."""


class FileCalls(Connection):
    """The calls about files. All may be repeated: a second copy of a file costs nothing."""

    async def upload(self, media: Media, *, encoding: str | None = None) -> str:
        """Store one file for MMS, from disk or by its URL, and return its id.

        Raises:
            InputError: the file cannot be read.
            GatewayError: as ``add_file``.
        """
        if media.path is None:
            return await self.add_file(url=media.source, name=media.name)
        return await self.add_file(
            path=media.path, filename=media.name, content_type=media.content_type, encoding=encoding or ENCODINGS[0]
        )

    async def add_file(
        self,
        *,
        type: str = "mms",  # noqa: A002 - the provider's word
        url: str | None = None,
        path: str | Path | None = None,
        name: str | None = None,
        filename: str | None = None,
        content_type: str = "application/octet-stream",
        encoding: str = ENCODINGS[0],
    ) -> str:
        """files/add: store a file the provider fetches from ``url``, or one from disk (``path``; MMS only); returns its id.

        ``name`` is how it is shown in the account (seen in the vendor's tests, not documented).

        Raises:
            InputError: an unknown type or encoding, not exactly one of ``url`` and ``path``, or an unreadable file.
            TryAgain: no complete answer. The file may be there; storing it again costs nothing but a second copy.
            FileRefused: the bytes from disk were not understood (2000, 4001, 4002, no id, HTTP 400, 415, 422): another
                encoding may work.
            StopRun: refused (4000 too large, 4001 not found, 4002 invalid).
        """
        requests.one_of("type", type, FILE_TYPES)
        requests.one_of("encoding", encoding, ENCODINGS)
        if (url is None) == (path is None):
            raise InputError("media", "a file is given either by url or by path")
        named = {"name": name} if name else {}
        if path is None:
            return answers.stored_id(await self._call("files/add", {"type": type, "url": url, **named}))
        if type != "mms":
            raise InputError("type", "only files for MMS can be uploaded from disk; a voice file is given by url")
        shown = filename or Path(path).name
        body = body_of(encoding, shown, await requests.read_file(Path(path)), content_type)
        if encoding != "multipart":  # it has no other place for the name, and by its ending the provider knows the type
            named = {"name": name or shown}
        try:
            return answers.stored_id(await self._call("files/add", {"type": type, **named}, body=body))
        except GatewayError as error:
            if not _may_be_the_encoding(error):
                raise
            raise FileRefused(str(error), code=error.code, evidence=error.evidence) from None

    async def list_files(self, *, type: str = "mms") -> Sequence[StoredFile]:  # noqa: A002 - the provider's word
        """files/index: every file the account holds; there is no paging (sending-mms page)."""
        requests.one_of("type", type, FILE_TYPES)
        data = await self._call("files/index", {"type": type}, max_bytes=LISTING_BYTES)
        return [answers.stored_file(item) for item in answers.items(data)]

    async def view_file(self, file_id: str, *, type: str = "mms") -> StoredFile | None:  # noqa: A002 - the provider's word
        """files/view: one file's entry; None if the provider says that it has none with that id."""
        requests.one_of("type", type, FILE_TYPES)
        try:
            found = answers.stored_file(await self._call("files/view", {"id": file_id, "type": type}))
        except GatewayError as error:
            if error.code not in codes.NO_SUCH_FILE:
                raise
            return None
        return found if found.id else None

    async def delete_file(self, file_id: str, *, type: str = "mms") -> bool:  # noqa: A002 - the provider's word
        """files/delete: whether the file was deleted. It is not documented what happens to a scheduled MMS that uses it."""
        requests.one_of("type", type, FILE_TYPES)
        return answers.is_true((await self._call("files/delete", {"id": file_id, "type": type})).get("success"))


def _may_be_the_encoding(error: GatewayError) -> bool:
    """Whether a refusal of bytes from disk may be about their encoding: by its code, or without one by its HTTP status."""
    if error.code is not None:
        return error.code in codes.FILE_NOT_SEEN
    return isinstance(error, RequestRefused) and error.evidence.status in _ODD_BODY
