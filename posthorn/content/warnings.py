"""What is probably a slip: shown by `check`, by `send` and in the approval; it blocks only with ``strict = true``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from posthorn.errors import InputError


class Caution(NamedTuple):
    """One warning: ``code`` for scripts, ``message`` for whoever reads it, with the key or the file it is about."""

    code: str
    message: str


def refuse_if_strict(cautions: Sequence[Caution], *, strict: bool) -> None:
    """Have warnings block where the file says ``strict = true``.

    Raises:
        InputError: with every warning, one a line.
    """
    if strict and cautions:
        listed = "\n".join(f"{one.code}: {one.message}" for one in cautions)
        raise InputError("strict", f"{len(cautions)} warnings block, because the file says strict = true:\n{listed}")
