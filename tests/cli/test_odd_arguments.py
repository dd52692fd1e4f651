"""Every command with every odd argument works or says one sentence; an exception that nobody turned into one fails here."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from posthorn.cli import command
from posthorn.cli.app import app
from tests.delivery.journey import numbers, write_campaign

ODD = {
    "nothing": "",
    "a blank": " ",
    "100,000 letters": "a" * 100_000,
    "an escape": "\x1b[2J\x07",
    "a line break": "one\ntwo\r",
    "a right-to-left mark": "\u202etxt.elif",
    "negative": "-1",
    "no number": "nan",
    "no end": "inf",
    "beyond a float": "1e309",
    "400 digits": "9" * 400,
    "digits of another script": "٣٤",
    "full-width digits": "１２",
    "a fraction": "0.5",
    "underscores": "1_000",
    "a lone surrogate": "\udcff",
    "a NUL": "a\0b",
    "format signs": "%s %(name)s {0} %",
    "quotes": "'\"; DROP TABLE campaign; --",
    "a picture": "🎫👨\u200d👩",
    "the parent": "../..",
    "the root": "/",
    "a device without end": "/dev/zero",
    "a device that takes all": "/dev/null",
    "a full device": "/dev/full",
    "a file of the system": "/proc/self/environ",
    "the standard input": "/dev/stdin",
    "below a file": "sale.toml/x",
    "the last year": "9999-12-31T23:59:59",
    "the first year": "0001-01-01",
    "an option": "--help-me",
    "a list of JSON": "[" * 2_000,
    "a URL": "https://[::1",
}
SERVING = ("sandbox", "webhooks", "metrics")


class Said(NamedTuple):
    code: int
    out: str
    err: str


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path, command


COMMANDS = dict(leaves(typer.main.get_command(app)))


def plain(parameter: Any) -> str:
    """A value that the parameter takes."""
    if parameter.type_descriptor.annotation in (int, float):
        return "10"
    return {"file": "sale.toml", "phone": "600100200"}.get(parameter.name, "nobody")


def is_port(value: str) -> bool:
    try:
        return 0 <= int(value) < 65_536
    except ValueError:
        return False


def call(tried: Any, changed: Any, value: str) -> list[str]:
    """The command's arguments: everything that is required, and ``changed`` with the odd value."""
    options: list[str] = []
    positional: list[str] = []
    for parameter in tried.params:
        given = value if parameter is changed else plain(parameter)
        if not parameter.opts[0].startswith("-"):
            positional.append(given)
        elif parameter is changed or parameter.required:
            options += [parameter.opts[-1]] if parameter.is_flag else [f"{parameter.opts[-1]}={given}"]
    return [*options, "--", *positional]


TRIED = [
    (path, parameter.name)
    for path, command in COMMANDS.items()
    for parameter in command.params
    if not getattr(parameter, "is_flag", False) and path != ("demo",)
]
# Each parameter meets a third of the odd values, its neighbours the others: each value is tried with some fifty parameters.
PARAMETERS = [
    pytest.param(path, name, list(ODD.items())[at % 3 :: 3], id=f"{' '.join(path)} {name}")
    for at, (path, name) in enumerate(TRIED)
]


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which nothing can listen, so that what serves ends at once."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


@pytest.fixture
def posthorn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    write_campaign(tmp_path, numbers(3))
    monkeypatch.setenv("POSTHORN_SERWERSMS__BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("POSTHORN_SERWERSMS__TOKEN", "token")
    monkeypatch.setenv("POSTHORN_SKYCORE__API_KEY", "key")
    monkeypatch.setenv("POSTHORN_WEBHOOK_SECRET", "s" * 32)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")

    def run(*args: str) -> Said:
        code = command(args)
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run


@pytest.mark.parametrize(("path", "name", "odd"), PARAMETERS)
def test_an_odd_value_is_taken_or_refused_in_words(
    path: tuple[str, ...], name: str, odd: list[tuple[str, str]], posthorn, taken_port: int
) -> None:
    tried = COMMANDS[path]
    changed = next(parameter for parameter in tried.params if parameter.name == name)
    for what, value in odd:
        if name == "port" and is_port(value):
            continue  # it would serve
        given = call(tried, changed, value)
        if path[0] in SERVING and name != "port":
            given = [f"--port={taken_port}", *given]
        said = posthorn(*path, *given)
        assert "Traceback" not in said.err, what
        assert "\x1b" not in said.out + said.err, what
        assert "\u202e" not in said.out + said.err, what
        assert said.code in (0, 1, 2, 3, 4), (what, said)
        assert said.code == 0 or said.err.strip(), (what, said)
