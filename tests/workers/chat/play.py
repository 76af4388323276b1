"""A transcript of one session: what the client sends, what the rules want done, what they answer.

    play = Play()
    play.sends(type="hello") → [Admit(...)]; play.admitted() → the welcome

Nothing is carried out; the test plays the interpreter's part where it matters.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from chatmaster.settings import Settings
from workers.chat.rules import names
from workers.chat.rules.context import Context
from workers.chat.rules.effects import (
    Admit,
    Effect,
    EnterRoom,
    LeaveRoom,
    Reply,
)
from workers.chat.rules.identity import Identities, Role
from workers.chat.rules.replies import RoomState
from workers.chat.rules.session import ChatSession

NOW = 1_700_000_000.0
SECRET = "a secret of thirty-two characters"
GUEST = "guest:00000000000000ff"


class Known:
    """Sanctions, staff and people, as the test says they are."""

    def __init__(self) -> None:
        self.bans: dict[tuple[str, str], str] = {}
        self.ban_ends: dict[tuple[str, str], float] = {}  # Unix time
        self.mutes: dict[tuple[str, str], float] = {}
        self.reasons: dict[tuple[str, str], str] = {}  # of the mutes
        self.roles: dict[str, Role] = {}
        self.moderators: dict[str, str] = {}  # user → name
        self.people: dict[str, str] = {}  # name → user

    @property
    def none(self) -> bool:
        return not (self.bans or self.mutes)

    def banned(self, user: str, address: str, room: str, now: float) -> str | None:
        return self.bans.get((user, room))

    def muted(self, user: str, address: str, room: str, now: float) -> float | None:
        return self.mutes.get((user, room), self.mutes.get((user, "")))

    def banned_until(self, user: str, address: str, room: str, now: float) -> float:
        return self.ban_ends.get((user, room), float("inf"))

    def why_muted(self, user: str, address: str, room: str, now: float) -> str:
        return self.reasons.get((user, room), self.reasons.get((user, ""), ""))

    def role_of(self, user: str) -> Role:
        return self.roles.get(user, Role.USER)

    def looks_like(self, name: str, user: str) -> bool:
        keys = names.keys_of(name)
        return any(keys & names.keys_of(other) for owner, other in self.moderators.items() if owner != user)

    def mentioned(self, room: str, text: str) -> tuple[str, ...]:
        return tuple(user for name, user in self.people.items() if f"@{name}" in text)


class Play:
    """One connection's session, with a clock that stands still until told."""

    def __init__(self, settings: dict[str, Any] | None = None, *, consulted: frozenset[str] = frozenset()) -> None:
        self.settings = msgspec.convert(settings or {}, Settings)
        self.known = Known()
        self.now = NOW
        self.context = Context(
            self.settings,
            identities=Identities(self.settings.auth, guest_secret=b"guests", new_guest=lambda: GUEST[6:]),
            sanctions=self.known,
            moderators=self.known,
            mentions=self.known,
            consulted=consulted,
        )
        self.session = ChatSession(self.context, "c1", self.now)

    def sends(self, _raw: str | bytes | None = None, /, **members: Any) -> list[Effect]:
        """The client sends an object (or anything else)."""
        return list(self.session.receive_data(json.dumps(members) if _raw is None else _raw, self.now))

    def asks(self, _raw: str | bytes | None = None, /, **members: Any) -> dict[str, Any]:
        """The same where the one effect is an answer."""
        (answer,) = shown(self.sends(_raw, **members))
        return answer

    def passes(self, seconds: float) -> None:
        self.now += seconds

    def admits(self, effects: list[Effect]) -> list[Effect]:
        """The interpreter let the user in, to all that was wanted."""
        (admit,) = effects
        assert isinstance(admit, Admit), admit
        rooms = [RoomState(room=one.room, epoch="e1", offset=7) for one in admit.wanted]
        return list(self.session.admitted(admit, rooms, self.now))

    def joins(self, room: str, **members: Any) -> dict[str, Any]:
        """Join and be joined."""
        (join,) = self.sends(type="join", room=room, **members)
        assert isinstance(join, EnterRoom), join
        (answer,) = shown(self.session.joined(join, RoomState(room=room, epoch="e1", offset=7, members=1)))
        return answer

    def says_hello(self, **members: Any) -> dict[str, Any]:
        """Say hello, be admitted; the welcome."""
        return shown(self.admits(self.sends(type="hello", **members)))[0]


def guest(*rooms: str, settings: dict[str, Any] | None = None, consulted: frozenset[str] = frozenset()) -> Play:
    """A guest who is in these rooms."""
    play = Play(settings, consulted=consulted)
    play.says_hello(rooms=[{"room": room} for room in rooms])
    return play


def shown(effects: Any) -> list[dict[str, Any]]:
    """What is sent to the client, at once or when it has left a room."""
    told = [effect.answer if isinstance(effect, LeaveRoom) else effect for effect in effects]
    return [
        json.loads(one if isinstance(one, bytes) else one.payload) for one in told if isinstance(one, bytes | Reply)
    ]


def kinds(effects: Any) -> list[str]:
    """What is to be done, by name."""
    return [type(effect).__name__ for effect in effects]
