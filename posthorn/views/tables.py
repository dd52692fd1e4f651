"""The one style of tables and of colours: what commands print looks the same everywhere, and one row is one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tabulate import tabulate

Paint = Callable[[str, str], str]
"""A text as a state is shown: ``(state, text) -> text``, for a terminal with colours in it."""


def unpainted(_state: str, text: str) -> str:
    """The text unchanged, for files, pipes, and people who want no colours."""
    return text


def table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = (), widest: Sequence[int | None] = ()
) -> str:
    """Rows under headers, cells as they are written; columns of numbers are named in ``right``.

    A cell is cut into lines only where ``widest`` says how many characters its column may have.
    """
    listed = [tuple(map(str, row)) for row in rows]
    return tabulate(
        listed,
        headers=headers,
        tablefmt="simple_outline",
        disable_numparse=True,
        colalign=["right" if header in right else "left" for header in headers] if listed else None,
        maxcolwidths=list(widest) or None,
    )


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Facts about one thing: a name and a value on each line. No frame, because values are long."""
    return tabulate(list(rows), tablefmt="plain", disable_numparse=True)
