"""Owns who has how many of a worker's connections, from the accept on, and who gives way where one has too many.

A connection is a newcomer until its client has come in (`settled`): it may be silent, half a handshake, or a WebSocket
that has not said who it is. One address may fill `limits.per_address` with newcomers, and what the descriptors of the
process allow but for a part that is kept for other addresses. Beyond, its oldest newcomer gives way to the next: who is
alive gets through, since it is a newcomer for a moment only. Where all of them have come in already, the next itself
gives way as soon as only the kept part is left; below that, `limits.per_address` is told to it in due form (4004).
"""

from __future__ import annotations

from typing import Final, Protocol

from workers.ip_addresses import network_of

KEPT_PART: Final = 4  # a quarter of the descriptors is kept for addresses that have less than the rest of them


class Newcomer(Protocol):
    """A connection whose client has not come in yet."""

    def evict(self) -> None:
        """Drop the connection: others need its place."""


class Peers:
    """Connections by the address that they come from; IPv6 clients by their network.

    `limit` is how many connections the process can have. An address of "" (a unix socket, or a proxy that has not said
    yet who its client is) is not counted.
    """

    __slots__ = ("_gave_way", "_networks", "_newcomers", "_per_address", "_prefix", "_totals", "share")

    def __init__(self, limit: int, *, per_address: int = 0, ipv6_prefix: int = 64) -> None:
        self.share = limit - max(1, limit // KEPT_PART)
        self._per_address = per_address
        self._prefix = ipv6_prefix
        self._totals: dict[str, int] = {}
        self._newcomers: dict[str, dict[Newcomer, None]] = {}  # by network, oldest first
        self._networks: dict[Newcomer, str] = {}
        self._gave_way: set[object] = set()  # until it is gone

    def count(self, address: str) -> int:
        """How many connections the address has."""
        return self._totals.get(self._network(address), 0)

    def add(self, newcomer: Newcomer, address: str) -> Newcomer | None:
        """A connection came. Returns the one that is to give way, which may be itself."""
        network = self._network(address)
        self._networks[newcomer] = network
        if not network:
            return None
        total = self._totals[network] = self._totals.get(network, 0) + 1
        waiting = self._newcomers.setdefault(network, {})
        waiting[newcomer] = None
        if total > self.share or (0 < self._per_address < total and len(waiting) > 1):
            oldest = next(iter(waiting))
            self.remove(oldest, address)
            self._gave_way.add(oldest)
            return oldest
        return None

    def replace(self, old: Newcomer, new: Newcomer, address: str) -> Newcomer | None:
        """A handshake became a WebSocket, whose client's address is known now. Returns what `add` does."""
        if old in self._gave_way:
            self._gave_way.discard(old)
            return new
        network = self._network(address)
        if self._networks.get(old) == network:  # nobody has come or gone
            del self._networks[old]
            self._networks[new] = network
            if network:
                waiting = self._newcomers[network]
                del waiting[old]
                waiting[new] = None
            return None
        self.remove(old, "")
        return self.add(new, address)

    def settle(self, newcomer: Newcomer) -> None:
        """Its client has come in."""
        network = self._networks.pop(newcomer, "")
        if network:
            self._forget(newcomer, network)

    def add_settled(self, address: str) -> None:
        """A connection came from another process, where its client had come in."""
        if network := self._network(address):
            self._totals[network] = self._totals.get(network, 0) + 1

    def remove(self, connection: Newcomer, address: str) -> None:
        """It is gone; `address` is that of one that has come in."""
        if connection in self._gave_way:
            self._gave_way.discard(connection)
            return
        network = self._networks.pop(connection, None)
        if network:
            self._forget(connection, network)
        elif network is None:
            network = self._network(address)
        if network:
            left = self._totals[network] - 1
            if left:
                self._totals[network] = left
            else:
                del self._totals[network]

    def _forget(self, newcomer: Newcomer, network: str) -> None:
        waiting = self._newcomers[network]
        del waiting[newcomer]
        if not waiting:
            del self._newcomers[network]

    def _network(self, address: str) -> str:
        return network_of(address, self._prefix) if ":" in address else address
