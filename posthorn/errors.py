"""What can go wrong, in one tree. The class carries the decision, so no code outside a gateway asks which provider it was.

::

    PosthornError
    ├── InputError                 the operator's file, argument or row is wrong; nothing was sent
    │   └── FileChanged            while it was read: start again
    ├── Stopped                    this run sends nothing more, for a reason that no single request has
    │   ├── Halted                 too much went wrong: a person has to decide
    │   ├── Waits                  until a moment, which the ledger keeps: it goes on by itself
    │   ├── NotRunning             there is no run that could be helped
    │   └── MomentPassed           (an InputError, too) send_at has passed, and not all has left
    ├── LedgerError                the durable record refuses or cannot be reached
    │   ├── DeliveryChanged        same name, other content: what differs is said
    │   ├── DeliveryNotFound       no campaign or event of that name
    │   └── AlreadyRunning         another process sends this campaign right now
    │       └── NotMerged          and the file has news for it
    └── GatewayError               what the provider answered, or that it did not
        ├── TryAgain               not taken; the same request may be made again
        │   ├── Unreachable        no byte of the request left this machine
        │   └── SlowDown           the provider asks everyone to wait
        ├── RecipientRefused       this recipient only; the rest goes on
        ├── StopRun                not taken, and every further request would fail alike
        │   ├── CredentialsRefused
        │   ├── PermissionMissing
        │   ├── CreditExhausted
        │   ├── AccountBlocked
        │   ├── RequestRefused     content or configuration the provider will not have
        │   │   └── FileRefused    bytes of a file it made nothing of: another encoding may do
        │   ├── ClaimGone          the claim may be another process's by now: not one byte left
        │   └── HeldBack           its moment passed while it waited to leave: not one byte left
        └── OutcomeUnknown         it may have been taken: looked up, never simply sent again

Wrong settings are ``posthorn.settings.SettingsError``, outside the tree: they concern no delivery.
"""

from __future__ import annotations

from dataclasses import dataclass

_TOO_MANY_REQUESTS = 429


class PosthornError(Exception):
    """Anything Posthorn raises on purpose; ``str()`` is one sentence for the operator, without secrets or full numbers."""


class InputError(PosthornError):
    """A file, an argument or a row is wrong. Nothing was sent.

    ``field`` names what is wrong as the operator knows it (a key of the campaign file, an option); it opens the message.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class FileChanged(InputError):
    """A file was written to while it was read. Nothing was planned: start again when it is whole."""


class Stopped(PosthornError):
    """Nothing more is sent in this run, for a reason that no single request has."""


class Waits(Stopped):
    """Nothing more is sent before ``until`` (seconds since 1970); ``reason`` is one of ``posthorn.models.WaitsFor``."""

    def __init__(self, message: str, *, reason: str, until: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.until = until


class CapsUsedUp(Stopped):
    """A cap has no room for the next request. What is claimed already is within the cap."""


class Halted(Stopped):
    """Too much of what was sent went wrong; nothing more is sent until a person has decided."""


class NotRunning(Stopped):
    """Nobody runs the campaign that another process wanted to help send. Nothing was sent."""


class MomentPassed(Stopped, InputError):
    """A campaign's moment of dispatch passed before all of it had left. A person decides what becomes of the rest.

    The file is wrong by now, so `check` ends as for any wrong file; a send stops.
    """


class LedgerError(PosthornError):
    """The ledger refuses, or cannot be reached. Nothing was sent because of it."""


class DeliveryChanged(LedgerError):
    """The name is taken by a campaign with other content; the message lists each difference."""


class DeliveryNotFound(LedgerError):
    """No campaign or event of that name is in the ledger."""


class AlreadyRunning(LedgerError):
    """Another process holds this campaign; the message says since when and by whom."""


class NotMerged(AlreadyRunning):
    """Another process holds this campaign, so the news in the file was not merged."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a failed exchange left behind, for the attempt's record: never shown whole, it may hold phone numbers.

    ``trace`` names the last transport event seen (``none``, ``headers``, ``body``, ``answer``), ``status`` is the HTTP
    status or None, ``raw`` the first bytes of the answer.
    """

    trace: str = "none"
    status: int | None = None
    raw: bytes = b""


class GatewayError(PosthornError):
    """A provider refused, failed or did not answer.

    Attributes:
        code: the provider's own code as text (``"3103"``, ``"E715"``), or None if there was none.
        retryable: the same request may be made again, later.
        maybe_sent: the request may have been carried out all the same.
        stops_run: every further request of this run would fail alike.
        slows_all: every sender on the account should wait before the next request.
        retry_after_seconds: how long the provider asks us to wait, if it said so.
        evidence: what the exchange left behind.
    """

    retryable = False
    maybe_sent = False
    stops_run = False
    slows_all = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retry_after_seconds: float | None = None,
        evidence: Evidence | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_seconds = retry_after_seconds
        self.evidence = evidence or Evidence()


class TryAgain(GatewayError):
    """Surely not taken; the same request may be made again."""

    retryable = True


class Unreachable(TryAgain):
    """Nothing of the request left this machine: refused connection, name lookup, TLS, no free connection."""


class SlowDown(TryAgain):
    """The provider refused this request because there were too many; every sender on the account waits."""

    slows_all = True

    @property
    def is_undocumented(self) -> bool:
        """Whether it is a bare HTTP 429, which no provider's page mentions: its own records must agree before a repeat."""
        return self.evidence.status == _TOO_MANY_REQUESTS


class RecipientRefused(GatewayError):
    """This recipient is refused, whatever is tried. The others are not affected."""


class StopRun(GatewayError):
    """Surely not taken, and the cause concerns every further request: account, permission, content, configuration."""

    stops_run = True


class CredentialsRefused(StopRun):
    """Token, login or API key refused, or the address of this machine is not allowed."""


class PermissionMissing(StopRun):
    """The account may not do this."""


class CreditExhausted(StopRun):
    """The account's message limit or balance is used up."""


class AccountBlocked(StopRun):
    """The provider has locked the account or this machine's address."""


class RequestRefused(StopRun):
    """The request itself is refused (content, file, parameter): the same for every recipient."""


class FileRefused(RequestRefused):
    """The provider did not understand a file's bytes; in another encoding it may."""


class ClaimGone(StopRun):
    """The request was held back: its claim is no longer proven to be ours, so another process may have taken over."""


class HeldBack(StopRun):
    """The request was held back: its moment passed while it waited to leave. ``because`` is why the run stops with it."""

    def __init__(self, because: Stopped) -> None:
        super().__init__(f"held back: {because}")
        self.because = because


class GivenBack(GatewayError):
    """A claim is given back: nothing of its request was handed to the provider. Its chunk may be claimed again."""


class OutcomeUnknown(GatewayError):
    """The request may have been carried out. It is recorded as unknown and looked up, never simply repeated.

    ``stops_run`` and ``slows_all`` may be set per case: an unheard-of code stops the run, ``1010`` slows everyone.
    """

    maybe_sent = True

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retry_after_seconds: float | None = None,
        evidence: Evidence | None = None,
        stops_run: bool = False,
        slows_all: bool = False,
    ) -> None:
        super().__init__(message, code=code, retry_after_seconds=retry_after_seconds, evidence=evidence)
        self.stops_run = stops_run
        self.slows_all = slows_all
