"""Counts to where a connection becomes a member of a room, for which the store was asked before. Pure.

Messages that came in between lie at or below the offset that the member is told, so that no `message` of theirs
follows: they count as unread, and what they mention is told, or nobody would ever be told. The store keeps a mention a
moment after its message, so that the mentions of the last messages before are looked for, too. What the store has, but
not yet the worker, follows as `message`, and is not counted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from workers.addressing import is_inbox
from workers.chat.rules.entries import ROOM_MENTION
from workers.chat.store.user_records import ReadPosition
from workers.rooms.log_item import Item

BEFORE: Final = 64  # entries before those that were counted last, in which mentions may not be kept yet
MENTIONS: Final = 50  # that are told of a user; as many of everybody, where there are more already


class _Message(Struct):
    """As much of a message as is looked at."""

    mentions: tuple[str, ...] = ()
    deleted: bool = False


_decode = msgspec.json.Decoder(_Message).decode


def first_of_interest(position: ReadPosition) -> int:
    """The offset after which `counted_to` needs the entries."""
    return max(position.read or 0, position.top - BEFORE)


def counted_to(position: ReadPosition, offset: int, items: Iterable[Item], user: str) -> ReadPosition:
    """The position as it is at `offset`; `items` are the room's last ones up to there."""
    unread = position.unread - sum(place > offset for place in position.newest)
    mentions = {place for place in position.mentions if place <= offset}
    latest = max(mentions, default=0)
    most = max(MENTIONS, len(mentions))
    for item in items:
        newer = item.offset > position.top
        if item.change is not None or item.author == user or not (newer or b'"mentions":' in item.frame):
            continue
        message = _decode(item.payload) if item.tail else _Message()
        if not message.deleted:
            unread += newer
            if item.offset <= latest:
                continue  # the store has them up to there
            if user in message.mentions or ROOM_MENTION in message.mentions:
                mentions.add(item.offset)
    return msgspec.structs.replace(position, unread=unread, mentions=tuple(sorted(mentions)[-most:]))


def mentions_of(room: str, position: ReadPosition | None) -> Sequence[int] | None:
    """Where a user is mentioned; in an inbox every message is for its user."""
    return None if position is None or is_inbox(room) else position.mentions
