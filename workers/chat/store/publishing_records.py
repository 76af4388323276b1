"""What publishing needs of the store beside the log: turns in slow rooms, and what two inboxes must agree on.

A direct message lies in two inboxes: which copies belong together, and what a key stands for in both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workers.bus.keys import digest, senders_of
from workers.bus.port import BusError
from workers.bus.script import Script, ScriptRunner
from workers.chat.store import keys


class SlowMode:
    """Grants turns, over all workers."""

    __slots__ = ("_calls", "_pace", "_server")

    def __init__(self, calls: ScriptRunner, server: str, *, pace: Script) -> None:
        self._calls, self._server, self._pace = calls, server, pace

    def take_turn(
        self, room: str, user: str, address: str, key: str, interval: float, done: Callable[[float | BusError], None]
    ) -> None:
        """Ask for the turn to speak; `done` gets the seconds to wait, 0 for none, or the error.

        All guests of an `address` share their turns, since each could come back as another; "" for a user with a
        token. `interval` is in seconds; the same `key` again is the same turn.
        """

        def answered(reply: Any) -> None:
            done(reply if isinstance(reply, BusError) else int(reply) / 1000)

        turn = keys.pace(self._server, room, user=user, address=address)
        retry = f"{user} {key}" if key else ""
        self._calls.send(self._pace, [turn], [retry, max(1, int(interval * 1000))], answered, again=bool(key))


class DirectPairs:
    """Binds keys to content, and copies to each other; `ttl` and `key_ttl` in seconds."""

    __slots__ = ("_calls", "_claim", "_history_size", "_key_ttl", "_pair", "_paired", "_server", "_ttl")

    def __init__(
        self,
        calls: ScriptRunner,
        server: str,
        ttl: int,
        key_ttl: int,
        history_size: int,
        *,
        claim: Script,
        pair: Script,
        paired: Script,
    ) -> None:
        self._calls, self._server, self._ttl, self._key_ttl = calls, server, ttl, key_ttl
        self._history_size = history_size
        self._claim, self._pair, self._paired = claim, pair, paired

    def claim(self, user: str, key: str, content: bytes, done: Callable[[bool | BusError], None]) -> None:
        """Bind a user's key to what is asked for; `done` gets False where the key is bound to something else.

        What is written to two inboxes needs a claim: the second would find out only when the first has been written.
        """

        def answered(reply: Any) -> None:
            done(reply if isinstance(reply, BusError) else bool(reply))

        own = keys.claim(self._server, user, key)
        self._calls.send(self._claim, [own], [digest(content), self._key_ttl], answered, again=True)

    def pair(self, inbox: str, offset: int, copy: int) -> None:
        """Note that the message at `offset` of an inbox has its copy at `copy` of the sender's; may be lost."""
        args = [offset, copy, self._history_size, self._ttl]
        own = [keys.copies(self._server, inbox), *senders_of(self._server, inbox)]
        self._calls.send(self._pair, own, args, _ignore, again=True)

    async def copy_of(self, inbox: str, offset: int) -> int | None:
        """The offset of the sender's copy of a message; None where the store does not know it. Raises BusError."""
        found = await self._calls.call(self._paired, [keys.copies(self._server, inbox)], [offset], again=True)
        return None if found is None else int(found)


def _ignore(reply: Any) -> None:
    """Without the pair a reaction reaches one side only."""
