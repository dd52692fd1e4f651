"""The flags of ``posthorn sandbox`` are those of the option dataclasses, and reach them."""

from __future__ import annotations

from dataclasses import fields

import pytest
import typer.main
from typer.testing import CliRunner

from posthorn.cli.app import app
from posthorn.cli.sandbox_options import CommandOptions, read
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.sandbox.skycore import SkycoreOptions

KINDS = (CommandOptions, SerwerSmsOptions, SkycoreOptions)
COMMAND = typer.main.get_group(app).commands["sandbox"]
GIVEN = {parameter.name: parameter.default for parameter in COMMAND.params}


def test_each_option_that_names_a_flag_has_it_once() -> None:
    flags = [known.opts[0] for known in COMMAND.params]
    known = [(field, field.metadata.get("flag")) for kind in KINDS for field in fields(kind)]
    named = {flag.name or field.name for field, flag in known if flag is not None}
    assert len(flags) == len(set(flags))
    assert {f"--{name.replace('_', '-')}" for name in named} <= set(flags)


def test_without_flags_the_accounts_are_as_they_come_but_for_what_the_command_says() -> None:
    made = SerwerSmsOptions(**read(SerwerSmsOptions, GIVEN)), SkycoreOptions(**read(SkycoreOptions, GIVEN))
    assert made == (SerwerSmsOptions(undelivered=0.02, silent=0.01), SkycoreOptions(undelivered=0.02, silent=0.01))


def test_a_flag_of_both_accounts_reaches_both() -> None:
    given = {**GIVEN, "undelivered": 0.5, "seed": 7}
    for kind in (SerwerSmsOptions, SkycoreOptions):
        values = read(kind, given)
        assert (values["undelivered"], values["seed"]) == (0.5, 7)


def test_a_repeated_flag_is_read_into_what_the_account_holds() -> None:
    values = read(SkycoreOptions, {**GIVEN, "shortcode": ["1", "2"], "campaign": ["77"]})
    assert values["shortcodes"] == frozenset({"1", "2"})
    assert values["campaigns"] == {"77": "Campaign 77"}


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--account", "nonsense"], "--account"),
        (["--upload", "nonsense"], "--upload"),
        (["--undelivered", "2"], "--undelivered"),
        (["--zone", "Nowhere/Land"], "--zone"),
        (["--fault", "nonsense"], "--fault"),
        (["--chaos", "{other}"], "--chaos"),
        (["--store", "{other}"], "--store"),
        (["--host", "203.0.113.7", "--port", "0"], "--host"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_flag_that_cannot_be_is_named(flags, named, tmp_path) -> None:
    other = tmp_path / "other"
    other.write_text("not a store")
    given = [str(other) if flag == "{other}" else flag for flag in flags]
    ended = CliRunner().invoke(app, ["sandbox", "--quiet", "--port", "0", *given])
    assert ended.exit_code == 2
    assert named in ended.output
