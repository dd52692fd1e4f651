"""``posthorn sandbox``: the stand-in for the providers, on loopback until stopped. Sends nothing to anybody."""

from __future__ import annotations

import asyncio
import json
import math
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfoNotFoundError

import typer

from posthorn.cli.sandbox_options import CommandOptions, read, with_flags_of
from posthorn.content.plain import plain
from posthorn.loopback import is_loopback
from posthorn.sandbox.serwersms import SerwerSmsOptions
from posthorn.sandbox.skycore import SkycoreOptions, Template

# aiohttp takes a while to load, so what runs the sandbox is imported only once the command does.
if TYPE_CHECKING:
    from posthorn.sandbox.server import Sandbox

_MAX_RULES_BYTES = 1024 * 1024
_BANNER = """\
==============================================================================
  THIS IS A SANDBOX. It looks like the provider, but no message leaves this
  machine, nobody is charged, and everything is forgotten when it stops,
  unless --store names a file.
=============================================================================="""
_OPEN = """
  It listens on {host}: everybody who can reach this machine can read what was
  sent and change it. There is no login."""


@with_flags_of(CommandOptions, SerwerSmsOptions, SkycoreOptions)
def sandbox(**given: Any) -> None:
    """Run a stand-in for the providers until stopped: real HTTP, an inbox to look at, faults on demand, and the truth.

    Open its address in a browser: what would have arrived, as a phone shows it, and a switch for each fault.

    A fault is JSON like '{"fault": "status_after", "call": "messages/send_mms", "every": 10, "status": 502}' or, in short,
    status_after@messages/send_mms:every=10:status=502; reset_after@messages/send_mms:2,5 strikes the second and the fifth.

    The same for programs: /_sandbox/docs describes it. What really happened: GET /_sandbox/truth, messages, tickets, counts,
    requests. While it runs: PUT /_sandbox/faults, credit, skycore; POST /_sandbox/clock, postbacks, callbacks, reset.

    \b
        posthorn sandbox
        posthorn sandbox --store inbox.jsonl --undelivered 0.05
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    _refuse_endless(given)
    command = CommandOptions(**read(CommandOptions, given))
    campaigns = SerwerSmsOptions(**read(SerwerSmsOptions, given))
    tickets = SkycoreOptions(**read(SkycoreOptions, given), templates=_templates(command))
    _serve(command, campaigns, tickets)


def _refuse_endless(given: Mapping[str, object]) -> None:
    """Infinity and NaN pass as floats within any bounds, but no clock can wait for them."""
    for name, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise typer.BadParameter("expected a number", param_hint=f"--{name.replace('_', '-')}")


def _templates(command: CommandOptions) -> tuple[Template, ...]:
    drawn = [Template(mms_id, encoding_seconds=command.encoding) for mms_id in command.template or ["35674"]]
    return *drawn, *(Template(mms_id, has_barcode=False) for mms_id in command.template_without_barcode)


def _serve(command: CommandOptions, campaigns: SerwerSmsOptions, tickets: SkycoreOptions) -> None:
    from posthorn.sandbox.faults import FaultError  # see above
    from posthorn.sandbox.inbox.chaos import Schedule  # see above
    from posthorn.sandbox.server import Sandbox  # see above
    from posthorn.sandbox.store import StoreError  # see above

    try:
        box = Sandbox(
            command.port,
            host=command.host,
            serwersms=campaigns,
            skycore=tickets,
            faults=_rules(command),
            speed=command.speed,
            zone=command.zone,
            skew_seconds=command.skew,
            latency_seconds=command.latency,
            schedule=Schedule(_json_list(command.chaos, "--chaos")),
            store=command.store,
        )
        asyncio.run(_run(box, command.ready_file, quiet=command.quiet))
    except FaultError as error:
        raise typer.BadParameter(str(error), param_hint="--fault, --faults-file or --chaos") from error
    except StoreError as error:
        raise typer.BadParameter(str(error), param_hint="--store") from error
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise typer.BadParameter(
            f"{plain(str(command.zone))} is not a zone; expected one such as Europe/London", param_hint="--zone"
        ) from error
    except OSError as error:
        where = f"{command.host}, port {command.port}"
        raise typer.BadParameter(
            f"cannot listen on {where}: {error.strerror or error}", param_hint="--port or --host"
        ) from error


def _rules(command: CommandOptions) -> list[dict[str, Any] | str]:
    """The rules of the file, then those of the options."""
    try:
        own = [json.loads(rule) if rule.lstrip().startswith("{") else rule for rule in command.fault]
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--fault") from error
    return [*_json_list(command.faults_file, "--faults-file"), *own]


def _json_list(file: Path | None, flag: str) -> list[Any]:
    """The content of a JSON file; empty if no file is given."""
    if file is None:
        return []
    try:
        listed = json.loads(_text(file, flag))
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{file} cannot be read as JSON: {error}", param_hint=flag) from error
    if not isinstance(listed, list):
        raise typer.BadParameter(f"{file}: expected a JSON list", param_hint=flag)
    return listed


def _text(file: Path, flag: str) -> str:
    from posthorn.content.regularfile import opened  # see above

    with opened(file, flag, "a file of JSON") as content:
        return content.read(_MAX_RULES_BYTES).decode()


async def _run(box: Sandbox, ready_file: Path | None, *, quiet: bool) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopped.set)
    async with box:
        if not is_loopback(box.host):
            typer.secho(_OPEN.format(host=box.host), fg=typer.colors.RED, bold=True, err=True)
        if not quiet:
            _introduce(box)
        _announce(box.url, ready_file)
        await stopped.wait()
    _conclude(box)


def _announce(url: str, ready_file: Path | None) -> None:
    """Tell programs that wait for it that it listens."""
    if ready_file is not None:
        # Written beside it and moved, so that nobody reads half a URL.
        draft = ready_file.with_name(ready_file.name + ".part")
        draft.write_text(url + "\n")
        draft.replace(ready_file)
    typer.echo(f"ready {url}")


def _introduce(box: Sandbox) -> None:
    from posthorn.sandbox.sources import SOURCES  # see above

    typer.secho(_BANNER, fg=typer.colors.YELLOW, bold=True)
    typer.echo(f"\nThe inbox: {box.url}/\n\nTo use it:\n")
    for provider in box.providers:
        for variable, value in provider.variables(box.url).items():
            typer.echo(f"  export {variable}={value}")
    typer.echo(f"\nWhat really happened: {box.url}/_sandbox/truth\n\nWhere its behaviour comes from:")
    for provider in box.providers:
        typer.echo(f"\n  {provider.name}")
        for label, sentence in SOURCES[provider.name]:
            typer.echo(f"  {label:<7}  {sentence}")
    typer.echo("")


def _conclude(box: Sandbox) -> None:
    truth = box.truth()
    totals = ", ".join(f"{key} {truth[key]}" for key in ("accepted", "numbers", "twice", "scheduled", "withdrawn"))
    typer.echo(f"stopped after {truth['send_requests']} sends: {totals}")
    for name, fired in truth["faults"].items():
        typer.echo(f"  {name} struck {fired} times")
