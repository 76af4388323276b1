"""PlainSay: what is the same for every plain text that one session says to one room, found out once. Pure.

Whether a user may speak in a room, what the room demands and who the message is from depend on the identity, the rooms
that are joined, the room's options and the hooks of the application. The last two never change in a worker's life;
identity and rooms are immutable and replaced by others when anything of them changes. So a `PlainSay` is made where
the general way (`posting.say`) has found nothing against a text, and holds for as long as the session has the same
identity and rooms, object for object, and nobody is banned or muted: nothing has to tell it that it is over.

It saves time only: what it makes of a text is what the general way would make of it. What it is not sure of (a mention,
a blank text or one that may be too long, `data`, an answer to an earlier message) it leaves to the general way.
"""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from workers.chat.rules import entries
from workers.chat.rules.commands import Say
from workers.chat.rules.identity import Identity
from workers.chat.rules.names import is_blank

_BYTES: Final = 4  # of a character in UTF-8 at most


class PlainSay:
    """One session's plain texts for one room."""

    __slots__ = ("_head", "_identity", "_most", "_rooms", "room")

    def __init__(self, identity: Identity, rooms: tuple[str, ...], room: str, most: int) -> None:
        """`most`: bytes that a text may have. The identity may speak in the room, which is one of the joined ones."""
        self.room = room
        self._identity = identity
        self._rooms = rooms
        self._head = entries.text_head(room, entries.sender(identity.user, identity.name))
        self._most = most // _BYTES  # characters of which no more than `most` bytes can come

    def holds(self, identity: Identity, rooms: tuple[str, ...], room: str) -> bool:
        """Whether this is about that room, and everything is as it was when this was made."""
        return identity is self._identity and rooms is self._rooms and room == self.room

    def payload(self, command: Say) -> bytes | None:
        """The entry that the room's log gets; None: it takes the general way."""
        text = command.text
        if (
            text is UNSET
            or command.data is not UNSET
            or command.reply_to is not None
            or len(text) > self._most
            or entries.MENTION_SIGN in text
            or is_blank(text)
        ):
            return None
        return entries.text_of(self._head, text)
