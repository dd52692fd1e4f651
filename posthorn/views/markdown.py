"""Words and tables in Markdown. What a person wrote stays what they wrote: nothing of it becomes markup."""

from __future__ import annotations

import re
from collections.abc import Sequence

from posthorn.content.plain import plain

_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_CODE = re.compile(r"(`[^`|]*`)")


def written(text: str) -> str:
    """A person's text on one line; every Markdown and HTML sign in it is shown as itself."""
    return _MARKUP.sub(lambda found: _ENTITIES.get(found[1], f"\\{found[1]}"), plain(text))


def prose(text: str) -> str:
    """As ``written``, except between backticks: a command stays a command."""
    return "".join(plain(part) if _CODE.fullmatch(part) else written(part) for part in _CODE.split(text))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are Markdown already; a column with a ``:`` behind its head is aligned to the right."""
    lines = [
        f"| {' | '.join(head.removesuffix(':') for head in heads)} |",
        f"| {' | '.join('--:' if head.endswith(':') else '---' for head in heads)} |",
    ]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def link(words: str, key: str) -> str:
    """A link to the artifact of that key, in Prefect's UI."""
    return f"[{words}](/v2/artifacts/key/{key})"
