"""The balancer of a fleet: HAProxy, with the configuration that etc/doc/hosts.md shows, in a namespace of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from chatmaster.runtime.fork import die_with_parent
from tests.fleet.network import PORT, inside
from tests.support.server import ROOT

DOCUMENT = ROOT / "etc" / "doc" / "hosts.md"


def configuration(listen: str, hosts: dict[str, str]) -> str:
    """The document's configuration, with other addresses: of the balancer, and of the hosts by name."""
    found = re.search(r"```haproxy\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None, f"{DOCUMENT} has no configuration of HAProxy"
    lines = [line for line in found[1].splitlines() if not re.match(r"\s+server ", line)]
    text = "\n".join(lines).rstrip().replace("bind :8000", f"bind {listen}:{PORT}")
    return "\n".join([text, *(f"    server {name} {address}:{PORT}" for name, address in hosts.items()), ""])


class Balancer:
    """One HAProxy."""

    def __init__(self, folder: Path, namespace: str, listen: str, hosts: dict[str, str]) -> None:
        folder.mkdir()
        self._file = folder / "haproxy.cfg"
        self._file.write_text(configuration(listen, hosts))
        self._log = folder / "log"
        self._namespace = namespace
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it in the foreground."""
        program = shutil.which("haproxy")
        assert program is not None
        parent = os.getpid()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*inside(self._namespace), program, "-db", "-f", str(self._file)],
                stdout=log,
                stderr=log,
                preexec_fn=lambda: die_with_parent(signal.SIGKILL, parent),
            )

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
