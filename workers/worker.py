"""`Worker`: a program's declaration of a server, and its handle on the connections; modelled on Workerman.

While the program is imported, a `Worker` only declares an address, a count and callbacks. In the process that serves
the Worker, `process/lifecycle.py` binds it to a `Node`; from then on its methods reach every worker process and machine
that uses the same store.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import re
import sys
import threading
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from functools import partial
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, overload

from workers.addressing import connection_id as checked_id
from workers.addressing import connection_ids, room_name, user_id
from workers.callbacks import signatures
from workers.callbacks.registering import Callbacks, Event
from workers.payload import close_reason

if TYPE_CHECKING:
    from workers.connection import Connection
    from workers.ports import Cluster, WorkerHost

R = TypeVar("R")

OfWorker = Callable[["Worker"], object]
_OfWorker = TypeVar("_OfWorker", bound=OfWorker)

MAX_SEND_BUFFER = 64 * 2**20
MOST_KEPT_HEADERS: Final = 16
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}\Z").match
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z").match  # a token of RFC 9110, 5.6.2
_DECLARED_HERE: Final = "__declared_workers__"  # in the namespace of a module: the Workers made by its import
_numbers: Final = itertools.count()
SCHEMES = ("websocket://", "ws://", "wss://", "http://", "https://", "unix:")
PLAIN_SCHEMES = ("http://", "https://")  # the same, without WebSockets


class DecoratesWorker(Protocol):
    """See `Registrar`."""

    @overload
    def __call__(self, callback: _OfWorker, /) -> _OfWorker: ...
    @overload
    def __call__(self) -> Callable[[_OfWorker], _OfWorker]: ...


class Worker(Callbacks):
    """A group of processes that serve one address (or none) with the same callbacks.

    `listen` is `websocket://HOST:PORT` (or `ws://`), `wss://HOST:PORT` or `unix:/PATH`; without an address the
    processes accept no connections and only run timers. `http` is an ASGI application for the plain HTTP of the same
    address; at `http://HOST:PORT` or `https://HOST:PORT` the Worker serves nothing else.
    `count` is the number of processes (0: one for each core).
    Raises ValueError for an address of another kind, RuntimeError once the process serves connections.
    """

    on_worker_start: Event[OfWorker, DecoratesWorker] = Event("worker")
    """`(worker)`: called once in each process, before the first connection is accepted.

    An exception keeps the worker from becoming ready: the start, or the reload, fails with this exception.
    """

    on_worker_stop: Event[OfWorker, DecoratesWorker] = Event("worker")
    """`(worker)`: called once, after the last connection has closed. An exception is logged; the worker still ends."""

    on_worker_reload: Event[OfWorker, DecoratesWorker] = Event("worker")
    """`(worker)`: called in the old process before its connections move to the new one; may take 2 s.

    An exception is logged.
    """

    on_handshake: Event[signatures.OfHandshake, signatures.DecoratesHandshake] = Event("request", threads=True)
    """`(request)`: a client asks for a WebSocket, before the 101. Returns None, `Accept(…)` or `Reject(…)`.

    It has `limits.handshake_timeout` seconds; then, and after an exception, the client is refused (503, 500).
    """

    on_connect: Event[signatures.OfConnection, signatures.DecoratesThreadedConnection] = Event(
        "connection", threads=True
    )
    """`(connection)`: a client has connected. Its messages wait until a coroutine or threaded callback has returned.

    An exception of this callback or one of the following closes the connection with 1011, is logged, and is passed to
    `on_error`.
    """

    on_websocket_connect: Event[signatures.OfWebSocketConnect, signatures.DecoratesWebSocketConnect] = Event(
        "connection", "request", threads=True
    )
    """`(connection, request)`: called right after `on_connect`, as in Workerman; `request` is `connection.request`."""

    on_message: Event[signatures.OfMessage, signatures.DecoratesMessage] = Event("connection", "data", threads=True)
    """`(connection, data)`: a message arrived, `str` from a text frame and `bytes` from a binary frame.

    The messages of a connection are handled one at a time, in order.
    """

    on_close: Event[signatures.OfClose, signatures.DecoratesClose] = Event("connection", "code", "reason", threads=True)
    """`(connection, code, reason)`: called once when the connection is closed; it is still in its rooms.

    Nothing can be sent any more. An exception is logged. Not called when a connection moves to another process.
    """

    on_error: Event[signatures.OfError, signatures.DecoratesError] = Event("connection", "error")
    """`(connection, error)`: another callback raised; or, before `on_close`, the connection was lost
    (`ConnectionLost`), or the client did not answer or read too slowly (`ConnectionTimedOut`).
    An exception of `on_error` is logged.
    """

    on_buffer_full: Event[signatures.OfConnection, signatures.DecoratesConnection] = Event("connection")
    """`(connection)`: more than `limits.queue_size` bytes wait to be sent to the client."""

    on_buffer_drain: Event[signatures.OfConnection, signatures.DecoratesConnection] = Event("connection")
    """`(connection)`: the client reads again."""

    serves_websockets: bool  # False at an address of plain HTTP
    _served_by = ""  # what serves the connections instead of callbacks, in words

    def __init__(
        self,
        listen: str | None = None,
        *,
        name: str = "",
        count: int = 0,
        application: Callable[[Worker, Any], Any] | None = None,
        http: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__()
        if _serving:
            raise RuntimeError(
                "this Worker is created too late, no process would serve it: a program's Workers are those that its "
                "import creates. Create the Worker at the top level of the program's module, then run `chatctl restart`"
            )
        self.listen = listen or ""
        self.http = http  # the program's ASGI application, for what the server does not answer itself
        if http is None and not self.serves_websockets:
            raise ValueError(f"a Worker at {listen} serves an ASGI application: give it one, as http=app")
        self.name = name
        self.count = count
        self.application = application
        self.max_send_buffer = MAX_SEND_BUFFER  # bytes that may wait for one client, beyond the queue
        self.keep_headers: Collection[str] = ()  # names of headers of the handshake, for `connection.request`
        self.scope = ""  # part of the names of its rooms and users in the store
        self.others: tuple[Worker, ...] = ()  # the other Workers of the program
        self._node: WorkerHost | None = None  # the process that serves this Worker
        self._cluster: Cluster | None = None
        self._number = next(_numbers)
        _declare(self)

    if not TYPE_CHECKING:  # the type checker sees the attributes without this

        def __setattr__(self, name: str, value: Any) -> None:
            """Check a declared attribute when it is assigned. Raises TypeError, ValueError."""
            if name == "listen":
                super().__setattr__("serves_websockets", not str(value).startswith(PLAIN_SCHEMES))
            if name in _DECLARED:
                value = _DECLARED[name](name, value)
            super().__setattr__(name, value)

    def uncalled(self, event: str) -> str:
        return self._served_by if event != "handshake" and not event.startswith("worker_") else ""

    @property
    def is_chat(self) -> bool:
        """True if the chat serves the connections instead of callbacks."""
        return bool(self._served_by)

    def serve_by(self, what: str) -> None:
        """Have something else serve the connections; `what` names it in the error for a callback that is set."""
        self._served_by = what

    # ---- in the process that serves ----------------------------------------------------------------

    def bind(self, node: WorkerHost) -> None:
        """Connect the methods below to the process that serves this Worker; called once."""
        self._node = self._cluster = node
        for other in self.others:
            other._cluster = node.cluster_of(other.scope)

    def place(self, scope: str, others: Iterable[Worker]) -> None:
        """Set the scope of this Worker's rooms and the other Workers; called when the program is loaded."""
        self.scope, self.others = scope, tuple(others)

    @property
    def _over_all(self) -> Cluster:
        if self._cluster is None:
            raise RuntimeError("this Worker is not served yet: use it inside a callback of a started server")
        return self._cluster

    @property
    def node(self) -> WorkerHost:
        """The process this Worker runs in. Raises RuntimeError while the program is only imported."""
        if self._node is None:
            if self._cluster is not None:
                raise RuntimeError(
                    "this Worker runs in other processes: from here only `broadcast`, `send_to_…`, `members` "
                    "and the like reach its connections"
                )
            raise RuntimeError("this Worker does not run here: use it inside a callback of a started server")
        return self._node

    @property
    def id(self) -> int:
        """The number of this process among those of the same Worker, from 0."""
        return self.node.index

    @property
    def connections(self) -> Mapping[str, Connection]:
        """The connections of this process by id."""
        return self.node.connections

    def call_soon_threadsafe(self, function: Callable[..., object], *args: Any) -> None:
        """Call `function(*args)` on the worker's loop, from any thread: `(connection.send, "done")` sends.

        Connections, timers and the methods below belong to the loop's thread; other threads reach them this way.
        """
        node = self.node  # in its context, so that `Timer` works
        node.context.copy().run(node.loop.call_soon_threadsafe, partial(function, *args))

    def run_threadsafe(self, coroutine: Coroutine[Any, Any, R], timeout: float | None = None) -> R:
        """Run a coroutine on the worker's loop from another thread, and wait for what it returns or raises.

        `run_threadsafe(worker.broadcast("done"))`. Raises TimeoutError after `timeout` seconds, and RuntimeError on the
        loop's own thread, since that would be a deadlock.
        """
        if threading.get_ident() == self.node.thread:
            coroutine.close()
            raise RuntimeError("run_threadsafe is for other threads: await the coroutine here")
        node = self.node
        return node.context.copy().run(asyncio.run_coroutine_threadsafe, coroutine, node.loop).result(timeout)

    async def broadcast(self, data: str | bytes, *, exclude: str | Iterable[str] = ()) -> None:
        """Send to every connection of this Worker, in all processes and machines. Returns once the store has it."""
        await self._over_all.broadcast(data, exclude=connection_ids(exclude))

    async def send_to_room(self, room: str, data: str | bytes, *, exclude: str | Iterable[str] = ()) -> None:
        """Send to every connection that joined `room`, on every worker and machine."""
        await self._over_all.send_to_room(room_name(room), data, exclude=connection_ids(exclude))

    async def send_to_user(self, user: str, data: str | bytes, *, exclude: str | Iterable[str] = ()) -> None:
        """Send to every connection bound to `user`, on every worker and machine."""
        await self._over_all.send_to_user(user_id(user), data, exclude=connection_ids(exclude))

    async def send_to_connection(self, connection_id: str, data: str | bytes) -> None:
        """Send to one connection of any process; there is no error if the connection does not exist."""
        await self._over_all.send_to_connection(checked_id(connection_id), data)

    async def kick(self, connection_id: str, *, reason: str = "") -> None:
        """Close one connection of any process with 4003."""
        await self._over_all.kick(checked_id(connection_id), reason=close_reason(reason))

    async def is_online(self, user: str) -> bool:
        """Return whether any connection of any worker is bound to `user`."""
        return await self._over_all.is_online(user_id(user))

    async def members(self, room: str) -> list[dict[str, Any]]:
        """The users in a room, over all workers: `user`, `name`, `connections`."""
        return await self._over_all.members(room_name(room))

    async def online(self) -> int:
        """Return the number of connections of this Worker, over all processes and machines."""
        return await self._over_all.online()

    # ---- from a script -----------------------------------------------------------------------------

    @staticmethod
    def run_all() -> None:
        """Run the script that was started (`python app.py start -d`) as chatctl's application.

        The process becomes `chatctl COMMAND [script] [options]`; without arguments the command is `start`. Nothing
        happens when the program is imported by the server that this process has become, or by a process of its own
        pool, so the guard `if __name__ == "__main__"` is good style but not needed.
        """
        if _imported or multiprocessing.parent_process() is not None:
            return
        script = os.path.normpath(os.path.join(_directory(), sys.argv[0]))
        command, options = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("start", [])
        words = [command, script, *options] if command in ("start", "check") else [command, *options]
        # -P: a folder named `workers` beside the script must not hide this package.
        os.execv(sys.executable, [sys.executable, "-P", "-m", "chatmaster", *words])


