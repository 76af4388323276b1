"""DirectMessages: a direct message lies in two inboxes, and what changes one copy changes the other as well.

The sender's copy names the offset of the receiver's (`peer`). The other way round the store is asked, since the
receiver's copy was written first. The other side's change comes first, under the same key, so that a retry finishes
both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from workers.addressing import inbox_of, user_of_inbox
from workers.bus.port import BusError, Change, KeyConflict, NoTarget, Placed, Position
from workers.chat.publisher import MessagePublisher
from workers.chat.room_presence import RoomPresence
from workers.chat.rules import replies
from workers.chat.rules.effects import AmendMessage, Effects, PublishDirect, Reply, TellRead
from workers.chat.rules.request_error import RequestError
from workers.chat.services import ChatServices
from workers.rooms.recovery import HistoryReset, judge
from workers.tasks import answer_of

COPY_WAITS: Final = (0.02, 0.1, 0.2)  # seconds between looks for the sender's copy of a message that has just arrived


class _Letter(Struct):
    """The members of a direct message that matter here."""

    sender: dict[str, Any] = msgspec.field(name="from", default_factory=dict)
    to: str = ""
    peer: int = 0


_decode = msgspec.json.Decoder(_Letter).decode


def with_peer(payload: bytes, offset: int) -> bytes:
    """The sender's copy of a message that lies at `offset` of the receiver's inbox."""
    return payload[:-1] + b',"peer":%d}' % offset


def with_reply(payload: bytes, offset: int) -> bytes:
    """A message that answers the one at `offset` of the inbox it goes to."""
    return payload[:-1] + b',"reply_to":%d}' % offset


class DirectMessages:
    """Changes direct messages on both sides."""

    def __init__(self, services: ChatServices, publisher: MessagePublisher, room_presence: RoomPresence) -> None:
        self._bus = services.bus
        self._pairs = services.store.direct_pairs
        self._publisher = publisher
        self._room_presence = room_presence

    async def amend(self, user: str, amend: AmendMessage) -> Effects:
        """Carry out a change in the user's own inbox, and in the other one. Raises RequestError, BusError."""
        placed = await self.change(user, amend)
        answer = replies.ack(
            amend.id, room=amend.room, epoch=placed.epoch, offset=placed.offset, duplicate=placed.duplicate
        )
        return (Reply(answer),)

    async def change(self, author: str, amend: AmendMessage) -> Placed:
        """Carry out a change by `author` in an inbox, and in the other one. Raises RequestError, BusError."""
        if amend.key:
            await self._claim(author, amend)
        other = await self._other_side(author, amend)
        if other is not None:
            try:
                await self._append(author, other, announce=False)
            except NoTarget:
                pass  # trimmed there, or deleted by a try before: then this side follows
        return await self._append(author, amend)

    async def answering(self, user: str, direct: PublishDirect) -> PublishDirect:
        """A message that answers another, with the other's place in the receiver's inbox, too, where it is known there.

        Raises RequestError where it is none of their messages, BusError.
        """
        answered = direct.reply_to
        if answered is None:
            return direct
        letter = await self._letter(user, answered, field="reply_to")
        sender = letter.sender.get("user", "")
        if direct.to != (letter.to if sender == user else sender):
            raise RequestError("not_found", "there is no such message with this user", field="reply_to")
        place = letter.peer if sender == user else await self._copy_of(inbox_of(user), answered.offset)
        payload = with_reply(direct.payload, place) if place else direct.payload
        own = with_reply(direct.own_payload, answered.offset)
        return msgspec.structs.replace(direct, payload=payload, own_payload=own, reply_to=None)

    async def tell_read(self, user: str, read: TellRead) -> Effects:
        """Tell the author of a read message, by its offset in the author's inbox. Raises RequestError, BusError."""
        letter = await self._letter(user, Position("", read.offset), field="offset")
        if letter.sender.get("user", "") == read.user:
            copy = await self._copy_of(inbox_of(user), read.offset)
            if copy is not None:
                self._room_presence.notify(inbox_of(read.user), replies.read(inbox_of(read.user), user, copy))
        return ()

    async def _copy_of(self, inbox: str, offset: int) -> int | None:
        """The offset of the sender's copy, which is noted a moment after the message arrived. Raises BusError."""
        for wait in COPY_WAITS:
            copy = await self._pairs.copy_of(inbox, offset)
            if copy is not None:
                return copy
            await asyncio.sleep(wait)
        return None

    async def _letter(self, user: str, at: Position, *, field: str) -> _Letter:
        """A message of a user's inbox. Raises RequestError about `field`, BusError."""
        page = await self._bus.read(inbox_of(user), after=at.offset - 1, limit=1, max_bytes=1, messages_only=True)
        entry = next((one for one in page.entries if one.offset == at.offset), None)
        if entry is None or (at.epoch and isinstance(judge(at, page.state), HistoryReset)):
            raise RequestError("not_found", "there is no such message any more", field=field)
        return _decode(entry.payload)

    async def _claim(self, user: str, amend: AmendMessage) -> None:
        def claim(done: Callable[[bool | BusError], None]) -> None:
            self._pairs.claim(user, amend.key, amend.content, done)

        if not await answer_of(claim):
            raise KeyConflict

    async def _other_side(self, author: str, amend: AmendMessage) -> AmendMessage | None:
        owner, target = user_of_inbox(amend.room), amend.change.target
        letter = await self._letter(owner, Position(amend.change.epoch, target), field="offset")
        sender = letter.sender.get("user", "")
        if sender == owner and letter.to not in ("", owner) and letter.peer:
            return _moved(amend, inbox_of(letter.to), letter.peer)
        if sender not in ("", owner) and (amend.any_author or sender == author):
            copy = await self._pairs.copy_of(amend.room, target)
            return None if copy is None else _moved(amend, inbox_of(sender), copy)
        return None  # to oneself; or of another author, which the store refuses

    async def _append(self, user: str, amend: AmendMessage, *, announce: bool = True) -> Placed:
        return await self._publisher.append(
            amend.room,
            amend.payload,
            author=user,
            announce=announce,
            key=amend.key,
            digest=amend.content,
            change=amend.change,
            any_author=amend.any_author,
        )


def _moved(amend: AmendMessage, room: str, target: int) -> AmendMessage:
    """The same change for the other inbox: the payload names its room and target right after its type."""
    before = b'"room":"%b","target":%d,' % (amend.room.encode(), amend.change.target)
    after = b'"room":"%b","target":%d,' % (room.encode(), target)
    change = Change(amend.change.verb, target, amend.change.emoji)  # the epoch was that of the other log
    return msgspec.structs.replace(amend, room=room, change=change, payload=amend.payload.replace(before, after, 1))
