"""RoomPresence: which users this worker counts in which rooms, whom they are shown, and what rooms are told of them."""

from __future__ import annotations

import asyncio

from workers.chat.chat_connection import ChatConnection
from workers.chat.member_discovery import MemberDiscovery
from workers.chat.occupancy import Occupancy
from workers.chat.rules import replies
from workers.chat.services import ChatServices
from workers.cluster.keys import MEMBERS_MOST
from workers.presence import PresenceChange


class RoomPresence:
    """Ties the chat's connections to presence, to the limits on users in a room, and to the names that are known."""

    def __init__(self, services: ChatServices, occupancy: Occupancy) -> None:
        self._hub = services.hub
        self._presence = services.presence
        self._options = services.context.options
        self._connections = services.connections
        self._mentions = services.mentions
        self._occupancy = occupancy
        self._discovery = MemberDiscovery(self._presence, self.learn_name, services.tasks, here=self._users_here)
        # In a large room nobody is told what each member does: a thousand messages would become a million.
        self._notified_at_most = services.settings.chat.presence_names

    def _users_here(self, room: str) -> int:
        return len({client.session.identity.user for client in self._connections.in_room(room)})

    # ---- this worker's connections -----------------------------------------------------------------

    def enter(self, client: ChatConnection, room: str, *, others: bool) -> None:
        """Count a connection in a room; `others` says that the room had members before.

        If this worker had none of them, it gets to know the others.
        """
        if self._presence.entered(room, client.connection.user, client.session.identity.name):
            self._discovery.begin(room, others=others)

    def exit(self, client: ChatConnection, room: str, *, moved: bool = False) -> None:
        """Count a connection in a room no longer; `moved`: another worker counts it from now on."""
        user = client.connection.user
        if self._options.of(room).members:
            give_back = self._occupancy.moved_away if moved else self._occupancy.give_back
            give_back(room, user)
        if self.is_counted(room):
            self._presence.left(room, user)

    def exit_all(self, client: ChatConnection, *, moved: bool = False) -> None:
        """The same for all rooms of a session, which has none afterwards."""
        rooms, client.session.rooms = client.session.rooms, ()
        for room in rooms:
            self.exit(client, room, moved=moved)

    def adopt(self, client: ChatConnection) -> None:
        """Count a connection that came from another worker in all of its rooms."""
        session = client.session
        for room in session.rooms:
            if self._options.of(room).members:
                self._occupancy.adopt(room, session.identity.user)
            if self.is_counted(room):
                self.enter(client, room, others=True)

    def leave(self, client: ChatConnection, room: str) -> asyncio.Event:
        """Take a connection out of a room; the event is set once nothing of the room can reach it any more."""
        left = asyncio.Event()
        self.exit(client, room)
        self._hub.members.leave(client.connection, room, left.set)
        return left

    def rename(self, client: ChatConnection) -> None:
        """Show a connection's user under the session's new name."""
        user, name = client.connection.user, client.session.identity.name
        self._mentions.add(user, name)
        for room in client.session.rooms:
            if self.is_counted(room):
                self._presence.renamed(room, user, name)

    # ---- rooms -------------------------------------------------------------------------------------

    def is_counted(self, room: str) -> bool:
        """Whether the users in a room are counted."""
        rule = self._options.of(room)
        return rule.presence or bool(rule.members)

    def learn_name(self, user: str, name: str) -> None:
        """Note what a user is called elsewhere; for a user who is here the connection's name counts."""
        if not self._mentions.is_called(user, name) and not self._connections.of_user(user):
            self._mentions.add(user, name)

    def changed(self, room: str, change: PresenceChange) -> None:
        """Tell this worker's members of a room who came, went, or has another name."""
        for user, name in (*change.joined, *change.renamed):
            self.learn_name(user, name)
        if not change.complete and change.count <= MEMBERS_MOST:
            self._discovery.meet(room)
        if not self._options.of(room).presence:
            return
        joined, left, renamed = ([{"user": u, "name": n} for u, n in one] for one in
                                 (change.joined, change.left, change.renamed))  # fmt: skip
        self._hub.show(room, replies.presence(room, joined=joined, left=left, renamed=renamed, count=change.count))

    def notify(self, room: str, payload: bytes) -> None:
        """Publish to a room what is not kept, such as who types; not to a room with too many users."""
        if self._presence.count(room) <= self._notified_at_most:
            self._hub.note(room, payload)
