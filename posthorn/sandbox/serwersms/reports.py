"""The calls messages/reports, messages/view, messages/delete and stats/index. They take no messages.

Filters, statuses and fields follow the reports page and the official clients; default page size and order are inferred.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from posthorn.sandbox.faults import FaultRule
from posthorn.sandbox.serwersms.account import Account, normalised
from posthorn.sandbox.serwersms.answers import Document
from posthorn.sandbox.serwersms.errors import ApiError
from posthorn.sandbox.serwersms.messages import Batch, Ref, Run, Standing
from posthorn.sandbox.serwersms.params import Params

_IDS_PER_QUERY = 500
_STATUSES = frozenset({"delivered", "undelivered", "pending", "sent", "unsent", "in_progress", "saved"})
_PENDING = frozenset({"in_progress", "sent", "saved"})
_BATCHES_IN_STATS = 100


async def reports(account: Account, params: Params, rule: FaultRule | None = None) -> Document:
    """messages/reports: one page of what matches every given filter, or what a rule makes of it.

    Raises:
        ApiError: too many ids, a bad filter, or too many records.
    """
    runs = _matching(account, params)
    total = sum(len(positions) for _, positions in runs)
    if account.options.widest_answer is not None and total > account.options.widest_answer:
        raise ApiError(3331)
    if total == 0 and account.options.empty_report_code is not None:
        raise ApiError(account.options.empty_report_code)
    if params.text("order") != "asc":
        runs = [(batch, positions[::-1]) for batch, positions in reversed(runs)]
    limit = min(max(1, params.number("limit", account.options.page_size)), account.options.page_size_limit)
    page = max(1, params.number("page", 1))
    paging = {"page": page, "count": max(1, -(-total // limit))}
    return _struck({"paging": paging, "items": _page(account, params, runs, limit, rule)}, rule)


def _page(account: Account, params: Params, runs: list[Run], limit: int, rule: FaultRule | None) -> list[Document]:
    """The rows of the requested page; of the first page, or moved by some rows, if a rule says so."""
    age, contact = account.clock.age(), params.flag("show_contact")
    start = (max(1, params.number("page", 1)) - 1) * limit
    if rule is not None and rule.fault == "page_repeats":
        start = 0
    elif rule is not None and rule.fault == "rows_moved":
        start += rule.items
    refs = list(_slice(runs, start, limit))
    for batch in {id(batch): batch for batch, _ in refs}.values():
        batch.listed, batch.listed_at = batch.listed + 1, account.clock.wall()
    return [_shown(account, ref, age, contact=contact) for ref in refs]


def _struck(document: Document, rule: FaultRule | None) -> Document:
    """The page; empty, or with one page too many counted, if a rule says so."""
    if rule is not None and rule.fault == "page_empty":
        return {**document, "items": []}
    if rule is not None and rule.fault == "page_added":
        paging = document["paging"]
        return {**document, "paging": {**paging, "count": paging["count"] + 1}}
    return document


def _matching(account: Account, params: Params) -> list[Run]:
    """The matches, oldest first, by batch."""
    status = params.text("status")
    if status is not None and status not in _STATUSES:
        raise ApiError(1006)
    # A sender's own identifier is never kept for MMS, so it finds nothing.
    if params.text("type") not in (None, "mms") or params.many("unique_id"):
        return []
    age = account.clock.age()
    since, until = _moment(account, params, "date_from"), _moment(account, params, "date_to")
    stat_id = params.number("stat_id", 0)
    runs = []
    for batch, positions in _chosen(account, params):
        if account.messages.is_visible(batch, age) and _was_queued(batch, since, until) and stat_id in (0, batch.number):
            kept = _standing_so(account, batch, positions, status, age)
            if kept:
                runs.append((batch, kept))
    return runs


def _chosen(account: Account, params: Params) -> Iterator[Run]:
    """The messages with these ids and numbers; all of them if neither is given."""
    ids, phones = params.many("id"), params.many("phone")
    if len(ids) > _IDS_PER_QUERY:
        raise ApiError(account.options.too_many_ids_code)
    if not ids and not phones:
        yield from account.messages.runs()
        return
    wanted = {normalised(phone) or phone for phone in phones}
    found: set[tuple[int, int]] = set()
    batches: dict[int, Batch] = {}
    for batch, position in _named(account, ids, wanted):
        batches[batch.number] = batch
        found.add((batch.number, position))
    for number, position in sorted(found):
        yield batches[number], (position,)


def _named(account: Account, ids: Sequence[str], phones: set[str]) -> Iterator[Ref]:
    if not ids:
        for phone in phones:
            yield from account.messages.by_phone(phone)
        return
    for message_id in ids:
        ref = account.messages.by_id(message_id)
        if ref is not None and (not phones or ref[0].phones[ref[1]] in phones):
            yield ref


def _moment(account: Account, params: Params, name: str) -> float | None:
    text = params.text(name)
    try:
        return None if text is None else account.clock.read(text)
    except ValueError as error:
        raise ApiError(1006) from error


def _was_queued(batch: Batch, since: float | None, until: float | None) -> bool:
    """Whether it was queued in the window, both ends included, compared in whole seconds as timestamps have."""
    queued = int(batch.queued)
    return (since is None or queued >= since) and (until is None or queued <= until)


def _standing_so(account: Account, batch: Batch, positions: Sequence[int], status: str | None, age: float) -> Sequence[int]:
    if status is None and not batch.withdrawn:
        return positions
    wanted = _PENDING if status == "pending" else {status}
    kept = []
    for position in positions:
        now = _listed_as(account, batch, position, age).status
        if now != "withdrawn" and (status is None or now in wanted):
            kept.append(position)
    return kept


def _listed_as(account: Account, batch: Batch, position: int, age: float) -> Standing:
    """A message's status in the listing, which may show a withdrawn message for a while."""
    standing = account.messages.standing(batch, position, age)
    is_shown = standing.status == "withdrawn" and age - batch.withdrawn[position] < account.options.withdrawn_listed_seconds
    return Standing("saved") if is_shown else standing


