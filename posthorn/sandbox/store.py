"""What the sandbox took, kept in a file (``--store``): read at the start, written whenever it changed. JSON lines.

Faults, the log of requests and callbacks are not kept.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from posthorn.sandbox.serwersms.account import File, Incoming
from posthorn.sandbox.serwersms.messages import Batch, Standing
from posthorn.sandbox.skycore.tickets import Ticket

if TYPE_CHECKING:
    from posthorn.sandbox.server import Sandbox

_VERSION = 1


class StoreError(ValueError):
    """The file is not one that a sandbox wrote."""


class Store:
    """The file of one sandbox. It is written whole beside the old one and then moved; only its owner may read it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: list[bytes] = [b""]

    def load(self, box: Sandbox) -> None:
        """Load the file, if there is one.

        Raises:
            StoreError: it is not a sandbox's file.
        """
        if not self._path.exists():
            return
        if not self._path.is_file():  # a device may have no end
            raise StoreError(f"{self._path} is not a regular file; name a file of its own")
        try:
            lines = [orjson.loads(line) for line in self._path.read_bytes().splitlines()]
            if lines[0].get("posthorn_sandbox") != _VERSION:
                raise StoreError(f"{self._path}: expected the file of a sandbox, version {_VERSION}")
            for line in lines[1:]:
                for kind, values in line.items():
                    _TAKE[kind](box, values)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OSError) as error:
            raise error if isinstance(error, StoreError) else StoreError(f"{self._path}: cannot be read: {error}") from error

    def save(self, box: Sandbox) -> None:
        """Write everything, if something changed.

        Raises:
            OSError: it cannot be written.
        """
        lines = list(_lines(box))
        # A change of the clock alone does not count.
        if lines[2:] == self._written[2:] and lines[0] == self._written[0]:
            return
        draft = self._path.with_name(self._path.name + ".part")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(b"\n".join(lines) + b"\n")
        draft.replace(self._path)
        self._written = lines


def _lines(box: Sandbox) -> Iterator[bytes]:
    account, skycore = box.serwersms.account, box.skycore.account
    state = {"credit": account.credit, "blacklist": account.blacklist, "tickets_left": skycore.credit}
    yield orjson.dumps({"posthorn_sandbox": _VERSION})
    yield orjson.dumps({"age": box.clock.age()})
    yield orjson.dumps({"account": {**state, "opted_out": sorted(skycore.opted_out)}})
    for file in account.pictures.values():
        content = None if file.content is None else base64.b64encode(file.content).decode()
        yield orjson.dumps({"file": {**_plain(file), "content": content, "listed": file.id in account.files}})
    for batch in account.messages.batches:
        values = {**_plain(batch), "file_ids": list(batch.file_ids)}
        yield orjson.dumps({"send": values}, option=orjson.OPT_NON_STR_KEYS)
    for came in account.incoming:
        yield orjson.dumps({"answer": came})
    for ticket in skycore.tickets.all:
        mark = skycore.tickets.mark_of(ticket)
        yield orjson.dumps({"ticket": {**_plain(ticket), "mark": mark}})


def _plain(one: File | Batch | Ticket) -> dict[str, Any]:
    """The fields of a dataclass, unconverted."""
    return {field.name: getattr(one, field.name) for field in fields(one)}


def _take_age(box: Sandbox, age: float) -> None:
    box.clock.advance(age - box.clock.age())


def _take_account(box: Sandbox, values: Mapping[str, Any]) -> None:
    account, skycore = box.serwersms.account, box.skycore.account
    account.credit, skycore.credit = values["credit"], values["tickets_left"]
    account.blacklist = {phone: (entry[0], entry[1]) for phone, entry in values["blacklist"].items()}
    for number in values["opted_out"]:
        skycore.stop(number)


def _take_file(box: Sandbox, values: dict[str, Any]) -> None:
    listed, content = values.pop("listed"), values.pop("content")
    file = File(**values, content=None if content is None else base64.b64decode(content))
    box.serwersms.account.keep_file(file, listed=listed)


def _take_batch(box: Sandbox, values: dict[str, Any]) -> None:
    for name in ("refused", "blocked", "withdrawn"):
        values[name] = {int(position): value for position, value in values[name].items()}
    values["marked"] = {int(position): Standing(**value) for position, value in values["marked"].items()}
    box.serwersms.account.messages.store(Batch(**{**values, "request": 0}))


def _take_answer(box: Sandbox, values: dict[str, Any]) -> None:
    box.serwersms.account.incoming.append(Incoming(**values))


def _take_ticket(box: Sandbox, values: dict[str, Any]) -> None:
    mark = values.pop("mark")
    ticket = Ticket(**{**values, "request": 0})
    box.skycore.account.tickets.store(ticket)
    if mark is not None:
        box.skycore.account.tickets.mark(ticket, *mark)


_TAKE: dict[str, Callable[[Sandbox, Any], None]] = {
    "age": _take_age,
    "account": _take_account,
    "file": _take_file,
    "send": _take_batch,
    "answer": _take_answer,
    "ticket": _take_ticket,
}
