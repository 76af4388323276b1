"""What a crowd of chat users knows together, and what follows from it: the model that a scenario is held against.

Every entry that anybody sees is written down by its place, so that two who saw different things are found at once.
`Ledger.judge` compares the rest at the end: acknowledged requests with the logs, history with the logs replayed,
orders of moderators with who was where. Times are Unix times of this machine, whose clock the store uses too.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from msgspec import Struct, field

SCANNED = 200  # messages that `unread` looks at closely: see the protocol
SLACK = 0.75  # seconds until an acknowledged order must hold for everybody, on a busy machine

Entry = dict[str, Any]


class Order(Struct):
    """A ban, a mute or a kick. It may hold from `sent` to `ends_by`; it must from `done` to `ends_from`."""

    verb: str
    user: str
    room: str  # "": everywhere
    sent: float
    done: float = math.inf
    ends_from: float = math.inf
    ends_by: float = math.inf

    def is_about(self, verbs: tuple[str, ...], user: str, room: str) -> bool:
        return self.verb in verbs and self.user == user and self.room in ("", room)

    @property
    def certain_from(self) -> float:
        return self.done + SLACK


class Presence(Struct):
    """That a connection was in a room, from its point of view."""

    user: str
    room: str
    begin: float
    end: float = math.inf


class Asked(Struct):
    """A request that writes, and its outcome as far as it is known."""

    user: str
    request: dict[str, Any]
    room: str  # where its entry would be
    sent: list[float]  # each time
    by: int = 0  # which of the user's connections
    mentions: list[str] | None = None  # that the server has to find; None: not looked at
    answered: float = math.inf
    outcome: str = "unknown"  # or "kept", "refused"
    offset: int = 0


class Looked(Struct):
    """A page of history, or a message that came already amended."""

    room: str
    messages: list[Entry]
    whole: bool = False  # a page, in which no message may be missing


class Naming(Struct):
    """A name that a user was given: it may hold from `sent`, and it must from `done` until the next one is."""

    name: str
    sent: float
    done: float = math.inf


class Names(Struct):
    """What each user can have been called, on all connections alike."""

    given: defaultdict[str, list[Naming]] = field(default_factory=lambda: defaultdict(list))

    def bears(self, user: str, name: str, now: float) -> None:
        """A user is welcomed under a name: the user's first name, or one that was given."""
        if not self.given[user]:
            self.given[user].append(Naming(name, 0.0, now))

    def all_of(self, user: str) -> set[str]:
        """Every name that they were ever given."""
        return {one.name for one in self.given[user]}

    def possible(self, user: str, begin: float, end: float) -> set[str]:
        """Every name that can have been theirs at some time of this span."""
        given = self.given[user]
        return {
            one.name for one in given
            if one.sent <= end and not any(one.done < later.sent and later.done + SLACK < begin for later in given)
        }  # fmt: skip


