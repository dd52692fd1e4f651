"""The toy gateway: every call once, nothing retried; what an answer does not say for certain is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from posthorn.errors import OutcomeUnknown, PermissionMissing, TryAgain
from posthorn.gateways.contract import Before
from posthorn.gateways.http import HttpClients, Trace, refusal
from posthorn.models import Answer, Credit, Media, MessageState, MmsRequest, Phone, Receipt, Report, ReportPage, StoredFile
from posthorn.settings import SettingsError
from tests.gateways.toy.settings import ToySettings

WHO = "Toy"
STATES = {
    "kept": MessageState.SCHEDULED,
    "sent": MessageState.ACCEPTED,
    "delivered": MessageState.DELIVERED,
    "lost": MessageState.UNDELIVERED,
}


class Toy:
    """Keeps the contract of a campaign gateway that takes no files."""

    name = "toy"

    def __init__(self, settings: ToySettings) -> None:
        if settings.token is None:
            raise SettingsError(f"{WHO} needs TOY_TOKEN, which is not set")
        self._url = settings.base_url
        self._headers = {
            "Authorization": f"Bearer {settings.token.get_secret_value()}",
            "Content-Type": "application/json",
        }
        self._http = HttpClients(WHO, concurrency=settings.concurrency, timeout_seconds=5)

    async def upload(self, media: Media) -> str:
        raise PermissionMissing(f"{WHO} takes no files")

    async def list_files(self) -> Sequence[StoredFile]:
        return []

    async def send(self, request: MmsRequest, *, before: Before | None = None) -> Answer:
        asked = {
            "title": request.title,
            "text": request.text,
            "numbers": list(request.phones),
            "at": request.send_at and request.send_at.timestamp(),
        }
        body = await self._call("send", asked, repeatable=False, trace=Trace(before))
        ids = {item["number"]: item["id"] for item in body}
        state = MessageState.SCHEDULED if request.send_at else MessageState.ACCEPTED
        return Answer([Receipt(state, ids[one]) if one in ids else Receipt(MessageState.UNKNOWN) for one in request.phones])

    async def reports(
        self,
        *,
        ids: Sequence[str] = (),
        phones: Sequence[Phone] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        page: int = 1,
        limit: int | None = None,
        order: str = "asc",
    ) -> ReportPage:
        body = await self._call("list", {"ids": list(ids), "numbers": list(phones)}, repeatable=True)
        return ReportPage([_report(item) for item in body])

    async def view_message(self, message_id: str) -> Report | None:
        body = await self._call("list", {"ids": [message_id], "numbers": []}, repeatable=True)
        return _report(body[0]) if body else None

    async def withdraw(self, ids: Sequence[str]) -> tuple[int, int]:
        withdrawn: int = await self._call("withdraw", {"ids": list(ids)}, repeatable=True)
        return withdrawn, len(ids) - withdrawn

    async def credit(self) -> Credit:
        return Credit(await self._call("account", {}, repeatable=True))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _call(self, call: str, asked: dict[str, Any], *, repeatable: bool, trace: Trace | None = None) -> Any:
        content = orjson.dumps(asked)
        http = await self._http.exchange(
            "POST", f"{self._url}/{call}", repeatable=repeatable, trace=trace, headers=self._headers, content=content
        )
        if (refused := refusal(WHO, http, repeatable=repeatable)) is not None:
            raise refused
        try:
            return orjson.loads(http.body)
        except orjson.JSONDecodeError:
            kind = TryAgain if repeatable else OutcomeUnknown
            raise kind(f"{WHO} answered what is not a complete JSON", evidence=http.evidence()) from None


def _report(item: dict[str, Any]) -> Report:
    return Report(
        item["id"],
        STATES[item["state"]],
        item["state"],
        phone=Phone(item["number"]),
        title=item["title"],
        queued_at=datetime.fromtimestamp(item["queued"], UTC),
    )
