"""The toy gateway as everybody else sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from posthorn.gateways.descriptor import Account, Descriptor, Push, Reader, Route, Unreadable
from posthorn.models import Bounds, Kind, MessageState, News
from posthorn.settings import Settings
from tests.gateways.toy.settings import ToySettings


def _account(_: Settings) -> Account:
    ours = ToySettings()
    return Account(
        base_url=ours.base_url,
        has_credentials=ours.token is not None,
        concurrency=ours.concurrency,
        account_concurrency=3,
        chunk_size=ours.chunk_size,
        settle_seconds=ours.settle_seconds,
    )


def _open(_: Settings) -> Any:
    from tests.gateways.toy.client import Toy  # noqa: PLC0415 - as every gateway, when it is first used

    return Toy(ToySettings())


def _pushed(push: Push) -> Sequence[News]:
    if "id" not in push.query:
        raise Unreadable("no id")
    return [News(push.query["id"], MessageState.DELIVERED)]


def _reader(_: Settings) -> Reader:
    return _pushed


TOY = Descriptor(
    name="toy",
    title="Toy",
    kind=Kind.CAMPAIGN,
    account=_account,
    open=_open,
    variables="TOY",
    credentials="TOY_TOKEN",
    bounds=Bounds(title_characters=12, numbers_per_request=20, ids_per_report=10, numbers_per_lookup=10),
    code_words=lambda code: "the toy is broken" if code == "t1" else "",
    routes=(Route(path="toy", methods=("GET",), max_bytes=1_024, open=_reader),),
    looks_up=True,
    holds=True,
    withdraws=True,
)
