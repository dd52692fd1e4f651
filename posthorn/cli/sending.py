"""Send a campaign or an event from its file: one place for both kinds."""

from __future__ import annotations

from pathlib import Path

from posthorn.cli import decisions
from posthorn.cli.output import end, ending_early, following, new_ledger_note
from posthorn.models import Kind
from posthorn.process.terminal import say


def send(kind: Kind, file: Path, *, yes: bool, accept_missing: bool, late: bool = False, as_json: bool) -> None:
    """Check the file, get it approved if it needs that, run its flow here, and end with the delivery's status."""
    from posthorn.cli import runs
    from posthorn.settings import load_settings

    settings = load_settings()
    with runs.prefect_api(settings) as await_api:  # a server of our own starts while the rest is imported and checked
        from posthorn.delivery.deciding.approval import may_ask
        from posthorn.delivery.planning.check import examine
        from posthorn.delivery.planning.load import load_wish
        from posthorn.delivery.planning.merge import Consent
        from posthorn.delivery.planning.plan import refuse_if_running
        from posthorn.views.checked import announcement

        wish = load_wish(file, kind, settings)
        wish.gateway.check_credentials(settings)
        consent = Consent(accept_missing=accept_missing, late=late)
        note = new_ledger_note(settings.database_url)
        with ending_early(wish.name, test=wish.test, as_json=as_json):
            refuse_if_running(wish)
            for line in announcement(examine(wish, consent)):
                say(line)
            if may_ask(wish):
                decisions.have_approved(kind, file, wish.name, consent, yes=yes)
            say(f"{kind.noun} {wish.name}: starting{note}")
            await_api()
            with following(settings.database_url, wish.name, test=wish.test):
                runs.send(kind, file, accept_missing=accept_missing, late=late)
    end(kind, wish.name, test=wish.test, as_json=as_json)
