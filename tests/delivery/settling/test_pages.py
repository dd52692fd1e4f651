"""Reading listings page by page ends: where a page repeats others, and where only one page can be asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from posthorn.delivery.settling.copies import all_pages
from posthorn.delivery.settling.report import Pulled, _ask
from posthorn.errors import InputError
from posthorn.models import MessageState, Report, ReportPage


def reports(*ids: str) -> list[Report]:
    return [Report(one, MessageState.DELIVERED, "delivered") for one in ids]


class Listing:
    """A gateway that lists: ``pages`` are what it shows, ``count`` how many it says there are."""

    def __init__(self, pages: Sequence[Sequence[str]], count: int) -> None:
        self.pages, self.count, self.asked = pages, count, 0

    async def reports(self, *, page: int = 1, **_: Any) -> ReportPage:
        self.asked += 1
        return ReportPage(reports(*self.pages[min(page, len(self.pages)) - 1]), page, self.count)


@pytest.mark.parametrize(
    ("pages", "count", "read", "asked"),
    [
        ([["a", "b"], ["c"]], 2, ["a", "b", "c"], 2),
        ([["a", "b"]], 9_000, ["a", "b"], 2),
        ([["a", "b"], ["b", "c"]], 2, ["a", "b", "c"], 2),
        ([["a"], []], 9_000, ["a"], 2),
    ],
)
async def test_a_listing_that_repeats_itself_has_an_end(
    pages: list[list[str]], count: int, read: list[str], asked: int
) -> None:
    listing = Listing(pages, count)
    assert [report.provider_id for report in await all_pages(listing)] == read  # type: ignore[arg-type]
    assert listing.asked == asked


async def applied(verb: Callable[..., int], found: list[Report]) -> int:
    return len(found)


async def test_reports_that_repeat_themselves_are_applied_once() -> None:
    listing, pulled = Listing([["a", "b"]], 9_000), Pulled()
    await _ask(listing, applied, ["a", "b", "c"], pulled, 500)  # type: ignore[arg-type]
    assert (pulled.moved, listing.asked) == (2, 2)


class OnePage(Listing):
    """Shows at most two, and takes no page number."""

    async def reports(self, *, ids: Sequence[str] = (), **_: Any) -> ReportPage:
        self.asked += 1
        if len(ids) > 2 or self.count == 0:
            raise InputError("since", "one page only; ask for fewer numbers")
        return ReportPage(reports(*ids), 1, 1)


async def test_where_only_one_page_can_be_had_fewer_are_asked_for() -> None:
    pulled = Pulled()
    await _ask(OnePage([], 1), applied, list("abcdefg"), pulled, 500)  # type: ignore[arg-type]
    assert pulled.moved == 7


async def test_what_is_too_much_for_one_is_too_much() -> None:
    with pytest.raises(InputError):
        await _ask(OnePage([], 0), applied, list("abc"), Pulled(), 500)  # type: ignore[arg-type]
