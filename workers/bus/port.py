"""The port: what the rest of a worker may ask of the bus, and what the bus promises.

Guarantees, whatever adapter is behind it:

* `publish` calls `done` exactly once, on the loop, with a `Placed` or a `BusError`. After `Placed` the store has
  the message at that room, epoch and offset. `Unavailable` means that the outcome is unknown; every other
  error means that nothing was written.
* Commands of one worker take effect in the order they were given (one FIFO), but for publications to different rooms,
  which may overtake each other.
* Everything a subscribed room gets is handed to the `Sink` in the order of the store's publications, but may
  have holes: a lost connection loses what was published meanwhile. Offsets show it. A fresh `subscribed` says
  that a hole may lie before it.

Error tree::

    BusError
    ├── Unavailable   no answer in time, or the connection broke: the outcome is unknown
    ├── StoreRefused  the store answered with an error: nothing was written (OOM, MISCONF, …)
    │   ├── NoTarget      what the entry would change or answer is gone, or was deleted
    │   ├── NotAuthor     another user wrote what it would change
    │   └── TooMany       the message has as many reactions as it may have
    └── KeyConflict   the idempotency key was used before with other content
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec import Struct

MAX_OFFSET = 2**53 - 1
LOSS: Final = "loss"  # the verb of an entry that says: acknowledged entries before it are gone


class BusError(Exception):
    """The bus could not do what was asked; the subclass says whether the outcome is known."""


class Unavailable(BusError):
    """No answer in time, or the connection broke: the outcome is unknown."""


class StoreRefused(BusError):
    """The store answered with an error: nothing was written."""


class NoTarget(StoreRefused):
    """What the entry would change or answer is gone, or was deleted."""


class NotAuthor(StoreRefused):
    """Another user wrote what the entry would change."""


class TooMany(StoreRefused):
    """The message has as many reactions as it may have."""


class KeyConflict(BusError):
    """The idempotency key was used before with other content: nothing was written."""


def outcome_of(error: BusError) -> str:
    """Whether what was asked of the store was done, and the store's own words: for logs and for the operator."""
    if isinstance(error, Unavailable):
        return f"the outcome is unknown: {error}"
    return f"the store did not do it: {error}"


class Position(Struct, frozen=True):
    """A place in a room's log, as a client or a follower remembers it."""

    epoch: str
    offset: int


class Placed(Struct, frozen=True):
    """Where a message was kept; `duplicate` says that an earlier call with the same key kept it."""

    epoch: str
    offset: int
    time: int  # ms since 1970, the store's clock, never going back within a room
    duplicate: bool = False


class Change(Struct, frozen=True):
    """What an entry does to an earlier one of the same log."""

    verb: str  # edit, delete, react, unreact; LOSS
    target: int  # the offset of the entry that it changes; 0 for LOSS
    emoji: str = ""  # of a reaction: a user's with the same emoji exists once
    epoch: str = ""  # in which the target was seen; refused where the log was reset since


class Amendment(Struct, frozen=True):
    """What a later entry changed about this one, as the overlay keeps it."""

    verb: str  # edit, delete, react
    time: int  # of the later entry, ms since 1970
    payload: bytes  # the later entry's


class Entry(Struct, frozen=True):
    """One entry of a room's log, as stored or as published.

    `form` says how it becomes a WebSocket message: ``j`` a JSON object into which offset, epoch and time are
    spliced, ``t`` text as it is, ``b`` binary as it is.
    """

    offset: int
    time: int
    form: str
    payload: bytes
    author: str = ""  # user id; its connections see `key`
    key: str = ""
    exclude: str = ""  # ids of connections that do not get it, with commas between
    change: Change | None = None
    amendments: tuple[Amendment, ...] = ()  # known only to what was read from the log; oldest first


class EntryHead(Struct, frozen=True):
    """What a packed entry says before its payload: the same for nearly all entries of one author."""

    form: str
    author: str
    room_size: int = 0  # bytes, as the next two: of what stands before the payload, in this order
    key_size: int = 0
    exclude_size: int = 0
    change: Change | None = None
    plain: bool = True  # nothing stands before the payload, and the entry changes no other

    def entry(self, offset: int, time: int, body: bytes, amendments: tuple[Amendment, ...] = ()) -> Entry:
        """Unpack the entry whose payload, with what stands before it, is `body`."""
        if self.plain:
            return Entry(offset, time, self.form, body, self.author, amendments=amendments)
        key = self.room_size
        exclude = key + self.key_size
        payload = exclude + self.exclude_size
        return Entry(
            offset,
            time,
            self.form,
            body[payload:],
            self.author,
            body[key:exclude].decode(),
            body[exclude:payload].decode(),
            self.change,
            amendments,
        )


class Publication(Struct, frozen=True):
    """What came by pub/sub at once: entries that follow each other, of one time and epoch.

    They are packed, since nearly all become frames at once (`rooms/log_item.py`) and are never looked at.
    """

    epoch: str
    first: int  # the offset of the first one
    time: int  # ms since 1970
    packed: Sequence[tuple[EntryHead, bytes]]  # see `EntryHead.entry`
    changes: bool = False  # whether some of them change earlier ones

    def entries(self, count: int) -> list[Entry]:
        """The last `count` entries."""
        start = len(self.packed) - count
        return [
            head.entry(offset, self.time, body)
            for offset, (head, body) in enumerate(self.packed[start:], self.first + start)
        ]


