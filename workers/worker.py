"""`Worker`: what an application declares and talks to, in the manner of Workerman.

A `Worker` is only a declaration while the program is imported: an address, a count, callbacks. In the process
that serves it, the composition root (`main.py`) binds it to a `Node`; from then on its methods reach every
worker and machine of the same store.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from workers.events import Callback, Event

if TYPE_CHECKING:
    from workers.application import Application
    from workers.connection import Connection
    from workers.node import Node

SCHEMES = ("websocket://", "ws://", "wss://", "unix:")


class Worker:
    """A group of processes that serve one address (or none) with the same callbacks.

    `listen` is `websocket://HOST:PORT` (or `ws://`), `wss://HOST:PORT` or `unix:/PATH`; without one the
    processes serve nobody and only run timers. `count` is the number of processes (0: one for each core).
    Raises ValueError for an address of another kind.
    """

    on_worker_start = Event()
    on_worker_stop = Event()
    on_worker_reload = Event()
    on_connect = Event()
    on_websocket_connect = Event()
    on_message = Event()
    on_close = Event()
    on_error = Event()
    on_buffer_full = Event()
    on_buffer_drain = Event()

    def __init__(
        self,
        listen: str | None = None,
        *,
        name: str = "",
        count: int = 0,
        application: Callable[[Worker, Node], Application] | None = None,
    ) -> None:
        if listen is not None and not listen.startswith(SCHEMES):
            raise ValueError(f"an address begins with one of {', '.join(SCHEMES)}, not {listen!r}")
        self.listen = listen.replace("websocket://", "ws://", 1) if listen else ""
        self.name = name
        self.count = count
        self.application = application
        self.callbacks: dict[str, Callback] = {}
        self._node: Node | None = None

    # ---- in the process that serves ----------------------------------------------------------------

    def bind(self, node: Node) -> None:
        """Called once by the composition root: from now on the methods below work."""
        self._node = node

    @property
    def node(self) -> Node:
        """The process this Worker runs in. Raises RuntimeError while the program is only imported."""
        if self._node is None:
            raise RuntimeError("this Worker does not run here: use it inside a callback of a started server")
        return self._node

    @property
    def id(self) -> int:
        """The number of this process among those of the same Worker, from 0."""
        return self.node.launch.index

    @property
    def connections(self) -> dict[str, Connection]:
        """This process's own connections by id."""
        return self.node.connections

    async def broadcast(self, data: str | bytes, *, exclude: Iterable[str] = ()) -> None:
        """Send to every connection of every worker and machine; returns when the store has it."""
        await self.node.broadcast(data, exclude=tuple(exclude))

    async def send_to_room(self, room: str, data: str | bytes, *, exclude: Iterable[str] = ()) -> None:
        """Send to every connection that joined `room`, on every worker and machine."""
        await self.node.send_to_room(room, data, exclude=tuple(exclude))

    async def send_to_user(self, user: str, data: str | bytes, *, exclude: Iterable[str] = ()) -> None:
        """Send to every connection bound to `user`, on every worker and machine."""
        await self.node.send_to_user(user, data, exclude=tuple(exclude))

    async def send_to_connection(self, connection_id: str, data: str | bytes) -> None:
        """Send to one connection, wherever it is; nobody is told where it is not."""
        await self.node.send_to_connection(connection_id, data)

    async def kick(self, connection_id: str, *, reason: str = "") -> None:
        """Close one connection with 4003, wherever it is."""
        await self.node.kick(connection_id, reason=reason)

    async def is_online(self, user: str) -> bool:
        """Whether any connection of any worker is bound to `user`."""
        return await self.node.is_online(user)

    async def members(self, room: str) -> list[dict[str, Any]]:
        """The users in a room, over all workers: `user`, `name`, `connections`."""
        return await self.node.members(room)

    async def online(self) -> int:
        """How many connections there are over all workers and machines."""
        return await self.node.online()

    # ---- from a script -----------------------------------------------------------------------------

    @staticmethod
    def run_all() -> NoReturn:
        """Run the script that was started (`python app.py start -d`) as chatctl's application.

        The process becomes `chatctl COMMAND [script] [options]`; without arguments the command is `start`.
        """
        script = os.path.abspath(sys.argv[0])
        command, options = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("start", [])
        words = [command, script, *options] if command in ("start", "check") else [command, *options]
        # -P: a folder named `workers` beside the script must not hide this package.
        os.execv(sys.executable, [sys.executable, "-P", "-m", "chatmaster", *words])
