"""`RemoteCluster`: reaches the connections of another Worker of the same program.

Every Worker of a program has rooms, users and counts of its own: the keys of the first one (of the chat, where it has
one) are the instance's, those of the others begin with the instance's name and their own. `Node` reaches the
connections of its own Worker, `RemoteCluster` those of another one, by the same scripts over the same connection to the
store.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.addressing import ALL_ROOM, inbox_of, scoped
from workers.bus import keys as bus_keys
from workers.bus.codec import pack_envelope, unpack_all_placed
from workers.bus.script import Argument, load_own, scripts_of
from workers.cluster import keys as presence_keys
from workers.node import control_room
from workers.payload import packed
from workers.registry import keys as registry_keys
from workers.room_options import retention

if TYPE_CHECKING:
    from chatmaster.settings import Settings
    from workers.bus.store_bus import StoreBus


class RemoteCluster:
    """The connections of another Worker of the program, reached from this process. See `workers.ports.Cluster`."""

    def __init__(self, bus: StoreBus, settings: Settings, scope: str) -> None:
        """`settings` are the instance's own; `scope` is what the other Worker's rooms are kept under."""
        self._bus = bus
        self._name = scoped(settings.master.name, scope)
        self._retention = retention(settings)
        self._key_ttl = settings.limits.key_ttl
        self._seed = secrets.token_hex(4)
        self._publish = self._bus.script(load_own("publish"))
        folder = Path(__file__).parents[1] / "presence"
        self._members, self._alive = map(self._bus.script, scripts_of(folder, "members", "alive"))
        (self._counts,) = map(self._bus.script, scripts_of(Path(registry_keys.__file__).parent, "counts"))

    async def broadcast(self, data: str | bytes, *, exclude: tuple[str, ...] = ()) -> None:
        await self._send(ALL_ROOM, data, exclude)

    async def send_to_room(self, room: str, data: str | bytes, *, exclude: tuple[str, ...] = ()) -> None:
        await self._send(room, data, exclude)

    async def send_to_user(self, user: str, data: str | bytes, *, exclude: tuple[str, ...] = ()) -> None:
        await self._send(inbox_of(user), data, exclude)

    async def send_to_connection(self, connection: str, data: str | bytes) -> None:
        await self._order(control_room.send_to(connection, data))

    async def kick(self, connection: str, *, reason: str = "") -> None:
        await self._order(control_room.KickConnection(connection, reason))

    async def is_online(self, user: str) -> bool:
        return await self._total(registry_keys.of_user(user)) > 0

    async def online(self) -> int:
        return await self._total(registry_keys.ALL)

    async def members(self, room: str) -> list[dict[str, Any]]:
        own = presence_keys.of_room(self._name, room)
        _, _, *fields = await self._bus.call_read(self._members, own, [presence_keys.MEMBERS_MOST])
        return [
            {"user": fields[at].decode(), "name": fields[at + 2].decode(), "connections": int(fields[at + 1])}
            for at in range(0, len(fields), 3)
        ]

    async def _send(self, room: str, data: str | bytes, exclude: tuple[str, ...]) -> None:
        payload, form = packed(data)
        await self._append(room, payload, form, ",".join(exclude))

    async def _order(self, order: control_room.SendTo | control_room.KickConnection) -> None:
        await self._append(control_room.room_of(order), control_room.encode(order), "t", "")

    async def _append(self, room: str, payload: bytes, form: str, exclude: str) -> None:
        shared = room if bus_keys.shares_channel(room) else ""
        envelope = pack_envelope(payload, form=form, exclude=exclude, room=shared)
        channel = bus_keys.channel(self._name, self._bus.database, room)
        args: list[Argument] = [channel, self._seed, *self._retention(room), self._key_ttl, envelope]
        reply = await self._bus.call(self._publish, bus_keys.of_log(self._name, room), args, again=False)
        (placed,) = unpack_all_placed(reply, 1)
        if isinstance(placed, Exception):
            raise placed

    async def _total(self, subject: str) -> int:
        counts = await self._bus.call_read(self._counts, [registry_keys.counts(self._name, subject)], [])
        alive = set(await self._bus.call_read(self._alive, presence_keys.of_incarnations(self._name), []))
        return sum(int(counts[at + 1]) for at in range(0, len(counts), 2) if counts[at] in alive)