def _declare(worker: Worker) -> None:
    """Record the Worker in the module whose import runs now, which may not bind it to a name."""
    frame = sys._getframe(1)
    while frame.f_code.co_name != "<module>":
        if frame.f_back is None:
            return
        frame = frame.f_back
    frame.f_globals.setdefault(_DECLARED_HERE, []).append(worker)


def declared_in(module: ModuleType) -> list[Worker]:
    """The Workers that a module makes while it is imported, and those it imports by name, in the order of creation.

    A Worker that no name refers to any more, such as all but the last of a loop, is declared as well.
    """
    found: list[Worker] = list(vars(module).get(_DECLARED_HERE, ()))
    found += {id(value): value for value in vars(module).values() if isinstance(value, Worker)}.values()
    return sorted({id(worker): worker for worker in found}.values(), key=attrgetter("_number"))


def _address(attribute: str, listen: Any) -> str:
    if not isinstance(listen, str):
        raise TypeError(f"the address of a Worker is a string, not {listen!r}")
    if listen and not listen.startswith(SCHEMES):
        raise ValueError(f"an address begins with one of {', '.join(SCHEMES)}, not {listen!r}")
    for ours, plain in (("ws://", "websocket://"), ("ws://", "http://"), ("wss://", "https://")):
        if listen.startswith(plain):
            return ours + listen.removeprefix(plain)
    return listen


