"""Peers: how many of a worker's connections each address has, and which connection is evicted where that is too many.

A connection is a newcomer until its client is identified (`settle`): it may be silent, in the middle of its handshake,
or a WebSocket whose client has not sent its hello. An address may have `limits.per_address` newcomers, and no more
connections than the descriptors of the process allow less a part that is reserved for other addresses. Beyond that, the
next connection evicts the oldest newcomer of the address. A live client gets through, since it is a newcomer only for a
moment. Where the address has no other newcomer, the next connection itself is evicted once only the reserved part is
left; before that, it is accepted, and closed with 4004 if the address exceeds `limits.per_address`.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from workers.ip_addresses import network_of

RESERVED_PART: Final = 4  # a quarter of the descriptors is reserved for other addresses


class Newcomer(Protocol):
    """The transport of a connection: it stays the same from the accept to the end, whatever the connection becomes."""

    def get_protocol(self) -> Any:
        """What has the connection now, and drops it by `evict` because others need its place."""


class Peers:
    """Connections by client address; IPv6 clients by their network.

    `limit` is how many connections the process can have. The address "" (a unix socket, or a proxy whose client is not
    known yet) is not counted.
    """

    __slots__ = ("_evicted", "_networks", "_newcomers", "_per_address", "_prefix", "_totals", "share")

    def __init__(self, limit: int, *, per_address: int = 0, ipv6_prefix: int = 64) -> None:
        self.share = limit - max(1, limit // RESERVED_PART)
        self._per_address = per_address
        self._prefix = ipv6_prefix
        self._totals: dict[str, int] = {}
        self._newcomers: dict[str, dict[Newcomer, None]] = {}  # by network, oldest first
        self._networks: dict[Newcomer, str] = {}
        self._evicted: set[object] = set()  # evicted connections until they are closed

    def count(self, address: str) -> int:
        """How many connections the address has."""
        return self._totals.get(self._network(address), 0)

    def add(self, newcomer: Newcomer, address: str) -> Newcomer | None:
        """Count a new connection. Returns the connection to evict, which may be the new one, or None."""
        network = self._network(address) if ":" in address else address
        self._networks[newcomer] = network
        if not network:
            return None
        total = self._totals[network] = self._totals.get(network, 0) + 1
        waiting = self._newcomers.get(network)
        if waiting is None:
            waiting = self._newcomers[network] = {}
        waiting[newcomer] = None
        if total > self.share or (0 < self._per_address < total and len(waiting) > 1):
            oldest = next(iter(waiting))
            self.remove(oldest, address)
            self._evicted.add(oldest)
            return oldest
        return None

    def move(self, newcomer: Newcomer, address: str) -> Newcomer | None:
        """The client's address turned out to be another one. Returns the connection to evict, or None."""
        if newcomer in self._evicted or self._networks.get(newcomer) == self._network(address):
            return None
        self.remove(newcomer, "")
        return self.add(newcomer, address)

    def settle(self, newcomer: Newcomer) -> None:
        """The client of `newcomer` is identified."""
        network = self._networks.pop(newcomer, "")
        if network:
            self._forget(newcomer, network)

    def add_settled(self, address: str) -> None:
        """Count a connection from another process, where its client was identified."""
        if network := self._network(address):
            self._totals[network] = self._totals.get(network, 0) + 1

    def remove(self, connection: Newcomer, address: str) -> None:
        """Forget a closed connection; `address` is used where the connection is not a newcomer."""
        if connection in self._evicted:
            self._evicted.discard(connection)
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
