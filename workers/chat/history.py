"""Pages of history, and lists of the users in a room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol

from msgspec import Struct, field, to_builtins
from msgspec.json import Decoder

from workers.bus.port import MAX_OFFSET, Entry, Page
from workers.chat.rules import effects, replies
from workers.chat.rules.amendments import amended
from workers.chat.rules.entries import is_message, spliced
from workers.chat.rules.identity import Identity, Role
from workers.cluster.keys import MEMBERS_MOST
from workers.presence import PresentUsers

HISTORY_BYTES: Final = 262_144
Learn = Callable[[str, str], None]  # a user and the name
_SEVERAL: Final = 200  # entries that are read at once where the ones before held nothing that a client is shown
_ROUNDS: Final = 20  # pages that are read for one answer, where they hold nothing that a client is shown


class LogReader(Protocol):
    """The part of the bus that reads."""

    async def read(self, room: str, *, after: int, limit: int, max_bytes: int, messages_only: bool = False) -> Page: ...

    async def read_before(self, room: str, *, before: int, limit: int, max_bytes: int) -> Page: ...


class MessageSender(Struct):
    """The author of a message, under the name of that time."""

    user: str
    name: str


class _Said(Struct):
    sender: MessageSender = field(name="from")


_decode_said: Final = Decoder(_Said).decode


async def history(log: LogReader, asked: effects.ReadHistory, *, user: str, learn: Learn) -> effects.Reply:
    """Messages before or after an offset, as they now stand, oldest first. Raises BusError.

    Changes are applied to their messages, and not shown by themselves. `more` says that there are further messages in
    that direction. `learn` gets the author of each message.
    """
    forward = asked.after is not None
    shown: list[bytes] = []  # from the edge on
    edge = asked.after if asked.after is not None else (asked.before or MAX_OFFSET)
    size, full = 0, False
    page = None
    for turn in range(_ROUNDS):
        missing, left = asked.limit - len(shown), max(1, HISTORY_BYTES - size)
        if forward:
            page = await log.read(asked.room, after=edge, limit=missing, max_bytes=left, messages_only=True)
        else:
            several = max(missing, _SEVERAL) if turn else missing  # the last entries were changes: look further
            page = await log.read_before(asked.room, before=edge, limit=several, max_bytes=left)
        for entry in page.entries if forward else reversed(page.entries):
            if entry.form != "j" or not is_message(entry.payload):
                continue
            message = _shown(entry, page.state.epoch, user)
            # A small message may have been edited to a large one: what is sent counts.
            full = len(shown) == asked.limit or (bool(shown) and size + len(message) > HISTORY_BYTES)
            if full:
                break
            shown.append(message)
            size += len(message)
            sender = _decode_said(entry.payload).sender
            learn(sender.user, sender.name)
        if full or not page.more or not page.entries or len(shown) >= asked.limit or size > HISTORY_BYTES // 2:
            break
        edge = page.entries[-1].offset if forward else page.entries[0].offset
    assert page is not None
    messages, more = shown if forward else shown[::-1], full or page.more
    return effects.Reply(
        replies.history(asked.id, room=asked.room, epoch=page.state.epoch, messages=messages, more=more)
    )


def _shown(entry: Entry, epoch: str, user: str) -> bytes:
    key = entry.key if entry.author == user else ""
    payload = amended(entry.payload, entry.amendments) if entry.amendments else entry.payload
    return spliced(payload, epoch=epoch, offset=entry.offset, time=entry.time, key=key)


async def members(
    read: Callable[[str, int], Awaitable[PresentUsers]],
    asked: effects.ReadMembers,
    *,
    here: Callable[[], Iterable[Identity]],
    learn: Learn,
    role_of: Callable[[str], Role],
) -> effects.Reply:
    """The users in a room, with the roles of moderators and admins. Raises BusError.

    The store learns of a new user a moment later, so the users of this worker, `here`, are added where they are
    missing: a user is always in the list that the user asks for.
    """
    found = await read(asked.room, MEMBERS_MOST)
    for one in found.members:
        learn(one.user, one.name)
    people = {one.user: to_builtins(one) for one in found.members}
    count = found.count
    missing = [one for one in here() if one.user not in people] if not found.truncated else []
    connections = Counter(one.user for one in missing)
    people |= {one.user: {"user": one.user, "name": one.name, "connections": connections[one.user]} for one in missing}
    count += len(connections)
    members = [_with_role(one, role_of(one["user"])) for one in list(people.values())[:MEMBERS_MOST]]
    return effects.Reply(
        replies.members(asked.id, room=asked.room, members=members, count=count, truncated=count > len(members))
    )


def _with_role(member: dict[str, Any], role: Role) -> dict[str, Any]:
    return member if role is Role.USER else member | {"role": role.name.lower()}
