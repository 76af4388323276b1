"""The data of a session: who acts, with which rights, in which rooms, and how it travels to another worker."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from msgspec import Struct

from workers.chat.rules import replies
from workers.chat.rules.context import Context
from workers.chat.rules.effects import Effects, LeaveRoom
from workers.chat.rules.identity import Identity, Presented
from workers.chat.rules.plain_say import PlainSay
from workers.rate_limit import TokenBucket

NOBODY: Final = Identity("", "")


class SessionPhase(IntEnum):
    """How far a session has come."""

    NEW = 0
    ADMITTING = 1
    OPEN = 2
    ENDED = 3


class SessionState(Struct, frozen=True, array_like=True):
    """A session as another worker receives it. Durations travel, not clock times."""

    identity: Presented
    rooms: tuple[str, ...]
    tokens: float
    tokens_age: float
    refused: int
    open: bool = True  # False: no hello has been accepted yet
    said_hello: bool = False  # a hello came, and was refused for the time being
    login: Presented | None = None  # whom the program's `on_handshake` named


class Actor:
    """Who makes a request: the user, the address, the rooms that are joined, and the budget for the work.

    The rules for admission, permissions and posting take an actor. They know nothing of the connection's life.
    """

    __slots__ = ("_bucket", "address", "context", "identity", "plain_say", "rooms")

    @property
    def login(self) -> Presented | None:
        """Whom the program's `on_handshake` named, if anybody: the hello is of that user."""
        return None

    def __init__(self, context: Context, now: float, *, address: str = "") -> None:
        self.context = context
        self.address = address  # where the connection comes from, as sanctions and slow mode count it
        self.identity = NOBODY
        # A tuple, because most connections are in one or two rooms and a set costs 200 bytes more.
        self.rooms: tuple[str, ...] = ()
        self.plain_say: PlainSay | None = None  # for the room that was spoken to last
        self._bucket = TokenBucket(context.limits.burst, now)

    def charge(self, tokens: float) -> None:
        """Take tokens for the work that a request causes, beside the tokens for its size."""
        if self.context.limits.rate:
            self._bucket.charge(tokens)

    def forget(self, room: str) -> None:
        """Note that the connection is not in the room any more, or is about to read it from another position."""
        self.rooms = tuple(one for one in self.rooms if one != room)

    def expelled(self, room: str, reason: str) -> Effects:
        """Leave a room because of somebody else's order, or because a right is lost."""
        if room not in self.rooms:
            return ()
        self.forget(room)
        return (LeaveRoom(None, room, replies.left(None, room, reason=reason)),)
