"""ModerationService: kicks, bans and mutes. An order is kept, told to every worker, and carried out by each.

A ban holds because the registry has it; the order only makes it hold at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from workers.bus.port import BusError
from workers.chat.chat_connection import ChatConnection
from workers.chat.lost_orders import LostOrders
from workers.chat.orders import Kicked, Order, OrderLog, Renamed, RoleChanged, Sanctioned, decode
from workers.chat.renames import Renames
from workers.chat.roles import Roles
from workers.chat.room_entry import PendingJoins, PendingKick
from workers.chat.rules import replies
from workers.chat.rules.effects import Effects, Moderate, ReadSanctions, Reply, Verb
from workers.chat.rules.identity import GUEST_PREFIX
from workers.chat.rules.session import ChatSession
from workers.chat.services import ChatServices
from workers.registry import AuditEntry, Sanction

logger = logging.getLogger(__name__)

SANCTIONS_SHOWN: Final = 200  # in one answer to a moderator


class ModerationService:
    """Carries out orders about users, on this worker and by telling the others."""

    def __init__(
        self,
        services: ChatServices,
        orders: OrderLog,
        pending: PendingJoins,
        renames: Renames,
        roles: Roles,
        lost_orders: LostOrders,
    ) -> None:
        self._registry = services.registry
        self._connections = services.connections
        self._guests = services.store.guests
        self._tasks = services.tasks
        self._orders = orders
        self._pending = pending
        self._renames = renames
        self._roles = roles
        self._lost_orders = lost_orders

    # ---- ordered here ------------------------------------------------------------------------------

    async def moderate(self, client: ChatConnection, order: Moderate) -> Effects:
        """Carry out a moderator's request. Raises BusError."""
        lifted = await self.carry_out(order, by=client.session.identity.user)
        return (Reply(replies.done(order.id, room=order.room or None, lifted=lifted)),)

    async def carry_out(self, order: Moderate, *, by: str) -> bool | None:
        """Keep it, write it into the audit trail, have every worker do it. Raises BusError.

        Returns whether an `unban` or `unmute` lifted anything; None for another verb.
        """
        registry, user, room = self._registry, order.user, order.room
        match order.verb:
            case Verb.KICK:
                at = await registry.record(AuditEntry("kick", user, by, room, 0.0, order.reason))
                await self._orders.publish(Kicked(user, room, order.reason, at))
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
                await self._orders.publish(Sanctioned(sanction))
            case _:
                verb = "ban" if order.verb is Verb.UNBAN else "mute"
                lifted, held = await registry.lift(verb, user, by=by, room=room, reason=order.reason)  # type: ignore[arg-type]
                await self._orders.publish(Sanctioned(lifted))
                return held
        return None

    async def listed(self, asked: ReadSanctions) -> Reply:
        """The bans and mutes that hold, newest first, for a moderator of the room. Raises BusError."""
        held = await self._registry.sanctions_held()
        fitting = [one for one in held if asked.room in ("", one.room)]
        fitting.sort(key=lambda one: one.at, reverse=True)
        rows = [_row(one) for one in fitting[:SANCTIONS_SHOWN]]
        truncated = len(fitting) > len(rows)
        return Reply(replies.sanctions(asked.id, sanctions=rows, count=len(fitting), truncated=truncated))

    def _addresses_of(self, user: str) -> tuple[str, ...]:
        """Where a guest of this worker comes from; nothing for users, and for guests of other workers."""
        if not user.startswith(GUEST_PREFIX):
            return ()
        found = (client.session.address for client in self._connections.of_user(user))
        return tuple(dict.fromkeys(address for address in found if address))

    async def _origins_of(self, user: str) -> tuple[str, ...]:
        """The same, and for a guest who is nowhere now the address that was last seen. Raises BusError.

        Where the guest is at another worker, that one has the address, and sees to it: `_hold_for_addresses`.
        """
        addresses = self._addresses_of(user)
        if addresses or not user.startswith(GUEST_PREFIX) or await self._registry.is_online(user):
            return addresses
        last = await self._guests.address_of(user)
        return (last,) if last else ()

    # ---- ordered by any worker --------------------------------------------------------------------------

    def on_order(self, body: bytes, offset: int) -> None:
        """Carry out here what any worker ordered."""
        order: Order = decode(body)
        match order:
            case Kicked():
                self._apply_kick(order, offset)
            case Sanctioned(sanction):
                self._apply_sanction(sanction, offset)
            case RoleChanged():
                self._roles.apply(order)
            case Renamed():
                self._renames.apply(order, offset)

    def _apply_kick(self, order: Kicked, offset: int) -> None:
        reason = order.reason or "you were kicked"
        self._lost_orders.note_kick(order.user, order.room, order.at)
        self._pending.add_kick(order.user, PendingKick(order.room, reason, offset))
        self._remove(order.user, offset, lambda session: session.kicked(order.room, reason))

    def _apply_sanction(self, sanction: Sanction, offset: int) -> None:
        before = self._mute_of(sanction)
        self._registry.sanctions.apply(sanction)
        if sanction.verb == "mute" and self._mute_of(sanction) != before:
            self._tell_of_mute(sanction)
        if sanction.lifted:
            return
        self._hold_for_addresses(sanction)
        if sanction.verb == "ban":
            until = sanction.until / 1000 if sanction.until else float("inf")
            self._remove(sanction.user, offset, lambda session: session.banned(sanction.room, sanction.reason, until))

    def _mute_of(self, sanction: Sanction) -> float | None:
        """Until when the user of a sanction may not speak in its room."""
        return self._registry.sanctions.muted(sanction.user, "", sanction.room, time.time())

    def _tell_of_mute(self, sanction: Sanction) -> None:
        """Tell a user who is here that a mute began, is another, or is over."""
        user, room, until = sanction.user, sanction.room, self._mute_of(sanction)
        told = replies.unmuted(room)
        if until is not None:
            reason = self._registry.sanctions.why_muted(user, "", room, time.time())
            told = replies.muted(room, until=until, reason=reason)
        for client in self._connections.of_user(user):
            client.send(told)

    def _hold_for_addresses(self, sanction: Sanction) -> None:
        """A guest who is banned or muted would only come back as another; where the guest is, the address is known."""
        for address in self._addresses_of(sanction.user):
            if address not in sanction.addresses:
                self._tasks.start(self._extend(sanction, address), what=f"{sanction.verb} an address")

    async def _extend(self, sanction: Sanction, address: str) -> None:
        try:
            extended = await self._registry.extend(sanction, address)
            if extended is not None:
                await self._orders.publish(Sanctioned(extended))
        except BusError as error:
            logger.warning(
                "the %s of %s does not hold for the guest's address: %s", sanction.verb, sanction.user, error
            )

    def _remove(self, user: str, offset: int, put_out: Callable[[ChatSession], Effects]) -> None:
        for client in self._connections.of_user(user):
            if client.connection.ordered >= offset:
                continue  # it has been out, and came back since
            client.connection.ordered = offset
            client.carry_out(put_out(client.session))


def _row(sanction: Sanction) -> dict[str, Any]:
    """A ban or a mute as a moderator sees it, without the addresses of a guest. Times are ms since 1970."""
    row: dict[str, Any] = {"kind": sanction.verb, "user": sanction.user, "by": sanction.by, "since": sanction.at}
    optional = {"room": sanction.room, "until": sanction.until, "reason": sanction.reason}
    row.update((key, value) for key, value in optional.items() if value)
    if sanction.addresses:
        row["address"] = True
    return row
