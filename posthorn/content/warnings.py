"""Warnings about probable slips. `check`, `send` and the approval show them; they block only with ``strict = true``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from posthorn.errors import InputError


class Caution(NamedTuple):
    """One warning: ``code`` for scripts, ``message`` for people, with the key or the file it is about."""

    code: str
    message: str


def refuse_if_strict(cautions: Sequence[Caution], *, strict: bool) -> None:
    """Let warnings block if the file says ``strict = true``.

    Raises:
        InputError: with every warning on its own line.
    """
    if strict and cautions:
        listed = "\n".join(f"{one.code}: {one.message}" for one in cautions)
        raise InputError("strict", f"{len(cautions)} warnings block, because the file says strict = true:\n{listed}")
