"""Owns how publications become commands: those of one room that wait together leave as one script.

What a script costs the store beside its messages (finding it, opening the log, keeping its state) and what a command
costs a worker are paid once for all of them: alone a message takes the store 30 µs, in a company of sixteen 10.

A group takes messages as long as nothing but other groups was queued behind it, so that a room's commands take effect
in the order they were given; messages of different rooms may overtake each other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

from workers.bus import keys
from workers.bus.codec import VERBS, pack_envelope, unpack_all_placed, unpack_placed, unpack_places
from workers.bus.connection import pack_evalsha
from workers.bus.errors import refusal
from workers.bus.pipeline import Call, Pipeline, StoreCommand
from workers.bus.port import BusError, Change, Placed, Position, Sink
from workers.bus.script import Argument, Script, load_own

logger = logging.getLogger(__name__)

MOST = 64  # messages of a group: about half a millisecond of the store's time
MOST_BYTES = 256 * 1024
CACHED_ROOMS = 20_000

Retention = Callable[[str], tuple[int, int]]  # room → history size in messages, history ttl in seconds
Done = Callable[[Placed | BusError], None]
_OFFSET: Final = attrgetter("offset")


def bulk(data: bytes) -> bytes:
    """One argument of a command in RESP; these commands are put together by hand, as their messages come."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


class CommandPrefix:
    """The command up to the messages, which is the same for all groups of a room that have keys, or have none."""

    __slots__ = ("packed", "words")

    def __init__(self, script: Script, names: Sequence[str], arguments: Sequence[str | int]) -> None:
        words = ["EVALSHA", script.sha, len(names), *names, *arguments]
        self.packed = b"".join([bulk(str(word).encode()) for word in words])
        self.words = len(words)


class PublishBatch(StoreCommand):
    """Publications to one room. Either all of them have idempotency keys, and may be sent again, or none."""

    __slots__ = ("_began", "_done", "_messages", "_publisher", "_room", "_words", "head")

    def __init__(self, publisher: Publisher, room: str, head: CommandPrefix, *, began: float, keyed: bool) -> None:
        self.again = keyed
        self.deadline = 0.0
        self.count, self.size = 0, len(head.packed)
        self._publisher = publisher
        self._room = room
        self._began = began
        self.head = head
        self._words = head.words
        self._messages: list[bytes] = []
        self._done: list[Done] = []

    @property
    def packed(self) -> bytes:
        return b"".join([b"*%d\r\n" % self._words, self.head.packed, *self._messages])

    def add(self, message: bytes, done: Done) -> None:
        """One message more, packed: an envelope, or three words where it has a key."""
        self._messages.append(message)
        self._words += 3 if self.again else 1
        self._done.append(done)
        self.count += 1
        self.size += len(message)

    def answered(self, reply: Any) -> None:
        if isinstance(reply, bytes):  # all of them were appended
            kept = unpack_places(reply, self.count)
            self._tell(kept)
            self._publisher.placed(self._room, kept[-1], self.count, self._began)
            return
        results = [
            result if isinstance(result, Placed) else refusal(str(result))
            for result in unpack_all_placed(reply, self.count)
        ]
        self._tell(results)
        places = [result for result in results if isinstance(result, Placed)]
        self._publisher.failures += len(results) - len(places)
        if places:
            last = max(places, key=_OFFSET)  # a duplicate may have an earlier one's place
            self._publisher.placed(self._room, last, len(places), self._began)

    def failed(self, error: BusError) -> None:
        self._publisher.failures += len(self._done)
        self._tell([error] * len(self._done))

    def _tell(self, results: Sequence[Placed | BusError]) -> None:
        for done, result in zip(self._done, results, strict=True):
            try:
                done(result)
            except Exception:  # a bug of one caller must not keep the answers from the others
                logger.exception("handling a reply of the store failed")


class AmendCall(Call):
    """A publication that changes an earlier one: its answer is a place in the log."""

    __slots__ = ("_began", "_publisher", "_room")

    def __init__(self, packed: bytes, done: Done, *, again: bool, room: str, publisher: Publisher) -> None:
        super().__init__(packed, done, again=again)
        self._room = room
        self._publisher = publisher
        self._began = publisher.now()

    def answered(self, reply: Any) -> None:
        placed = unpack_placed(reply)
        super().answered(placed)
        self._publisher.placed(self._room, placed, 1, self._began)

    def failed(self, error: BusError) -> None:
        self._publisher.failures += 1
        super().failed(error)


