"""Sixty clients on four workers do everything at random, and a model says what each must see.

Who joins, leaves, says (with keys and retries), writes directly, edits, deletes, reacts, renames, reconnects and looks
back is drawn from a seed; moderators ban, kick and mute meanwhile. What each may do and must see is checked as it
happens (`tests/support/actor.py`), the rest at the end (`tests/support/ledger.py`).

`CHATMASTER_SCENARIO_SECONDS` sets how long it lasts (30 for the long version; 8 without it), and
`CHATMASTER_SCENARIO_SEED` the seed, which every run prints. The same seed makes the same choices; how the choices of
the clients interleave is the machine's.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import jwt
import pytest

from tests.support.actor import Actor, Gone
from tests.support.ledger import Ledger, Naming, Order
from tests.support.reckoning import compare_with_the_store, settle
from tests.support.server import Chatmaster
from tests.support.wait import until_async

SECONDS = float(os.environ.get("CHATMASTER_SCENARIO_SECONDS", "8"))
SEED = os.environ.get("CHATMASTER_SCENARIO_SEED") or f"{random.randrange(10**9)}"
SECRET = "a secret of more than thirty-two characters"
ROOMS = ("hall", "garden", "kitchen", "attic", "cellar")
PLAYERS, MODERATORS, OBSERVERS = 55, 3, 2
TWINS = 12  # users with two connections
PAUSE = 0.3  # seconds between two things that a player does, at most

pytestmark = pytest.mark.timeout(SECONDS + 90)


def token(user: str, role: str = "user") -> str:
    claims = {"sub": user, "name": user.title(), "role": role, "exp": time.time() + 600}
    return jwt.encode(claims, SECRET, algorithm="HS256")


Action = Callable[[], Awaitable[None]]


class Player(Actor):
    """Does something at random, again and again."""

    def __init__(self, url: str, user: str, number: int, ledger: Ledger) -> None:
        super().__init__(url, user, token(user), ledger)
        self.mark = f"{user}.{number}"
        self.random = random.Random(f"{SEED} {self.mark}")
        self.alone = users().index(user) >= TWINS if user in users() else True  # no other connection of this user
        self._count = 0
        self._actions: list[Action] = []
        for weight, action in (
            (24, self.says), (5, self.says_twice), (4, self.says_many), (8, self.writes), (6, self.edits),
            (3, self.deletes), (6, self.reacts), (1, self.meddles), (7, self.joins), (5, self.leaves),
            (4, self.looks_back), (3, self.looks_around), (3, self.renames), (4, self.reads), (2, self.types),
            (5, self.comes_back), (3, self.is_cut_off), (4, self.mentions), (3, self.edits_letter),
            (1, self.deletes_letter), (3, self.reacts_to_letter),
        ):  # fmt: skip
            self._actions += [action] * weight

    async def play(self, until: float) -> None:
        """Until that time."""
        while time.monotonic() < until:
            await asyncio.sleep(self.random.random() * PAUSE)  # the pace of the load, not a wait
            try:
                if self.online:
                    await self.random.choice(self._actions)()
                else:
                    await self.return_to(self.random.sample(ROOMS, 3))
            except Gone:
                pass

    # ---- what it does ------------------------------------------------------------------------------

    async def says(self) -> None:
        if room := self.a_room():
            await self.write(**self.words(room))

    async def says_twice(self) -> None:
        if room := self.a_room():
            request = {**self.words(room), "key": self.new("k")}
            first, second = await asyncio.gather(self.write(**request), self.ask(**request))
            if first["type"] == second["type"] == "ack" and not (
                second["offset"] == first["offset"] and second.get("duplicate") and "duplicate" not in first
            ):
                self.fault(f"{request} got {first} and {second}")
            if first["type"] == "ack" and room in self.stays:
                other = await self._answer_of({**request, "text": self.new("other")})
                if (other.get("code"), other.get("field")) != ("bad_request", "key") and other.get("code") not in (
                    "muted", "not_joined",
                ):  # fmt: skip
                    self.fault(f"another text under {request['key']} got {other}")

    async def says_many(self) -> None:
        if room := self.a_room():
            answers = await asyncio.gather(*(self.write(**self.words(room)) for _ in range(5)), return_exceptions=True)
            offsets = [one["offset"] for one in answers if isinstance(one, dict) and one["type"] == "ack"]
            if offsets != sorted(set(offsets)):
                self.fault(f"what was said in one go stands at {offsets}")

    async def writes(self) -> None:
        to = self.random.choice(users())
        await self.write(type="direct", to=to, text=self.new("d"), key=self.new("k"))

    async def edits(self) -> None:
        if target := self.a_message(own=True):
            room, offset = target
            await self.write(type="edit", room=room, offset=offset, text=self.new("e"), key=self.new("k"))

    async def deletes(self) -> None:
        if target := self.a_message(own=True):
            room, offset = target
            await self.write(type="delete", room=room, offset=offset, key=self.new("k"))

    async def reacts(self) -> None:
        if target := self.a_message():
            room, offset = target
            more: dict[str, Any] = {"remove": True} if self.random.random() < 0.3 else {}
            emoji = self.random.choice("👍🎉")
            await self.write(type="react", room=room, offset=offset, emoji=emoji, key=self.new("k"), **more)

    async def edits_letter(self) -> None:
        if offset := self.a_letter(own=True):
            await self.write(type="edit", room=f"@{self.user}", offset=offset, text=self.new("e"), key=self.new("k"))

    async def deletes_letter(self) -> None:
        if offset := self.a_letter(own=True):
            await self.write(type="delete", room=f"@{self.user}", offset=offset, key=self.new("k"))

    async def reacts_to_letter(self) -> None:
        if offset := self.a_letter(own=self.random.random() < 0.5):
            await self.write(type="react", room=f"@{self.user}", offset=offset, emoji="👍", key=self.new("k"))

    async def mentions(self) -> None:
        """Those who are everywhere under one name, everybody, and, where no other connection renames it, itself."""
        if room := self.a_room():
            someone = f"observer{self.random.randrange(OBSERVERS)}"
            spoken = [(f"@{someone.title()}", someone), ("@room", "@room")]
            if self.alone:
                spoken.append((f"@{self.name}", self.user))
            self.random.shuffle(spoken)
            text = ", ".join([self.new("m"), *(words for words, _ in spoken)])
            await self.write(type="say", room=room, text=text, _mentions=[meant for _, meant in spoken])

    async def is_known_everywhere(self) -> bool:
        """Whether this connection's worker knows the observers, as it does a moment after it came."""
        if not self.online or not (room := self.a_room()):
            return True
        answer = await self.write(type="say", room=room, text=f"{self.new('m')} @Observer0 @Observer1")
        if answer["type"] != "ack":
            return True
        await self.ask(type="ping")
        return len(self.ledger.logs[room].get(answer["offset"], {}).get("mentions", ())) == OBSERVERS

    async def meddles(self) -> None:
        """With what is not its own."""
        if target := self.a_message(own=False):
            room, offset = target
            answer = await self.write(type="edit", room=room, offset=offset, text=self.new("e"))
            if answer["type"] == "ack":
                self.fault(f"edited another's {target}")

    async def joins(self) -> None:
        room = self.random.choice(ROOMS)
        place = {"epoch": self.ledger.epochs[room], "offset": self.places.get(room, 0)}
        since = {"since": place} if self.random.random() < 0.5 else {}
        await self.ask(type="join", room=room, **since)

    async def leaves(self) -> None:
        if room := self.a_room():
            self.places[room] = self.stays[room].due - 1
            await self.ask(type="leave", room=room)

    async def looks_back(self) -> None:
        if room := self.a_room(inbox=True):
            edge = self.random.randint(1, self.stays[room].due)
            how = self.random.choice([{}, {"before": edge}, {"after": edge}])
            limit = self.random.choice([3, 20, 100])
            answer = await self.ask(type="history", room=room, limit=limit, **how)
            if len(answer.get("messages", ())) > limit:
                self.fault(f"more than {limit} messages of history")

    async def looks_around(self) -> None:
        if room := self.a_room():
            answer = await self.ask(type="members", room=room)
            if answer["type"] == "members" and self.user not in [one["user"] for one in answer["members"]]:
                self.fault(f"does not find itself in {room}: {answer}")

    async def renames(self) -> None:
        name = f"{self.mark} {self.random.randint(1, 99)}"
        naming = Naming(name, time.time())
        self.ledger.names.given[self.user].append(naming)
        if (await self.ask(type="rename", name=name))["type"] == "ack":
            naming.done = time.time()

    async def reads(self) -> None:
        if room := self.a_room(inbox=True):
            offset = self.stays[room].due - 1
            self.ledger.maybe_read[self.user, room] = max(offset, self.ledger.maybe_read[self.user, room])
            self.send(type="read", room=room, offset=offset)
            await self.ask(type="ping")
            if room in self.stays:
                self.read[room] = max(offset, self.read.get(room, 0))

    async def types(self) -> None:
        if room := self.a_room():
            self.send(type="typing", room=room)

    async def comes_back(self) -> None:
        await self.cut(politely=self.random.random() < 0.5)
        await self.return_to(self.random.sample(ROOMS, self.random.randint(1, 5)))

    async def is_cut_off(self) -> None:
        """While something is under way: nobody knows whether it was done until it is sent again."""
        if room := self.a_room():
            saying = asyncio.create_task(self.write(**self.words(room), key=self.new("k")))
            await asyncio.sleep(self.random.choice([0, 0.001, 0.005]))
            await self.cut()
            await asyncio.gather(saying, return_exceptions=True)
            await self.return_to({*self.random.sample(ROOMS, 2), room})
            await self.finish()

    # ---- its choices -------------------------------------------------------------------------------

    async def return_to(self, rooms: Iterable[str]) -> bool:
        rooms = sorted(rooms)
        inbox = f"@{self.user}"
        since = [room for room in (*rooms, inbox) if self.random.random() < 0.6]
        return await self.enter([*rooms, *([inbox] if inbox in since else [])], since=since)

    def new(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self.mark}-{self._count}"

    def a_room(self, *, inbox: bool = False) -> str:
        there = sorted(room for room in self.stays if inbox or not room.startswith("@"))
        return self.random.choice(there) if there else ""

    def a_message(self, own: bool | None = None) -> tuple[str, int] | None:
        """One of the last ones that it can have seen."""
        room = self.a_room()
        found = [
            offset
            for offset, entry in list(self.ledger.logs[room].items())[-300:] if entry["type"] == "message"
            and own in (None, entry["from"]["user"] == self.user)
        ] if room else []  # fmt: skip
        return (room, self.random.choice(found[-20:])) if found else None

    def a_letter(self, *, own: bool) -> int:
        """One of the last direct messages in its inbox; 0: there is none."""
        found = [
            offset
            for offset, entry in list(self.ledger.logs[f"@{self.user}"].items())[-100:]
            if entry["type"] == "message" and (entry["from"]["user"] == self.user) is own
        ]
        return self.random.choice(found[-10:]) if found and f"@{self.user}" in self.stays else 0

    def words(self, room: str) -> dict[str, Any]:
        # Now and then a long one, so that a page of the log can end by its size.
        length = 30_000 if self.random.random() < 0.03 else 0
        request: dict[str, Any] = {"type": "say", "room": room, "text": self.new("s") + " " * length}
        if self.random.random() < 0.2 and (target := self.a_message()) and target[0] == room:
            request["reply_to"] = target[1]
        return request


