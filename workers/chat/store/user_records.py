"""What the store knows of a user in a room: how far the user has read, who was mentioned since, and the user's name;
and the browsers of a user that want to be told by Web Push.

Positions outlive the messages, as the room's own position does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from workers.addressing import inbox_of, is_guest
from workers.bus.keys import of_log
from workers.bus.port import BusError, Placed
from workers.bus.script import Argument, Script, ScriptRunner
from workers.chat.store import keys
from workers.push.subscription import PushSubscription

MOST_BROWSERS: Final = 5  # browsers of a user; the oldest makes room
PUSH_TTL: Final = 30 * 86_400  # seconds without a visit of the page
NOTES: Final = 10  # notes to a user in a NOTES_PERIOD
NOTES_PERIOD: Final = 60  # seconds

_decode_subscription: Final = msgspec.json.Decoder(PushSubscription).decode


class ReadPosition(Struct, frozen=True):
    """How far a user has read in a room: the offset, if one was ever given, and the messages of others since."""

    read: int | None
    unread: int
    mentions: tuple[int, ...] = ()  # offsets of unread messages that mention the user or everybody, in order
    name: str = ""  # in the inbox: what the user wants to be called
    log: str = ""  # the log's identity, with which its epochs begin; "": there was no log
    top: int = 0  # of the log, when this was counted
    newest: tuple[int, ...] = ()  # offsets of the last that count as unread, the latest first


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
        offset, unread, name, mentions, log, top, newest = await self._calls.call(
            self._look, self._keys(room), args, again=True
        )
        places = tuple(int(place) for place in mentions.split())
        read = None if int(offset) < 0 else int(offset)
        return ReadPosition(
            read, int(unread), places, name.decode(), log.decode(), int(top), tuple(map(int, newest.split()))
        )

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


class PushRecords:
    """Keeps subscriptions, over all workers; those of guests for `guest_ttl` seconds."""

    __slots__ = ("_calls", "_forget", "_guest_ttl", "_server", "_subscribe", "_take")

    def __init__(
        self, calls: ScriptRunner, server: str, guest_ttl: int, *, subscribe: Script, take: Script, forget: Script
    ) -> None:
        self._calls, self._server, self._guest_ttl = calls, server, guest_ttl
        self._subscribe, self._take, self._forget = subscribe, take, forget

    async def keep(self, user: str, subscription: PushSubscription) -> None:
        """Keep a subscription, in place of an earlier one of the same endpoint. Raises BusError."""
        value = b"%d " % int(time.time() * 1000) + msgspec.json.encode(subscription)
        ttl = min(PUSH_TTL, self._guest_ttl) if is_guest(user) else PUSH_TTL
        args: list[Argument] = [subscription.name, value, MOST_BROWSERS, ttl]
        await self._calls.call(self._subscribe, [keys.push(self._server, user)], args, again=True)

    async def take(self, user: str) -> list[PushSubscription]:
        """The subscriptions that may be told something now; none where the user was told too much. Raises BusError."""
        names = [keys.push(self._server, user), keys.push_rate(self._server, user)]
        found = await self._calls.call(self._take, names, [NOTES, NOTES_PERIOD], again=True)
        return [_decode_subscription(value.partition(b" ")[2]) for value in found]

    async def forget(self, user: str, name: str) -> None:
        """Remove a subscription by its name. Raises BusError."""
        await self._calls.call(self._forget, [keys.push(self._server, user)], [name], again=True)


def _ignore(reply: Any) -> None:
    """A lost name is chosen again with the next hello; see `mention` for the other."""
