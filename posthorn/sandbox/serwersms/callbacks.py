"""Callbacks, made over real HTTP to the account's URL template: one GET per message and state. Off unless a template is set.

Source: the NAT page's example and the panel's manual (reference, section 6). That there are callbacks for MMS is inferred.
They may be duplicated, reordered, lost or forged. None is repeated: no page mentions a second try.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp
from yarl import URL

from posthorn.sandbox.serwersms.account import Account
from posthorn.sandbox.serwersms.messages import Batch, Ref

_AT_ONCE = 32
_CALLS_KEPT = 10_000
_LOOK_EVERY_SECONDS = 1.0
_TIMEOUT_SECONDS = 10.0
_FINAL = frozenset({"delivered", "undelivered", "unsent", "withdrawn"})
_UNTOLD = frozenset({"saved", "in_progress", "withdrawn"})


@dataclass(frozen=True, slots=True)
class Letter:
    """A call to make: the URL and the message that it is about."""

    url: str
    message_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was made ``at`` a wall time, and the HTTP status of the answer, None without one."""

    at: float
    message_id: str
    status: str
    answered: int | None


class Callbacks:
    """What was called back about each message so far, and what is still to come."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._options = account.options
        self._task: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget all callbacks."""
        self._told: dict[int, list[str]] = {}
        self._finished: set[int] = set()
        self.made: deque[Call] = deque(maxlen=_CALLS_KEPT)
        self._random = random.Random(self._options.seed)  # noqa: S311 - repeatable on purpose, protects nothing
        self._tally = {"called": 0, "acknowledged": 0, "lost": 0, "forged": 0}

    async def start(self) -> None:
        """Start calling back, if there is a template."""
        if self._options.callback_url is not None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop calling back."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def flush(self) -> Mapping[str, int]:
        """Make all callbacks that are due; returns what was called, acknowledged, lost and forged since the last flush.

        Raises:
            ValueError: there is no template.
        """
        if self._options.callback_url is None:
            raise ValueError("callbacks: no callback_url is set")
        await self._tell()
        tally = dict(self._tally)
        self._tally = dict.fromkeys(self._tally, 0)
        return tally

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            await self._tell()

    async def _tell(self) -> None:
        async with self._sending:
            letters = iter(self._letters())
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
            async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(self._call_all(session, letters))

    async def _call_all(self, session: aiohttp.ClientSession, letters: Iterator[Letter]) -> None:
        for letter in letters:
            self._tally["called"] += 1
            answered = None
            try:
                async with session.get(URL(letter.url, encoded=True), allow_redirects=False) as answer:
                    answered = answer.status
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                pass  # nobody there: noted in the log, and never tried again
            self._tally["acknowledged"] += answered == 200
            self.made.append(Call(self._account.clock.wall(), letter.message_id, letter.status, answered))

    async def tell_again(self, ref: Ref) -> None:
        """Call once more with the current state, whatever was called before.

        Raises:
            ValueError: there is no template.
        """
        if self._options.callback_url is None:
            raise ValueError("no callback URL is set; start the sandbox with --callback-url")
        batch, position = ref
        now = self._account.messages.standing(batch, position, self._account.clock.age())
        letter = self._letter(batch.id_of(position), now.status, now.reason)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)) as session:
            await self._call_all(session, iter([letter]))

    def forget(self, ref: Ref) -> None:
        """Call back again about a message whose outcome changed."""
        self._finished.discard(ref[0].number)
        if ref[0].number in self._told:
            self._told[ref[0].number][ref[1]] = "sent"

    def _letters(self) -> list[Letter]:
        """The URLs to call now, including duplicates, losses and forgeries."""
        options, letters = self._options, []
        for message_id, status, reason in self._news():
            if self._random.random() < options.callback_lost:
                self._tally["lost"] += 1
                continue
            letters += [self._letter(message_id, status, reason)] * (
                1 + (self._random.random() < options.callback_duplicates)
            )
            if self._random.random() < options.callback_forged:
                self._tally["forged"] += 1
                letters.append(self._letter(secrets.token_hex(5), status, reason))
        if options.callback_shuffle:
            self._random.shuffle(letters)
        return letters

    def _news(self) -> Iterator[tuple[str, str, str | None]]:
        """Every step of a message since its last callback: ``sent`` before its outcome."""
        age = self._account.clock.age()
        for batch in self._account.messages.batches:
            if batch.number not in self._finished and batch.due_at <= age:
                yield from self._news_of(batch, age)

    def _news_of(self, batch: Batch, age: float) -> Iterator[tuple[str, str, str | None]]:
        told = self._told.setdefault(batch.number, [""] * len(batch.phones))
        for position, last in enumerate(told):
            if last in _FINAL or position in batch.refused:
                continue
            now = self._account.messages.standing(batch, position, age)
            if now.status in (*_UNTOLD, last):
                continue
            if not last and now.sent is not None and now.status != "sent":
                yield batch.id_of(position), "sent", None
            told[position] = now.status
            yield batch.id_of(position), now.status, now.reason
        if all(last in _FINAL or position in batch.refused for position, last in enumerate(told)):
            self._finished.add(batch.number)

    def _letter(self, message_id: str, status: str, reason: str | None) -> Letter:
        url = str(self._options.callback_url)
        stamp = self._account.stamp(self._account.clock.wall()) or ""
        values = {"#SMSID#": message_id, "#STAN#": status, "#DATA#": stamp, "#PRZYCZYNA#": reason or ""}
        for word, value in values.items():
            url = url.replace(word, quote(value))
        return Letter(url, message_id, status)