class Moderator(Player):
    """Talks like the others, stays, and puts people out."""

    def __init__(self, url: str, user: str, number: int, ledger: Ledger) -> None:
        super().__init__(url, user, number, ledger)
        self.token = token(user, "moderator")
        self.victims = [one for index, one in enumerate(users()) if index % MODERATORS == number]
        self._actions = [self.says, self.says, self.judges, self.judges, self.judges]

    async def judges(self) -> None:
        """One order about one of its own victims, and most of the time its end a little later."""
        verb = self.random.choice(["ban", "ban", "kick", "mute", "mute"])
        user, room = self.random.choice(self.victims), self.random.choice([*ROOMS, ""])
        given: dict[str, Any] = {"type": verb, "user": user, **({"room": room} if room else {})}
        seconds = self.random.choice([0, 0, 1.5]) if verb != "kick" else 0
        order = Order(verb, user, room, sent=time.time())
        self.ledger.orders.append(order)
        if seconds:
            given["seconds"], order.ends_from = seconds, order.sent + seconds
        await self.ask(**given)
        order.done = time.time()
        order.ends_by = order.done + seconds if seconds else float("inf")
        if verb == "kick":
            order.ends_by = order.done
            return
        await asyncio.sleep(self.random.random() * 2)  # how long the order holds, not a wait
        if not seconds:
            order.ends_from = time.time()
            await self.ask(**{**given, "type": f"un{verb}"})
            order.ends_by = time.time()


