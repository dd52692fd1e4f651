"""A path that was pasted into a form is read as it was meant; a wrong one is answered with what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthorn.content.givenpath import given_file, pasted
from posthorn.errors import InputError

PASTED = ['"sale.toml"', " sale.toml\n", "'sale.toml'", "sale.toml\r\n", "„sale.toml”", "`sale.toml`"]


@pytest.mark.parametrize("said", PASTED)
def test_quotes_and_newlines_around_a_path_are_no_part_of_it(said: str) -> None:
    assert pasted(said) == Path("sale.toml")


def test_an_address_of_a_file_is_its_path() -> None:
    assert pasted("file:///srv/autumn%20sale.toml") == Path("/srv/autumn sale.toml")


def test_a_wrong_path_says_where_it_looked_and_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "autumn.toml").touch()
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "jazz.toml").touch()
    with pytest.raises(InputError) as refused:
        given_file("'atumn.toml'", "campaign_file")
    said = str(refused.value)
    assert f"{tmp_path / 'atumn.toml'} does not exist on this machine" in said
    assert f"in {tmp_path} there are: autumn.toml, events/jazz.toml" in said
    assert given_file("autumn.toml", "campaign_file") == Path("autumn.toml")


def test_a_folder_without_files_is_said_to_have_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no TOML file"):
        given_file(str(tmp_path / "sale.toml"), "campaign_file")
