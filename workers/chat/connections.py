"""ChatConnections: this worker's connections of the chat, by room and by user."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from workers.addressing import inbox_of
from workers.chat.chat_connection import ChatConnection
from workers.node.client_connection import ClientConnection
from workers.rooms.hub import Hub


class ChatConnections:
    """An index over the connections that the worker has and the rooms that the hub has; it keeps nothing itself.

    `by_id` are the worker's connections, `moving` the ids of those that are on their way to another worker.
    """

    __slots__ = ("_by_id", "_hub", "_moving")

    def __init__(self, by_id: Mapping[str, ClientConnection], moving: Collection[str], hub: Hub) -> None:
        self._by_id = by_id
        self._moving = moving
        self._hub = hub

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[ChatConnection]:
        """All of them, in the order in which they were opened."""
        for connection in list(self._by_id.values()):
            if connection.app is not None:
                yield connection.app

    def in_room(self, room: str) -> Iterator[ChatConnection]:
        """Those in a room."""
        for member in self._hub.members.of(room):
            connection = self._by_id.get(member.id)
            if connection is not None and connection.app is not None:
                yield connection.app

    def of_user(self, user: str) -> list[ChatConnection]:
        """A user's: all of them are in the inbox."""
        return list(self.in_room(inbox_of(user)))

    def users(self) -> list[str]:
        """The users who have a connection here, each once."""
        return list(dict.fromkeys(one.user for one in self._by_id.values() if one.user))

    def is_moving(self, client: ChatConnection) -> bool:
        """Whether a connection is on its way to another worker, which looks after its timeouts from then on."""
        return client.connection.id in self._moving