def _slice(runs: list[Run], start: int, length: int) -> Iterator[Ref]:
    for batch, positions in runs:
        for position in positions[start : start + length]:
            yield batch, position
            length -= 1
        start = max(0, start - len(positions))
        if length <= 0:
            return


def _shown(account: Account, ref: Ref, age: float, *, contact: bool) -> Document:
    batch, position = ref
    standing = _listed_as(account, batch, position, age)
    item: Document = {
        "id": batch.id_of(position),
        "phone": batch.phones[position],
        "status": standing.status,
        "queued": account.stamp(batch.queued),
        "sent": account.stamp(standing.sent),
        "delivered": account.stamp(standing.delivered),
        "sender": "",
        "type": "mms",
        "text": account.title_shown(batch.title),
        "reason": standing.reason,
        "attachments": [{"id": file_id} for file_id in batch.file_ids],
        "parts": 1,
        # Only clients name these fields; their values for an MMS are made up.
        "flash": False,
        "utf": False,
        "cost": 0.0,
        "method": "api",
        "mnc": None,
        "country": "PL" if batch.phones[position].startswith("+48") else None,
        "network": None,
    }
    return {**item, "contact": None} if contact else item


async def view(account: Account, params: Params) -> Document:
    """messages/view: one message without a wrapper.

    Raises:
        ApiError: 2000, no id; 1004, no such message.
    """
    message_id = params.text("id")
    if message_id is None:
        raise ApiError(2000)
    ref, age = account.messages.by_id(message_id), account.clock.age()
    if ref is None or account.messages.standing(*ref, age).status == "withdrawn":
        raise ApiError(1004)
    ref[0].listed, ref[0].listed_at = ref[0].listed + 1, account.clock.wall()
    return _shown(account, ref, age, contact=params.flag("show_contact"))


async def delete(account: Account, params: Params, rule: FaultRule | None) -> Document:
    """messages/delete: only messages that are still scheduled; ``success`` is false if none was (deleting page)."""
    ids = params.many("id") or params.many("unique_id")
    if not ids:
        raise ApiError(2000)
    if rule is not None and rule.fault == "lie_withdrawn":
        return {"success": True, "correct": len(ids), "failed": 0}
    age = account.clock.age()
    withdrawn = sum(account.messages.withdraw(message_id, age) is not None for message_id in ids)
    account.refund(withdrawn)
    counted = 0 if rule is not None and rule.fault == "withdrawn_uncounted" else withdrawn
    return {"success": counted > 0, "correct": counted, "failed": len(ids) - counted}


async def stats(account: Account, params: Params) -> Document:
    """stats/index: the latest sends with their counts."""
    if params.text("type") not in (None, "mms"):
        return {"items": []}
    age = account.clock.age()
    return {"items": [_counted(account, batch, age) for batch in account.messages.batches[: -_BATCHES_IN_STATS - 1 : -1]]}


def _counted(account: Account, batch: Batch, age: float) -> Document:
    counts = dict.fromkeys(("delivered", "pending", "undelivered", "unsent"), 0)
    for position in range(len(batch.phones)):
        status = account.messages.standing(batch, position, age).status
        if status != "withdrawn":
            counts["pending" if status in _PENDING else status] += 1
    begin = account.stamp(batch.send_at)
    return {
        "id": batch.number,
        "name": batch.title,
        **counts,
        "begin": begin,
        "end": begin,
        "text": batch.title,
        "type": "mms",
    }
