"""A network namespace with one link to ours, where the machine allows that: real packets that are lost for real.

Sockets made by `socket` live in the namespace, whatever the process does later; what they connect to is `ours`, an
address of this side of the link. A cut link loses packets in silence, as a pulled cable does: nobody gets a reset.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from pathlib import Path

CLONE_NEWNET = 0x40000000
NOWHERE = "02:00:00:00:00:01"  # a link address that nobody has


class Unavailable(Exception):
    """This machine does not allow it; says why."""


class Namespace:
    """One namespace and its link. Raises Unavailable where it cannot be made."""

    def __init__(self, kind: str, network: int) -> None:
        """`kind` is a letter or two; `network` a number up to 255 that makes its addresses its own."""
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise Unavailable("network namespaces take root and iproute2")
        self.name = f"cm{kind}{os.getpid()}"
        self.outer, self.inner = f"{self.name}o"[-15:], f"{self.name}i"[-15:]
        third = os.getpid() % 250
        self.ours, self.theirs = f"10.{network}.{third}.1", f"10.{network}.{third}.2"
        try:
            self._make()
        except Unavailable:
            self.close()
            raise

    def _make(self) -> None:
        _ip("netns", "add", self.name)
        _ip("link", "add", self.outer, "type", "veth", "peer", "name", self.inner, "netns", self.name)
        _ip("addr", "add", f"{self.ours}/30", "dev", self.outer)
        _ip("link", "set", self.outer, "up")
        _ip("-n", self.name, "addr", "add", f"{self.theirs}/30", "dev", self.inner)
        _ip("-n", self.name, "link", "set", self.inner, "up")

    def close(self) -> None:
        """Take it away; the link goes with it."""
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self.outer], capture_output=True, check=False)

    def socket(self) -> socket.socket:
        """A TCP socket of the namespace. This thread is in there for a moment."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/run/netns/{self.name}").open() as there, Path("/proc/thread-self/ns/net").open() as here:
            if libc.setns(there.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter the namespace {self.name}")
            try:
                return socket.socket()
            finally:
                if libc.setns(here.fileno(), CLONE_NEWNET):
                    os.abort()  # this thread would make all its sockets in there

    # ---- faults --------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """The cable is out."""
        _ip("link", "set", self.outer, "down")

    def lose_outgoing(self) -> None:
        """What is sent into the namespace does not arrive; the other direction works."""
        _ip("neigh", "replace", self.theirs, "lladdr", NOWHERE, "dev", self.outer, "nud", "permanent")

    def lose_incoming(self) -> None:
        """What comes out of the namespace does not arrive; the other direction works."""
        _ip("-n", self.name, "neigh", "replace", self.ours, "lladdr", NOWHERE, "dev", self.inner, "nud", "permanent")

    def delay(self, milliseconds: int) -> None:
        """Every packet towards the namespace waits. Raises Unavailable where the kernel has no netem."""
        _run("tc", "qdisc", "add", "dev", self.outer, "root", "netem", "delay", f"{milliseconds}ms")

    def heal(self) -> None:
        """Take every fault back."""
        _ip("link", "set", self.outer, "up")
        for command in (
            ("ip", "neigh", "del", self.theirs, "dev", self.outer),
            ("ip", "-n", self.name, "neigh", "del", self.ours, "dev", self.inner),
            ("tc", "qdisc", "del", "dev", self.outer, "root"),
        ):
            subprocess.run(command, capture_output=True, check=False)  # it may not be there


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Unavailable(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()}")