def users() -> list[str]:
    return [f"user{number}" for number in range(PLAYERS - TWINS)]


@pytest.fixture
def server(chatmaster: Callable[..., Chatmaster]) -> Chatmaster:
    settings = {
        "auth.mode": "token", "auth.secret": SECRET, "limits.rate": 0, "store.history_size": 100_000,
        "chat.presence_interval": 0.2,
    }  # fmt: skip
    return chatmaster(workers=4, settings=settings)


async def test_sixty_clients_do_everything_and_see_what_they_must(server: Chatmaster) -> None:
    print(f"CHATMASTER_SCENARIO_SEED={SEED} CHATMASTER_SCENARIO_SECONDS={SECONDS:g}")
    ledger = Ledger()
    observers = [Actor(server.url, f"observer{n}", token(f"observer{n}"), ledger) for n in range(OBSERVERS)]
    moderators = [Moderator(server.url, f"moderator{n}", n, ledger) for n in range(MODERATORS)]
    players = [Player(server.url, users()[n % len(users())], n // len(users()), ledger) for n in range(PLAYERS)]
    for one in (*observers, *moderators):
        await one.enter(ROOMS)
    await asyncio.gather(*(one.return_to(one.random.sample(ROOMS, 3)) for one in players))
    for one in players:
        await until_async(one.is_known_everywhere, what=f"{one.mark}'s worker knows the observers")
    end = time.monotonic() + SECONDS
    await asyncio.gather(*(one.play(end) for one in (*moderators, *players)))
    try:
        await settle(ledger, ROOMS, [*observers, *moderators, *players])
        await compare_with_the_store(server.url, ledger, ROOMS, observers[0], players)
        ledger.judge()
    finally:
        kinds = sorted({asked.request["type"] for asked in ledger.asked})
        print(f"notes: {dict(ledger.notes)}, {len(ledger.maybe_read)} read positions")
        print(f"{len(ledger.asked)} writes of {kinds}, {ledger.entries} entries seen, {len(ledger.orders)} orders")
        for fault in ledger.faults[:40]:
            print(fault[:500])
        for actor in (*observers, *moderators, *players):
            await actor.cut()
    assert ledger.notes["typing"] and ledger.notes["read"], "nobody was told who types and who has read"
    assert not ledger.faults, f"{len(ledger.faults)} faults; the first: {ledger.faults[0][:500]}"
    assert "Traceback" not in server.log()
