"""Who must not be messaged, as the provider knows it: the account's blacklist, and answers that are a stop word.

Sources: the pages on the blacklist and on incoming messages; ``page`` and ``limit`` are known from the vendor's clients
alone. ``read`` is never set: it would hide the answers from everybody else.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from posthorn.content.stopwords import StopWords
from posthorn.errors import RequestRefused
from posthorn.gateways.serwersms import answers, codes, requests
from posthorn.gateways.serwersms.connection import LISTING_BYTES, Connection
from posthorn.models import OptOut, Scope

_PAGE = 5_000
_MAX_PAGES = 10_000
_logger = logging.getLogger(__name__)


class OptOutCalls(Connection):
    """The calls that tell who must not be messaged. All may be repeated, and change nothing at the provider."""

    async def opt_outs(self, *, since: datetime | None, stop_words: StopWords) -> AsyncIterator[Sequence[OptOut]]:
        """Page after page: all of the blacklist, then every answer since that moment whose text is a stop word.

        Raises:
            TryAgain, StopRun: as any call; what was given before is good.
        """
        async for items in self._listed("blacklist/index", {}):
            yield [one for item in items if (one := self._blacklisted(item)) is not None]
        window = {} if since is None else {"date_from": requests.wall_clock("since", since, self._zone, outward=-1)}
        async for items in self._listed("messages/recived", window):
            stops = [item for item in items if stop_words.are(_said(item))]
            yield [one for item in stops if (one := self._answered(item)) is not None]

    def _blacklisted(self, item: answers.Plain) -> OptOut | None:
        """A blacklist says what holds now, not what was said once: its entry counts as of now."""
        phone = answers.phone_of(item.get("phone"))
        if phone is None:
            _logger.warning("an entry of the blacklist holds no number that can be read; it is passed over")
            return None
        return OptOut(phone, Scope.ALL, "blacklist", gateway=codes.GATEWAY)

    def _answered(self, item: answers.Plain) -> OptOut | None:
        phone = answers.phone_of(item.get("phone"))
        if phone is None:
            _logger.warning("an answer with a stop word holds no number that can be read: look for it in the panel")
            return None
        came_at = answers.moment(item.get("recived") or item.get("received"), self._zone, fold=1)
        return OptOut(phone, Scope.MARKETING, "reply", (_said(item) or "").strip(), came_at, codes.GATEWAY)

    async def _listed(self, action: str, asked: dict[str, Any]) -> AsyncIterator[list[answers.Plain]]:
        """The items of every page, for as long as a page brings new ones.

        A server that takes no page number is asked without one: then its one answer is all there is.
        """
        seen: set[tuple[str, ...]] = set()
        for page in range(1, _MAX_PAGES + 1):
            try:
                data = await self._page(action, {**asked, "page": page, "limit": _PAGE})
            except RequestRefused as refused:
                if refused.code is None or page > 1:
                    raise
                yield answers.items(await self._page(action, asked))
                return
            items = answers.items(data)
            new = {_key(item) for item in items} - seen
            if not new:
                return
            yield items
            seen |= new
            if isinstance(data.get("paging"), dict) and page >= answers.pages_of(data, page)[1]:
                return

    async def _page(self, action: str, asked: dict[str, Any]) -> answers.Plain:
        data, http = await self._exchange(action, asked, repeatable=True, max_bytes=LISTING_BYTES)
        failed, code = answers.error_code(data)
        if failed and code != codes.NO_MESSAGES:
            raise codes.call_error(code, http.evidence())
        return data


def _said(item: answers.Plain) -> str | None:
    """What an answer says; for an MMS without text, its title."""
    return answers.text(item.get("text")) or answers.text(item.get("title"))


def _key(item: answers.Plain) -> tuple[str, ...]:
    return tuple(str(item.get(name))[:64] for name in ("id", "phone", "recived", "added"))
