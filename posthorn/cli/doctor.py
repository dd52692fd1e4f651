"""`posthorn doctor`: the settings with secrets masked, what works, and what to do about the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from posthorn.cli.options import Json
from posthorn.settings import Settings

if TYPE_CHECKING:
    from posthorn.gateways.descriptor import Descriptor


_WELL = {True: ("finished", "ok"), False: ("needs_attention", "TO DO")}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked. ``advice`` says what to do if it is not well."""

    what: str
    well: bool
    seen: str
    advice: str = ""


def doctor(
    as_json: Json = False,
) -> None:
    """Show the settings (secrets masked) and check credentials, ledger, gateways and Prefect.

    Sends no message. Exit code 0 when all is well, 2 when something has to be done first.

    \b
        posthorn doctor
        posthorn doctor --json
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    import orjson

    from posthorn.cli.colours import paint
    from posthorn.settings import load_settings, unknown_variables
    from posthorn.views.tables import table

    settings = load_settings()
    shown = _shown(settings)
    findings = [Finding("settings", False, sentence, "correct or remove it") for sentence in unknown_variables()]
    findings += list(_findings(settings))
    if as_json:
        listed = [{"what": one.what, "well": one.well, "seen": one.seen, "advice": one.advice} for one in findings]
        print(orjson.dumps({"settings": dict(shown), "findings": listed}, option=orjson.OPT_INDENT_2).decode())
    else:
        print(table(("setting", "value"), shown))
        rows = [(paint(*_WELL[one.well]), one.what, one.seen, one.advice) for one in findings]
        print(table(("", "what", "seen", "what to do"), rows, widest=(None, 60, 60, 60)))
    raise typer.Exit(0 if all(one.well for one in findings) else 2)


def _shown(settings: Settings) -> list[tuple[str, str]]:
    """Every variable with its value in a form that may be shown."""
    from pydantic import BaseModel, SecretStr

    from posthorn.ledger.store.engine import shown_url
    from posthorn.settings import variables

    def value_of(name: str) -> Any:
        value: Any = settings
        for part in name.removeprefix("POSTHORN_").lower().split("__"):
            value = getattr(value, part)
        return value

    def text_of(name: str, value: Any) -> str:
        if isinstance(value, (SecretStr, BaseModel)):
            return "(set)" if isinstance(value, SecretStr) and value.get_secret_value() else "(empty)"
        if name == "POSTHORN_DATABASE_URL":
            return shown_url(value)
        return "(not set)" if value is None else str(value)

    return [(name, text_of(name, value_of(name))) for name, _ in variables()]


def _findings(settings: Settings) -> Iterator[Finding]:
    yield _state_folder(settings)
    yield _ledger(settings)
    yield from _lookups(settings)
    yield _claim_marks(settings)
    yield from _gateways(settings)
    yield from _probes(settings)
    yield from _proxies(settings)
    yield _prefect(settings)


def _state_folder(settings: Settings) -> Finding:
    from posthorn.settings import SettingsError
    from posthorn.statefolder import check_writable

    try:
        check_writable(settings.state_dir)
    except SettingsError as error:
        return Finding("state folder", False, str(error), "correct POSTHORN_STATE_DIR, the folder's rights or the disk")
    return Finding("state folder", True, f"{settings.state_dir.absolute()} can be written")


def _proxies(settings: Settings) -> Iterator[Finding]:
    """The environment's proxies, used only for a remote Prefect server, and the proxy for providers."""
    from posthorn.process.prefect_server import configured_api
    from posthorn.process.proxies import UnusableProxy, names, settle_for

    if settings.proxy_url is not None:
        yield Finding("proxy", True, "providers are called through the proxy of POSTHORN_PROXY_URL; loopback never is")
    found, configured = names(), configured_api()
    try:
        settle_for(configured.url if configured else "http://127.0.0.1")
    except UnusableProxy as error:
        yield Finding("proxy", False, str(error), "correct or unset it")
        return
    if found:
        advice = "" if settings.proxy_url else "if this network blocks direct connections, set POSTHORN_PROXY_URL"
        yield Finding("proxy", True, f"{', '.join(found)}: not used for providers, and never for loopback", advice)


