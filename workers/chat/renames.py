"""Renames: one name for all connections of a user, on every worker.

A new name is an order in a log of its own, whose order is the same everywhere: if several connections rename a user at
once, all of them end with the same name. The name is also kept beside the user's inbox, for hellos that choose no name.
Until it is written there, this worker's memory of the last orders stands in for it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec

from workers.bus.port import BusError, Unavailable
from workers.chat.chat_connection import ChatConnection
from workers.chat.daily_quota import GUEST_COST, DailyQuota
from workers.chat.name_claims import NameClaims
from workers.chat.orders import OrderLog, Renamed
from workers.chat.roles import Roles
from workers.chat.room_presence import RoomPresence
from workers.chat.rules import replies
from workers.chat.rules.admission import could_deceive
from workers.chat.rules.identity import GUEST_PREFIX, Identity, Presented
from workers.chat.rules.names import MAX_OTHERS, generated, not_taken
from workers.chat.rules.request_error import RequestError
from workers.chat.services import ChatServices

logger = logging.getLogger(__name__)

MOST_RECENT: Final = 1000  # renamed users that are remembered for hellos under way


class Renames:
    """Gives users their names, on this worker and by orders to the others."""

    def __init__(
        self,
        services: ChatServices,
        orders: OrderLog,
        roles: Roles,
        room_presence: RoomPresence,
        claims: NameClaims,
        quota: DailyQuota,
    ) -> None:
        self._quota = quota
        self._orders = orders
        self._roles = roles
        self._room_presence = room_presence
        self._claims = claims
        claims.lost = self._give_up
        self._tasks = services.tasks
        self._connections = services.connections
        self._context = services.context
        self._mentions = services.mentions
        self._names = services.store.user_names
        self._timeout = services.settings.store.timeout
        # Connection → a future that is done when the order was carried out here, and the answer.
        self._asked: dict[str, tuple[asyncio.Future[None], bytes]] = {}
        self._recent: dict[str, tuple[int, str]] = {}  # user → place of the order, name; the latest last
        self._last_offset = 0

    async def rename(self, client: ChatConnection, name: str, answer: bytes = b"") -> None:
        """Give a user another name; when this returns, this worker's connections have it.

        `answer` is sent in that very turn, before the news of yet another name can follow. Raises RequestError where
        somebody else has the name, BusError.
        """
        user, connection = client.connection.user, client.connection.id
        await self._claim(user, name)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked[connection] = done, answer
        try:
            await self.order(Renamed(user, name, connection))
            await asyncio.wait_for(done, self._timeout)
        except TimeoutError:
            raise Unavailable("the order to rename did not come back") from None
        finally:
            del self._asked[connection]
            self._claims.give_back((user, name))  # by now the connections have claims of their own

    async def _claim(self, user: str, name: str) -> None:
        if not await self._claims.take((user, name)):
            raise RequestError("name_taken", "somebody here is called so, or nearly so", field="name")

    async def name_for(
        self, identity: Presented, kept: str, address: str, *, chosen: bool, claimed: list[str]
    ) -> Presented:
        """The identity of a hello with the name that counts: the chosen one, or else the `kept` one if it is free.

        `address` is the network that the hello came from. A claim that is taken is noted in `claimed`. Raises
        RequestError where somebody else has the chosen name, BusError.
        """
        user = identity.user
        kept = self._recent[user][1] if user in self._recent else kept
        if not chosen:
            if not kept or kept == identity.name or could_deceive(self._context, kept, identity):
                return identity
            if not await self._claims.take((user, kept)):
                return identity
            claimed.append(kept)
            return msgspec.structs.replace(identity, name=kept)
        await self._claim(user, identity.name)
        claimed.append(identity.name)
        if identity.fresh:
            self._keep_first(identity, identity.name, address)
        elif kept != identity.name:
            await self.order(Renamed(user, identity.name))
        return identity

    def _keep_first(self, identity: Identity, name: str, address: str) -> None:
        """Keep the name of a new guest, who has no other connection, where the guests of the address may have more."""
        if self._quota.takes(identity, address, "", GUEST_COST):
            self._names.write_first(identity.user, name)

    def name_guest(self, identity: Presented, address: str) -> Presented:
        """Give a new guest who chose no name one that no user here has; it is kept like a chosen one."""
        if not self._mentions.knows(identity.name):
            return identity
        number = int(identity.user.removeprefix(GUEST_PREFIX), 16)
        name = not_taken(identity.name, number, self._mentions.knows)
        if name == identity.name:
            return identity
        self._keep_first(identity, name, address)
        return msgspec.structs.replace(identity, name=name)

    def _give_up(self, user: str, name: str) -> None:
        """Another user has the name of a guest: give the guest a generated one."""
        if user.startswith(GUEST_PREFIX):
            self._tasks.start(self._rename_guest(user), what=f"another name for {user}")

    async def _rename_guest(self, user: str) -> None:
        number = int(user.removeprefix(GUEST_PREFIX), 16)
        names = (generated(number + step) for step in range(MAX_OTHERS))
        free = (name for name in names if not self._mentions.knows(name))
        try:
            await self._claims.give_another(user, free, lambda name: self.order(Renamed(user, name)))
        except BusError as error:
            logger.warning("guest %s keeps a name that somebody else has: %s", user, error)

    async def order(self, order: Renamed) -> None:
        """Order a name, and keep it. Raises BusError."""
        placed = await self._orders.publish(order)
        await self._names.write(order.user, order.name, placed)

    def apply(self, order: Renamed, offset: int) -> None:
        """Carry out the order of any worker."""
        if offset < self._last_offset:
            self._recent.clear()  # the log was lost, and its offsets begin again
        self._last_offset = offset
        self._recent.pop(order.user, None)
        self._recent[order.user] = offset, order.name
        if len(self._recent) > MOST_RECENT:
            del self._recent[next(iter(self._recent))]
        for client in self._connections.of_user(order.user):
            if client.connection.named < offset:  # else the worker that the connection came from has done it
                client.connection.named = offset
                self._call(client, order.name, tell=client.connection.id != order.connection)
                if client.connection.id == order.connection:
                    self._done(client)

    def forget_recent(self) -> None:
        """Forget the last orders: some are lost, and those before them may be outdated."""
        self._recent.clear()

    def restore_kept(self, user: str, name: str) -> int:
        """Give a user the name that the store has. Returns how many connections had another one."""
        if not name or user in self._recent:  # no name was ever chosen; or an order since then is newer
            return 0
        others = [client for client in self._connections.of_user(user) if client.session.identity.name != name]
        for client in others:
            self._call(client, name, tell=True)
        return len(others)

    def _done(self, client: ChatConnection) -> None:
        done, answer = self._asked.get(client.connection.id, (None, b""))
        if done is not None and not done.done():
            if answer:
                client.send(answer)
            done.set_result(None)

    def catch_up(self, client: ChatConnection) -> None:
        """Carry out an order that arrived while this connection was entering."""
        at, name = self._recent.get(client.connection.user, (0, ""))
        if at > client.connection.named:
            client.connection.named = at
            self._call(client, name, tell=True)

    def _call(self, client: ChatConnection, name: str, *, tell: bool) -> None:
        if client.session.identity.name == name or not client.session.rename(name):
            return
        self._claims.bind(client, client.connection.user, name)
        self._room_presence.rename(client)
        self._roles.announce_rename(client.session.identity)
        if tell:
            client.send(replies.renamed(client.connection.user, name))