class Publisher:
    """Makes commands of publications, and puts them into the pipeline: plain ones of one room together.

    `seed` begins the epochs of logs that do not exist yet.
    """

    def __init__(
        self, pipeline: Pipeline, sink: Sink, *, name: str, database: int, seed: str, retention: Retention, key_ttl: int
    ) -> None:
        self.failures = 0  # publications that the store refused, or did not answer
        self._pipeline = pipeline
        self._sink = sink
        self._name = name
        self._database = database
        self._seed = seed
        self._retention = retention
        self._key_ttl = key_ttl
        self.now = asyncio.get_running_loop().time
        self._publish_script = pipeline.register(load_own("publish"))
        self._amend_script = pipeline.register(load_own("amend"))
        self._reply_script = pipeline.register(load_own("reply"))
        # By room: the command without and with keys, and the room where its channel carries others too.
        self._prefixes: dict[str, tuple[CommandPrefix, CommandPrefix, str]] = {}
        self._open: dict[str, PublishBatch] = {}
        self._turn = -1

    def publish(
        self,
        room: str,
        payload: bytes,
        *,
        form: str,
        done: Callable[[Placed | BusError], None],
        author: str = "",
        key: str = "",
        digest: bytes | None = None,
        exclude: str = "",
        change: Change | None = None,
        any_author: bool = False,
        reply_to: Position | None = None,
    ) -> None:
        """See the port."""
        plain, keyed, shared = self._prefixes.get(room) or self._make_prefixes(room)
        envelope = pack_envelope(
            payload, form=form, author=author, key=key, exclude=exclude, change=change, room=shared
        )
        if change is not None or reply_to is not None:
            if change is not None:
                writer = "" if any_author else author
                what: tuple[Argument, ...] = (
                    VERBS[change.verb],
                    change.target,
                    writer,
                    f"{author} {change.emoji}",
                    payload,
                    change.epoch,
                )
                script = self._amend_script
            elif reply_to is not None:
                script, what = self._reply_script, (reply_to.offset, reply_to.epoch)
            packed = self._pack_alone(script, room, envelope, author, key, digest or payload, what)
            self._pipeline.send(AmendCall(packed, done, again=bool(key), room=room, publisher=self))
            return
        if key:
            field, content = keys.key_field(user=author, room=room, key=key), keys.digest(digest or payload)
            message = b"".join((bulk(envelope), bulk(field), bulk(content)))
            self._queue(room, keyed, message, done, True)
        else:
            self._queue(room, plain, b"$%d\r\n%b\r\n" % (len(envelope), envelope), done, False)

    def _pack_alone(
        self,
        script: Script,
        room: str,
        envelope: bytes,
        author: str,
        key: str,
        repeated: bytes,
        what: tuple[Argument, ...],
    ) -> bytes:
        """A publication with a script of its own, which has to look at an earlier message first."""
        names, room_args = self._log_of(room)
        field = content = b""
        if key:
            names += keys.keys_of(self._name, room)
            field, content = keys.key_field(user=author, room=room, key=key), keys.digest(repeated)
        return pack_evalsha(script.sha, names, (*room_args, envelope, field, content, *what))

    def _make_prefixes(self, room: str) -> tuple[CommandPrefix, CommandPrefix, str]:
        names, arguments = self._log_of(room)
        script = self._publish_script
        senders = keys.senders_of(self._name, room)
        found = (
            CommandPrefix(script, names + senders, arguments),
            CommandPrefix(script, names + keys.keys_of(self._name, room) + senders, arguments),
            room if keys.shares_channel(room) else "",
        )
        if len(self._prefixes) >= CACHED_ROOMS:
            self._prefixes.clear()
        self._prefixes[room] = found
        return found

    def _log_of(self, room: str) -> tuple[list[str], tuple[str, str, int, int, int]]:
        """The keys and arguments with which every script that appends begins; see append.lua."""
        channel = keys.channel(self._name, self._database, room)
        return [*keys.of_log(self._name, room)], (channel, self._seed, *self._retention(room), self._key_ttl)

    def _queue(self, room: str, head: CommandPrefix, message: bytes, done: Done, keyed: bool) -> None:
        """Queue one packed message for the room that `head` is of."""
        pipeline = self._pipeline
        if self._turn != pipeline.turn:
            self._turn = pipeline.turn
            self._open = {}
        group = self._open.get(room)
        size = len(message)
        if (
            group is not None
            and group.head is head
            and group.count < MOST
            and group.size + size < MOST_BYTES
            and pipeline.grow(size)
        ):
            group.add(message, done)
            return
        group = self._open[room] = PublishBatch(self, room, head, began=self.now(), keyed=keyed)
        group.add(message, done)
        pipeline.send(group, closing=False)

    def placed(self, room: str, last: Placed, count: int, began: float) -> None:
        """The store has kept them."""
        self._sink.placed(room, last, count, self.now() - began)
