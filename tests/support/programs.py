"""The server programs on this machine: the embedded store's, those on PATH, and those of TEST_SERVERS.

The variable has paths, with colons between, of servers of further versions.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from chatmaster.store.binary import StoreBinary, ask_version, find_program

VARIABLE = "TEST_SERVERS"


def servers() -> list[StoreBinary]:
    """Each version once."""
    named = [Path(one) for one in os.environ.get(VARIABLE, "").split(":") if one]
    on_path = [Path(one) for one in map(shutil.which, ("valkey-server", "redis-server")) if one]
    found = {str(one): one for path in (*on_path, *named) if (one := ask_version(path)) is not None}
    return list({str(find_program()): find_program(), **found}.values())


def has_tls() -> bool:
    """Whether there is a redis-server on PATH that knows TLS."""
    program = shutil.which("redis-server")
    if program is None:
        return False
    # It refuses to start in any case: for the port, or for what it does not know.
    tried = subprocess.run([program, "--port", "0", "--tls-port", "1"], capture_output=True, text=True, timeout=10)
    return "TLS support" not in tried.stdout and "Bad directive" not in tried.stdout + tried.stderr