def _own_name(attribute: str, name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a Worker is a string, not {name!r}")
    if name and _NAME(name) is None:
        raise ValueError(f"{name!r} is no name of a Worker: 1 to 32 of A-Z a-z 0-9 _ -")
    return name


def _count(attribute: str, count: Any) -> int:
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"count is a number of processes, not {type(count).__name__}")
    if count < 0:
        raise ValueError(f"count is a number of processes, or 0 for one a core, not {count}")
    return count


def _at_least_one(attribute: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{attribute} is a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{attribute} is 1 or more, not {value}")
    return value


def _header_names(attribute: str, names: Any) -> tuple[str, ...]:
    if not isinstance(names, list | tuple | set | frozenset) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{attribute} is a list of names of headers, not {names!r}")
    for name in names:
        if _HEADER_NAME(name) is None:
            raise ValueError(f"{attribute}: {name!r} is no name of a header")
        if name.lower() == "sec-websocket-key":  # two clients differ in that header and share one judgement
            raise ValueError(f"{attribute}: {name} is of use for the handshake only and is not kept")
    kept = tuple(dict.fromkeys(sys.intern(name.lower()) for name in names))
    if len(kept) > MOST_KEPT_HEADERS:
        raise ValueError(f"{attribute} has {len(kept)} names; the most are {MOST_KEPT_HEADERS}")
    return kept


_DECLARED: Final[dict[str, Callable[[str, Any], Any]]] = {
    "listen": _address, "name": _own_name, "count": _count, "threads": _at_least_one, "max_send_buffer": _at_least_one,
    "keep_headers": _header_names,
}  # fmt: skip


def _directory() -> str:
    """Return the current directory as the shell names it: at the next reload a link may lead to another release."""
    named = os.environ.get("PWD", "")
    try:
        if os.path.isabs(named) and os.path.samefile(named, "."):
            return named
    except OSError:
        pass  # no such path
    return os.getcwd()


_imported = False
_serving = False


def importing() -> None:
    """Note that this process imports a program to serve or inspect it: from now on `run_all` runs nothing."""
    global _imported
    _imported = True


def serving() -> None:
    """Note that the program is imported and this process serves it: from now on creating a Worker is an error."""
    global _serving
    _serving = True
