"""docs/architecture.md is true: its arrows are the imports, its journeys only go down, and no folder is in a circle."""

from __future__ import annotations

import ast
import re
import tomllib
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

from tests.imports import ROOT, arrows, imported_by, sources

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
JOURNEYS = re.findall(r"```journey (\w+)\n(.*?)```", PAGE, re.DOTALL)


def drawn() -> dict[str, set[str]]:
    """The arrows as the page has them."""
    (block,) = re.findall(r"```arrows\n(.*?)```", PAGE, re.DOTALL)
    lines = (line.partition("->") for line in block.splitlines())
    return {room.strip(): {other.strip() for other in others.split(",")} for room, _, others in lines}


def test_the_arrows_of_the_page_are_the_imports() -> None:
    assert drawn() == {room: others for room, others in arrows().items() if others}


def test_no_folder_is_in_a_circle() -> None:
    order = list(TopologicalSorter(arrows()).static_order())
    assert (order[0], order[-1]) == ("nouns", "cli")


@pytest.mark.parametrize(("leg", "files"), JOURNEYS, ids=[f"{leg} {at}" for at, (leg, _) in enumerate(JOURNEYS)])
def test_a_journey_only_goes_down(leg: str, files: str) -> None:
    stops = [Path(line) for line in files.split()]
    assert len(set(stops)) == len(stops) > 2
    for above, below in pairwise(stops):
        assert below in set(imported_by(above)), f"{leg}: {above} does not import {below}"
        assert above not in set(imported_by(below)), f"{leg}: {below} imports {above}"


def test_every_room_is_told_in_one_sentence() -> None:
    told = set(re.findall(r"^\| `(\w+/(?:\w+/)?)` \|", PAGE, re.MULTILINE))
    rooms = {f"{path.parts[0]}/" for path in sources()} | {
        "/".join(p.parts[:2]) + "/" for p in sources() if len(p.parts) > 2
    }
    assert told == {room for room in rooms if not room.startswith(("tasks/_", "flows/_"))}


def test_the_page_says_of_each_room_of_delivery_what_the_room_says_of_itself() -> None:
    told = dict(re.findall(r"^\| `posthorn/delivery/(\w+)/` \| (.*) \|$", PAGE, re.MULTILINE))
    rooms = list((ROOT / "posthorn" / "delivery").glob("*/__init__.py"))
    said = {path.parent.name: (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "") for path in rooms}
    assert told == {room: words[:1].lower() + words[1:].rstrip(".") for room, words in said.items()}


def test_every_provider_is_kept_from_everybody_but_the_registry() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    (contract,) = (one for one in tools["importlinter"]["contracts"] if one["type"] == "protected")
    packages = (ROOT / "posthorn" / "gateways").glob("*/__init__.py")
    assert set(contract["protected_modules"]) == {f"posthorn.gateways.{path.parent.name}" for path in packages}
    assert contract["allowed_importers"] == ["posthorn.gateways.registry"]
