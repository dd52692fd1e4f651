"""Run ``python …`` so that it ends with the process that started it (Linux): ``python bound.py PARENT_PID -m module …``.

It becomes that program and does nothing else. It imports nothing of Posthorn, to be quick.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel for a signal when the parent ends, and become the program."""
    parent, *args = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            sys.exit(1)  # it ended before it could be asked for
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it, and would hand that down
    os.execv(sys.executable, [sys.executable, *args])  # noqa: S606 - our own command


if __name__ == "__main__":
    main()
