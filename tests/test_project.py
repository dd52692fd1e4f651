"""The project's own papers say what is true: links lead somewhere, commands exist, the lock holds no addresses."""

from __future__ import annotations

import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from posthorn.cli.app import app

ROOT = Path(__file__).parents[1]
PAPERS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(ROOT)))
def test_links_lead_somewhere(paper: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", paper.read_text(encoding="utf-8"))
    assert [target for target in targets if not (paper.parent / target).exists()] == []


def test_pictures_are_small_and_each_is_shown() -> None:
    pictures = sorted((ROOT / "docs" / "pictures").glob("*.png"))
    shown = " ".join(paper.read_text(encoding="utf-8") for paper in PAPERS)
    assert pictures
    assert [picture.name for picture in pictures if picture.stat().st_size > 150_000] == []
    assert [picture.name for picture in pictures if f"pictures/{picture.name})" not in shown] == []


def commands_in(text: str) -> Iterator[tuple[str, ...]]:
    """``posthorn campaign send`` where code mentions it, as words."""
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, flags=re.DOTALL))
    for words in re.findall(r"(?<![/\w.-])posthorn((?: [a-z]+)+)", code):
        yield tuple(words.split())


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(ROOT)))
def test_commands_that_are_mentioned_exist(paper: Path) -> None:
    tree = {name: set(getattr(command, "commands", ())) for name, command in typer.main.get_group(app).commands.items()}
    for group, *rest in commands_in(paper.read_text(encoding="utf-8")):
        assert group in tree
        if tree[group] and rest:
            assert rest[0] in tree[group]


# docs/reliability.md names these folders by a letter.
FOLDERS = {"D": "delivery", "L": "ledger", "G": "gateways", "S": "system"}


def test_tests_that_are_named_as_a_proof_exist() -> None:
    named = {
        name
        for paper in (*PAPERS, ROOT / "posthorn" / "gateways" / "README.md")
        for name in re.findall(r"`((?:\w+/)+test_\w+\.py)", paper.read_text(encoding="utf-8"))
    }
    paths = {
        name: ROOT / "tests" / re.sub(r"^\w+", lambda folder: FOLDERS.get(folder[0], folder[0]), name) for name in named
    }
    assert len(named) > 60
    assert [name for name, path in sorted(paths.items()) if not (path.exists() or (ROOT / name).exists())] == []


def test_each_folder_of_the_house_is_one_sentence_in_the_readme() -> None:
    listed = set(re.findall(r"^\| `([\w/]+)/` \|", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert {"flows", "tasks", "deployments", "posthorn", "tests"} <= listed
    assert [folder for folder in listed if not (ROOT / folder).is_dir()] == []


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_lock_holds_names_versions_and_hashes_only() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = re.findall(r"^([\w.-]+)==", lock, flags=re.MULTILINE)
    assert len(pinned) > 100
    assert all(name in pinned for name in ("prefect", "fastapi", "sqlalchemy"))
    assert "://" not in lock
    blocks = re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:]
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_make_alone_lists_its_verbs() -> None:
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    verbs = dict(re.findall(r"^  make (\w+) +(\S.*)$", said, flags=re.MULTILINE))
    assert {"setup", "demo", "test", "check", "format", "lock", "clean"} <= set(verbs)
    defined = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(defined) == set(verbs), "each verb says what it does"


@pytest.mark.parametrize("name", ["bench.child", "bench.report", "drills.million", "drills.runner", "drills.shown"])
def test_what_only_its_own_verb_runs_can_be_imported(name: str) -> None:
    """Bench and drills are no part of the test run: a function that was moved would be missed only when they are wanted."""
    assert importlib.import_module(f"tests.{name}").__doc__
