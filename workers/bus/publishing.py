"""Owns how publications become commands: those of one room that wait together leave as one script.

What a script costs the store beside its messages (finding it, opening the log, keeping its state) and what a command
costs a worker are paid once for all of them: alone a message takes the store 25 µs, in a company of sixteen 10.

A group takes messages as long as nothing but other groups was queued behind it, so that a room's commands take effect
in the order they were given; messages of different rooms may overtake each other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from workers.bus.envelope import unpack_placed
from workers.bus.faults import refusal
from workers.bus.packing import bulk
from workers.bus.pipeline import Command, Pipeline
from workers.bus.port import BusError, Placed
from workers.bus.script import Script

logger = logging.getLogger(__name__)

MOST = 64  # messages of a group: about half a millisecond of the store's time
MOST_BYTES = 256 * 1024
OWN_KEYS = 3  # of a room: meta, log, overlay

Done = Callable[[Placed | BusError], None]


class Head:
    """What is the same in every group of a room: its keys, and the arguments before the messages."""

    __slots__ = ("arguments", "keys")

    def __init__(self, keys: Sequence[str], arguments: Sequence[str | int]) -> None:
        self.keys = b"".join([bulk(one.encode()) for one in keys])
        self.arguments = b"".join([bulk(str(one).encode()) for one in arguments])


class Group(Command):
    """Publications to one room. Either all of them have idempotency keys, and may be sent again, or none."""

    __slots__ = ("_arguments", "_done", "_head", "_keys", "_packed", "_publishing", "_size")

    def __init__(self, publishing: Publishing, head: Head, *, keyed: bool) -> None:
        self.again = keyed
        self.deadline = 0.0
        self._size = 0
        self._publishing = publishing
        self._head = head
        self._keys: list[bytes] = []
        self._arguments: list[bytes] = []
        self._done: list[Done] = []
        self._packed = b""

    @property
    def count(self) -> int:
        return len(self._done)

    @property
    def size(self) -> int:
        return self._size

    def takes(self, size: int, *, keyed: bool) -> bool:
        """Whether there is room for a message of so many bytes."""
        return self.again == keyed and len(self._done) < MOST and self._size + size < MOST_BYTES

    def add(self, arguments: bytes, key: bytes, done: Done) -> None:
        """One message more: its arguments and its key entry, packed."""
        self._arguments.append(arguments)
        if key:
            self._keys.append(key)
        self._done.append(done)
        self._size += len(arguments) + len(key)

    @property
    def packed(self) -> bytes:
        """The whole command; nothing is added once this was asked for."""
        if not self._packed:
            keys, own = len(self._keys), len(self._arguments) * (2 if self._keys else 1)
            start = b"*%d\r\n$7\r\nEVALSHA\r\n%b%b%b" % (
                3 + OWN_KEYS + keys + 5 + own,
                self._publishing.sha,
                bulk(b"%d" % (OWN_KEYS + keys)),
                self._head.keys,
            )
            self._packed = b"".join([start, *self._keys, self._head.arguments, *self._arguments])
        return self._packed

    def answered(self, reply: Any) -> None:
        for done, result in zip(self._done, reply, strict=True):
            if isinstance(result, hiredis.ReplyError):
                self._fail(done, refusal(str(result)))
            else:
                self._tell(done, unpack_placed(result))

    def failed(self, error: BusError) -> None:
        for done in self._done:
            self._fail(done, error)

    def _fail(self, done: Done, error: BusError) -> None:
        self._publishing.failures += 1
        self._tell(done, error)

    def _tell(self, done: Done, result: Placed | BusError) -> None:
        try:
            done(result)
        except Exception:  # a bug of one caller must not keep the answers from the others
            logger.exception("what was to be done with an answer of the store failed")


class Publishing:
    """Puts publications into groups, and groups into the pipeline."""

    def __init__(self, pipeline: Pipeline, script: Script) -> None:
        self._pipeline = pipeline
        self.sha = bulk(script.sha.encode())
        self._open: dict[str, Group] = {}
        self._turn = -1
        self.failures = 0

    def publish(self, room: str, head: Head, arguments: bytes, key: bytes, done: Done) -> None:
        """Queue one message; `arguments` and `key` are packed, `key` is empty where it has none."""
        pipeline = self._pipeline
        if self._turn != pipeline.turn:
            self._turn = pipeline.turn
            self._open = {}
        group = self._open.get(room)
        size = len(arguments) + len(key)
        if group is None or not group.takes(size, keyed=bool(key)) or not pipeline.grow(size):
            group = self._open[room] = Group(self, head, keyed=bool(key))
            group.add(arguments, key, done)
            pipeline.send(group, closing=False)
        else:
            group.add(arguments, key, done)
