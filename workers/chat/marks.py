"""What the chat keeps in the store beside the logs: read positions, names, paces, pairs of inboxes, secret, staff.

Each is a script on the keys of one room, or of the chat as a whole. Positions outlive the messages as the room's own
position does.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from chatmaster.settings import Settings
from workers.addressing import inbox_of
from workers.bus.keys import digest, key_field, of_log, tag
from workers.bus.port import BusError, Placed
from workers.bus.script import Argument, ScriptRunner, scripts_of
from workers.chat.rules.moderators import Moderator

ADDRESS_TTL: Final = 3600  # seconds after a guest has left in which a ban still finds the address
CLAIM_SLACK: Final = 60  # seconds that a claim outlives the keys it stands for
TTL_FACTOR: Final = 4  # as the hash that holds a room's own position
_encode_officer: Final = msgspec.json.Encoder().encode
_decode_officer: Final = msgspec.json.Decoder(Moderator).decode


class ReadPosition(Struct, frozen=True):
    """How far a user has read in a room: the offset, if it was ever said, and the messages of others since."""

    read: int | None
    unread: int
    name: str = ""  # in the inbox: what the user wants to be called


class ChatStore:
    """Read positions and paces, over all workers. Made inside the running loop."""

    def __init__(self, bus: ScriptRunner, settings: Settings) -> None:
        self._bus = bus
        self._name = settings.master.name
        self._ttl = TTL_FACTOR * settings.store.history_ttl
        names = [
            "look",
            "mark",
            "pace",
            "secret",
            "enlist",
            "roll",
            "pair",
            "paired",
            "call",
            "claim",
            "depart",
            "origin",
        ]
        scripts = scripts_of(Path(__file__).parent, *names)
        look, mark, pace, secret, enlist, roll, pair, paired, call, *others = map(bus.script, scripts)
        self._look, self._mark, self._pace, self._call = look, mark, pace, call
        self._claim, self._depart, self._origin = others
        self._key_ttl = 2 * settings.limits.key_ttl + CLAIM_SLACK  # so long may a key be known; see append.lua
        self._secret, self._enlist, self._roll = secret, enlist, roll
        self._pair, self._paired = pair, paired
        self._history_size = settings.store.history_size

    def mark(self, room: str, user: str, offset: int, moved: Callable[[int], None]) -> None:
        """Keep a position; `moved` is called with it only where it went forward. A failure is forgotten: the
        client marks again with the next message it reads."""

        def done(reply: Any) -> None:
            if not isinstance(reply, BusError) and reply[1]:
                moved(int(reply[0]))

        self._bus.send(self._mark, self._keys(room), [user, offset, self._ttl], done, again=True)

    async def look(self, room: str, user: str) -> ReadPosition:
        """A user's position in a room. Raises BusError."""
        offset, unread, name = await self._bus.call(self._look, self._keys(room), [user], again=True)
        return ReadPosition(None if int(offset) < 0 else int(offset), int(unread), name.decode())

    async def call(self, user: str, name: str, at: Placed) -> None:
        """Keep what a user wants to be called, by an order at that place; `look` at the inbox gives it back.

        Raises BusError.
        """
        args: list[Argument] = [at.time, at.offset, name, self._ttl]
        await self._bus.call(self._call, [self._marks_key(inbox_of(user))], args, again=True)

    def note_call(self, user: str, name: str) -> None:
        """The same for the first name of a user, without an order and without waiting; may be lost."""
        self._bus.send(self._call, [self._marks_key(inbox_of(user))], [0, 0, name, self._ttl], _forget, again=True)

    def pace(
        self, room: str, user: str, address: str, key: str, interval: float, done: Callable[[float | BusError], None]
    ) -> None:
        """Ask for the right to speak in a slow room; `done` gets the seconds to wait, 0 for none.

        All guests of an `address` have one pace, since each could come back as another; "" is for who is no guest.
        """

        def answered(reply: Any) -> None:
            done(reply if isinstance(reply, BusError) else int(reply) / 1000)

        own = [f"{tag(self._name, room)}:pace:{f'a:{address}' if address else f'u:{user}'}"]
        retry = f"{user} {key}" if key else ""
        self._bus.send(self._pace, own, [retry, max(1, int(interval * 1000))], answered, again=bool(key))

    def claim(self, user: str, key: str, content: bytes, done: Callable[[bool | BusError], None]) -> None:
        """Bind a key of somebody's inbox to what is asked for; `done` gets False where it is bound to something else.

        What is written to two inboxes needs it: the second would find out only when the first has been written.
        """

        def answered(reply: Any) -> None:
            done(reply if isinstance(reply, BusError) else bool(reply))

        field = key_field(user=user, room="claim", key=key).hex()
        own = f"{tag(self._name, inbox_of(user))}:claim:{field}"
        self._bus.send(self._claim, [own], [digest(content), self._key_ttl], answered, again=True)

    def pair(self, inbox: str, offset: int, copy: int) -> None:
        """Note that the message at `offset` of an inbox has its copy at `copy` of the sender's; may be lost."""
        args = [offset, copy, self._history_size, self._ttl]
        self._bus.send(self._pair, [f"{tag(self._name, inbox)}:copies"], args, _forget, again=True)

    async def paired(self, inbox: str, offset: int) -> int | None:
        """Where the sender's copy of a message lies; None: nobody knows. Raises BusError."""
        found = await self._bus.call(self._paired, [f"{tag(self._name, inbox)}:copies"], [offset], again=True)
        return None if found is None else int(found)

    def depart(self, guest: str, address: str) -> None:
        """Note where a guest who leaves came from, for a while; may be lost."""
        self._bus.send(self._depart, [self._address_key(guest)], [address, ADDRESS_TTL], _forget, again=True)

    async def origin(self, guest: str) -> str:
        """Where a guest who has left came from; "": not known any more. Raises BusError."""
        found = await self._bus.call(self._origin, [self._address_key(guest)], [], again=True)
        return found.decode() if found else ""

    async def guest_secret(self, known: bytes | None) -> bytes:
        """The secret that guests' identities are signed with: `known`, or a new one, of whoever asks first.

        Raises BusError.
        """
        own = [f"{tag(self._name, '!chat')}:secret"]
        return bytes(await self._bus.call(self._secret, own, [known or secrets.token_bytes(32)], again=True))

    async def enlist(self, officer: Moderator) -> None:
        """Keep who is a moderator, or is none any more. Raises BusError."""
        value = _encode_officer(officer) if officer.role else b""
        await self._bus.call(self._enlist, [self._staff_key], [officer.user, value], again=True)

    async def staff(self) -> list[Moderator]:
        """All moderators and admins that ever came. Raises BusError."""
        return [_decode_officer(one) for one in await self._bus.call(self._roll, [self._staff_key], [], again=True)]

    def _address_key(self, guest: str) -> str:
        return f"{tag(self._name, inbox_of(guest))}:address"

    @property
    def _staff_key(self) -> str:
        return f"{tag(self._name, '!chat')}:staff"

    def _keys(self, room: str) -> list[str]:
        return [*of_log(self._name, room), self._marks_key(room)]

    def _marks_key(self, room: str) -> str:
        return f"{tag(self._name, room)}:marks"


def _forget(reply: Any) -> None:
    """Nothing depends on it."""
