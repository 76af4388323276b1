"""What the store knows of a user in a room: how far the user has read, who was mentioned since, and the user's name.

Positions outlive the messages, as the room's own position does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from workers.addressing import inbox_of, is_guest
from workers.bus.keys import of_log
from workers.bus.port import BusError, Placed
from workers.bus.script import Argument, Script, ScriptRunner
from workers.chat.store import keys


class ReadPosition(Struct, frozen=True):
    """How far a user has read in a room: the offset, if one was ever given, and the messages of others since."""

    read: int | None
    unread: int
    mentions: tuple[int, ...] = ()  # offsets of unread messages that mention the user or everybody, in order
    name: str = ""  # in the inbox: what the user wants to be called


class ReadPositions:
    """Reads and moves read positions, and keeps mentions until they are read.

    `ttl` in seconds; a guest's position is kept for `guest_ttl`, and twice as long at most.
    """

    __slots__ = ("_calls", "_guest_ttl", "_look", "_mark", "_mention", "_server", "_ttl")

    def __init__(
        self, calls: ScriptRunner, server: str, ttl: int, guest_ttl: int, *, look: Script, mark: Script, mention: Script
    ) -> None:
        self._calls, self._server, self._ttl, self._guest_ttl = calls, server, ttl, guest_ttl
        self._look, self._mark, self._mention = look, mark, mention

    async def read(self, room: str, user: str) -> ReadPosition:
        """A user's position in a room. Raises BusError."""
        args: list[Argument] = [user, int(is_guest(user))]
        offset, unread, name, mentions = await self._calls.call(self._look, self._keys(room), args, again=True)
        places = tuple(int(place) for place in mentions.split())
        return ReadPosition(None if int(offset) < 0 else int(offset), int(unread), places, name.decode())

    def move(self, room: str, user: str, offset: int, moved: Callable[[int], None]) -> None:
        """Keep a position; `moved` gets the position only where it went forward.

        A failure is ignored: the client sends its position again with the next message it reads.
        """

        def done(reply: Any) -> None:
            if not isinstance(reply, BusError) and reply[1]:
                moved(int(reply[0]))

        args: list[Argument] = [user, offset, self._ttl, self._guest_ttl if is_guest(user) else ""]
        self._calls.send(self._mark, self._keys(room), args, done, again=True)

    def mention(self, room: str, offset: int, users: Sequence[str]) -> None:
        """Keep that a message mentions users, or everybody (`@room`).

        A failure is ignored: whoever is connected has the message, and whoever comes later counts it as unread.
        """
        args: list[Argument] = [offset, self._ttl, *users]
        meta = of_log(self._server, room)[0]
        self._calls.send(self._mention, [meta, keys.mentions(self._server, room)], args, _ignore, again=True)

    def _keys(self, room: str) -> list[str]:
        server = self._server
        own = [*of_log(server, room), keys.marks(server, room), keys.mentions(server, room)]
        return own + keys.guest_marks(server, room)


class UserNames:
    """Writes the names that users chose; `ReadPositions.read` of the inbox returns them.

    They are kept for `ttl` seconds, those of guests for `guest_ttl`.
    """

    __slots__ = ("_call", "_calls", "_guest_ttl", "_server", "_ttl")

    def __init__(self, calls: ScriptRunner, server: str, ttl: int, guest_ttl: int, *, call: Script) -> None:
        self._calls, self._server, self._call = calls, server, call
        self._ttl, self._guest_ttl = ttl, guest_ttl

    async def write(self, user: str, name: str, at: Placed) -> None:
        """Keep a name that was ordered at that place of the log of names. Raises BusError."""
        args: list[Argument] = [at.time, at.offset, name, self._ttl_of(user)]
        await self._calls.call(self._call, [self._key(user)], args, again=True)

    def write_first(self, user: str, name: str) -> None:
        """Keep the first name of a new user, without an order and without waiting; the write may be lost."""
        self._calls.send(self._call, [self._key(user)], [0, 0, name, self._ttl_of(user)], _ignore, again=True)

    def _ttl_of(self, user: str) -> int:
        return self._guest_ttl if is_guest(user) else self._ttl

    def _key(self, user: str) -> str:
        return keys.marks(self._server, inbox_of(user))


def _ignore(reply: Any) -> None:
    """A lost name is chosen again with the next hello; see `mention` for the other."""
