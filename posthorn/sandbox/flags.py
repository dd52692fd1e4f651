"""Options that are also a command's flags: a dataclass field holds its name and description once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_SAME = object()


@dataclass(frozen=True, slots=True)
class Flag:
    """How a field is given on the command line.

    ``name`` replaces the field's own; ``default`` is the command's, if it differs from the field's. ``read`` turns the texts
    of a repeatable flag into the field's value.
    """

    help: str
    name: str | None = None
    least: float | None = None
    most: float | None = None
    default: Any = _SAME
    read: Callable[[list[str]], Any] | None = None

    def default_or(self, own: Any) -> Any:
        """The command's default."""
        return own if self.default is _SAME else self.default


def flag(
    default: Any,
    help: str,  # noqa: A002 - as Typer calls it
    *,
    name: str | None = None,
    least: float | None = None,
    most: float | None = None,
    command_default: Any = _SAME,
    read: Callable[[list[str]], Any] | None = None,
) -> Any:
    """A dataclass field with its flag. ``default`` may be a function without arguments that returns it."""
    metadata = {"flag": Flag(help, name, least, most, command_default, read)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def share(help: str, *, name: str | None = None, command_default: Any = _SAME) -> Any:  # noqa: A002 - as above
    """A field between 0 and 1 with the default 0."""
    return flag(0.0, help, name=name, least=0, most=1, command_default=command_default)
