"""Follows one room's log for a worker: a pure state machine.

Theory of operation. ::

    OFF ── wanted ──► SUBSCRIBING ── confirmed ──► LIVE ── unwanted ──► LINGER ── time ──► UNSUBSCRIBING ──► OFF

Pub/sub is only the fast path. While the follower is *current*, a publication that continues its position (same
epoch, next offset) is delivered; any other makes the follower not current, and then only pages read from the log are
delivered until a page reaches the top. A publication that came by pub/sub before the request for a page is in that page
(or lost for ever), so only publications that come while a read is under way are kept, and replayed after the read; if
they are too many, they are dropped and read again. A confirmed subscription always starts with a look at the log, and a
read that was requested before the confirmation does not count.

Events are methods in the past tense, effects come back as a list.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from workers.bus.port import Entry, LogState, Page, Position, Publication, Reign
from workers.rooms.recovery import HistoryReset, epoch_at, judge

HELD_BYTES = 256 * 1024  # publications kept while one read is under way


class FollowPhase(Enum):
    """The state of a room's subscription on this worker."""

    OFF = "off"
    SUBSCRIBING = "subscribing"
    LIVE = "live"
    LINGER = "linger"
    UNSUBSCRIBING = "unsubscribing"


# Looking a member of an enumeration up takes ten times as long as a name of the module.
_OFF: Final = FollowPhase.OFF
_SUBSCRIBING: Final = FollowPhase.SUBSCRIBING
_LIVE: Final = FollowPhase.LIVE
_LINGER: Final = FollowPhase.LINGER
_UNSUBSCRIBING: Final = FollowPhase.UNSUBSCRIBING


class Order(Enum):
    """An action for the hub to carry out."""

    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    CHECK = "ask for the state of the log, together with that of others"
    READ = "read a page after the position"
    LINGER = "call lingered when the room was not wanted for a while"
    CURRENT = "everything up to the top was delivered"
    FORGET = "it is off"


CHECK: Final = Order.CHECK  # those of every newcomer, see above
CURRENT: Final = Order.CURRENT


class Deliver(Struct, frozen=True):
    """Deliver the next entry of the room, with the epoch it was written under."""

    epoch: str
    entry: Entry


class TellGap(Struct, frozen=True):
    """Offsets that cannot be read any more."""

    epoch: str
    first: int
    last: int
    changes: bool = False  # they only changed messages, whose present state the log still has


class TellReset(Struct, frozen=True):
    """The log was lost; it goes on after `offset`."""

    epoch: str
    offset: int


Effect = Order | Deliver | TellGap | TellReset


class LogRead(Struct, eq=False):
    """A read of the log under way; by its identity the answer is told from that to an earlier read."""

    held: list[Publication]  # what came by pub/sub meanwhile
    held_bytes: int = 0
    overflowed: bool = False


