"""The calls about the account itself: its limits, its blacklist, and what its error codes mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from posthorn.gateways.serwersms import answers, codes
from posthorn.gateways.serwersms.connection import LISTING_BYTES, Connection
from posthorn.models import AccountLimit, BlacklistPage, CodeWords, Credit, Phone


class AccountCalls(Connection):
    """The calls about the account. All may be repeated."""

    async def credit(self) -> Credit:
        """account/limits: how many MMS the account may still send. The provider does not want this every few seconds."""
        return next((limit.credit for limit in await self.limits() if limit.type == "mms"), Credit(left=0, available=False))

    async def limits(self) -> Sequence[AccountLimit]:
        """account/limits: every line. Sends ``show_type``, as the vendor's clients always do."""
        data = await self._call("account/limits", {"show_type": True})
        return [answers.account_limit(item) for item in answers.items(data)]

    async def blacklist(self, *, phone: Phone | None = None, page: int = 1, limit: int | None = None) -> BlacklistPage:
        """blacklist/index: one page of the numbers this account never sends to; ``phone`` looks for one."""
        wanted = {"phone": f"+{phone}" if phone else None, "limit": limit}
        given = {key: value for key, value in wanted.items() if value} | {"page": page}
        data = await self._call("blacklist/index", given, max_bytes=LISTING_BYTES)
        entries = [
            (answers.phone_of(item.get("phone")), answers.moment(item.get("added"), self._zone))
            for item in answers.items(data)
        ]
        return BlacklistPage(entries, *answers.pages_of(data, page))

    async def explain_error(self, code: int) -> CodeWords:
        """error/<code>: the provider's own words about a code (general-communications page)."""
        data, http = await self._exchange(f"error/{int(code)}", {}, repeatable=True)
        failed, answered = answers.error_code(data)
        if not failed or answered != str(int(code)):
            raise codes.call_error(answered, http.evidence())
        words: Mapping[str, Any] = data["error"]
        return CodeWords(answered, answers.text(words.get("type")) or "", answers.text(words.get("message")) or "")
