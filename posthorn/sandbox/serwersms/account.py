"""The sandbox's SerwerSMS account: its files, messages, limit and blacklist, as one thing to reset. Answers no calls."""

from __future__ import annotations

import re
import secrets
import unicodedata
from dataclasses import dataclass

from posthorn.sandbox.clock import SandboxClock
from posthorn.sandbox.serwersms.errors import ApiError
from posthorn.sandbox.serwersms.messages import Messages
from posthorn.sandbox.serwersms.options import CreditMode, SerwerSmsOptions

_INTERNATIONAL = re.compile(r"\+(?:48[1-9][0-9]{8}|(?!48)[1-9][0-9]{7,14})")
_POLISH = re.compile(r"[1-9][0-9]{8}")
_CUT_TITLE = 10


def normalised(phone: str) -> str | None:
    """A number as the provider echoes it, or None for one it calls incorrect.

    ``+`` and the full number, or nine Polish digits (introduction page: corrected where possible). ``48…``, ``0048…``,
    spaces and dashes are undocumented, so the harsher reading holds: incorrect.
    """
    if _INTERNATIONAL.fullmatch(phone):
        return phone
    return "+48" + phone if _POLISH.fullmatch(phone) else None


@dataclass(slots=True)
class File:
    """A stored file; ``date`` is a wall time."""

    id: str
    name: str
    size: int
    type: str
    date: float


class Account:
    """All state of the account. ``credit`` is None where there is no limit."""

    def __init__(self, options: SerwerSmsOptions, clock: SandboxClock) -> None:
        self.options = options
        self.clock = clock
        self.messages = Messages(options, clock)
        self.reset()

    def reset(self) -> None:
        """As at the start."""
        self.messages.clear()
        self.files: dict[str, File] = {}
        self.blacklist: dict[str, tuple[int, float]] = {}
        self.credit = self.options.credit
        self.credit_mode: CreditMode = self.options.credit_mode

    def stamp(self, wall: float | None) -> str | None:
        """A wall time as the provider writes it."""
        return None if wall is None else self.clock.stamp(wall)

    def title_shown(self, title: str) -> str:
        """A title as reports show it, which need not be as it was sent."""
        if self.options.titles == "cut":
            return title[:_CUT_TITLE]
        if self.options.titles == "rewritten":
            bare = unicodedata.normalize("NFKD", title).translate({0x141: "L", 0x142: "l"})
            return bare.encode("ascii", "ignore").decode().upper()
        return title

    def add_file(self, name: str, size: int, kind: str) -> File:
        """Store a file under a new id; the same file twice is two files."""
        file = File(secrets.token_hex(5), name, size, kind, self.clock.wall())
        self.files[file.id] = file
        return file

    def phone(self, text: str | None) -> str:
        """A number given as a parameter of its own.

        Raises:
            ApiError: 2000, there is none; 2001, it is incorrect.
        """
        if not text:
            raise ApiError(2000)
        phone = normalised(text)
        if phone is None:
            raise ApiError(2001)
        return phone