class Reign(Struct, frozen=True, gc=False):
    """One reign of the store over a log: its epoch, and the first offset written (or to be written) under it."""

    epoch: str
    first: int


class LogState(Struct, frozen=True):
    """What a log looks like now: everything that judging a position needs."""

    epoch: str  # of the present reign
    top: int  # the last offset; 0: nothing was ever written
    first: int  # the lowest offset of a message that can still be read; top + 1 where none can. All above it can.
    reigns: tuple[Reign, ...]  # oldest first; the last one is the present
    dropped: int = 0  # of an inbox: up to here messages may be missing after `first`; their senders had too many


class Page(Struct, frozen=True):
    """Entries after a position, oldest first, read together with the state of the log.

    An offset that is missing between `state.first` and the last one (without `more`: and `state.top`) was that of a
    change, whose place newer ones have taken: what it did is among the `amendments` of its message. Up to
    `state.dropped` it may have been that of a message, too.
    """

    state: LogState
    entries: tuple[Entry, ...]
    more: bool  # entries remain beyond this page


class Sink(Protocol):
    """What receives from the bus. Every method is called on the loop and must not raise."""

    def received(self, room: str, publication: Publication) -> None:
        """Logged messages came by pub/sub."""

    def placed(self, room: str, last: Placed, count: int, seconds: float) -> None:
        """The store has kept so many publications of this worker's own, the last one there; it took so long."""

    def received_note(self, room: str, note: bytes) -> None:
        """Something that is not logged came by pub/sub (presence, typing): its bytes as given to `publish_note`."""

    def wants(self, room: str) -> bool:
        """Whether what came for this room by a channel that carries many rooms is to be handed over at all."""

    def subscribed(self, room: str) -> None:
        """The store confirmed the subscription; what was published before may have been missed."""

    def shared_subscribed(self, shards: frozenset[int] | None = None) -> None:
        """As `subscribed`, for every room of these shards (None: of all) that shares its channel with others."""

    def unsubscribed(self, room: str) -> None:
        """The store confirmed the end of the subscription."""

    def disconnected(self, shards: frozenset[int] | None = None) -> None:
        """The subscriptions to rooms of these shards (None: of all) are gone; the bus subscribes to them again."""


class Bus(Protocol):
    """One worker's way to the store."""

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
        """Append to the room's log and publish to every follower.

        `key` makes a retry by the same author safe. `digest` is what a retry must repeat (the payload where it is
        None). `change` names an earlier entry by the same author, or by any with `any_author`, that this one
        changes. `reply_to` names the message that this one answers, which must be there (NoTarget), in the epoch where
        one is given. Raises ValueError for what can never be published: see `codec.pack_envelope`.
        """

    def publish_note(self, room: str, note: bytes) -> None:
        """Publish without keeping; may be lost."""

    def follows(self, room: str) -> bool:
        """Whether what is published in a room comes without `subscribe`: it shares a channel that is followed now."""

    def subscribe(self, room: str) -> None:
        """Ask for a room; `Sink.subscribed` answers.

        It does so at once for a room that shares its channel with others, where that is followed already; where it
        is not, `Sink.shared_subscribed` answers.
        """

    def unsubscribe(self, room: str) -> None:
        """End a subscription; `Sink.unsubscribed` answers, without a connection too."""

    async def read(self, room: str, *, after: int, limit: int, max_bytes: int, messages_only: bool = False) -> Page:
        """Entries after an offset, with `messages_only` without those that change others.

        Creates the log's epoch where there is none. Raises BusError.
        """

    async def read_before(self, room: str, *, before: int, limit: int, max_bytes: int) -> Page:
        """The last messages below an offset, oldest first. Raises BusError."""

    def together(self, rooms: Sequence[str]) -> list[list[str]]:
        """The rooms in groups, each for one call of `states` or `compare`."""

    def states(self, rooms: list[str], done: Callable[[list[LogState] | BusError], None]) -> None:
        """The states of some hundred logs in one round trip; creates the log's epoch where there is none."""

    def compare(self, known: list[tuple[str, Position]], done: Callable[[list[str] | BusError], None]) -> None:
        """Which of some hundred logs end elsewhere than is known, or should be looked at by `states` to last."""

    def missing(self, acked: list[tuple[str, Position]], done: Callable[[list[int] | BusError], None]) -> None:
        """The places in `acked` of the entries that were acknowledged and that their logs have lost since.

        Nothing is said of rooms without a log, or with a log of another identity.
        """

    def note_loss(
        self, room: str, acked: Position, *, age: float, done: Callable[[Placed | BusError | None], None]
    ) -> None:
        """Append an entry with the verb LOSS: this entry, acknowledged `age` seconds ago, is gone, with those after it.

        `done` gets None where the entry is there, or where a later one of its reign was noted as lost.
        """
