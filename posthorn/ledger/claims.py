"""A claim: one chunk that one process may send, and the name of the lock that says whether that process lives."""

from __future__ import annotations

from dataclasses import dataclass

from posthorn.errors import LedgerError
from posthorn.models import Phone


class ClaimLost(LedgerError):
    """The claim is over: its outcome is recorded already, or the chunk has been claimed again since.

    What a late answer said is then kept in its attempt (outcome ``late``), because it may prove a second copy.
    """


@dataclass(frozen=True, slots=True)
class Claim:
    """One chunk, claimed: ``phones`` at ``positions`` are what its request must name, exactly.

    ``tickets`` holds each ticket's barcode and the attendee's other columns, if the chunk is an event's.
    """

    chunk_id: int
    epoch: int
    owner: str
    positions: tuple[int, ...]
    phones: tuple[Phone, ...]
    tickets: tuple[tuple[str, dict[str, str]], ...] = ()


def owner_key(owner: str) -> str:
    """The name of the lock that a sending process holds while it lives."""
    return f"owner-{owner}"