class Ledger(Struct):
    """The common knowledge; `faults` is empty while nothing contradicts anything."""

    logs: defaultdict[str, dict[int, Entry]] = field(default_factory=lambda: defaultdict(dict))
    epochs: dict[str, str] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    orders: list[Order] = field(default_factory=list)
    stays: list[Presence] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    looked: list[Looked] = field(default_factory=list)
    deleting: set[tuple[str, int]] = field(default_factory=set)  # messages that a user tried to delete
    maybe_read: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))  # user, room
    late: defaultdict[str, dict[int, Entry]] = field(default_factory=lambda: defaultdict(dict))  # seen when amended
    # Who was told to be called how, and by what: judged in the end, since others may be told of a newcomer before the
    # newcomer's own welcome is read.
    told_names: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)  # typing and read, that anybody was told
    faults: list[str] = field(default_factory=list)
    entries: int = 0  # that anybody was shown

    def fault(self, text: str) -> None:
        self.faults.append(text)

    # ---- while it runs -----------------------------------------------------------------------------

    def note(self, entry: Entry) -> None:
        """A user received an entry."""
        self.entries += 1
        room, offset = entry["room"], entry["offset"]
        entry = {name: value for name, value in entry.items() if name != "key"}
        if self.epochs.setdefault(room, entry["epoch"]) != entry["epoch"]:
            self.fault(f"{room} {offset}: epoch {entry['epoch']}, before {self.epochs[room]}")
        if is_amended(entry):
            self.looked.append(Looked(room, [entry]))
            self.late[room][offset] = entry
        elif self.logs[room].setdefault(offset, entry) != entry:
            self.fault(f"{room} {offset} is {entry}, for others {self.logs[room][offset]}")

    def deletes(self, room: str, offset: int) -> None:
        """A user is about to delete a message, and with a direct message its copy."""
        self.deleting.add((room, offset))
        letter = self.logs[room].get(offset, {})
        if "peer" in letter:
            self.deleting.add((f"@{letter['to']}", letter["peer"]))

    def story(self, room: str) -> Story:
        """A room's log replayed."""
        return Story(self.logs[room], self.late[room])

    def top(self, room: str) -> int:
        return max(self.logs[room], default=0)

    def may(self, verbs: tuple[str, ...], user: str, room: str, begin: float, end: float) -> bool:
        """Whether such an order can have held at some time of this span."""
        return any(
            one.is_about(verbs, user, room) and one.sent <= end and one.ends_by + SLACK >= begin for one in self.orders
        )

    def must(self, verbs: tuple[str, ...], user: str, room: str, begin: float, end: float) -> bool:
        """Whether such an order held all the time."""
        return any(
            one.is_about(verbs, user, room) and one.certain_from <= begin and one.ends_from >= end
            for one in self.orders
        )

    # ---- at the end --------------------------------------------------------------------------------

    def judge(self) -> list[str]:
        """All that is wrong. Call it when everybody has everything."""
        for (user, name), by in self.told_names.items():
            if name not in self.names.all_of(user):
                self.fault(f"{by}: {user} was never called {name}")
        for asked in self.asked:
            self._judge_asked(asked)
        self._judge_texts()
        self._judge_orders()
        stories = {room: self.story(room) for room in list(self.logs)}
        self._judge_copies(stories)
        for looked in self.looked:
            self._judge_looked(looked, stories[looked.room])
        return self.faults

    def _judge_asked(self, asked: Asked) -> None:
        """Each acknowledged request is at its place in the log, as requested."""
        if asked.outcome != "kept":
            return
        entry = self.logs[asked.room].get(asked.offset)
        if entry is None:
            self.fault(f"{asked.request} was acknowledged at {asked.room} {asked.offset}, and nobody saw it")
            return
        types = {"say": "message", "direct": "message", "edit": "edited", "delete": "deleted", "react": "reacted"}
        wanted = {"type": types[asked.request["type"]], "target": asked.request.get("offset")}
        wanted |= {name: asked.request.get(name) for name in ("text", "data", "emoji", "reply_to", "remove", "to")}
        found = {name: entry.get(name) for name in wanted}
        names = self.names.possible(asked.user, min(asked.sent), asked.answered)
        if found != wanted or entry["from"]["user"] != asked.user or entry["from"]["name"] not in names:
            self.fault(f"{asked.user} {names} asked for {asked.request}, and there is {entry}")
        if asked.mentions is not None and entry.get("mentions", []) != asked.mentions:
            self.fault(f"{entry} has to mention {asked.mentions}")

    def _judge_texts(self) -> None:
        """Each text has one author, so it is in the log once if it was kept, and never if it was refused."""
        places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for room, log in self.logs.items():
            for offset, entry in log.items():
                if "text" in entry:
                    places[room, entry["text"]].append(offset)
        for asked in self.asked:
            if (text := asked.request.get("text")) is None:
                continue
            allowed = {"kept": [1], "refused": [0], "unknown": [0, 1]}[asked.outcome]
            for room in {asked.room, self._other_side(asked)}:
                found = places.pop((room, text), [])
                # A deletion from another connection may come between the two sides of an edit: then both are deleted.
                crossed = room != asked.room and (asked.room, asked.request.get("offset")) in self.deleting
                # No connection was there to see an inbox before the change.
                unseen = room.startswith("@") and not self.late[room].keys() <= self.logs[room].keys()
                if len(found) not in (allowed if not crossed and not unseen else [0, 1]):
                    self.fault(f"{text!r} is {asked.outcome} and stands in {room} at {found}")
        for (room, text), offsets in places.items():
            self.fault(f"nobody said {text!r}, which stands in {room} at {offsets}")

    def _other_side(self, asked: Asked) -> str:
        """The other inbox that a request writes to; its own room where there is none."""
        letter = (
            asked.request if "to" in asked.request else self.logs[asked.room].get(asked.request.get("offset", 0), {})
        )
        return f"@{letter['to']}" if asked.room.startswith("@") and "to" in letter else asked.room

    def _judge_copies(self, stories: dict[str, Story]) -> None:
        """Both copies of a direct message say the same, where its changes came one after the other."""
        changes: defaultdict[tuple[str, int], list[Asked]] = defaultdict(list)
        for asked in self.asked:
            if asked.room.startswith("@") and "offset" in asked.request:
                changes[asked.room, asked.request["offset"]].append(asked)
        for (room, offset), several in changes.items():
            letter = self.logs[room].get(offset, {})
            clear = all(one.outcome != "unknown" and len(one.sent) == 1 and one.by == several[0].by for one in several)
            if "peer" not in letter or not clear:
                continue
            own, other = stories[room].states[offset][-1], stories[f"@{letter['to']}"].states[letter["peer"]][-1]
            for name in ("text", "deleted"):
                if own.get(name) != other.get(name):
                    self.fault(f"one side of a direct message is {own}, the other {other}")

    def _judge_orders(self) -> None:
        """Who was put out was out: no stay outlasts an order that holds, and none begins while it does."""
        for order in self.orders:
            if order.verb == "mute" or order.done == math.inf:
                continue
            for stay in self.stays:
                if stay.user != order.user or order.room not in ("", stay.room):
                    continue
                outlasts = stay.begin < order.sent and stay.end > order.certain_from
                inside = max(stay.begin, order.certain_from) < min(stay.end, order.ends_from)
                if outlasts or (order.verb == "ban" and inside):
                    self.fault(f"{order} did not end {stay}")

    def _judge_looked(self, looked: Looked, story: Story) -> None:
        for message in looked.messages:
            seen = plain(message)
            states = story.states.get(message["offset"], [])
            if seen not in states and message["offset"] not in story.partial:
                self.fault(f"{looked.room}: {seen} was shown, which was never so: {states}")
        if looked.whole and looked.messages:
            offsets = [one["offset"] for one in looked.messages]
            there = [one for one in story.states if offsets[0] <= one <= offsets[-1]]
            if offsets != sorted(there):
                self.fault(f"{looked.room}: history showed {offsets}, where there is {sorted(there)}")


