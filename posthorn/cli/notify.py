"""`posthorn notify …`: who is notified when a delivery needs a person, and a test message."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from posthorn.process.terminal import say

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_VARIABLES = {
    "email": "POSTHORN_NOTIFY__SMTP_URL=smtp://user:password@mail.example.com:587\nPOSTHORN_NOTIFY__EMAIL_TO=ops@example.com",
    "slack": "POSTHORN_NOTIFY__SLACK_URL=https://hooks.slack.com/services/…",
    "webhook": "POSTHORN_NOTIFY__WEBHOOK_URL=https://example.com/hook",
}


@app.callback()
def notify() -> None:
    """Notify people when a delivery needs attention, stops, waits for approval, or has nearly used up its budget."""


@app.command(short_help="Test one channel, and switch the automation on.")
def setup(
    way: Annotated[Literal["email", "slack", "webhook"], typer.Argument(help="How people are notified.")],
) -> None:
    """Send one test message that way, and create the automation for the real ones on the configured server.

    Addresses and secrets stay in the settings (.env), never in Prefect. Exit code 2 if a variable is missing; the lines for
    .env are printed. Exit code 3 if the test message was not accepted.

    \b
        posthorn notify setup email
        posthorn notify setup slack
        posthorn notify setup webhook
    """  # noqa: D301 - backslash-b is Click's mark for "keep these lines as they are"
    from posthorn.cli import runs
    from posthorn.errors import InputError
    from posthorn.process.notices import NotTold, tell_people, ways
    from posthorn.settings import load_settings

    settings = load_settings()
    if way not in ways(settings.notify):
        raise InputError(way, f"it is not set up; put this into .env, with your own values:\n{_VARIABLES[way]}")
    try:
        tell_people(settings.notify, "Posthorn: a test", "If you read this, Posthorn can notify you.", only=way)
    except NotTold as error:
        say(f"the test message was not accepted: {error}")
        raise typer.Exit(3) from None
    say(f"a test message went out by {way}")
    say(runs.switch_notices_on(settings))
