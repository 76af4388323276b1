"""Answers the master's queries for `chatctl`: the worker's connections and rooms, a room's users and its new entries.

Rows go back in packets that fit the channel to the master. Packets are filled by bytes, not by the number of rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from chatmaster import contract
from workers.addressing import is_internal, is_public, log_name, normalized
from workers.bus.port import BusError, outcome_of
from workers.verbs.request import VerbError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from workers.node.client_connection import ClientConnection
    from workers.node.node import Node
    from workers.process.host_member import HostMember
    from workers.process.master_channel import MasterChannel
    from workers.verbs.service import VerbService

logger = logging.getLogger(__name__)

Row = dict[str, Any]

MOST_LINES = 1000  # entries of a room that wait to be sent to `chatctl tail`
HEAD = 256  # bytes of a packet for everything but rows
ROOM_FOR_ROWS = contract.MAX_PACKET - HEAD


class Queries:
    """Answers the master's queries, one task each."""

    def __init__(self, node: Node, channel: MasterChannel) -> None:
        self._node = node
        self._channel = channel
        self._running: dict[int, asyncio.Task[Any]] = {}
        self.verbs: VerbService | None = None  # once the application has started
        self.member: HostMember | None = None

    def start(self, query: contract.Query) -> None:
        """A query came; its answer is sent when it is known."""
        task = self._node.tasks.start(self._answer(query), what=f"query {query.what}")
        self._running[query.id] = task
        task.add_done_callback(lambda _: self._running.pop(query.id, None))

    def cancel(self, query_id: int) -> None:
        """Nobody waits for that one any more."""
        task = self._running.get(query_id)
        if task is not None:
            task.cancel()

    async def _answer(self, query: contract.Query) -> None:
        try:
            if query.what == "tail":
                await self._tail(query)
                return
            rows, facts = await self._rows(query.what, query.args)
        except BusError as error:
            self._fail(query.id, outcome_of(error) + self._why(error))
        except LookupError as error:
            self._fail(query.id, str(error.args[0] if error.args else error))
        except ValueError as error:
            self._fail(query.id, str(error), contract.ExitCode.USAGE)
        except VerbError as error:
            usage = error.code in ("bad_request", "too_large", "wrong_application")
            code = contract.ExitCode.USAGE if usage else contract.ExitCode.FAILED
            cause = error.__cause__
            told = f"{error}: {cause}{self._why(cause)}" if isinstance(cause, BusError) else str(error)
            self._fail(query.id, f"{error.field}: {error}" if error.field else told, code)
        else:
            self._send(query.id, rows, facts)

    def _why(self, error: BusError) -> str:
        """Why the store is away, where the error does not say that; this is the operator's alone to read."""
        why = self._node.bus.why
        return f" ({why})" if why and why not in str(error) else ""

    async def _rows(self, what: str, args: Row) -> tuple[list[Row], Row]:
        """The rows, and what is to be said about all of them."""
        match what:
            case "connections":
                return self._connections(args), {}
            case "rooms":
                return self._node.hub.rows(), {}
            case "who" if not is_public(_room(args)):
                members, count = await self._node.members_and_count(_room(args))
                return members, {"count": count, "truncated": count > len(members)}
        rows = await self.member.query(what, args) if self.member is not None else None
        if rows is None and self.verbs is not None:
            rows = await self.verbs.query(what, args)
        if rows is None:
            raise ValueError(f"this worker does not know {what!r}, or has not started yet")
        return rows, {}

    def _connections(self, args: Row) -> list[Row]:
        room, user = (normalized(args.get(one) or "") for one in ("room", "user"))
        return [
            self._row(connection)
            for connection in self._node.connections.values()
            if (not user or user in (connection.user, connection.id))
            and (not room or room in self._rooms_of(connection))
        ]

    def _rooms_of(self, connection: ClientConnection) -> list[str]:
        """Its rooms and its inbox."""
        return [room for room in self._node.hub.members.rooms_of(connection) if not is_internal(room)]

    def _row(self, connection: ClientConnection) -> Row:
        ws = connection.ws
        return {
            "id": connection.id,
            "slot": self._node.launch.slot,
            "user": connection.user,
            "address": ws.address,
            "since": connection.opened_at,
            "rooms": self._rooms_of(connection),
            "bytes_in": ws.bytes_in,
            "bytes_out": ws.bytes_out,
            "messages_in": ws.frames_in,
            "queue": ws.buffered,
            "lag": self._node.hub.members.lag_of(connection),
        }

    async def _tail(self, query: contract.Query) -> None:
        """Follow a room until the query is cancelled; each entry is a row."""
        room = _room(query.args)
        lines = Lines(MOST_LINES)
        stop = self._follow(room, lines)
        try:
            while True:
                packets = list(answers(query.id, [await lines.next()]))
                if not self._channel.takes(len(packets)):
                    lines.lose()
                    continue
                for packet in packets:
                    self._channel.send(packet)
        finally:
            stop()

    def _follow(self, room: str, lines: Lines) -> Callable[[], None]:
        def on_entry(entry: Any) -> None:
            lines.put(
                {"room": room, "offset": entry.offset, "time": entry.time / 1000, "payload": _shown(entry.payload)}
            )

        return self._node.hub.follow(room, on_entry)

    def _send(self, query_id: int, rows: list[Row], facts: Row) -> None:
        for answer in answers(query_id, rows):
            self._channel.send(answer)
        self._channel.send(contract.Answer(query_id, facts=facts))

    def _fail(self, query_id: int, error: str, code: int = contract.ExitCode.FAILED) -> None:
        self._channel.send(contract.Answer(query_id, error=error, exit_code=code))


