"""The map of a cluster: which node has which shard, as nodes tell it and as they correct it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from chatmaster.store.layout import SHARDS, slot_of

Address = tuple[str, int]  # host and port


SHARD_OF_SLOT: Final = {slot_of(shard): shard for shard in range(SHARDS)}


class ClusterMap(Struct, frozen=True):
    """The owner of each shard (None: no node has it), and all nodes, replicas too."""

    owners: tuple[Address | None, ...]
    nodes: frozenset[Address]
    sharded: bool  # whether the nodes know sharded pub/sub


class Redirect(Struct, frozen=True):
    """A node's answer that another one has a slot, or (`ask`) a part of what is being moved out of it."""

    slot: int
    address: Address
    ask: bool


def map_of(reply: Sequence[Any], asked: Address, *, sharded: bool) -> ClusterMap:
    """The map in an answer to CLUSTER SLOTS of the node that was `asked`. Raises ValueError for another answer."""
    ranges: list[tuple[int, int, Address]] = []
    nodes: set[Address] = set()
    try:
        for start, stop, *servers in reply:
            addresses = [_address(server, asked) for server in servers]
            nodes.update(addresses)
            ranges.append((start, stop, addresses[0]))
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError("the node answers CLUSTER SLOTS in an unknown form") from error
    owners: list[Address | None] = [None] * SHARDS
    for slot, shard in SHARD_OF_SLOT.items():
        owners[shard] = next((owner for start, stop, owner in ranges if start <= slot <= stop), None)
    return ClusterMap(tuple(owners), frozenset(nodes), sharded)


def _address(server: Sequence[Any], asked: Address) -> Address:
    host = server[0].decode() if server[0] else ""
    if host == "?":  # names are preferred, and this node has none: its address is told beside
        told = server[3] if len(server) > 3 else []
        host = next((value.decode() for key, value in zip(told[::2], told[1::2], strict=False) if key == b"ip"), "")
    return (host or asked[0], int(server[1]))


def redirect_of(words: str, asked: Address) -> Redirect | None:
    """The redirection in the error reply of the node that was `asked`; None where the error is another one."""
    kind, _, rest = words.partition(" ")
    if kind not in ("MOVED", "ASK"):
        return None
    slot, _, place = rest.partition(" ")
    host, _, port = place.split(" ")[0].rpartition(":")
    try:
        return Redirect(int(slot), (asked[0] if host in ("", "?") else host, int(port)), kind == "ASK")
    except ValueError:
        return None
