"""The `posthorn` command, one file per group. Commands import what they need when they run, so that `status` is quick."""

from __future__ import annotations

import gc
import sys

_ALLOCATIONS_PER_COLLECTION = 200_000


def main() -> None:
    """Run the command line. Exit codes: 0 accounted for, 1 unexpected, 2 input or settings, 3 attention, 4 stopped."""
    gc.set_threshold(
        _ALLOCATIONS_PER_COLLECTION
    )  # the default makes a quick command slow: it looks through what is imported
    from posthorn.cli.app import app  # noqa: PLC0415
    from posthorn.cli.interrupts import end_at_the_second_signal  # noqa: PLC0415
    from posthorn.cli.output import fail  # noqa: PLC0415
    from posthorn.cli.prefect_server import PrefectServerError  # noqa: PLC0415
    from posthorn.errors import AlreadyRunning, CampaignChanged, CampaignNotFound, GatewayError, InputError, LedgerError  # noqa: PLC0415
    from posthorn.settings import SettingsError  # noqa: PLC0415

    end_at_the_second_signal()  # SIGTERM is like Ctrl-C: what was started is stopped
    try:
        app()
    except AlreadyRunning as error:
        fail(error, 0)  # another run does the work: nothing is wrong
    except (InputError, SettingsError, CampaignChanged, CampaignNotFound) as error:
        sys.exit(fail(error, 2))
    except GatewayError as error:
        sys.exit(fail(error, 4 if error.stops_run else 1))
    except (LedgerError, PrefectServerError) as error:
        sys.exit(fail(error, 1))