def _ledger(settings: Settings) -> Finding:
    from posthorn.errors import LedgerError
    from posthorn.ledger import deliveries
    from posthorn.ledger.store.engine import Ledger, ledger_place

    try:
        ledger = Ledger(settings.database_url)
    except LedgerError as error:
        return Finding("ledger", False, str(error), "check POSTHORN_DATABASE_URL, the folder's rights and the disk")
    try:
        where = ledger_place(settings.database_url)
        return Finding("ledger", True, f"{where} opens; campaigns and events in it: {len(deliveries.all_records(ledger))}")
    finally:
        ledger.close()


def _lookups(settings: Settings) -> Iterator[Finding]:
    """Campaigns whose unknown messages cannot be settled because the provider's listing differs from what was sent."""
    from posthorn.delivery.settling.reconcile import findings
    from posthorn.errors import LedgerError
    from posthorn.gateways.registry import for_kind
    from posthorn.models import Kind

    zones = " or ".join(f"{gateway.variables}__TIMEZONE" for gateway in for_kind(Kind.CAMPAIGN) if gateway.looks_up)
    advice = (
        f"clock off: correct this machine's clock and {zones}, or measure it with `posthorn account probe`; then `posthorn"
        " campaign reconcile`. Title differs: `posthorn campaign resolve`, then a title that the provider does not change"
    )
    try:
        for sentence in findings(settings=settings):
            yield Finding("lookups", False, sentence, advice)
    except LedgerError:
        return  # already reported about the ledger


def _claim_marks(settings: Settings) -> Finding:
    """Whether the claim marks can be kept, and kept apart from the ledger: a restore must not take them back, too."""
    from posthorn.errors import LedgerError
    from posthorn.ledger.marks import check_folder, marks_folder

    folder = marks_folder(settings.guard_dir)
    try:
        check_folder(folder)
    except LedgerError as error:
        return Finding("guard", False, str(error), "set POSTHORN_GUARD_DIR")
    if folder.resolve().is_relative_to(settings.state_dir.resolve()):
        seen = f"the claim marks in {folder} are beside the ledger: a restore would take both back"
        return Finding("guard", False, seen, "set POSTHORN_GUARD_DIR to a folder elsewhere, out of the ledger's backup")
    return Finding("guard", True, f"claim marks are in {folder}; leave them out of the ledger's backup")


def _gateways(settings: Settings) -> Iterator[Finding]:
    """The gateways that campaigns and events use by default, and the others that have credentials."""
    from posthorn.gateways.registry import for_kind
    from posthorn.models import Kind

    for kind, label in ((Kind.CAMPAIGN, "campaign gateway"), (Kind.EVENT, "ticket gateway")):
        default, *others = for_kind(kind)
        yield _gateway(default, label, settings)
        for other in others:
            if other.account(settings).has_credentials:
                yield _gateway(other, f"{label} {other.name}", settings)


def _gateway(gateway: Descriptor, what: str, settings: Settings) -> Finding:
    from posthorn.models import Kind

    if gateway.kind == Kind.CAMPAIGN:
        return asyncio.run(_campaign_gateway(gateway, what, settings))
    return _ticket_gateway(gateway, what, settings)


async def _campaign_gateway(descriptor: Descriptor, what: str, settings: Settings) -> Finding:
    from posthorn.errors import CredentialsRefused, GatewayError
    from posthorn.settings import SettingsError

    try:
        gateway = descriptor.open(settings)
    except SettingsError as error:
        return Finding(what, False, str(error), "set them in .env, or try without an account: posthorn demo")
    try:
        credit = await gateway.credit()
    except CredentialsRefused as error:
        return Finding(what, False, str(error), f"check {descriptor.credentials}")
    except GatewayError as error:
        return Finding(what, False, str(error), f"check the account and {descriptor.variables}__BASE_URL")
    finally:
        await gateway.aclose()
    if not credit.available:
        return Finding(what, False, "answers; the account has no MMS", "ask the provider to enable MMS")
    left = "without limit" if credit.left is None else f"{credit.left:,} left"
    return Finding(what, credit.left != 0, f"answers; MMS {left}", "" if credit.left != 0 else "top up the account")


