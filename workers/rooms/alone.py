"""Owns how a room with one LIVE member keeps it: every connected user has such a room, the inbox.

A dict with one entry takes 220 bytes; this takes 48, and has as much of a dict's ways as the rooms use.
"""

from __future__ import annotations

from collections.abc import Iterator

from workers.rooms.types import RoomMember, Transport


class Alone:
    """A member and its transport, or nobody yet. For a second member it has to become a dict: `with_another`."""

    __slots__ = ("_member", "_transport")

    def __init__(self) -> None:
        self._member: RoomMember | None = None
        self._transport: Transport | None = None

    def __len__(self) -> int:
        return self._member is not None

    def __contains__(self, member: object) -> bool:
        return member is not None and member is self._member

    def __iter__(self) -> Iterator[RoomMember]:
        if self._member is not None:
            yield self._member

    def values(self) -> tuple[Transport, ...]:
        return () if self._transport is None else (self._transport,)

    def __setitem__(self, member: RoomMember, transport: Transport) -> None:
        assert self._member is None or self._member is member
        self._member, self._transport = member, transport

    def pop(self, member: RoomMember, default: None = None) -> Transport | None:
        if member is not self._member:
            return default
        transport, self._member, self._transport = self._transport, None, None
        return transport

    def with_another(self, member: RoomMember, transport: Transport) -> Alone | dict[RoomMember, Transport]:
        """What keeps both."""
        if self._member is None or self._transport is None or self._member is member:
            self[member] = transport
            return self
        return {self._member: self._transport, member: transport}
