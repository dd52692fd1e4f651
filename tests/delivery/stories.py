"""How random stories of a delivery are run, whatever it is: a few short ones in each test run, more on demand."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from posthorn.ledger import planning
from posthorn.ledger.store.engine import open_ledger
from posthorn.settings import Settings
from tests.ledger.ledgers import everything_adds_up


def tell(story: type[RuleBasedStateMachine]) -> None:
    """Run so many of them as POSTHORN_TEST_STORIES says."""
    run_state_machine_as_test(
        story,
        settings=settings(
            max_examples=int(os.environ.get("POSTHORN_TEST_STORIES", "4")),
            stateful_step_count=15,
            deadline=None,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


def ledger_adds_up(of: Settings) -> None:
    """Counters equal a count, totals equal the input, once what a merge staged that died or was refused is swept."""
    with open_ledger(of) as ledger:
        planning.forget_unfinished(ledger, begun_before=0)
        everything_adds_up(ledger)


def dies(*_: object) -> None:
    """What a kill looks like to whoever waits for an answer."""
    raise KeyboardInterrupt
