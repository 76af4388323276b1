"""OperatorQueries: what `chatctl` asks of the chat: `say`, `audit`, `sanctions`, and the moderator's verbs."""

from __future__ import annotations

import logging
from typing import Any, Final

from workers.addressing import normalized, room_name, user_id
from workers.chat.moderation import ModerationService
from workers.chat.publisher import MessagePublisher
from workers.chat.rules.effects import Moderate, Verb
from workers.chat.rules.identity import OPERATOR
from workers.chat.rules.moderators import OPERATOR_NAME
from workers.chat.services import ChatServices
from workers.registry import AuditEntry, Sanction

logger = logging.getLogger(__name__)

_PAST: Final = {
    Verb.KICK: "kicked", Verb.BAN: "banned", Verb.MUTE: "muted", Verb.UNBAN: "unbanned", Verb.UNMUTE: "unmuted",
}  # fmt: skip


class OperatorQueries:
    """Answers the operator's questions about the chat."""

    def __init__(self, services: ChatServices, moderation: ModerationService, publisher: MessagePublisher) -> None:
        self._registry = services.registry
        self._connections = services.connections
        self._moderation = moderation
        self._publisher = publisher

    async def query(self, what: str, args: dict[str, Any]) -> list[dict[str, Any]] | None:
        """`say`, `audit`, and the moderator's verbs as the operator. None: something else.

        Raises ValueError for wrong arguments, BusError.
        """
        if what == "say":
            return [await self._say(_text(args, "room"), _text(args, "text"))]
        if what == "audit":
            room, user = (normalized(args.get(one) or "") for one in ("room", "user"))
            trail = await self._registry.trail(room=room, user=user)
            return [_row(deed) for deed in trail]
        if what == "sanctions":
            return await self._listed(args)
        if what not in Verb.__members__.values():
            return None
        seconds = float(args.get("seconds") or 0.0)
        room = room_name(args["room"]) if args.get("room") else ""
        order = Moderate(None, Verb(what), user_id(_text(args, "user")), room, seconds, args.get("reason") or "")
        if order.verb is Verb.KICK and not await self._is_here(order.user):
            raise LookupError(f"no user {order.user} is connected; `who ROOM` shows the ids")
        lifted = await self._moderation.carry_out(order, by=OPERATOR)
        logger.info("%s", _told_of(order, lifted=lifted))
        return [] if lifted is None else [{"user": order.user, "room": order.room, "lifted": lifted}]

    async def _listed(self, args: dict[str, Any]) -> list[dict[str, Any]]:
        """The bans and mutes that hold, newest first: of one `kind`, `room` or `user` where given. Raises BusError."""
        held = await self._registry.sanctions_held()
        kind, user = args.get("kind") or "", normalized(args.get("user") or "")
        room = None if args.get("room") is None else normalized(args["room"])
        return [
            _row_of(one)
            for one in sorted(held, key=lambda one: one.at, reverse=True)
            if kind in ("", one.verb) and room in (None, one.room) and user in ("", one.user)
        ]

    async def _is_here(self, user: str) -> bool:
        """Whether a connection of that user is here or at another worker, or coming in. Raises BusError."""
        return bool(self._connections.of_user(user)) or await self._registry.is_online(user)

    async def _say(self, room: str, text: str) -> dict[str, Any]:
        room = room_name(room)
        placed = await self._publisher.say(room, text, user=OPERATOR, name=OPERATOR_NAME)
        return {"room": room, "epoch": placed.epoch, "offset": placed.offset, "time": placed.time / 1000}


def _told_of(order: Moderate, *, lifted: bool | None) -> str:
    """For the log."""
    if lifted is False:
        return f"the operator found nothing to {order.verb} of {order.user}{f' in {order.room}' if order.room else ''}"
    where = f" in {order.room}" if order.room else ""
    how_long = f" for {order.seconds:g} s" if order.seconds else ""
    why = f" ({order.reason})" if order.reason else ""
    return f"the operator has {_PAST[order.verb]} {order.user}{where}{how_long}{why}"


def _row(deed: AuditEntry) -> dict[str, Any]:
    return {
        "time": deed.time,
        "action": deed.verb,
        "user": deed.user,
        "room": deed.room,
        "by": deed.by,
        "seconds": deed.seconds,
        "reason": deed.reason,
    }


def _row_of(sanction: Sanction) -> dict[str, Any]:
    """A ban or a mute, for chatctl. Times are Unix time; until 0: without end."""
    row: dict[str, Any] = {
        "kind": sanction.verb,
        "room": sanction.room,
        "user": sanction.user,
        "by": sanction.by,
        "since": sanction.at / 1000,
        "until": sanction.until / 1000,
        "reason": sanction.reason,
    }
    if sanction.addresses:
        row["address"] = ", ".join(sanction.addresses)
    return row


def _text(args: dict[str, Any], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is missing")
    return value
