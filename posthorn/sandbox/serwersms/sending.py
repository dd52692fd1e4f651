"""The call messages/send_mms: what it refuses, takes and answers. It never recognises a repeated request.

Source: the sending-mms-messages page; the order of the checks and the codes of most refusals are inferred.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import orjson

from posthorn.sandbox.faults import FaultRule
from posthorn.sandbox.serwersms import files
from posthorn.sandbox.serwersms.account import Account, normalised
from posthorn.sandbox.serwersms.answers import Document
from posthorn.sandbox.serwersms.errors import ApiError
from posthorn.sandbox.serwersms.messages import Batch, refused_numbers
from posthorn.sandbox.serwersms.params import Params

_FILES_PER_MESSAGE = 10
_ALL_PLAIN = re.compile(r"(?:\+48[1-9][0-9]{8},)+")


class CutShort(Exception):
    """Part of the request was taken, then something broke: the answer is an HTTP status without a document."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(slots=True)
class Numbers:
    """A request's numbers as echoed, with the errors of some of them, by position."""

    phones: list[str]
    refused: dict[int, int] = field(default_factory=dict)
    blocked: dict[int, str] = field(default_factory=dict)


async def send_mms(account: Account, params: Params, rule: FaultRule | None, *, as_json: bool) -> Document:
    """messages/send_mms. ``as_json`` allows ``items`` to be JSON already, if no rule changes them.

    Raises:
        ApiError: the whole request is refused; 3004 in the mode ``midway`` although its first part was taken.
        CutShort: a fault broke it off.
    """
    file_ids, send_at = _checked(account, params)
    asked = params.many("phone")
    if not asked:
        raise ApiError(3104)
    if len(asked) > account.options.request_limit:
        raise ApiError(3110)
    if rule is not None and rule.fault == "prefix_then_status":
        asked = asked[: rule.items]
    is_test = (params.flag("test") and not account.options.ignores_test) or (rule is not None and rule.fault == "lie_queued")
    numbers = _numbers(account, asked)
    _strike(numbers, rule)
    ran_out = not is_test and _ration(account, numbers, rule)
    batch = _batch(account, numbers, params, file_ids, send_at)
    if not is_test:
        account.messages.store(batch)
        if account.credit is not None:
            account.credit -= batch.accepted
    if rule is not None and rule.fault == "prefix_then_status":
        raise CutShort(rule.status)
    if ran_out:
        raise ApiError(3004)
    return _document(account, batch, details=params.flag("details"), as_json=as_json and rule is None)


def _checked(account: Account, params: Params) -> tuple[Sequence[str], float | None]:
    """The files and the time of dispatch, once everything but the numbers is checked."""
    title, file_ids = params.text("title"), params.many("file_id")
    inline = params.files("file")
    if title is None or not (file_ids or inline or params.text("text")):
        raise ApiError(2000)
    if len(title) > account.options.title_limit:
        raise ApiError(3102)
    if len(file_ids) + len(inline) > _FILES_PER_MESSAGE or any(
        account.files.get(file_id) is None or account.files[file_id].type != "mms" for file_id in file_ids
    ):
        raise ApiError(3109)
    send_at = _send_at(account, params.text("date"))
    return [*file_ids, *(files.attached(account, given).id for given in inline)], send_at


def _send_at(account: Account, date: str | None) -> float | None:
    if date is None:
        return None
    try:
        send_at = account.clock.read(date)
    except ValueError as error:
        raise ApiError(3108) from error
    if send_at < account.clock.wall():
        raise ApiError(3108)
    return send_at


def _numbers(account: Account, asked: list[str]) -> Numbers:
    if account.options.duplicates == "once":
        asked = list(dict.fromkeys(normalised(phone) or phone for phone in asked))
    # All are checked together: chunks of plain Polish numbers only are the rule.
    numbers = Numbers(asked) if _ALL_PLAIN.fullmatch(",".join(asked) + ",") else _judged(account, asked)
    if account.blacklist:
        for position, phone in enumerate(numbers.phones):
            if phone in account.blacklist:
                numbers.blocked[position] = "number_is_blacklisted"
    if account.options.refused:
        for position in refused_numbers(numbers.phones, account.options.refused, account.options.seed):
            numbers.refused.setdefault(position, 3103)
    if account.options.refuse:
        for position, phone in enumerate(numbers.phones):
            if phone in account.options.refuse:
                numbers.refused[position] = account.options.refuse[phone]
    return numbers


