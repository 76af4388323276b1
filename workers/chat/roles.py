"""Who is a moderator or an admin: written to the store, ordered to every worker, and read when a worker starts."""

from __future__ import annotations

import logging

from workers.bus.port import BusError
from workers.chat.orders import OrderLog, RoleChanged
from workers.chat.rules.identity import Identity, Role
from workers.chat.rules.moderators import Moderator
from workers.chat.services import ChatServices

logger = logging.getLogger(__name__)


class Roles:
    """Keeps this worker's list of moderators, and tells the others of changes."""

    def __init__(self, services: ChatServices, orders: OrderLog) -> None:
        self._orders = orders
        self._tasks = services.tasks
        self._moderators = services.moderators
        self._records = services.store.moderators

    async def load(self) -> None:
        """Add the moderators that the store has. Raises BusError."""
        for moderator in await self._records.read_all():
            self._moderators.update(moderator)

    async def reload(self) -> None:
        """Have the moderators that the store has, and no others. Raises BusError."""
        self._moderators.replace(await self._records.read_all())

    def concerns(self, identity: Identity) -> bool:
        """Whether a user has a role, or is known to have had one."""
        return identity.role is not Role.USER or self._moderators.role_of(identity.user) is not Role.USER

    async def announce(self, identity: Identity) -> None:
        """Keep the role and name of a user with a role, and tell every worker where either is news. Raises BusError."""
        if not self.concerns(identity):
            return
        moderator = Moderator(identity.user, identity.name, identity.role)
        if self._moderators.update(moderator):
            await self._records.write(moderator)
            await self._orders.publish(RoleChanged(moderator))

    def announce_rename(self, identity: Identity) -> None:
        """The same in the background, for a user who has another name on this worker."""
        if self._moderators.role_of(identity.user) is not Role.USER:
            self._tasks.start(self._announce_later(identity), what="announce a moderator's name")

    async def _announce_later(self, identity: Identity) -> None:
        try:
            await self.announce(identity)
        except BusError as error:
            logger.warning("not every worker knows yet that %s is called %s: %s", identity.user, identity.name, error)

    def apply(self, order: RoleChanged) -> None:
        """Carry out the order of any worker."""
        self._moderators.update(order.officer)
