"""The list of faults is true: each can be applied to the code as it is, and its tests exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.catalogue import Fault, chosen, read_faults, staleness

FAULT = {
    "name": "a check is dropped",
    "kind": "twice",
    "file": "code.py",
    "old": "if held:",
    "new": "if True:",
    "tests": ["test_code.py::test_it"],
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text("if held:\n    send()\n", encoding="utf-8")
    (tmp_path / "test_code.py").write_text("def test_it(): ...\n", encoding="utf-8")
    return tmp_path


def test_every_fault_of_the_list_can_be_applied_and_has_its_tests() -> None:
    assert staleness(chosen(read_faults())) == []


def test_a_true_entry_is_not_complained_about(checkout: Path) -> None:
    fault = Fault.model_validate(FAULT)
    assert staleness([fault], checkout) == []
    assert fault.applied("if held:\n") == "if True:\n"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"old": "if gone:"}, "its old text is 0 times in code.py, not once"),
        ({"old": "e"}, "its old text is 2 times in code.py, not once"),
        ({"file": "moved.py"}, "its old text is 0 times in moved.py, not once"),
        ({"new": "if held:"}, "it changes nothing"),
        ({"new": "if held"}, "with it the file is not Python any more"),
        ({"tests": ["gone.py"]}, "there is no test gone.py"),
        ({"tests": ["test_code.py::test_other"]}, "there is no test test_code.py::test_other"),
    ],
)
def test_a_stale_entry_is_named(checkout: Path, changed: dict[str, object], said: str) -> None:
    (wrong,) = staleness([Fault.model_validate({**FAULT, **changed})], checkout)
    assert wrong.startswith(f"a check is dropped: {said}")


def test_a_name_is_used_once(checkout: Path) -> None:
    fault = Fault.model_validate(FAULT)
    assert staleness([fault, fault], checkout) == ["a check is dropped: the name is used more than once"]