def _judged(account: Account, asked: list[str]) -> Numbers:
    numbers = Numbers([])
    for position, phone in enumerate(asked):
        correct = normalised(phone)
        if correct is None:
            numbers.refused[position] = 3103
        elif not correct.startswith("+48") and not account.options.foreign_allowed:
            numbers.blocked[position] = "sending_to_foreign_networks_is_locked"
        numbers.phones.append(correct or phone)
    return numbers


def _strike(numbers: Numbers, rule: FaultRule | None) -> None:
    """Refuse the first ``items`` correct numbers, if a rule says so."""
    if rule is not None and rule.fault == "item_error":
        correct = (position for position in range(len(numbers.phones)) if position not in numbers.refused)
        for position in islice(correct, rule.items):
            numbers.refused[position] = rule.number or 3103


def _ration(account: Account, numbers: Numbers, rule: FaultRule | None) -> bool:
    """Refuse what the limit does not cover; returns whether the answer is 3004 although a part is taken.

    Raises:
        ApiError: 3004, nothing of the request is taken.
    """
    left, mode = account.credit, account.credit_mode
    if rule is not None and rule.fault == "credit_midway":
        left, mode = rule.items, "midway" if rule.mode == "request" else "items"
    correct = (
        [position for position in range(len(numbers.phones)) if position not in numbers.refused] if left is not None else []
    )
    if left is None or len(correct) <= left:
        return False
    if mode == "request" or (mode == "midway" and left <= 0):
        raise ApiError(3004)
    numbers.refused.update(dict.fromkeys(correct[max(0, left) :], 3004))
    return mode == "midway"


def _batch(account: Account, numbers: Numbers, params: Params, file_ids: Sequence[str], send_at: float | None) -> Batch:
    wall, age = account.clock.wall(), account.clock.age()
    delay = max(0.0, send_at - wall) if send_at is not None else 0.0
    return Batch(
        phones=numbers.phones,
        title=params.text("title") or "",
        text=params.text("text") or "",
        request=params.request,
        blocks=account.messages.blocks_for(len(numbers.phones)),
        file_ids=file_ids,
        queued=wall,
        taken_at=age,
        due_at=age + delay,
        send_at=wall + delay,
        refused=numbers.refused,
        blocked=numbers.blocked,
    )


def _document(account: Account, batch: Batch, *, details: bool, as_json: bool) -> Document:
    success = batch.accepted > 0 or account.options.all_unsent_success
    document: Document = {"success": success, "queued": batch.accepted, "unsent": len(batch.refused)}
    if details:
        is_uniform = as_json and not batch.refused and not account.options.shuffle
        document["items"] = _rendered_items(account, batch) if is_uniform else _items(account, batch)
    return document


def _rendered_items(account: Account, batch: Batch) -> orjson.Fragment:
    """The items of a request without refusals, as JSON at once: making them one by one took half of a send's time."""
    rest = {"status": "queued", "queued": account.stamp(batch.queued), "parts": 1, "text": batch.title}
    end = '",' + orjson.dumps(rest).decode()[1:]
    pairs = zip(batch.ids(), batch.phones, strict=False)
    items = ",".join([f'{{"id":"{message_id}","phone":"{phone}{end}' for message_id, phone in pairs])
    return orjson.Fragment(f"[{items}]")


def _items(account: Account, batch: Batch) -> list[Document]:
    queued, title = account.stamp(batch.queued), batch.title
    pairs = zip(batch.ids(), batch.phones, strict=False)
    items: list[Document] = [
        {"id": message_id, "phone": phone, "status": "queued", "queued": queued, "parts": 1, "text": title}
        for message_id, phone in pairs
    ]
    for position, code in batch.refused.items():
        item = items[position]
        del item["parts"]
        item.update(status="unsent", error_code=code, error_message=ApiError(code).message)
    if account.options.shuffle:
        random.shuffle(items)
    elif batch.refused:
        # The page's example lists queued items first.
        items.sort(key=lambda item: item["status"] == "unsent")
    return items
