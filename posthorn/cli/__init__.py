"""The `posthorn` command, one file per group. Commands import what they need when they run, so that `status` is quick."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

ALLOCATIONS_PER_COLLECTION = 200_000
"""The default makes a quick command slow: garbage collection scans everything that is imported."""


def main() -> None:
    """Run the command line. Exit codes: 0 accounted for, 1 unexpected, 2 input or settings, 3 attention, 4 stopped."""
    gc.set_threshold(ALLOCATIONS_PER_COLLECTION)
    from posthorn.process.crash import run_to_exit_code
    from posthorn.process.surroundings import lost_output, settle

    settle()
    try:
        code = run_to_exit_code(lambda: command(sys.argv[1:]))
    except KeyboardInterrupt:  # before a command could say what that means
        code = 130
    if (problem := lost_output()) is not None:
        print(f"posthorn: the output could not be written ({problem})", file=sys.stderr)
        code = code or 1
    gc.freeze()  # or else Python looks through everything that was imported once more, before it ends
    sys.exit(code)


def command(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code. An error that an operator can cause is one sentence on standard error."""
    from posthorn.cli.app import app
    from posthorn.cli.interrupts import end_at_the_second_signal
    from posthorn.errors import (
        AlreadyRunning,
        DeliveryChanged,
        DeliveryNotFound,
        GatewayError,
        InputError,
        LedgerError,
        Stopped,
    )
    from posthorn.process.prefect_server import PrefectServerError
    from posthorn.process.surroundings import refusal
    from posthorn.process.terminal import fail
    from posthorn.settings import SettingsError

    if (problem := refusal(arguments)) is not None:
        return fail(SettingsError(problem), 2)
    end_at_the_second_signal()  # SIGTERM is like Ctrl-C: it stops what was started
    code = 0
    try:
        app(args=list(arguments))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except AlreadyRunning as error:
        code = fail(error, 0)  # another run does the work: nothing is wrong
    except (InputError, SettingsError, DeliveryChanged, DeliveryNotFound) as error:
        code = fail(error, 2)
    except Stopped as error:
        code = fail(error, 4)
    except GatewayError as error:
        code = fail(error, 4 if error.stops_run else 1)
    except (LedgerError, PrefectServerError) as error:
        code = fail(error, 1)
    return code
