"""The flags of ``posthorn sandbox``, made from the option dataclasses: ``--help`` shows each field's description."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from posthorn.sandbox.flags import Flag, flag


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """Options of the command itself, not of an account."""

    port: int = flag(8025, "Port to listen on; 0 picks a free one", least=0, most=65_535)
    host: str = flag("127.0.0.1", "Address to listen on. Any address but loopback lets others in, without a login")
    latency: float = flag(0.0, "Seconds each answer takes, after the work is done", least=0)
    speed: float = flag(60.0, "Seconds that messages age per real second", least=0)
    zone: str = flag("Europe/Warsaw", "Time zone of the dates that it reads and writes")
    skew: float = flag(0.0, "Seconds its clock is ahead (negative: behind)")
    fault: tuple[str, ...] = flag((), "A fault rule, JSON or short; repeatable", read=tuple)
    faults_file: Path | None = flag(None, "JSON list of fault rules")
    chaos: Path | None = flag(None, 'JSON list of timed changes: [{"at": 30, "preset": "answers lost"}, …]')
    store: Path | None = flag(None, "File that keeps what was taken, written every five seconds and at the end")
    template: tuple[str, ...] = flag(
        (), "Skycore: id of a stored MMS with a barcode; repeatable [default: 35674]", read=tuple
    )
    template_without_barcode: tuple[str, ...] = flag((), "Skycore: id of a stored MMS without one; repeatable", read=tuple)
    encoding: float = flag(0.0, "Skycore: aged seconds until a stored MMS can be sent (E626 before)", least=0)
    ready_file: Path | None = flag(None, "File to write the URL to once it listens")
    quiet: bool = flag(False, "Print only the ready line and the truth at the end")


def with_flags_of(*kinds: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that takes keyword arguments the flags of these dataclasses; a name that two share is one flag."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = {parameter.name: parameter for kind in reversed(kinds) for parameter in _parameters(kind)}
        in_order = dict.fromkeys(parameter.name for kind in kinds for parameter in _parameters(kind))
        listed = [parameters[name] for name in in_order]
        command.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined] # what Typer reads
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in listed}
        return command

    return decorate


def read(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass from the flags; a repeatable flag that was not given keeps its default."""
    values: dict[str, Any] = {}
    for field, known in _flags(kind):
        value = given[known.name or field.name]
        if known.read is None:
            values[field.name] = value
        elif value:
            values[field.name] = known.read(value)
    return values


def _flags(kind: type) -> Iterator[tuple[Field[Any], Flag]]:
    return ((field, field.metadata["flag"]) for field in fields(kind) if "flag" in field.metadata)


def _parameters(kind: type) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(kind)
    for field, known in _flags(kind):
        name = known.name or field.name
        is_many = known.read is not None
        own = None if is_many or field.default is MISSING else field.default
        option = typer.Option(
            f"--{name.replace('_', '-')}",
            *(["-q"] if name == "quiet" else []),
            help=known.help,
            min=known.least,
            max=known.most,
        )
        annotation = list[str] | None if is_many else hints[field.name]
        kind_of = inspect.Parameter.KEYWORD_ONLY
        yield inspect.Parameter(name, kind_of, default=known.default_or(own), annotation=Annotated[annotation, option])