class Follower(Struct, gc=False, eq=False):
    """One room's position on this worker. It is small, since each user's inbox has one, and refers to nobody."""

    phase: FollowPhase = _OFF
    current: bool = False
    epoch: str = ""  # "": no position yet
    offset: int = 0
    _reigns: tuple[Reign, ...] | None = ()  # as of the last read; None: the present one alone
    _wanted: bool = False
    _reading: bool = False
    _read: LogRead | None = None  # the last read, until its answer has come or proves nothing any more

    @property
    def position(self) -> Position:
        """The place up to which everything was delivered."""
        return Position(self.epoch, self.offset)

    @property
    def reigns(self) -> tuple[Reign, ...]:
        """All reigns of the log as of the last read, which made it current. Most inboxes have seen but one."""
        return (Reign(self.epoch, 1),) if self._reigns is None else self._reigns

    def begin_followed(self) -> None:
        """The channel of this new room is followed already, since other rooms share it."""
        self.phase = _LINGER

    # ---- members come and go -----------------------------------------------------------------------

    def wanted(self) -> list[Effect]:
        """The room has a member, a listener or a join from now on."""
        self._wanted = True
        if self.phase is _OFF:
            self.phase = _SUBSCRIBING
            return [Order.SUBSCRIBE]
        if self.phase is _LINGER:
            self.phase = _LIVE
            return [CURRENT] if self.current else self._look(CHECK)
        return []

    def unwanted(self) -> list[Effect]:
        """The last member, listener and join of the room are gone."""
        self._wanted = False
        if self.phase is _LIVE:
            self.phase = _LINGER
            return [Order.LINGER]
        return []

    def lingered(self) -> list[Effect]:
        """The room was not wanted for the time of LINGER."""
        if self.phase is not _LINGER:
            return []
        self._lose_position()
        self.phase = _UNSUBSCRIBING
        return [Order.UNSUBSCRIBE]

    # ---- the subscription --------------------------------------------------------------------------

    def subscribed(self) -> list[Effect]:
        """The store confirmed a subscription, the first or one after a lost connection."""
        if self.phase in (_OFF, _UNSUBSCRIBING):
            return []
        effects: list[Effect] = []
        if self.phase is _SUBSCRIBING:
            self.phase = _LIVE
            if not self._wanted:
                effects = self.unwanted()
        self._stray()
        return [*effects, *self._look(CHECK)]

    def unsubscribed(self) -> list[Effect]:
        """The store confirmed the end of the subscription."""
        if self.phase is not _UNSUBSCRIBING:
            return []
        if self._wanted:  # again, since the subscription was given up
            self.phase = _SUBSCRIBING
            return [Order.SUBSCRIBE]
        self.phase = _OFF
        return [Order.FORGET]

    def disconnected(self) -> list[Effect]:
        """The subscription is gone with its connection; the bus asks for it again."""
        self._stray()
        if self.phase is _UNSUBSCRIBING:
            return self.unsubscribed()
        return []

    # ---- publications ------------------------------------------------------------------------------

    def received(self, publication: Publication) -> int:
        """How many entries to deliver now, the last ones; 0: they are held or old, or `strayed` must be called."""
        if self.current:
            if publication.epoch == self.epoch:
                known = self.offset + 1 - publication.first
                if known >= 0:
                    new = len(publication.packed) - known
                    if new <= 0:
                        return 0
                    self.offset += new
                    return new
            self.current = False
        elif self._read is not None:
            self._hold(self._read, publication)
        return 0

    def strayed(self) -> list[Effect]:
        """The effects to carry out after `received` returned 0."""
        return [] if self.current or self._reading else self._look(Order.READ)

    def _hold(self, read: LogRead, publication: Publication) -> None:
        read.held_bytes += sum([len(body) + 200 for _, body in publication.packed])
        if read.held_bytes > HELD_BYTES:
            read.held, read.held_bytes, read.overflowed = [], 0, True
        elif not read.overflowed:
            read.held.append(publication)

    def behind(self, epoch: str, top: int) -> list[Effect]:
        """The log was seen at (epoch, top) some time ago, and its entries up to there have not come."""
        if not self.current or (epoch == self.epoch and top <= self.offset):
            return []
        self.current = False
        return self._look(Order.READ)

    # ---- reading -----------------------------------------------------------------------------------

    def read_started(self) -> LogRead | None:
        """The page or state is requested now: publications from here on may be newer.

        Returns what goes with the answer; None: the read is no longer wanted.
        """
        self._read = LogRead([]) if self._reading else None
        return self._read

    def read_failed(self, read: LogRead) -> list[Effect]:
        """The store did not give the page or state; time has passed since."""
        return self._look_again() if read is self._read else []

    def state_came(self, state: LogState, read: LogRead) -> list[Effect]:
        """The answer to CHECK."""
        if read is not self._read:
            return []
        if not self.epoch:
            self.epoch, self.offset = state.epoch, state.top
        if (state.epoch, state.top) != (self.epoch, self.offset):
            return self._look_again()
        return self._caught_up(state, read)

    def page_came(self, page: Page, *, after: int, read: LogRead) -> list[Effect]:
        """The answer to READ, which requested the entries after `after`."""
        if read is not self._read:
            return []
        effects = self._advance(page, after)
        if self.offset < page.state.top or read.overflowed:
            return effects + self._look_again()
        return effects + self._caught_up(page.state, read)

    def _look_again(self) -> list[Effect]:
        self._reading, self._read = False, None
        return self._look(Order.READ)

    def _advance(self, page: Page, after: int) -> list[Effect]:
        state = page.state
        effects: list[Effect] = []
        if not self.epoch:
            self.epoch, self.offset = state.epoch, state.top
        verdict = judge(self.position, state)
        if isinstance(verdict, HistoryReset):
            self.epoch, self.offset = state.epoch, verdict.after
            effects.append(TellReset(state.epoch, verdict.after))
        elif verdict.gap is not None:
            self.offset = verdict.after
            effects.append(TellGap(state.epoch, *verdict.gap))
        if self.offset >= after:  # else a restart went back to before this page
            effects += self._take(page)
        return effects

    def _take(self, page: Page) -> list[Effect]:
        """Deliver the page's entries beyond the position; a hole is a gap of what was trimmed or dropped."""
        effects: list[Effect] = []
        for entry in page.entries:
            if entry.offset <= self.offset:
                continue
            if entry.offset > self.offset + 1:
                effects.append(self._hole(page.state, entry.offset - 1))
            self.epoch, self.offset = epoch_at(entry.offset, page.state), entry.offset
            effects.append(Deliver(self.epoch, entry))
        if not page.more and self.offset < page.state.top:
            effects.append(self._hole(page.state, page.state.top))
            self.offset = page.state.top
        return effects

    def _hole(self, state: LogState, last: int) -> TellGap:
        return TellGap(epoch_at(last, state), self.offset + 1, last, changes=self.offset >= state.dropped)

    def _caught_up(self, state: LogState, read: LogRead) -> list[Effect]:
        """The position is the log's top as of `state`, whose reign it is in from now on."""
        self._reading, self._read = False, None
        self.epoch, self.offset = state.epoch, state.top
        reigns = state.reigns
        only = len(reigns) == 1 and reigns[0].first == 1 and reigns[0].epoch == state.epoch
        self._reigns = None if only else reigns
        if read.overflowed:
            return self._look(Order.READ)
        self.current = True
        effects: list[Effect] = []
        for publication in read.held:
            count = self.received(publication)
            effects += [Deliver(self.epoch, entry) for entry in publication.entries(count)]
            if not self.current:
                return effects + self._look(Order.READ)
        return [*effects, CURRENT]

    def _look(self, order: Order) -> list[Effect]:
        if self._reading or self.phase is not _LIVE:
            return []
        self._reading = True
        return [order]

    def _stray(self) -> None:
        self.current = self._reading = False
        self._read = None

    def _lose_position(self) -> None:
        self._stray()
        self.epoch, self.offset, self._reigns = "", 0, ()
