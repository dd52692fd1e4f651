"""Every message of the product that names a command, a key, a setting or a verb of make names one that there is.

All texts of the code are collected, and each command in them is given to the parser of the command line: whoever reads
"run `posthorn …`" can do just that. The examples in the help are whole commands, and parse as they stand.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from posthorn.cli.app import app
from posthorn.content.campaign import Campaign
from posthorn.content.event import TicketEvent
from posthorn.models import Kind
from posthorn.settings import variables

ROOT = Path(__file__).parents[1]
FOLDERS = ("posthorn", "flows", "tasks", "deployments")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
TREE: Any = typer.main.get_group(app)
SOMETHING = "X"
"""What stands in a message for a value that is known when it is said."""


def texts(path: Path) -> Iterator[str]:
    """Every text of a module; what is filled in is SOMETHING, the group of commands of a kind COMMAND."""
    inside: set[ast.AST] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            inside.update(ast.walk(node))
            yield "".join(_part(part) for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield re.sub(r"\{(\w+)\}", lambda found: _filled(found[1]), node.value)


def _part(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    return _filled(ast.unparse(part.value) if isinstance(part, ast.FormattedValue) else "")


def _filled(expression: str) -> str:
    return "COMMAND" if expression.rpartition(".")[2] == "command" else SOMETHING


def commands(text: str) -> Iterator[str]:
    """The commands that a text names in backticks, each kind's and each side of an alternative."""
    for quoted in re.findall(r"`([^`\n]+)`", re.sub(r"``.*?``", "", text)):  # two are a docstring's own mark
        said = re.sub(r"^(campaign|tickets) ", r"posthorn \1 ", quoted)
        for kind in Kind if said.startswith("COMMAND ") else (None,):
            whole = said.replace("COMMAND", kind.command, 1) if kind is not None else said
            if whole.startswith("posthorn "):
                yield from (one.strip() for one in _alternatives(whole.removeprefix("posthorn ")))


def _alternatives(said: str) -> list[str]:
    """``resolve X --sent|--not-sent`` is two commands; an ellipsis, and what is optional, is left out."""
    plain = re.sub(r"\[[^\]]*\]", "", said).replace("…", "").strip()
    found = re.search(r"(\S+)\|(\S+)", plain)
    return [plain] if found is None else [plain.replace(found[0], one) for one in found.groups()]


def problem(said: str, *, whole: bool = False) -> str | None:
    """What the parser says against a command; a mere mention may leave out what the reader knows, unless it is ``whole``."""
    command, words, path = TREE, shlex.split(said, comments=True), []
    context = command.make_context("posthorn", [], resilient_parsing=True)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if words[0] == SOMETHING:
            return None  # which of them is said when it is known
        path.append(words[0])
        command = command.commands.get(words.pop(0))
        if command is None:
            return f"there is no {' '.join(path)}"
        context = command.make_context(path[-1], [], parent=context, resilient_parsing=True)
    if hasattr(command, "commands") or (not words and not whole):
        return None
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    strange = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    if strange:
        return f"{' '.join(path)} has no {', '.join(strange)}"
    try:
        command.make_context(path[-1], list(words), parent=context.parent)
    except Exception as error:  # noqa: BLE001 - whatever the parser says is told
        is_short = type(error).__name__ == "MissingParameter" or "requires an argument" in str(error)
        return None if is_short and not whole else f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_command_that_is_named_is_one_that_can_be_given(path: Path) -> None:
    said = sorted({one for text in texts(path) for one in commands(text)})
    assert [(one, wrong) for one in said if (wrong := problem(one)) is not None] == []


def test_the_texts_are_found() -> None:
    assert len({one for path in SOURCES for text in texts(path) for one in commands(text)}) > 50


def leaves(command: Any = TREE, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, one in getattr(command, "commands", {}).items():
        yield from leaves(one, (*path, name))
    yield " ".join(path), command


EXAMPLES = {
    path: [
        line.strip().removeprefix("posthorn ")
        for line in (one.help or "").splitlines()
        if re.match(r"\s+posthorn |\s*posthorn [a-z]+ [a-z-]+ ", line)
    ]
    for path, one in leaves()
    if path and not hasattr(one, "commands")
}


def test_each_command_has_an_example_in_its_help_that_can_be_pasted() -> None:
    assert [path for path, examples in EXAMPLES.items() if not any(one.startswith(path) for one in examples)] == []
    assert [
        (one, wrong) for examples in EXAMPLES.values() for one in examples if (wrong := problem(one, whole=True)) is not None
    ] == []


KEYS = {info.alias or name for model in (Campaign, TicketEvent) for name, info in model.model_fields.items()}
SETTINGS = {name for name, _ in variables()}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_edit_that_is_named_is_of_a_key_or_a_setting_that_exists(path: Path) -> None:
    for text in texts(path):
        if not re.search(r"\bset\b", text):
            continue
        for key in re.findall(r"\bset (?:the key )?([a-z_]+) = ", text):
            assert key in KEYS, text
        for name in re.findall(r"\bset (POSTHORN_[A-Z_]+[A-Z])\b", text):
            assert name in SETTINGS, text


def test_a_verb_of_make_that_is_named_exists() -> None:
    verbs = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = {verb for path in SOURCES for text in texts(path) for verb in re.findall(r"`make ([a-z]+)`", text)}
    assert named
    assert named <= verbs


@pytest.mark.parametrize(
    ("said", "is_wrong"),
    [
        ("campaign resolve X --phone NUMBER --sent --why TEXT", False),
        ("campaign resolve", False),
        ("campaign fly X", True),
        ("campaign resolve X --fly", True),
        ("campaign status X Y", True),
        ("tickets report X", True),
    ],
)
def test_this_very_test_sees_what_is_wrong(said: str, is_wrong: bool) -> None:
    assert (problem(said) is not None) == is_wrong
