"""Looking back: pages of history, and who is in a room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from msgspec import to_builtins

from workers.bus.port import MAX_OFFSET, Entry, Page
from workers.chat import effects as e
from workers.chat import replies
from workers.chat.identity import Identity
from workers.chat.messages import is_message, spliced
from workers.chat.overlay import amended
from workers.presence import Members

HISTORY_BYTES: Final = 262_144
MEMBERS_MOST: Final = 1000
_ROUNDS: Final = 20  # pages that are read for one answer, where they hold nothing but changes


class Log(Protocol):
    """The part of the bus that reads."""

    async def read(self, room: str, *, after: int, limit: int, max_bytes: int) -> Page: ...

    async def read_before(self, room: str, *, before: int, limit: int, max_bytes: int) -> Page: ...


async def history(log: Log, asked: e.ReadHistory, *, user: str) -> e.Reply:
    """Messages before or after an offset, as they now stand, oldest first. Raises BusError.

    Entries that change others are not shown: the messages show what they did. `more` says that there are others
    beyond in the direction asked for.
    """
    forward = asked.after is not None
    found: list[Entry] = []
    edge = asked.after if asked.after is not None else (asked.before or MAX_OFFSET)
    page = None
    for _ in range(_ROUNDS):
        missing, room_left = asked.limit - len(found), HISTORY_BYTES - sum(len(one.payload) for one in found)
        if forward:
            page = await log.read(asked.room, after=edge, limit=missing, max_bytes=room_left)
        else:
            page = await log.read_before(asked.room, before=edge, limit=missing, max_bytes=room_left)
        messages = [one for one in page.entries if one.form == "j" and is_message(one.payload)]
        found = [*found, *messages] if forward else [*messages, *found]
        if not page.more or not page.entries or len(found) >= asked.limit:
            break
        if found and sum(len(one.payload) for one in found) > HISTORY_BYTES // 2:
            break
        edge = page.entries[-1].offset if forward else page.entries[0].offset
    assert page is not None
    epoch = page.state.epoch
    shown = (_shown(one, epoch, user) for one in found)
    return e.Reply(replies.history(asked.id, room=asked.room, epoch=epoch, messages=shown, more=page.more))


def _shown(entry: Entry, epoch: str, user: str) -> bytes:
    key = entry.key if entry.author == user else ""
    payload = amended(entry.payload, entry.amendments) if entry.amendments else entry.payload
    return spliced(payload, epoch=epoch, offset=entry.offset, time=entry.time, key=key)


async def members(
    read: Callable[[str, int], Awaitable[Members]], asked: e.ReadMembers, *, here: Sequence[Identity]
) -> e.Reply:
    """Who is in a room. Raises BusError.

    The store learns of who comes a moment later, so this worker's own, `here`, are put in where they are missing:
    at least everyone finds themselves.
    """
    found = await read(asked.room, MEMBERS_MOST)
    people = {one.user: to_builtins(one) for one in found.members}
    count = found.count
    for identity in here if not found.truncated else ():
        if identity.user not in people:
            connections = sum(other.user == identity.user for other in here)
            people[identity.user] = {"user": identity.user, "name": identity.name, "connections": connections}
            count += 1
    members = list(people.values())[:MEMBERS_MOST]
    return e.Reply(
        replies.members(asked.id, room=asked.room, members=members, count=count, truncated=count > len(members))
    )
