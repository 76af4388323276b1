"""What a user is called: one name for all connections of a user, on every worker.

A new name is told through a log of its own, whose order is the same everywhere, so that all connections end up with the
same one whoever gives several at once; and it is kept beside the user's inbox, for those who come in without a name of
their own choice. Between the two, this worker's memory of the last orders stands in for what is not kept yet.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from workers.addressing import inbox_of
from workers.bus.port import Unavailable
from workers.chat.rules import replies
from workers.chat.rules.admission import could_deceive
from workers.chat.rules.identity import GUEST_PREFIX
from workers.chat.rules.names import not_taken

if TYPE_CHECKING:
    from workers.chat.app import ChatApplication
    from workers.chat.chat_connection import ChatConnection
    from workers.chat.rules.identity import Identity

MOST_RECENT: Final = 1000  # renamed users that are remembered for those who are just coming in


class Renamed(Struct, frozen=True, tag="renamed"):
    """A user is called so from now on; `connection` asked for it, "": with a hello."""

    user: str
    name: str
    connection: str = ""


class Renames:
    """Gives users their names, on this worker and by telling the others."""

    def __init__(self, app: ChatApplication, timeout: float) -> None:
        self._app = app
        self._timeout = timeout
        self._asked: dict[
            str, tuple[asyncio.Future[None], bytes]
        ] = {}  # connection → until it is done here, the answer
        self._recent: dict[str, tuple[int, str]] = {}  # user → place of the order, name; the latest last
        self._told = 0

    async def rename(self, desk: ChatConnection, name: str, answer: bytes = b"") -> None:
        """Call a user otherwise; when it returns, this worker's connections bear the name. Raises BusError.

        `answer` is sent in that very turn: what follows it may be the news of yet another name.
        """
        user, connection = desk.connection.user, desk.connection.id
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked[connection] = done, answer
        try:
            await self._order(Renamed(user, name, connection))
            await asyncio.wait_for(done, self._timeout)
        except TimeoutError:
            raise Unavailable("the order to rename did not come back") from None
        finally:
            del self._asked[connection]

    async def name_for(self, identity: Identity, kept: str, *, chosen: bool) -> Identity:
        """Whoever comes in, with the name that counts: the one just chosen, or else the one that is kept.

        Raises BusError.
        """
        user = identity.user
        kept = self._recent[user][1] if user in self._recent else kept
        if not chosen:
            if not kept or kept == identity.name or could_deceive(self._app.context, kept, identity):
                return identity
            return msgspec.structs.replace(identity, name=kept)
        if identity.fresh:
            self._app.marks.note_call(user, identity.name)  # nobody else is this guest yet
        elif kept != identity.name:
            await self._order(Renamed(user, identity.name))
        return identity

    def invented(self, identity: Identity) -> Identity:
        """A new guest who did not choose a name, with one that nobody here bears, which is kept like a chosen one."""
        number = int(identity.user.removeprefix(GUEST_PREFIX), 16)
        name = not_taken(identity.name, number, self._app.people.knows)
        if name == identity.name:
            return identity
        self._app.marks.note_call(identity.user, name)
        return msgspec.structs.replace(identity, name=name)

    async def _order(self, order: Renamed) -> None:
        placed = await self._app.moderation.tell(order)
        await self._app.marks.call(order.user, order.name, placed)

    def told(self, order: Renamed, offset: int) -> None:
        """Any worker was asked to."""
        if offset < self._told:
            self._recent.clear()  # the control room was lost, and counts anew
        self._told = offset
        self._recent.pop(order.user, None)
        self._recent[order.user] = offset, order.name
        if len(self._recent) > MOST_RECENT:
            del self._recent[next(iter(self._recent))]
        for desk in list(self._app.connections_by_room(inbox_of(order.user))):
            if desk.connection.named < offset:  # else it came from a worker that has done it
                desk.connection.named = offset
                self._call(desk, order.name, tell=desk.connection.id != order.connection)
                if desk.connection.id == order.connection:
                    self._done(desk)

    def forget_recent(self) -> None:
        """Orders are lost: what was told before them may be old."""
        self._recent.clear()

    def found(self, user: str, name: str) -> int:
        """What is kept of a user's name was read again. Returns how many connections bore another one."""
        if not name or user in self._recent:  # none was ever chosen; or it was told since, and is newer
            return 0
        others = [desk for desk in self._app.connections_by_room(f"@{user}") if desk.session.identity.name != name]
        for desk in others:
            self._call(desk, name, tell=True)
        return len(others)

    def _done(self, desk: ChatConnection) -> None:
        done, answer = self._asked.get(desk.connection.id, (None, b""))
        if done is not None and not done.done():
            if answer:
                desk.say(answer)
            done.set_result(None)

    def came_in(self, desk: ChatConnection) -> None:
        """An order to rename may have come while this connection was on its way in."""
        at, name = self._recent.get(desk.connection.user, (0, ""))
        if at > desk.connection.named:
            desk.connection.named = at
            self._call(desk, name, tell=True)

    def _call(self, desk: ChatConnection, name: str, *, tell: bool) -> None:
        if desk.session.identity.name == name or not desk.session.called(name):
            return
        self._app.renamed(desk)
        if tell:
            desk.say(replies.renamed(desk.connection.user, name))