class Story:
    """A room's log replayed: what each message looked like after each change."""

    def __init__(self, log: dict[int, Entry], late: dict[int, Entry]) -> None:
        """`late`: messages as they were seen with their changes, of which some were never seen without."""
        self.states: dict[int, list[Entry]] = {}
        self.partial = late.keys() - log.keys()  # only the last state of these is known
        for offset in sorted(log.keys() | self.partial):
            entry = log.get(offset) or late[offset]
            if entry["type"] == "message":
                self.states[offset] = [plain(entry)]
            elif states := self.states.get(entry["target"]):
                states.append(_changed(states[-1], entry))

    def now(self) -> list[Entry]:
        """All messages as they stand at the end."""
        return [states[-1] for states in self.states.values()]

    def unread(self, offset: int, user: str) -> int:
        """Messages after an offset that others wrote and that are not deleted; what a user has not read.

        Of more than SCANNED messages only the newest are looked at so closely; all before them count.
        """
        later = [states[-1] for one, states in sorted(self.states.items()) if one > offset]
        newest = later[-SCANNED:]
        closely: int = sum(one["from"]["user"] != user and not one.get("deleted") for one in newest)
        return closely + len(later) - len(newest)


def _changed(message: Entry, change: Entry) -> Entry:
    if message.get("deleted"):
        return message
    if change["type"] == "deleted":
        kept = ("offset", "time", "type", "room", "from", "to")
        return {name: message[name] for name in kept if name in message} | {"deleted": True}
    if change["type"] == "edited":
        body = ("text", "data", "mentions")
        rest = {name: value for name, value in message.items() if name not in body}
        return rest | {name: change[name] for name in body if name in change} | {"edited": change["time"]}
    return _reacted(message, change)


def _reacted(message: Entry, change: Entry) -> Entry:
    reactions = {emoji: set(users) for emoji, users in message.get("reactions", {}).items()}
    users = reactions.setdefault(change["emoji"], set())
    if change.get("remove"):
        users.discard(change["from"]["user"])
    else:
        users.add(change["from"]["user"])
    left = {emoji: sorted(users) for emoji, users in reactions.items() if users}
    bare = {name: value for name, value in message.items() if name != "reactions"}
    return {**bare, "reactions": left} if left else bare


def is_amended(entry: Entry) -> bool:
    return any(name in entry for name in ("edited", "deleted", "reactions")) and entry["type"] == "message"


def plain(message: Entry) -> Entry:
    """A message for comparison: without its key and epoch, reactions in a fixed order."""
    bare = {name: value for name, value in message.items() if name not in ("key", "epoch")}
    if "reactions" in bare:
        bare["reactions"] = {emoji: sorted(users) for emoji, users in bare["reactions"].items()}
    return bare


def differences(expected: list[Entry], found: list[Entry]) -> Iterator[str]:
    """Where two lists of messages differ."""
    if len(expected) != len(found):
        yield f"{len(found)} messages instead of {len(expected)}"
    for wanted, message in zip(expected, found, strict=False):
        if wanted != plain(message):
            yield f"{message} instead of {wanted}"