def _ticket_gateway(gateway: Descriptor, what: str, settings: Settings) -> Finding:
    """Whether a key is set; asking the provider would need a template's id."""
    if gateway.account(settings).has_credentials:
        return Finding(what, True, "a key is set; `posthorn tickets send` will show whether it is valid")
    return Finding(what, True, f"no key ({gateway.credentials}): fine as long as no tickets are sent")


_OFF = "correct it, then probe again: send_at and hold_minutes are off by that much"
_ADVICE = {
    "clock": _OFF,
    "file_clock": _OFF,
    "hold": "do not rely on hold_minutes: nothing is sent again because of it, and `campaign cancel` may call nothing back",
    "test_free": "campaigns with test = true are refused here: they would go out",
    "sent_title": "lookups go by the title: choose one that the provider does not change",
}
"""What to do if a probe found that an assumption does not hold, by its subject."""


def _probes(settings: Settings) -> Iterator[Finding]:
    """What is known about each account with credentials, from a probe and from sending."""
    from posthorn.delivery.provider.probe import known_words
    from posthorn.errors import LedgerError
    from posthorn.gateways.registry import GATEWAYS
    from posthorn.models import Known, Verdict

    for gateway in GATEWAYS:
        if gateway.probe is None or not gateway.account(settings).has_credentials:
            continue
        try:
            known = known_words(settings, gateway)
        except LedgerError:
            return  # already reported about the ledger
        if not known:
            advice = f"posthorn account probe --gateway {gateway.name}"
            yield Finding(
                f"{gateway.title} account",
                True,
                "never probed: what the provider's pages leave open is only inferred",
                advice,
            )
        for one in known:
            is_off = one.subject in (Known.CLOCK, Known.FILE_CLOCK) and one.verdict == Verdict.OTHER
            advice = _ADVICE.get(one.subject, "") if one.verdict == Verdict.OTHER else ""
            day = datetime.fromtimestamp(one.found_at).astimezone()
            yield Finding(
                f"{gateway.title}: {one.subject}", not is_off, f"{one.verdict}: {one.seen} ({day:%Y-%m-%d})", advice
            )


def _prefect(settings: Settings) -> Finding:
    import httpx

    from posthorn.process.prefect_server import PrefectServerError, standing_api

    try:
        standing = standing_api(settings.state_dir)
    except PrefectServerError as error:
        return Finding("Prefect", False, str(error), "start the server, unset PREFECT_API_URL, or set its login")
    if standing is None:
        return Finding("Prefect", True, "no server: each run starts its own; `make serve` gives you a UI and schedules")
    url = standing.url
    try:
        with httpx.Client(base_url=url, timeout=5, headers=standing.headers(), trust_env=not standing.is_ours) as api:
            if not api.get("/health").is_success:
                return Finding("Prefect", False, f"{url} reports a problem", "look at its log")
            deployed = api.post("/deployments/count", json={"deployments": {"tags": {"all_": ["posthorn"]}}}).json()
            workers = api.post("/work_pools/posthorn/workers/filter", json={})
    except (httpx.HTTPError, httpx.InvalidURL, ImportError, ValueError) as error:
        return Finding("Prefect", False, f"{url}: {error}", "start the server, or unset PREFECT_API_URL")
    if not deployed:
        return Finding("Prefect", True, f"{url} answers; nothing of Posthorn is deployed there (`make deploy`)")
    online = sum(one["status"] == "ONLINE" for one in workers.json()) if workers.is_success else 0
    said = f"{url} answers; {deployed} deployments, {online} workers online"
    return Finding("Prefect", online > 0, said, "" if online else "prefect worker start --pool posthorn --type process")
