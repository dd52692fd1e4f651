"""``posthorn sandbox``: the stand-in for the providers, on loopback until stopped. Sends nothing to anybody."""

from __future__ import annotations

import asyncio
import json
import math
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfoNotFoundError

import typer

from posthorn.cli import sandbox_options as option
from posthorn.content.plain import plain

# aiohttp takes a while to load, so what runs the sandbox is imported only once the command does.
if TYPE_CHECKING:
    from posthorn.sandbox.server import Sandbox
    from posthorn.sandbox.serwersms import SerwerSmsOptions
    from posthorn.sandbox.skycore import SkycoreOptions, Template

_MOST_RULES_BYTES = 1024 * 1024
_BANNER = """\
==============================================================================
  THIS IS A SANDBOX. It looks like the provider, but no message leaves this
  machine, nobody is charged, and everything is forgotten when it stops.
=============================================================================="""


@dataclass(frozen=True, slots=True)
class Clock:
    """How the sandbox's clock goes: how fast messages age, the zone of its dates, how far it is ahead."""

    speed: float
    zone: str
    skew_seconds: float


def sandbox(
    *,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on 127.0.0.1; 0 picks a free one")] = 8025,
    latency: Annotated[float, typer.Option(min=0, help="Seconds each answer takes, after the work is done")] = 0.0,
    speed: Annotated[float, typer.Option(min=0, help="Seconds that messages age per real second")] = 60.0,
    credit: Annotated[int | None, typer.Option(min=0, help="MMS the account may send (default: no limit)")] = None,
    undelivered: Annotated[float, typer.Option(min=0, max=1, help="Share of messages that end undelivered")] = 0.02,
    silent: Annotated[float, typer.Option(min=0, max=1, help="Share of messages that are never reported on")] = 0.01,
    refused: Annotated[float, typer.Option(min=0, max=1, help="Share of correct numbers refused with 3103")] = 0.0,
    visible_after: Annotated[float, typer.Option(min=0, help="Aged seconds until reports list a message")] = 0.0,
    titles: option.Titles = "kept",
    zone: option.Zone = "Europe/Warsaw",
    skew: option.Skew = 0.0,
    page_size: Annotated[int, typer.Option(min=1, max=500, help="Reports per page where none is asked for")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives each number the same fate")] = 1,
    shuffle: Annotated[bool, typer.Option(help="Answer a send's items in random order")] = False,
    test_account: Annotated[bool, typer.Option(help="Never list uploaded files, as on a test account")] = False,
    fault: Annotated[list[str] | None, typer.Option(help="A fault rule, JSON or short; repeatable")] = None,
    faults_file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="JSON list of fault rules")] = None,
    callback_url: option.CallbackUrl = None,
    callback_duplicates: option.CallbackDuplicates = 0.0,
    callback_shuffle: option.CallbackShuffle = False,
    callback_lost: option.CallbackLost = 0.0,
    callback_forged: option.CallbackForged = 0.0,
    token: Annotated[str, typer.Option(help="The one Bearer token it accepts")] = "sandbox-token",  # noqa: S107 - its own
    username: Annotated[str, typer.Option(help="The one API user it accepts")] = "sandbox",
    password: Annotated[str, typer.Option(help="That user's password")] = "sandbox",  # noqa: S107 - its own
    api_key: option.ApiKey = "sandbox-key",
    template: option.Templates = None,
    template_without_barcode: option.PlainTemplates = None,
    encoding: option.EncodingSeconds = 0.0,
    shortcode: option.Shortcodes = None,
    campaign: option.Campaigns = None,
    enforce_campaign_check: option.CampaignCheck = False,
    opted_out: option.OptedOut = None,
    blacklist: option.Blacklist = None,
    unsupported: option.Unsupported = 0.0,
    billing_problem: option.Billing = False,
    ticket_credit: option.TicketCredit = None,
    min_interval: option.MinInterval = 0.0,
    quota: option.Quota = None,
    throughput: option.Throughput = None,
    link_sms: option.LinkSms = 0.0,
    late_barcode_failure: option.LateFailure = 0.0,
    tracking_ids: option.TrackingIds = "seed",
    vary: option.Vary = False,
    postback_url: option.PostbackUrl = None,
    postback_shape: option.PostbackShape = "new",
    postback_as: option.PostbackAs = "raw",
    postback_duplicates: option.PostbackDuplicates = 0.0,
    postback_shuffle: option.PostbackShuffle = False,
    ready_file: Annotated[Path | None, typer.Option(help="File to write the URL to once it listens")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the ready line and the truth at the end")] = False,
) -> None:
    """Run a stand-in for the providers until stopped: real HTTP, faults to order, and the truth to compare with.

    A fault is JSON like '{"fault": "status_after", "call": "messages/send_mms", "every": 10, "status": 502}' or, in short,
    status_after@messages/send_mms:every=10:status=502; reset_after@messages/send_mms:2,5 strikes the second and the fifth.

    What really happened: GET /_sandbox/truth, messages, tickets, barcode/<tracking id>.png, counts, requests. While it runs:
    PUT /_sandbox/faults, credit, skycore; POST /_sandbox/clock, postbacks, callbacks, reset.
    """
    _refuse_endless(locals())
    from posthorn.sandbox.serwersms import SerwerSmsOptions  # noqa: PLC0415 - see above
    from posthorn.sandbox.skycore import SkycoreOptions  # noqa: PLC0415 - see above

    login = SerwerSmsOptions(token=token, username=username, password=password, seed=seed, credit=credit)
    fates = replace(login, undelivered=undelivered, silent=silent, refused=refused, visible_after_seconds=visible_after)
    options = replace(
        fates,
        page_size=page_size,
        titles=titles,
        shuffle=shuffle,
        test_account=test_account,
        callback_url=callback_url,
        callback_duplicates=callback_duplicates,
        callback_shuffle=callback_shuffle,
        callback_lost=callback_lost,
        callback_forged=callback_forged,
    )
    tickets = SkycoreOptions(
        api_key=api_key,
        seed=seed,
        tracking_ids=tracking_ids,
        vary=vary,
        templates=_templates(template or [], template_without_barcode or [], encoding),
        shortcodes=frozenset(shortcode or ["60856"]),
        campaigns={campaign_id: f"Campaign {campaign_id}" for campaign_id in campaign or ["12333"]},
        enforce_campaign_check=enforce_campaign_check,
        opted_out=frozenset(opted_out or ()),
        blacklist=frozenset(blacklist or ()),
        unsupported_share=unsupported,
        billing_problem=billing_problem,
        credit=ticket_credit,
        request_quota=quota,
        min_interval_seconds=min_interval,
        throughput=throughput,
        undelivered=undelivered,
        silent=silent,
        link_sms=link_sms,
        late_failure=late_barcode_failure,
        postback_url=postback_url,
        postback_shape=postback_shape,
        postback_as=postback_as,
        postback_duplicates=postback_duplicates,
        postback_shuffle=postback_shuffle,
    )
    rules = _rules(fault or [], faults_file)
    clock = Clock(speed, zone, skew)
    _serve(options, tickets, rules, port=port, clock=clock, latency=latency, ready_file=ready_file, quiet=quiet)


