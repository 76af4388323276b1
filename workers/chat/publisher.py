"""MessagePublisher: appends messages to logs and waits for their place, with or without a connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from workers.addressing import room_name
from workers.bus.port import BusError, Change, Placed
from workers.chat.pushes import Pushes
from workers.chat.rules import entries
from workers.chat.rules.mentions import MentionIndex
from workers.chat.rules.names import is_blank
from workers.chat.store.user_records import ReadPositions
from workers.rooms.hub import Hub
from workers.tasks import answer_of

OnKept = Callable[[str, Placed, bytes], None]  # room, place and payload of what the store has now


class MessagePublisher:
    """Publishes for whoever awaits the answer; `on_kept` is the application's hook, None where there is none.

    A message of a connection takes the shorter way through `EffectExecutor`, without a future.
    """

    def __init__(
        self,
        hub: Hub,
        mentions: MentionIndex,
        positions: ReadPositions,
        on_kept: OnKept | None,
        pushes: Pushes | None = None,
    ) -> None:
        self._hub = hub
        self.mentions = mentions
        self._positions = positions
        self.on_kept = on_kept
        self._pushes = pushes

    async def append(
        self,
        room: str,
        payload: bytes,
        *,
        author: str,
        announce: bool = True,
        mentions: Sequence[str] = (),
        **options: Any,
    ) -> Placed:
        """Append an entry to a log; `options` are those of `Bus.publish`. Raises BusError.

        `mentions` are users and `@room` in a text, or in the new text of a changed message. `announce=False` keeps the
        entry from the hook, as for the other side's copy of a direct message.
        """

        change: Change | None = options.get("change")

        def publish(done: Callable[[Placed | BusError], None]) -> None:
            def stored(result: Placed | BusError) -> None:
                if isinstance(result, Placed) and mentions:
                    self._positions.mention(room, change.target if change else result.offset, mentions)
                    if self._pushes is not None and change is None and not result.duplicate:
                        self._pushes.mentioned(room, payload, mentions)
                if isinstance(result, Placed) and announce and self.on_kept is not None and not result.duplicate:
                    self.on_kept(room, result, payload)
                done(result)

            self._hub.publish(room, payload, form="j", done=stored, author=author, **options)

        return await answer_of(publish)

    async def say(self, room: str, text: str, *, user: str, name: str) -> Placed:
        """Append a user's text to a room's log. Raises ValueError for an invalid room or a blank text, BusError."""
        room = room_name(room)
        if is_blank(text):
            raise ValueError("this text has no visible character")
        mentions = self.mentions.mentioned(room, text) if entries.MENTION_SIGN in text else ()
        body = entries.body_of_text(text, mentions)
        payload = entries.message(room, entries.sender(user, name), body)
        return await self.append(room, payload, author=user, mentions=mentions)
