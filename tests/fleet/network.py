"""The network of a fleet: a namespace for each host, one for the store, one for the balancer, and links between them.

Every host has a link to the balancer and one to the store, and no other: each can be cut by itself, in silence, as a
cable that is pulled. The store has one address, which each host reaches over its own link. Clients live in our own
namespace and reach the balancer alone.
"""

from __future__ import annotations

import subprocess

from tests.chaos.namespaces import Namespace, Unavailable

STORE = "10.233.7.1"  # the store's address, on every link of the store's namespace
PORT = 8000  # of every host, and of the balancer


class Network:
    """The namespaces of `hosts` hosts. Raises Unavailable where they cannot be made; `close` takes all away."""

    def __init__(self, hosts: int) -> None:
        self._gate = Namespace("f", 230)  # the balancer's, with the link to ours
        self.balancer_address = self._gate.theirs
        self.balancer = self._gate.name
        self.store = f"{self.balancer}s"
        self.hosts = [f"{self.balancer}h{number}" for number in range(hosts)]
        try:
            self._make()
        except Unavailable:
            self.close()
            raise

    def _make(self) -> None:
        for name in (self.store, *self.hosts):
            _run("ip", "netns", "add", name)
        for name in (self.balancer, self.store, *self.hosts):
            _run("ip", "-n", name, "link", "set", "lo", "up")
        _run("ip", "-n", self.store, "addr", "add", f"{STORE}/32", "dev", "lo")
        for number, host in enumerate(self.hosts):
            self._link(self.balancer, host, f"f{number}", f"10.231.{number}")
            self._link(self.store, host, f"s{number}", f"10.232.{number}")
            _run("ip", "-n", host, "route", "add", f"{STORE}/32", "via", f"10.232.{number}.1")

    def _link(self, far: str, host: str, kind: str, prefix: str) -> None:
        """A link between two namespaces: `kind` is the name of both ends, the host's address ends in 2."""
        _run("ip", "-n", far, "link", "add", kind, "type", "veth", "peer", "name", kind, "netns", host)
        for name, last in ((far, 1), (host, 2)):
            _run("ip", "-n", name, "addr", "add", f"{prefix}.{last}/30", "dev", kind)
            _run("ip", "-n", name, "link", "set", kind, "up")

    def close(self) -> None:
        """Take the namespaces away; the links go with them."""
        for name in (self.store, *self.hosts):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        self._gate.close()

    def address(self, number: int) -> str:
        """Where the balancer reaches a host."""
        return f"10.231.{number}.2"

    def cut_from_store(self, number: int) -> None:
        """Nothing passes between a host and the store."""
        _run("ip", "-n", self.store, "link", "set", f"s{number}", "down")

    def cut_from_balancer(self, number: int) -> None:
        """Nothing passes between a host and the balancer."""
        _run("ip", "-n", self.balancer, "link", "set", f"f{number}", "down")

    def heal(self, number: int) -> None:
        """Take both cuts back."""
        _run("ip", "-n", self.store, "link", "set", f"s{number}", "up")
        _run("ip", "-n", self.balancer, "link", "set", f"f{number}", "up")


def inside(namespace: str) -> tuple[str, ...]:
    """What is put before a command that is to run in a namespace; the process stays the same."""
    return ("ip", "netns", "exec", namespace)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()}")
