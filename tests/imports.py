"""What imports what, read from the source: the rooms of the house and the arrows between them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOPS = ("deployments", "flows", "tasks", "posthorn")
NOUNS = "nouns"


def sources() -> list[Path]:
    """Every file of the product, relative to the root."""
    return sorted(path.relative_to(ROOT) for top in TOPS for path in (ROOT / top).rglob("*.py"))


def imported_by(path: Path) -> Iterator[Path]:
    """The files of the product that a file imports, wherever in it."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        else:
            continue
        yield from (found for name in names if (found := _file_of(name)) is not None and found != path)


def _file_of(module: str) -> Path | None:
    if module.partition(".")[0] not in TOPS:
        return None
    place = Path(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if (ROOT / path).is_file()), None)


def room_of(path: Path) -> str:
    """``ledger`` for ``posthorn/ledger/store/engine.py``; the single modules of ``posthorn`` are its nouns."""
    top, *rest = path.parts
    if top != "posthorn":
        return top
    return rest[0] if len(rest) > 1 else NOUNS


def arrows() -> dict[str, set[str]]:
    """Each room, and the rooms whose files its own import."""
    found: dict[str, set[str]] = {}
    for path in sources():
        room = room_of(path)
        if path.name in ("__init__.py", "__main__.py") and len(path.parts) == 2:
            continue
        found.setdefault(room, set()).update(room_of(other) for other in imported_by(path) if room_of(other) != room)
    return found
