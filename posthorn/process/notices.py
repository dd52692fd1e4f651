"""Telling people: one short message by e-mail, Slack or a webhook, to those whom the settings name. No phone number in it.

Addresses and secrets are only in the settings: Prefect never gets them.
"""

from __future__ import annotations

import json
import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from posthorn.errors import PosthornError
from posthorn.settings import NotifySettings

_SECONDS = 20.0


class NotTold(PosthornError):
    """Somebody could not be notified. The message says how, and why. It holds no secret."""


def ways(settings: NotifySettings) -> list[str]:
    """The ways in which people are notified: email, slack, webhook."""
    told = {"email": settings.smtp_url and settings.email_to, "slack": settings.slack_url, "webhook": settings.webhook_url}
    return [way for way, is_set in told.items() if is_set]


def tell_people(settings: NotifySettings, subject: str, text: str, *, only: str | None = None) -> list[str]:
    """Send it by every way that is set, or by one; returns the ways it went. If one fails, the others are still tried.

    Raises:
        NotTold: one of them failed.
    """
    send: dict[str, Callable[[NotifySettings, str, str], None]] = {"email": _email, "slack": _slack, "webhook": _webhook}
    told, problems = [], []
    for way in [only] if only else ways(settings):
        try:
            send[way](settings, subject, text)
            told.append(way)
        except (OSError, smtplib.SMTPException, ValueError, _Refused) as error:
            problems.append(f"{way}: {_words(error)}")
    if problems:
        raise NotTold("; ".join(problems) + (f" (notified: {', '.join(told)})" if told else ""))
    return told


def _email(settings: NotifySettings, subject: str, text: str) -> None:
    if settings.smtp_url is None or not settings.email_to:
        raise ValueError("POSTHORN_NOTIFY__SMTP_URL and POSTHORN_NOTIFY__EMAIL_TO must be set")
    parts = urlsplit(settings.smtp_url.get_secret_value())
    host, port = parts.hostname or "localhost", parts.port or (465 if parts.scheme == "smtps" else 587)
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, settings.email_from, settings.email_to
    message.set_content(text)
    context = ssl.create_default_context()
    opened = (
        smtplib.SMTP_SSL(host, port, timeout=_SECONDS, context=context)
        if parts.scheme == "smtps"
        else smtplib.SMTP(host, port, timeout=_SECONDS)
    )
    with opened as server:
        if parts.scheme != "smtps" and server.has_extn("starttls"):
            server.starttls(context=context)
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(message)


def _slack(settings: NotifySettings, subject: str, text: str) -> None:
    _post(settings.slack_url, "SLACK_URL", {"text": f"*{subject}*\n{text}"})


def _webhook(settings: NotifySettings, subject: str, text: str) -> None:
    _post(settings.webhook_url, "WEBHOOK_URL", {"subject": subject, "text": text})


class _Refused(Exception):
    """The other end did not take it."""


def _post(url: SecretStr | None, variable: str, content: dict[str, str]) -> None:
    import httpx  # imported only here: a command that tells nobody need not wait for it

    if url is None:
        raise ValueError(f"POSTHORN_NOTIFY__{variable} must be set")
    try:
        headers = {"Content-Type": "application/json"}
        answer = httpx.post(url.get_secret_value(), content=json.dumps(content), headers=headers, timeout=_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _Refused(type(error).__name__) from None  # its words may hold the address, which is a secret
    if not answer.is_success:
        raise _Refused(f"answered with HTTP {answer.status_code}")


def _words(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answered with {error.smtp_code}"
    return str(error) or type(error).__name__
