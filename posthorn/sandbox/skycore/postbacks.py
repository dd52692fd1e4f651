"""Postbacks, POSTed over real HTTP to the account's URL: due times, retries, duplicates, reordering. It decides no outcome.

All times but the receiver's ten seconds are those of the sandbox's ageing clock. If that stands still, postbacks leave when
it is advanced.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp

from posthorn.sandbox.skycore import notices
from posthorn.sandbox.skycore.account import Account
from posthorn.sandbox.skycore.notices import Notice
from posthorn.sandbox.skycore.tickets import Ticket

_JITTER_SECONDS = 120.0
_BATCH = 500
_POSTS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Posted:
    """A postback that was sent ``at`` a wall time, and the HTTP status of the answer, None without one."""

    at: float
    tracking_id: str
    code: str
    answered: int | None


@dataclass(order=True, slots=True)
class _Letter:
    """Notices that leave in one POST once the clock's age is ``due``; ``order`` keeps those of the same age in order."""

    due: float
    order: int
    notices: tuple[Notice, ...] = field(compare=False)
    failures: int = field(default=0, compare=False)


class Postbacks:
    """The queue of the account's postbacks. Without a URL nothing is ever queued."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._options = account.options
        self._clock = account.clock
        self._changed = asyncio.Event()
        self._sending = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        account.clock.watchers.append(self._changed.set)
        self.reset()

    @property
    def _is_old(self) -> bool:
        return self._options.postback_shape == "old"

    def reset(self) -> None:
        """Forget what waits, and queue the notice about each template's encoding again."""
        self._queue: list[_Letter] = []
        self._ordered = 0
        self._random = random.Random(self._options.seed)  # noqa: S311 - repeatable on purpose, protects nothing
        self._tally = {"sent": 0, "acknowledged": 0, "dropped": 0}
        self.made: deque[Posted] = deque(maxlen=_POSTS_KEPT)
        for template in self._options.templates:
            if template.encoding_seconds:
                due = self._account.started_at + template.encoding_seconds
                self._add(due, notices.of_template(template.mms_id, self._clock.wall() + template.encoding_seconds))

    # Queueing.

    def tell(self, ticket: Ticket) -> None:
        """Queue all notices about a ticket."""
        if self._options.postback_url is None:
            return
        events = self._account.tickets.course(ticket)
        for after, notice in notices.of_ticket(ticket, events, is_old=self._is_old):
            self._add(ticket.taken_at + after, notice)

    def tell_anew(self, ticket: Ticket) -> None:
        """Forget what waits about a ticket, and queue its new course."""
        if self._options.postback_url is None:
            return
        self._queue = [letter for letter in self._queue if ticket not in [notice.ticket for notice in letter.notices]]
        heapq.heapify(self._queue)
        self._tell_last(ticket)

    def tell_again(self, ticket: Ticket) -> None:
        """Queue the last notice about a ticket once more.

        Raises:
            ValueError: there is no URL to send to, or nothing has happened to the ticket yet.
        """
        if self._options.postback_url is None:
            raise ValueError("no postback URL is set; start the sandbox with --postback-url")
        if not self._tell_last(ticket):
            raise ValueError("nothing has happened to this ticket yet; move the clock on")

    def _tell_last(self, ticket: Ticket) -> bool:
        age, events = self._clock.age(), self._account.tickets.course(ticket)
        told = list(notices.of_ticket(ticket, events, is_old=self._is_old))
        happened = [notice for after, notice in told if ticket.taken_at + after <= age]
        for notice in happened[-1:]:
            self._add(age, notice)
        return bool(happened)

    def tell_subscription(self, code: str, campaign: str, mobile: str) -> None:
        """Queue N301 or N302."""
        shortcode = min(self._options.shortcodes, default="")
        title = self._options.campaigns[campaign]
        notice = notices.of_subscription(code, campaign, title, mobile, shortcode, self._clock.wall())
        self._add(self._clock.age(), notice)

    def _add(self, due: float, notice: Notice) -> None:
        if self._options.postback_url is None:
            return
        copies = 2 if self._random.random() < self._options.postback_duplicates else 1
        for _ in range(copies):
            jitter = self._random.random() * _JITTER_SECONDS if self._options.postback_shuffle else 0.0
            self._push(_Letter(self._leaves(due + jitter), self._ordered, (notice,)))

    def _leaves(self, due: float) -> float:
        """When a due notice leaves: at once, or in the seed era with the next batch."""
        every = self._options.postback_batch_seconds
        return (due // every + 1) * every if self._is_old and every else due

    def _push(self, letter: _Letter) -> None:
        self._ordered += 1
        is_next = not self._queue or letter.due < self._queue[0].due
        heapq.heappush(self._queue, letter)
        if is_next:
            self._changed.set()

    # Sending.

    async def start(self) -> None:
        """Start sending what is due, if there is a URL to send to."""
        if self._options.postback_url is not None:
            timeout = aiohttp.ClientTimeout(total=self._options.postback_timeout_seconds)
            self._session = aiohttp.ClientSession(timeout=timeout)
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop sending; what waits stays queued."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def flush(self) -> Mapping[str, int]:
        """Send all that is due; returns what was sent, acknowledged and given up since the last flush, and how many wait.

        Raises:
            ValueError: there is no URL to send to.
        """
        if self._session is None:
            raise ValueError("postbacks: no postback_url is set")
        await self._send_due(self._session)
        tally = {**self._tally, "waiting": len(self._queue)}
        self._tally = dict.fromkeys(self._tally, 0)
        return tally

    async def _run(self) -> None:
        while self._session is not None:
            self._changed.clear()
            await self._send_due(self._session)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._seconds_to_next())

    def _seconds_to_next(self) -> float | None:
        """Real seconds until something is due; None if only a change can make it due."""
        if not self._queue or not self._clock.speed:
            return None
        return max(0.0, (self._queue[0].due - self._clock.age()) / self._clock.speed)

    async def _send_due(self, session: aiohttp.ClientSession) -> None:
        """Send them one after the other, as the pages say; each is counted when it is over."""
        async with self._sending:
            while letter := self._next():
                count = len(letter.notices)
                self._tally["sent"] += count
                if await self._post(session, letter):
                    self._tally["acknowledged"] += count
                elif letter.failures >= self._options.postback_retries:
                    self._tally["dropped"] += count
                else:
                    retry_at = self._clock.age() + self._options.postback_retry_seconds
                    self._push(_Letter(retry_at, self._ordered, letter.notices, letter.failures + 1))

    def _next(self) -> _Letter | None:
        """The next notice, if it is due; in the seed era with everything else of its batch."""
        if not self._queue or self._queue[0].due > self._clock.age():
            return None
        first = heapq.heappop(self._queue)
        gathered = list(first.notices)
        while self._is_old and not first.failures and self._joins(first, len(gathered)):
            gathered.extend(heapq.heappop(self._queue).notices)
        return _Letter(first.due, first.order, tuple(gathered), first.failures)

    def _joins(self, first: _Letter, count: int) -> bool:
        return bool(self._queue) and count < _BATCH and (self._queue[0].due, self._queue[0].failures) == (first.due, 0)

    async def _post(self, session: aiohttp.ClientSession, letter: _Letter) -> bool:
        """Whether the receiver accepted it: HTTP 200 in time."""
        answered = await self._posted(session, letter)
        for notice in letter.notices:
            if notice.ticket is not None:
                self.made.append(Posted(self._clock.wall(), notice.ticket.tracking_id, notice.code, answered))
        return answered == 200

    async def _posted(self, session: aiohttp.ClientSession, letter: _Letter) -> int | None:
        """The status of the answer; None without one."""
        text = notices.gathered(letter.notices) if self._is_old else notices.flat(letter.notices[0])
        is_field = self._options.postback_as == "xml"
        data: object = {"xml": text} if is_field else text.encode()
        headers = {} if is_field else {"Content-Type": "text/xml; charset=utf-8"}
        try:
            url = str(self._options.postback_url)
            async with session.post(url, data=data, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
