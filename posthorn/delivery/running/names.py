"""What this process is called: for people, and in the claims that it makes."""

from __future__ import annotations

import os
import re
import socket
import uuid


def process_name() -> str:
    """This process, for people: ``ops@host, process 4711``."""
    account = os.environ.get("LOGNAME") or os.environ.get("USER") or f"user {os.getuid()}"
    return f"{account}@{socket.gethostname()}, process {os.getpid()}"


def new_owner() -> str:
    """A name for this process's claims that no other process ever has."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()[:60])  # it stands in names of files, and in lines of words
    return f"{host}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
