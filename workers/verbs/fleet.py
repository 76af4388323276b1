"""Fleet: this worker among all that serve the same Worker. It asks all of them, and answers what they ask.

What only the worker with a connection can do is an order in the log of sends, so that a connection on its way to
another worker gets it there; every worker answers, the others that they do not have it. What all know a part of is a
note; each answers with its part. Answers are notes in the room of the worker that asked. An answer that is missing is
an error, never a shorter list.

Who has to answer is in the store: each worker says every few seconds that it hears, and takes itself out when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec import Raw, Struct

from workers.addressing import ANSWERS_ROOM, CALLS_ROOM
from workers.bus.codec import pack_note
from workers.bus.port import BusError, Entry, Unavailable, outcome_of
from workers.bus.script import Argument, scripts_of
from workers.node import control_room
from workers.node.client_connection import ClientConnection
from workers.node.node import Node
from workers.verbs import keys
from workers.verbs.notes import Ask, FleetReply, decode_note, decode_reply, encode
from workers.verbs.request import VerbError

logger = logging.getLogger(__name__)

EVERY: Final = 3.0  # seconds between two signs that this worker hears
DEADLINE: Final = 4.0  # seconds for the answers of all workers; below the 5 and 7 that doors wait
MOVING: Final = 1.0  # seconds in which a connection that is on its way has to arrive
PATIENCE: Final = 1.0  # seconds that a worker's start waits for a store that may be away
RETRY: Final = 0.5  # seconds after the store did not answer
LEAVING: Final = 1.0  # seconds for the last words

Act = Callable[[ClientConnection, bytes], Awaitable[Any]]
Part = Callable[[bytes], Any]
State = Literal["done", "absent", "moving", "failed"]


class ConnectionsOf(Struct, frozen=True):
    """What `connections_of` asks of each worker."""

    user: str


class CallTaker(Protocol):
    """What takes the calls of programs outside."""

    def called(self, token: str) -> None:
        """A call waits in the store for one of the workers that hear this."""


class Fleet:
    """Asks all workers, and answers them. `acts` and `parts` are what can be asked for, by name."""

    def __init__(self, node: Node, acts: Mapping[str, Act], parts: Mapping[str, Part]) -> None:
        self._node = node
        self._acts, self._parts = acts, parts
        self._name = node.settings.master.name
        self._process = node.launch.incarnation
        self._listen, self._ask = map(node.bus.script, scripts_of(Path(__file__).parent, "listen", "ask"))
        self._channel = keys.calls_channel(self._name, node.bus.database)
        self._waiting: dict[str, asyncio.Queue[FleetReply]] = {}  # by the token of what was asked
        self._taker: CallTaker | None = None
        self._deaf_to = 2  # rooms that it does not follow yet
        self._registered = asyncio.Event()

    # ---- life --------------------------------------------------------------------------------------

    async def start(self, taker: CallTaker) -> None:
        """Hear the others from now on: before the first connection is accepted, so that no list lacks one.

        While the store is away that happens as soon as it is back; nobody can ask before.
        """
        self._taker = taker
        hub = self._node.hub
        hub.follow(ANSWERS_ROOM + self._process, _pass_over, live=self._heard)
        hub.follow(CALLS_ROOM, _pass_over, live=self._heard)
        try:
            await asyncio.wait_for(self._registered.wait(), PATIENCE)
        except TimeoutError:
            logger.warning("the store does not answer yet: this worker hears calls later")
        self._node.lease.when_reborn(lambda old: self._say(keys.LISTENS))

    async def stop(self) -> None:
        """Be asked no more; what was asked before is still answered."""
        try:
            await asyncio.wait_for(self._listening(0.0), LEAVING)
        except (BusError, TimeoutError):
            logger.debug("the store is away: others wait for this worker until its time is over")

    def _heard(self) -> None:
        self._deaf_to -= 1
        if not self._deaf_to:
            self._node.tasks.start(self._keep(), what="hear calls")

    async def _keep(self) -> None:
        while True:
            try:
                await self._listening(keys.LISTENS)
                self._registered.set()
                await asyncio.sleep(EVERY)
            except BusError as error:
                logger.debug("others do not learn that this worker hears: %s", error)
                await asyncio.sleep(RETRY)

    def _say(self, seconds: float, process: str = "") -> None:
        args: list[Argument] = [process or self._process, int(seconds * 1000)]
        self._node.bus.send(self._listen, [keys.listeners(self._name)], args, _ignore, again=True)

    async def _listening(self, seconds: float) -> None:
        args: list[Argument] = [self._process, int(seconds * 1000)]
        await self._node.bus.call(self._listen, [keys.listeners(self._name)], args, again=True)

    def reaped(self, process: str) -> None:
        """A sibling is dead: nobody has to wait for it."""
        self._say(0.0, process)

    # ---- asking ------------------------------------------------------------------------------------

    async def ask(self, what: str, args: Struct) -> list[bytes]:
        """The parts of all workers. Raises VerbError where one is missing, BusError."""
        token, replies = self._begin()
        try:
            note = encode(Ask(token, self._process, what, Raw(msgspec.json.encode(args))))
            waiting = await self._publish(note)
            parts: list[bytes] = []
            async with asyncio.timeout(DEADLINE):
                while waiting:
                    reply = await replies.get()
                    if reply.worker in waiting:
                        waiting.discard(reply.worker)
                        parts.append(bytes(reply.result))
            return parts
        except TimeoutError:
            raise _silent(len(waiting)) from None
        finally:
            del self._waiting[token]

    async def connections_of(self, user: str) -> list[str]:
        """The ids of a user's connections to all workers. Raises VerbError, BusError."""
        parts = await self.ask("ids", ConnectionsOf(user))
        return sorted({one for part in parts for one in msgspec.json.decode(part, type=list[str])})

    async def act(self, connection: str, what: str, args: Struct) -> bytes:
        """Have the worker that has a connection do something with it; returns its result as JSON.

        Raises VerbError `not_found` where no worker has it, and what the act itself raises; BusError.
        """
        here = self._node.connections.get(connection)
        packed = msgspec.json.encode(args)
        if here is not None and here.id not in self._node.moving:
            return msgspec.json.encode(await self._acts[what](here, packed))
        token, replies = self._begin()
        try:
            waiting = await self._publish(b"")
            await self._node.order(control_room.Act(connection, self._process, token, what, Raw(packed)))
            return await self._first(replies, waiting, connection)
        finally:
            del self._waiting[token]

    async def _first(self, replies: asyncio.Queue[FleetReply], waiting: set[str], connection: str) -> bytes:
        moving: set[str] = set()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DEADLINE
        while waiting or moving:
            until = deadline if waiting else min(deadline, loop.time() + MOVING)
            try:
                async with asyncio.timeout_at(until):
                    reply = await replies.get()
            except TimeoutError:
                if waiting:
                    raise _silent(len(waiting)) from None
                break
            match reply.state:
                case "done":
                    return bytes(reply.result)
                case "failed":
                    raise VerbError(reply.code, reply.message, field=reply.field)
                case "moving":
                    moving.add(reply.worker)
            waiting.discard(reply.worker)
        raise VerbError("not_found", f"no connection {connection} is open", field="connection")

    def _begin(self) -> tuple[str, asyncio.Queue[FleetReply]]:
        token = os.urandom(12).hex()
        replies = self._waiting[token] = asyncio.Queue()
        return token, replies

    async def _publish(self, note: bytes) -> set[str]:
        """Publish a note, if it is one; returns the workers that hear. Raises BusError."""
        args: list[Argument] = [self._channel, pack_note(note) if note else b""]
        found = await self._node.bus.call(self._ask, [keys.listeners(self._name)], args, again=True)
        return {one.decode() for one in found} | {self._process}

    # ---- answering ---------------------------------------------------------------------------------

    def receive_note(self, room: str, note: bytes) -> None:
        """Another worker, or a program outside, wants something; or an answer came."""
        try:
            if room != CALLS_ROOM:
                self._receive_reply(decode_reply(note))
                return
            asked = decode_note(note)
        except ValueError as error:  # of another version of this program
            logger.warning("a note that cannot be read is passed over: %s", error)
            return
        if isinstance(asked, Ask):
            self._answer_part(asked)
        elif self._taker is not None and (not asked.takers or self._process in asked.takers):
            self._taker.called(asked.token)

    def _receive_reply(self, reply: FleetReply) -> None:
        replies = self._waiting.get(reply.token)
        if replies is not None:
            replies.put_nowait(reply)

    def _answer_part(self, asked: Ask) -> None:
        part = self._parts.get(asked.what)
        if part is not None:  # else it is a question of a later version
            self._reply(asked.asker, FleetReply(asked.token, self._process, result=Raw(_json(part(bytes(asked.args))))))

    def carry_out(self, order: control_room.Act, connection: ClientConnection | None) -> None:
        """Another worker ordered something for a connection; None: it is not here."""
        if connection is None:
            here = order.connection in self._node.moving or self._node.transfers
            self._reply(order.asker, FleetReply(order.token, self._process, "moving" if here else "absent"))
            return
        self._node.tasks.start(self._carry_out(order, connection), what=f"{order.what} of a connection")

    async def _carry_out(self, order: control_room.Act, connection: ClientConnection) -> None:
        act = self._acts.get(order.what)
        try:
            if act is None:
                raise VerbError("internal", f"the worker that has the connection does not know {order.what}")
            result = _json(await act(connection, bytes(order.args)))
            reply = FleetReply(order.token, self._process, result=Raw(result))
        except VerbError as error:
            reply = FleetReply(order.token, self._process, "failed", error.code, str(error), error.field)
        except BusError as error:
            code = "unavailable" if isinstance(error, Unavailable) else "refused"
            reply = FleetReply(order.token, self._process, "failed", code, outcome_of(error))
        self._reply(order.asker, reply)

    def _reply(self, asker: str, reply: FleetReply) -> None:
        if asker == self._process:
            self._receive_reply(reply)
        else:
            self._node.bus.publish_note(ANSWERS_ROOM + asker, encode(reply))


_json: Final = msgspec.json.Encoder().encode


def _silent(count: int) -> VerbError:
    missing = "1 worker" if count == 1 else f"{count} workers"
    text = f"{missing} did not answer within {DEADLINE:g} s: the outcome is unknown"
    return VerbError("unavailable", text, retry_after=1.0)


def _pass_over(entry: Entry) -> None:
    """Nothing is kept in these rooms."""


def _ignore(reply: Any) -> None:
    """It is said again soon."""