def _room(args: Row) -> str:
    room = args.get("room")
    if not room:
        raise ValueError("a room is missing")
    return log_name(room)


def _shown(payload: bytes) -> str:
    return payload.decode("utf-8", "replace")


def answers(query_id: int, rows: Iterable[Row]) -> Iterator[contract.Answer]:
    """Pack rows, in order, into answers of at most MAX_PACKET bytes; none of them is the last answer."""
    together: list[Row] = []
    size = 0
    for row in rows:
        encoded = contract.encode(row)
        if together and size + len(encoded) > ROOM_FOR_ROWS:
            yield contract.Answer(query_id, together, last=False)
            together, size = [], 0
        if len(encoded) > ROOM_FOR_ROWS:
            yield from _pieces(query_id, encoded)
        else:
            together.append(row)
            size += len(encoded)
    if together:
        yield contract.Answer(query_id, together, last=False)


def _pieces(query_id: int, encoded: bytes) -> Iterator[contract.Answer]:
    for start in range(0, len(encoded), ROOM_FOR_ROWS):
        end = start + ROOM_FOR_ROWS
        yield contract.Answer(query_id, last=False, piece=encoded[start:end], more=end < len(encoded))


class Lines:
    """A queue of at most `most` rows; a row `{"lost": number}` stands where rows were dropped."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: deque[Row] = deque()
        self._lost = 0
        self._some = asyncio.Event()

    def put(self, row: Row) -> None:
        """Add a row; a row that does not fit is only counted."""
        if len(self._rows) >= self._most:
            self.lose()
            return
        if self._lost:
            self._rows.append({"lost": self._lost})
            self._lost = 0
        self._rows.append(row)
        self._some.set()

    def lose(self) -> None:
        """Count a dropped row."""
        self._lost += 1
        self._some.set()

    async def next(self) -> Row:
        """Wait for the next row."""
        while not self._rows and not self._lost:
            self._some.clear()
            await self._some.wait()
        if self._rows:
            return self._rows.popleft()
        lost, self._lost = self._lost, 0
        return {"lost": lost}
