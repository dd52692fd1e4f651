"""The sandbox's SerwerSMS account: its files, messages, limit and blacklist, reset together. It answers no calls."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from posthorn.sandbox.clock import SandboxClock
from posthorn.sandbox.serwersms.errors import ApiError
from posthorn.sandbox.serwersms.messages import Messages
from posthorn.sandbox.serwersms.options import Character, CreditMode, Encoding, SerwerSmsOptions

_INTERNATIONAL = re.compile(r"\+(?:48[1-9][0-9]{8}|(?!48)[1-9][0-9]{7,14})")
_POLISH = re.compile(r"[1-9][0-9]{8}")
_CUT_TITLE = 10
_FIRST_ENTRY = 12_354
_MAX_BYTES_HELD = 256 * 2**20


def normalised(phone: str) -> str | None:
    """A number as the provider echoes it, or None if it calls it incorrect.

    ``+`` and the full number, or nine Polish digits (introduction page: corrected where possible). ``48…``, ``0048…``,
    spaces and dashes are undocumented, so the stricter reading applies: incorrect.
    """
    if _INTERNATIONAL.fullmatch(phone):
        return phone
    return "+48" + phone if _POLISH.fullmatch(phone) else None


@dataclass(slots=True)
class File:
    """A stored file; ``date`` is a wall time. ``content`` is None if it is not known, or forgotten."""

    id: str
    name: str
    size: int
    type: str
    date: float
    content: bytes | None = None


@dataclass(slots=True)
class Incoming:
    """An answer that came from a number; ``at`` is a wall time, ``message_id`` the id of the message that it answers."""

    id: int
    phone: str
    text: str
    at: float
    message_id: str
    blacklisted: bool
    is_read: bool = False


class Account:
    """All state of the account. ``credit`` is None if there is no limit."""

    def __init__(self, options: SerwerSmsOptions, clock: SandboxClock) -> None:
        self._first_options = options
        self.clock = clock
        self.messages = Messages(options, clock)
        self.reset()

    def reset(self) -> None:
        """Reset to the start."""
        self.options = self._first_options
        self.messages.clear()
        self.files: dict[str, File] = {}
        self.pictures: dict[str, File] = {}
        self._held_bytes = 0
        self.incoming: list[Incoming] = []
        self.blacklist: dict[str, tuple[int, float]] = {}
        self.credit = self.options.credit
        self.credit_mode: CreditMode = self.options.credit_mode

    def become(self, given: Mapping[str, Any]) -> None:
        """Change the account's behaviour from now on: ``account`` and ``upload`` of the options.

        Raises:
            ValueError: another option, or a value that the option cannot have.
        """
        for name, value in given.items():
            known: tuple[str, ...] = get_args(Character if name == "account" else Encoding)
            if name not in ("account", "upload") or value not in known:
                raise ValueError(f"{name}: {value}: expected account or upload, one of {', '.join(known)}")
        self.options = replace(self.options, **given)

    def stamp(self, wall: float | None) -> str | None:
        """A wall time as the provider writes it."""
        return None if wall is None else self.clock.stamp(wall)

    def title_shown(self, title: str) -> str:
        """A title as reports show it, which may differ from what was sent."""
        if self.options.titles == "cut":
            return title[:_CUT_TITLE]
        if self.options.titles == "rewritten":
            bare = unicodedata.normalize("NFKD", title).translate({0x141: "L", 0x142: "l"})
            return bare.encode("ascii", "ignore").decode().upper()
        return title

    def clear_messages(self) -> None:
        """Forget what was sent and answered; files, limits and the blacklist stay."""
        self.messages.clear()
        self.incoming.clear()

    def add_file(self, name: str, size: int, kind: str, content: bytes | None = None) -> File:
        """Store a file under a new id; the same file twice is two files."""
        return self.keep_file(File(secrets.token_hex(5), name, size, kind, self.clock.wall(), content))

    def keep_file(self, file: File, *, listed: bool = True) -> File:
        """Store a file. Messages show it even after it is deleted. Beyond a bound, the oldest contents are forgotten."""
        if listed:
            self.files[file.id] = file
        self.pictures[file.id] = file
        self._held_bytes += len(file.content or b"")
        for old in self.pictures.values():
            if self._held_bytes <= _MAX_BYTES_HELD:
                break
            self._held_bytes -= len(old.content or b"")
            old.content = None
        return file

    def block(self, phone: str) -> int:
        """Put a number on the blacklist, if it is not there; returns its entry."""
        return self.blacklist.setdefault(phone, (_FIRST_ENTRY + len(self.blacklist), self.clock.wall()))[0]

    def answer(self, phone: str, text: str, message_id: str) -> Incoming:
        """Let a number answer; STOP puts it on the blacklist."""
        stops = text.strip().upper() == "STOP"
        if stops:
            self.block(phone)
        came = Incoming(len(self.incoming) + 1, phone, text, self.clock.wall(), message_id, stops)
        self.incoming.append(came)
        return came

    def refund(self, messages: int) -> None:
        """Give back what withdrawn messages would have cost."""
        if self.credit is not None:
            self.credit += messages

    def phone(self, text: str | None) -> str:
        """A number given as a parameter of its own.

        Raises:
            ApiError: 2000, it is missing; 2001, it is incorrect.
        """
        if not text:
            raise ApiError(2000)
        phone = normalised(text)
        if phone is None:
            raise ApiError(2001)
        return phone
