"""What a client can ask of the server: a method for each request of the protocol.

Every one but `read` and `typing` returns when the server has answered, and raises RequestRefused, OutcomeUnknown (no
answer within `timeout` seconds, by default the client's) or ConnectionEnded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from workers.client import events

Answer = TypeVar("Answer", bound=events.FromServer)


class Verbs:
    """The requests, without the connection that carries them."""

    async def _request(self, expected: type[Answer], kind: str, timeout: float | None, **fields: Any) -> Answer:
        """Send it, again where that is needed, and wait for its answer."""
        raise NotImplementedError

    async def _mark_read(self, room: str, offset: int) -> None:
        """Send how far one has read, now or with the next connection."""
        raise NotImplementedError

    async def _note(self, kind: str, **fields: Any) -> None:
        """Send what has no answer and may be lost."""
        raise NotImplementedError

    async def say(
        self,
        room: str,
        text: str | None = None,
        *,
        data: Any = None,
        reply_to: int | None = None,
        epoch: str | None = None,
        key: str | None = None,
        timeout: float | None = None,
    ) -> events.Ack:
        """Say it in a room. Returns when the store has it; under the same key it is kept once.

        `epoch` is that of the message which `reply_to` names: refused where the log was reset since.

        Raises RequestRefused, OutcomeUnknown, ConnectionEnded, as every request here.
        """
        fields = {"room": room, "text": text, "data": data, "reply_to": reply_to, "epoch": epoch, "key": key}
        return await self._request(events.Ack, "say", timeout, **fields)

    async def direct(
        self,
        to: str,
        text: str | None = None,
        *,
        data: Any = None,
        reply_to: int | None = None,
        epoch: str | None = None,
        key: str | None = None,
        timeout: float | None = None,
    ) -> events.Ack:
        """Say it to one user; the place is that in one's own inbox, and so is that of the message it answers."""
        fields = {"to": to, "text": text, "data": data, "reply_to": reply_to, "epoch": epoch, "key": key}
        return await self._request(events.Ack, "direct", timeout, **fields)

    async def edit(
        self,
        room: str,
        offset: int,
        text: str | None = None,
        *,
        data: Any = None,
        key: str | None = None,
        epoch: str | None = None,
    ) -> events.Ack:
        """Replace what the message at `offset` says; with its `epoch` only where the log was not reset since."""
        fields = {"room": room, "offset": offset, "text": text, "data": data, "key": key, "epoch": epoch}
        return await self._request(events.Ack, "edit", None, **fields)

    async def delete(self, room: str, offset: int, *, key: str | None = None, epoch: str | None = None) -> events.Ack:
        """Take a message away; `epoch` as for `edit`."""
        return await self._request(events.Ack, "delete", None, room=room, offset=offset, key=key, epoch=epoch)

    async def react(
        self,
        room: str,
        offset: int,
        emoji: str,
        *,
        remove: bool = False,
        key: str | None = None,
        epoch: str | None = None,
    ) -> events.Ack:
        """React to a message, or take the reaction back; `epoch` as for `edit`."""
        fields = {"room": room, "offset": offset, "emoji": emoji, "remove": remove or None, "key": key, "epoch": epoch}
        return await self._request(events.Ack, "react", None, **fields)

    async def join(self, room: str, since: events.Position | None = None) -> events.Joined:
        """Join a room; with `since` what was missed follows as events."""
        return await self._request(events.Joined, "join", None, room=room, since=since)

    async def leave(self, room: str) -> events.Left:
        """Leave a room."""
        return await self._request(events.Left, "leave", None, room=room)

    async def history(
        self, room: str, *, before: int | None = None, after: int | None = None, limit: int | None = None
    ) -> events.History:
        """A page of the log, next to one of the two offsets; without them the latest."""
        return await self._request(events.History, "history", None, room=room, before=before, after=after, limit=limit)

    async def members(self, room: str) -> events.Members:
        """Who is in a room."""
        return await self._request(events.Members, "members", None, room=room)

    async def rename(self, name: str) -> events.Ack:
        """Be called otherwise from now on, after a reconnect too."""
        return await self._request(events.Ack, "rename", None, name=name)

    async def renew(self, token: str) -> events.Welcome:
        """Present a fresh token of the same user before the old one expires."""
        return await self._request(events.Welcome, "hello", None, token=token)

    async def kick(self, user: str, *, room: str | None = None, reason: str | None = None) -> events.Ack:
        """Close a user's connections, or put them out of a room."""
        return await self._request(events.Ack, "kick", None, user=user, room=room, reason=reason)

    async def ban(
        self, user: str, *, room: str | None = None, seconds: float | None = None, reason: str | None = None
    ) -> events.Ack:
        """Keep a user out, for ever where no seconds are given."""
        return await self._request(events.Ack, "ban", None, user=user, room=room, seconds=seconds, reason=reason)

    async def mute(
        self, user: str, *, room: str | None = None, seconds: float | None = None, reason: str | None = None
    ) -> events.Ack:
        """Let a user read, but not say."""
        return await self._request(events.Ack, "mute", None, user=user, room=room, seconds=seconds, reason=reason)

    async def unban(self, user: str, *, room: str | None = None) -> events.Ack:
        """End a ban."""
        return await self._request(events.Ack, "unban", None, user=user, room=room)

    async def unmute(self, user: str, *, room: str | None = None) -> events.Ack:
        """End a mute."""
        return await self._request(events.Ack, "unmute", None, user=user, room=room)

    async def sanctions(self, room: str | None = None) -> events.HeldSanctions:
        """The bans and mutes that hold in a room; without a room all of them."""
        return await self._request(events.HeldSanctions, "sanctions", None, room=room)

    async def subscribe(
        self,
        endpoint: str,
        p256dh: str,
        auth: str,
        *,
        rooms: Sequence[str] = (),
        silent: Sequence[str] = (),
        quiet_until: int = 0,
    ) -> events.Ack:
        """Be told by Web Push while away: of mentions in `rooms`, and of direct messages but those of `silent` users.

        `quiet_until` is in ms since 1970.
        """
        keys = {"endpoint": endpoint, "p256dh": p256dh, "auth": auth}
        wishes = {"rooms": list(rooms), "silent": list(silent), "quiet_until": quiet_until}
        return await self._request(events.Ack, "subscribe", None, **keys, **wishes)

    async def unsubscribe(self, endpoint: str) -> events.Ack:
        """Be told at this endpoint no more."""
        return await self._request(events.Ack, "unsubscribe", None, endpoint=endpoint)

    async def ping(self) -> events.Pong:
        """A round trip to the chat; the answer has the server's time."""
        return await self._request(events.Pong, "ping", None)

    async def read(self, room: str, offset: int) -> None:
        """Say how far one has read; kept for the next connection where there is none."""
        await self._mark_read(room, offset)

    async def typing(self, room: str) -> None:
        """Say that one is writing; dropped while there is no connection."""
        await self._note("typing", room=room)
