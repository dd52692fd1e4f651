"""The named sets of message states of ``posthorn.models``, as SQL lists them: ``state IN ({states.TAKEN})``."""

from __future__ import annotations

from collections.abc import Sequence

from posthorn.models import (
    MAY_BE_TAKEN_STATES,
    REPORTABLE_STATES,
    TAKEN_STATES,
    UNREPORTED_STATES,
    UNSETTLED_STATES,
    MessageState,
)


def _listed(states: Sequence[MessageState]) -> str:
    return ", ".join(str(int(state)) for state in states)


UNREPORTED = _listed(UNREPORTED_STATES)
TAKEN = _listed(TAKEN_STATES)
MAY_BE_TAKEN = _listed(MAY_BE_TAKEN_STATES)
REPORTABLE = _listed(REPORTABLE_STATES)
UNSETTLED = _listed(UNSETTLED_STATES)