def _refuse_endless(given: Mapping[str, object]) -> None:
    """Infinity and NaN count as floats between any bounds; no clock can wait for them."""
    for name, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise typer.BadParameter("expected a number", param_hint=f"--{name.replace('_', '-')}")


def _templates(with_barcode: list[str], without: list[str], encoding_seconds: float) -> tuple[Template, ...]:
    from posthorn.sandbox.skycore import Template  # noqa: PLC0415 - see above

    drawn = [Template(mms_id, encoding_seconds=encoding_seconds) for mms_id in with_barcode or ["35674"]]
    return *drawn, *(Template(mms_id, has_barcode=False) for mms_id in without)


def _serve(
    options: SerwerSmsOptions,
    tickets: SkycoreOptions,
    rules: list[dict[str, Any] | str],
    *,
    port: int,
    clock: Clock,
    latency: float,
    ready_file: Path | None,
    quiet: bool,
) -> None:
    from posthorn.sandbox.faults import FaultError  # noqa: PLC0415 - see above
    from posthorn.sandbox.server import Sandbox  # noqa: PLC0415 - see above

    try:
        box = Sandbox(
            port,
            serwersms=options,
            skycore=tickets,
            faults=rules,
            speed=clock.speed,
            zone=clock.zone,
            skew_seconds=clock.skew_seconds,
            latency_seconds=latency,
        )
        asyncio.run(_run(box, ready_file, quiet=quiet))
    except FaultError as error:
        raise typer.BadParameter(str(error), param_hint="--fault") from error
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise typer.BadParameter(
            f"{plain(str(clock.zone))} is no zone; expected one such as Europe/London", param_hint="--zone"
        ) from error
    except OSError as error:
        raise typer.BadParameter(f"cannot listen on {port}: {error.strerror or error}", param_hint="--port") from error


def _rules(given: list[str], file: Path | None) -> list[dict[str, Any] | str]:
    """Rules of the file, then of the options."""
    try:
        listed = json.loads(_text(file)) if file else []
        own = [json.loads(rule) if rule.lstrip().startswith("{") else rule for rule in given]
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--fault or --faults-file") from error
    if not isinstance(listed, list):
        raise typer.BadParameter("expected a JSON list of rules", param_hint="--faults-file")
    return [*listed, *own]


def _text(file: Path) -> str:
    from posthorn.content.regularfile import opened  # noqa: PLC0415 - see above

    with opened(file, "--faults-file", "a file of JSON") as content:
        return content.read(_MOST_RULES_BYTES).decode()


async def _run(box: Sandbox, ready_file: Path | None, *, quiet: bool) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopped.set)
    async with box:
        if not quiet:
            _introduce(box)
        _announce(box.url, ready_file)
        await stopped.wait()
    _conclude(box)


def _announce(url: str, ready_file: Path | None) -> None:
    """Tell whoever waits for it that it listens."""
    if ready_file is not None:
        # Written aside and moved, so that nobody reads half a URL.
        draft = ready_file.with_name(ready_file.name + ".part")
        draft.write_text(url + "\n")
        draft.replace(ready_file)
    typer.echo(f"ready {url}")


def _introduce(box: Sandbox) -> None:
    from posthorn.sandbox.sources import SOURCES  # noqa: PLC0415 - see above

    typer.secho(_BANNER, fg=typer.colors.YELLOW, bold=True)
    typer.echo("\nTo use it:\n")
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
