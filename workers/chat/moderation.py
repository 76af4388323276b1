"""Moderation carried out: what a moderator or the operator orders is kept, told to every worker, and done by each.

What is told travels through logs with offsets, so no worker misses it while they last; see `lost_orders.py` for when
they do not. A ban holds because the registry has it; that it is told only makes it hold at once.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from workers.addressing import inbox_of, normalized, room_name, user_id
from workers.bus.port import BusError, Placed
from workers.chat.pending_joins import PendingJoins, PendingKick
from workers.chat.renames import Renamed
from workers.chat.rules import effects, replies
from workers.chat.rules.effects import Effects, Verb
from workers.chat.rules.identity import GUEST_PREFIX, OPERATOR, Identity
from workers.chat.rules.moderators import OPERATOR_NAME, Moderator
from workers.chat.rules.permissions import sanctioned_address
from workers.chat.rules.rights import Role
from workers.chat.rules.state import SessionPhase
from workers.node import control_room
from workers.registry import AuditEntry, Sanction

if TYPE_CHECKING:
    from workers.chat.app import ChatApplication
    from workers.chat.chat_connection import ChatConnection

logger = logging.getLogger(__name__)


class Kicked(Struct, frozen=True, tag="kicked"):
    """A user is to leave a room, or with room "" the server."""

    user: str
    room: str
    reason: str
    at: int = 0  # in the audit trail, ms


class Sanctioned(Struct, frozen=True, tag="sanctioned"):
    """A ban or a mute holds from now on, or no longer."""

    sanction: Sanction


class Enlisted(Struct, frozen=True, tag="enlisted"):
    """Somebody has a role, or another name or role than before."""

    officer: Moderator


Told = Kicked | Sanctioned | Enlisted | Renamed
_encode: Final = msgspec.json.Encoder().encode
_PAST: Final = {
    Verb.KICK: "kicked", Verb.BAN: "banned", Verb.MUTE: "muted", Verb.UNBAN: "unbanned", Verb.UNMUTE: "unmuted",
}  # fmt: skip
_decode: Final = msgspec.json.Decoder(Told).decode


class ModerationService:
    """Carries out orders about users, on this worker and by telling the others."""

    def __init__(self, app: ChatApplication) -> None:
        self._app = app
        self.coming = PendingJoins()

    # ---- ordered here ------------------------------------------------------------------------------

    async def moderate(self, desk: ChatConnection, order: effects.Moderate) -> Effects:
        """A moderator's request. Raises BusError."""
        lifted = await self.carry_out(order, by=desk.session.identity.user)
        return (effects.Reply(replies.done(order.id, room=order.room or None, lifted=lifted)),)

    async def carry_out(self, order: effects.Moderate, *, by: str) -> bool | None:
        """Keep it, write it into the audit trail, have every worker do it. Raises BusError.

        Returns whether an `unban` or `unmute` lifted anything; None for another verb.
        """
        registry, user, room = self._app.node.registry, order.user, order.room
        match order.verb:
            case Verb.KICK:
                at = await registry.record(AuditEntry("kick", user, by, room, 0.0, order.reason))
                await self.tell(Kicked(user, room, order.reason, at))
            case Verb.BAN | Verb.MUTE:
                sanction = await registry.sanction(
                    "ban" if order.verb is Verb.BAN else "mute",
                    user,
                    by=by,
                    room=room,
                    seconds=order.seconds,
                    reason=order.reason,
                    addresses=await self._origins_of(user),
                )
                await self.tell(Sanctioned(sanction))
            case _:
                verb = "ban" if order.verb is Verb.UNBAN else "mute"
                lifted, held = await registry.lift(verb, user, by=by, room=room, reason=order.reason)  # type: ignore[arg-type]
                await self.tell(Sanctioned(lifted))
                return held
        return None

    def _addresses_of(self, user: str) -> tuple[str, ...]:
        """Where a guest of this worker comes from; nothing for users, and for guests of other workers."""
        if not user.startswith(GUEST_PREFIX):
            return ()
        found = (desk.session.address for desk in self._app.connections_by_room(inbox_of(user)))
        return tuple(dict.fromkeys(address for address in found if address))

    async def _origins_of(self, user: str) -> tuple[str, ...]:
        """The same, and for a guest who is nowhere now the address that was last seen. Raises BusError.

        Where the guest is at another worker, that one has the address, and sees to it: `_hold_for_addresses`.
        """
        addresses = self._addresses_of(user)
        if addresses or not user.startswith(GUEST_PREFIX) or await self._app.node.registry.is_online(user):
            return addresses
        last = await self._app.marks.origin(user)
        return (last,) if last else ()

    def concerned_with(self, identity: Identity) -> bool:
        """Whether somebody has a role, or is known to have had one."""
        return identity.role is not Role.USER or self._app.staff.role_of(identity.user) is not Role.USER

    async def enlist(self, identity: Identity) -> None:
        """Somebody with a role came, or who is known to have had one. Raises BusError."""
        officer = Moderator(identity.user, identity.name, identity.role)
        if not self.concerned_with(identity):
            return
        if self._app.staff.enlist(officer):
            await self._app.marks.enlist(officer)
            await self.tell(Enlisted(officer))

    async def tell(self, told: Told) -> Placed:
        """Have every worker, this one too, be `told`. Raises BusError."""
        order = control_room.encode(control_room.TellChat(msgspec.Raw(_encode(told))))
        room = control_room.CONTROL_ROOM if isinstance(told, Kicked | Sanctioned) else control_room.NAMES_ROOM
        return await self._app.node.publish(room, order, form="t")

    # ---- told by any worker --------------------------------------------------------------------------

    def told(self, body: bytes, offset: int) -> None:
        """Do here what was ordered somewhere."""
        order = _decode(body)
        match order:
            case Kicked(user, room, reason, at):
                self._app.lost_orders.kicked(user, room, at)
                self.coming.kicked(user, PendingKick(room, reason or "you were kicked", offset))
                self._remove(user, room, reason or "you were kicked", offset)
            case Sanctioned(sanction):
                before = self._mute_of(sanction)
                self._app.node.registry.sanctions.apply(sanction)
                if sanction.verb == "mute" and self._mute_of(sanction) != before:
                    self._tell_of_mute(sanction)
                if sanction.lifted:
                    return
                self._hold_for_addresses(sanction)
                if sanction.verb == "ban":
                    self._remove(sanction.user, sanction.room, sanction.reason or "you are banned", offset)
            case Enlisted(officer):
                self._app.staff.enlist(officer)
            case Renamed():
                self._app.naming.told(order, offset)

    def _mute_of(self, sanction: Sanction) -> float | None:
        """Until when the user of a sanction may not speak in its room."""
        return self._app.node.registry.sanctions.muted(sanction.user, "", sanction.room, time.time())

    def _tell_of_mute(self, sanction: Sanction) -> None:
        """Tell a user who is here that a mute began, is another, or is over."""
        user, room, until = sanction.user, sanction.room, self._mute_of(sanction)
        told = replies.unmuted(room)
        if until is not None:
            reason = self._app.node.registry.sanctions.why_muted(user, "", room, time.time())
            told = replies.muted(room, until=until, reason=reason)
        for desk in list(self._app.connections_by_room(inbox_of(user))):
            desk.say(told)

    def put_out_banned(self, desk: ChatConnection) -> bool:
        """Put a connection out of what its user is banned from. Returns whether it was in there."""
        sanctions, session, now = self._app.context.sanctions, desk.session, time.time()
        if sanctions.none or session.phase is not SessionPhase.OPEN:
            return False
        user, address = session.identity.user, sanctioned_address(session, session.identity)
        everywhere = sanctions.banned(user, address, "", now)
        if everywhere is not None:
            desk.carry_out(session.removed(everywhere or "you are banned"))
            return True
        rooms = session.rooms
        for room in rooms:
            reason = sanctions.banned(user, address, room, now)
            if reason is not None:
                desk.carry_out(session.expelled(room, reason or "you are banned from this room"))
        return session.rooms != rooms

    def _hold_for_addresses(self, sanction: Sanction) -> None:
        """A guest who is banned or muted would only come back as another; where the guest is, the address is known."""
        for address in self._addresses_of(sanction.user):
            if address not in sanction.addresses:
                self._app.tasks.start(self._extend(sanction, address), what=f"{sanction.verb} an address")

    async def _extend(self, sanction: Sanction, address: str) -> None:
        try:
            extended = await self._app.node.registry.extend(sanction, address)
            if extended is not None:
                await self.tell(Sanctioned(extended))
        except BusError as error:
            logger.warning(
                "the %s of %s does not hold for the guest's address: %s", sanction.verb, sanction.user, error
            )

    def _remove(self, user: str, room: str, reason: str, offset: int) -> None:
        for desk in list(self._app.connections_by_room(inbox_of(user))):
            if desk.connection.ordered >= offset:
                continue  # it has been out, and came back since
            desk.connection.ordered = offset
            desk.carry_out(desk.session.expelled(room, reason) if room else desk.session.removed(reason))

    # ---- the operator's ------------------------------------------------------------------------------

    async def query(self, what: str, args: dict[str, Any]) -> list[dict[str, Any]] | None:
        """`say`, `audit`, and the moderator's verbs as the operator. None: something else.

        Raises ValueError for wrong arguments, BusError.
        """
        if what == "say":
            return [await self._say(_text(args, "room"), _text(args, "text"))]
        if what == "audit":
            room, user = (normalized(args.get(one) or "") for one in ("room", "user"))
            trail = await self._app.node.registry.trail(room=room, user=user)
            return [_row(deed) for deed in trail]
        if what == "sanctions":
            return await self._listed(args)
        if what not in Verb.__members__.values():
            return None
        seconds = float(args.get("seconds") or 0.0)
        room = room_name(args["room"]) if args.get("room") else ""
        order = effects.Moderate(
            None, Verb(what), user_id(_text(args, "user")), room, seconds, args.get("reason") or ""
        )
        if order.verb is Verb.KICK and not await self._is_here(order.user):
            raise LookupError(f"no user {order.user} is connected; `who ROOM` shows the ids")
        lifted = await self.carry_out(order, by=OPERATOR)
        logger.info("%s", _told_of(order, lifted=lifted))
        return [] if lifted is None else [{"user": order.user, "room": order.room, "lifted": lifted}]

    async def _listed(self, args: dict[str, Any]) -> list[dict[str, Any]]:
        """The bans and mutes that hold, newest first: of one `kind`, `room` or `user` where given. Raises BusError."""
        held = await self._app.node.registry.sanctions_held()
        kind, user = args.get("kind") or "", normalized(args.get("user") or "")
        room = None if args.get("room") is None else normalized(args["room"])
        return [
            _row_of(one)
            for one in sorted(held, key=lambda one: one.at, reverse=True)
            if kind in ("", one.verb) and room in (None, one.room) and user in ("", one.user)
        ]

    async def _is_here(self, user: str) -> bool:
        """Whether a connection of that user is here or at another worker, or coming in. Raises BusError."""
        return any(self._app.connections_by_room(inbox_of(user))) or await self._app.node.registry.is_online(user)

    async def _say(self, room: str, text: str) -> dict[str, Any]:
        room = room_name(room)
        placed = await self._app.place(room, text, user=OPERATOR, name=OPERATOR_NAME)
        return {"room": room, "epoch": placed.epoch, "offset": placed.offset, "time": placed.time / 1000}


def _told_of(order: effects.Moderate, *, lifted: bool | None) -> str:
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
