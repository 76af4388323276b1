"""The bans and mutes of a worker's users and their addresses. Pure.

They are read from the store at a client's hello, and changed by orders from the control room. The two arrive by
different ways, so each carries the time at which the store took it, and the later one counts.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from workers.registry import keys

Verb = Literal["ban", "mute"]


class Sanction(Struct, frozen=True, omit_defaults=True):
    """A ban or a mute, or the end of one: one record for each user, verb and room. Times are ms since 1970 by the
    store's clock."""

    verb: Verb
    user: str
    room: str = ""  # "": everywhere
    until: int = 0  # 0: without end
    reason: str = ""
    by: str = ""
    at: int = 0
    addresses: tuple[str, ...] = ()  # of a guest: the sanction holds for all guests from these addresses
    lifted: bool = False


class _Details(Struct, omit_defaults=True):
    """The part of a sanction that the store keeps without reading it."""

    reason: str = ""
    by: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Details).decode


def field_of(sanction: Sanction) -> bytes:
    """The key of the record."""
    return f"{sanction.verb} {sanction.room} {sanction.user}".encode()


def pack_addresses(addresses: Iterable[str]) -> str:
    """The addresses in the store's form."""
    return ",".join(addresses) or "-"


def pack_details(sanction: Sanction) -> bytes:
    """The reason and the author in the store's form."""
    return _encode(_Details(sanction.reason, sanction.by))


def packed(sanction: Sanction) -> bytes:
    """The value that `unpack` reads."""
    addresses = pack_addresses(sanction.addresses).encode()
    return b"%d %d %b %b" % (sanction.until, sanction.at, addresses, pack_details(sanction))


def unpack(field: bytes, value: bytes) -> Sanction:
    """A sanction as the store keeps it: ``<verb> <room> <user>`` and ``<until> <at> <addresses> <details>``."""
    verb, room, user = field.decode().split(" ", 2)
    until, at, held, details = value.split(b" ", 3)
    known = _decode(details)
    return Sanction(
        "ban" if verb == "ban" else "mute",
        user,
        room,
        int(until),
        known.reason,
        known.by,
        int(at),
        () if held == b"-" else tuple(held.decode().split(",")),
    )


def unpack_all(fields: Sequence[bytes]) -> list[Sanction]:
    """The sanctions in a script's answer: field, value, field, value, …"""
    return [unpack(fields[at], fields[at + 1]) for at in range(0, len(fields), 2)]


class Sanctions:
    """The bans and mutes that concern this worker's connections. Lookups cost a dict access where there are none."""

    def __init__(self, concerned: Container[str]) -> None:
        self._concerned = concerned  # subjects with connections here: only their sanctions are kept
        self._known: dict[str, dict[tuple[str, str], dict[str, Sanction]]] = {}  # subject → verb, room → user → latest
        self.none = True  # no subject here is banned or muted, as far as this worker knows
        self._unread: set[str] = set()  # subjects with connections here that have not been read from the store

    def begin(self, subject: str) -> None:
        """Add a subject at its first connection; the subject has not been read from the store."""
        self._unread.add(subject)

    def forget(self, subject: str) -> None:
        """Remove a subject after its last connection."""
        self._known.pop(subject, None)
        self.none = not self._known
        self._unread.discard(subject)

    def unread(self, subjects: Iterable[str]) -> list[str]:
        """The subjects, of those given, with connections here that have not been read from the store."""
        unread = self._unread
        return [one for one in subjects if one in unread] if unread else []

    def complete(self, subject: str) -> bool:
        """Whether this worker knows all sanctions of a subject: read from the store, then kept by the control room."""
        return subject in self._concerned and subject not in self._unread

    def known(self, subject: str) -> list[Sanction]:
        """Return the known sanctions of a subject, including lifted ones."""
        return [one for users in self._known.get(subject, {}).values() for one in users.values()]

    def loaded(self, subject: str, sanctions: Iterable[Sanction]) -> None:
        """Add the sanctions that the store has for a subject."""
        self._unread.discard(subject)
        for sanction in sanctions:
            self._note(subject, sanction)

    def reloaded(self, subject: str, sanctions: Sequence[Sanction], now: int) -> None:
        """Replace the sanctions of a subject by the store's at `now` (ms of its clock), after orders were lost.

        Known sanctions that the store does not have were lifted, unless they were imposed since.
        """
        said = {(one.verb, one.room, one.user) for one in sanctions}
        for one in self.known(subject):
            if (one.verb, one.room, one.user) not in said and one.at <= now:
                del self._known[subject][one.verb, one.room][one.user]
        self.loaded(subject, sanctions)

    def apply(self, sanction: Sanction) -> None:
        """Apply a sanction, or its end, from the control room."""
        self._note(keys.of_user(sanction.user), sanction)
        for address in sanction.addresses:
            self._note(keys.of_address(address), sanction)

    def _note(self, subject: str, sanction: Sanction) -> None:
        if subject not in self._concerned:
            return
        known = self._known.setdefault(subject, {}).setdefault((sanction.verb, sanction.room), {})
        self.none = False
        before = known.get(sanction.user)
        if before is None or before.at <= sanction.at:
            known[sanction.user] = sanction

    # ---- queries -----------------------------------------------------------------------------------

    def banned(self, user: str, address: str, room: str, now: float) -> str | None:
        """The reason of the ban of a user, or of a guest's address, from a room, or from everything (""); None: no ban.

        `address` is empty for a user who is no guest; `now` is Unix time.
        """
        found = self._find("ban", user, address, room, now)
        return found.reason if found else None

    def banned_until(self, user: str, address: str, room: str, now: float) -> float:
        """The end (Unix time; inf: without end) of the ban that `banned` reports; `now` if there is none."""
        found = self._find("ban", user, address, room, now)
        if found is None:
            return now
        return found.until / 1000 if found.until else float("inf")

    def muted(self, user: str, address: str, room: str, now: float) -> float | None:
        """The end (Unix time; inf: without end) of the mute of a user, or of a guest's address, in a room.

        None: not muted.
        """
        found = self._find("mute", user, address, room, now)
        if found is None:
            return None
        return found.until / 1000 if found.until else float("inf")

    def why_muted(self, user: str, address: str, room: str, now: float) -> str:
        """Return the reason of the mute that `muted` reports; "" if there is none."""
        found = self._find("mute", user, address, room, now)
        return found.reason if found else ""

    def _find(self, verb: str, user: str, address: str, room: str, now: float) -> Sanction | None:
        """The sanction that lasts longest: of the user and the address, for the room and for everywhere."""
        if not self._known:
            return None
        holding: list[Sanction] = []
        for subject in (keys.of_user(user), keys.of_address(address)) if address else (keys.of_user(user),):
            known = self._known.get(subject)
            for place in ("", room) if known and room else ("",):
                for one in known.get((verb, place), {}).values() if known else ():
                    if not one.lifted and not 0 < one.until <= now * 1000:
                        holding.append(one)
        return max(holding, key=lambda one: one.until or float("inf"), default=None)
