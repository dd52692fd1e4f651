"""Reads an operator's TOML file into a checked model; every problem is reported at once, key by key."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from posthorn.content.filekind import file_kind
from posthorn.content.plain import plain
from posthorn.content.regularfile import opened
from posthorn.errors import InputError
from posthorn.settings import expectation

MAX_BYTES = 1024 * 1024
"""Longest campaign or event file: a thousand times what one needs."""

Problem = tuple[str, str]
"""A key as the operator knows it, and the problem with its value."""

OnRepeat = Literal["refuse", "skip", "send"]
"""What to do about numbers that got the same message lately."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_M = TypeVar("_M", bound=BaseModel)


def _as_decimal(value: object) -> object:
    """TOML's numbers as the amount that was written: 0.1 is a tenth."""
    return Decimal(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


MaxCost = Annotated[Decimal, BeforeValidator(_as_decimal), Field(gt=0, le=10_000_000, decimal_places=2)]


def checked_name(name: str) -> str:
    """A campaign's or an event's name: it becomes part of file names and lock names."""
    if not _NAME.fullmatch(name):
        raise ValueError("expected 1 to 80 letters (a-z), digits, dots, dashes or underscores, first a letter or digit")
    return name


def read_model(
    path: Path, model: type[_M], what: str, conflicts: Callable[[Mapping[str, Any]], Sequence[Problem]] = lambda _: ()
) -> _M:
    """The file as a ``model``. ``what`` names the file (``campaign file``); ``conflicts`` checks all keys together.

    Raises:
        InputError: the file cannot be read, is not TOML, or has wrong values; each problem is on its own line.
    """
    data = _toml(path, what)
    _refuse_table_on_top(data, path, model, what)
    problems: list[Problem] = []
    checked: _M | None = None
    try:
        checked = model.model_validate(data)
    except ValidationError as error:
        problems += _problems(error, model, what)
    problems += conflicts(data)
    if problems or checked is None:
        raise input_error(problems)
    return checked


def input_error(problems: Sequence[Problem]) -> InputError:
    """All problems in one error, each on a line of its own as ``field: problem``."""
    (field, problem), *others = problems
    return InputError(field, "\n".join([problem, *(f"{name}: {text}" for name, text in others)]))


def unknown_gateway(gateways: Collection[str], data: Mapping[str, object]) -> list[Problem]:
    """The problem of a file that names a gateway which does not send this kind; None if it has none."""
    name = data.get("gateway")
    if not isinstance(name, str) or name in gateways:
        return []
    return [("gateway", f"expected {' or '.join(gateways)}")]


def hash_of_list(sha256: str, *chosen: object) -> str:
    """The identity of a list: the hash of its bytes and of the selection."""
    return hashlib.sha256(orjson.dumps([sha256, *chosen], option=orjson.OPT_SORT_KEYS)).hexdigest()


def differences(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """A sentence for each difference between two contents."""
    sentences = []
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, list) and isinstance(after, list):
            sentences.append(f"{key}: {_list_difference(before, after)}")
        else:
            sentences.append(f"{key} was {_shown(before)}, is now {_shown(after)}")
    return sentences


def sha256_of(path: Path, field: str) -> str:
    """The hash of a file's bytes.

    Raises:
        InputError: it cannot be read.
    """
    with opened(path, field) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _toml(path: Path, what: str) -> dict[str, Any]:
    """The file's keys. A byte order mark, which some editors write, is accepted."""
    content = b""
    try:
        content = _bytes(path, what)
        return tomllib.loads(content.decode("utf-8-sig"))
    except RecursionError:
        problem = "is nested too deeply; expected keys and values, as `--help` shows them"
    except UnicodeDecodeError:
        problem = f"is {kind.name}; expected a TOML file" if (kind := file_kind(content)) else "is not text in UTF-8"
    except ValueError as error:  # also an integer of thousands of digits, which is not a TOMLDecodeError
        problem = _toml_problem(content.decode("utf-8-sig"), error)
    raise InputError(what, f"{path} {problem}")


def _bytes(path: Path, what: str) -> bytes:
    """The whole file. A file of the right kind is small."""
    with opened(path, what, "a TOML file") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError(
            what,
            f"{path} is larger than {MAX_BYTES // 1024:,} KiB; expected keys and values, with the people in a CSV file",
        )
    return content


_AT = re.compile(r"at line (\d+)")
_CURLY = re.compile("[\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb]")


def _toml_problem(text: str, error: ValueError) -> str:
    """Why a file is not TOML, with a hint if the slip is a known one."""
    at = _AT.search(str(error))
    lines = text.splitlines()
    line = lines[min(int(at[1]), len(lines)) - 1] if at and lines else ""
    hint = _toml_hint(text, line)
    return f"is not TOML: {plain(str(error))}" + (f"; {hint}" if hint else "")


def _toml_hint(text: str, line: str) -> str:
    if kind := file_kind(text.encode()):
        return f"it is {kind.name}"
    if text.lstrip()[:1] == "{":
        return "it looks like JSON; write key = value, one a line"
    return next((hint for is_slip, hint in _SLIPS if is_slip(line)), "")


_SLIPS: tuple[tuple[Callable[[str], object], str], ...] = (
    (
        lambda line: _CURLY.match(line.partition("=")[2].lstrip()) or ("=" not in line and _CURLY.search(line)),
        'curly quotes: write straight ones, "like this"',
    ),
    (
        re.compile(r'.*"[^"]*\\').match,
        r"a backslash in double quotes means something else: write the path in single quotes, 'C:\Users\…', or with /",
    ),
    (re.compile(r"\s*[\w-]+\s*:\s*[^=]*$").match, 'it looks like YAML; write key = "value"'),
    (re.compile(r"[^=]*=\s*(True|False|TRUE|FALSE|yes|no)\s*(#.*)?$").match, "write true or false, in small letters"),
    (re.compile(r"\s*[\w.-]+\s*=\s*[^\W\d_][^\"'\[{]*$").match, 'put text in quotes, key = "value"'),
)
"""Known slips in one line, and what to do about each; the first match is reported."""


def _refuse_table_on_top(data: Mapping[str, Any], path: Path, model: type[BaseModel], what: str) -> None:
    """Report it once if all keys are under a heading such as ``[campaign]``."""
    known = {info.alias or name for name, info in model.model_fields.items()}
    for name, table in data.items():
        if name not in known and isinstance(table, dict) and known.intersection(table):
            raise InputError(
                what, f"{path}: its keys are under [{plain(name)}]; remove that line: keys belong at the top level"
            )


def _problems(error: ValidationError, model: type[BaseModel], what: str) -> Iterator[Problem]:
    for item in error.errors():
        key, *entry = item["loc"]
        if not entry:
            label = str(key)
        else:
            label = f"{key}, item {entry[0] + 1}" if isinstance(entry[0], int) else f"{key}.{entry[0]}"
        yield label, _unknown_key(str(key), model, what) if item["type"] == "extra_forbidden" else expectation(model, item)


def _unknown_key(key: str, model: type[BaseModel], what: str) -> str:
    keys = [info.alias or name for name, info in model.model_fields.items()]
    close = difflib.get_close_matches(key, keys, n=1)
    article = "an" if what.startswith("e") else "a"
    return f"is not a key of {article} {what}" + (f"; did you mean {close[0]}?" if close else "")


def _list_difference(before: list[object], after: list[object]) -> str:
    if len(before) != len(after):
        return f"there were {len(before)} items, there are now {len(after)}"
    if sorted(map(str, before)) == sorted(map(str, after)):
        return "the same items in another order"
    changed = [str(index) for index, pair in enumerate(zip(before, after, strict=True), start=1) if pair[0] != pair[1]]
    return f"item {', '.join(changed)} changed"


def _shown(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:60]}…" ({len(value)} characters)'
    return str(value)
