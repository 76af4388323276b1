"""Owns what a worker knows of bans and mutes: those of its own users and their addresses. Pure.

They are read from the store when somebody says hello, and changed by what the control room tells. The two come by
different ways, so each carries the time at which the store took it, and the later one counts.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from workers.registry import keys

Verb = Literal["ban", "mute"]


class Sanction(Struct, frozen=True, omit_defaults=True):
    """A ban or a mute, or the end of one. Times are ms since 1970 by the store's clock."""

    verb: Verb
    user: str
    room: str = ""  # "": everywhere
    until: int = 0  # 0: without end
    reason: str = ""
    by: str = ""
    at: int = 0
    address: str = ""  # a guest's: the ban holds for it too
    lifted: bool = False


class _Details(Struct, omit_defaults=True):
    """The part that the store keeps as it is."""

    user: str
    reason: str = ""
    by: str = ""
    address: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Details).decode


def pack_details(sanction: Sanction) -> bytes:
    """What the store keeps beside the times."""
    return _encode(_Details(sanction.user, sanction.reason, sanction.by, sanction.address))


def unpack(field: bytes, value: bytes) -> Sanction:
    """A sanction as the store keeps it: ``<verb> <room>`` and ``<until> <at> <details>``."""
    verb, _, room = field.decode().partition(" ")
    until, at, details = value.split(b" ", 2)
    known = _decode(details)
    return Sanction(
        "ban" if verb == "ban" else "mute",
        known.user,
        room,
        int(until),
        known.reason,
        known.by,
        int(at),
        known.address,
    )


class Sanctions:
    """The bans and mutes that concern this worker's connections. Lookups cost a dict access where there are none."""

    def __init__(self, concerned: Container[str]) -> None:
        self._concerned = concerned  # subjects with connections here, which make them worth knowing
        self._known: dict[str, dict[tuple[str, str], Sanction]] = {}  # subject → (verb, room) → the latest
        self._unread: set[str] = set()  # those of them that the store has still to be asked about

    def begin(self, subject: str) -> None:
        """Its first connection is here, and the store has to be asked about it."""
        self._unread.add(subject)

    def forget(self, subject: str) -> None:
        """Its last connection is gone."""
        self._known.pop(subject, None)
        self._unread.discard(subject)

    def unread(self, subjects: Iterable[str]) -> list[str]:
        """Those of some subjects with connections here that the store has still to be asked about."""
        unread = self._unread
        return [one for one in subjects if one in unread] if unread else []

    def complete(self, subject: str) -> bool:
        """Whether all is known of it: the store was asked, and the control room tells what has changed since."""
        return subject in self._concerned and subject not in self._unread

    def known(self, subject: str) -> list[Sanction]:
        """What is known of it, lifted ones too."""
        return list(self._known.get(subject, {}).values())

    def loaded(self, subject: str, sanctions: list[Sanction]) -> None:
        """The store said what holds for it."""
        self._unread.discard(subject)
        for sanction in sanctions:
            self._note(subject, sanction)

    def apply(self, sanction: Sanction) -> None:
        """The control room told of one, or of the end of one."""
        self._note(keys.of_user(sanction.user), sanction)
        if sanction.address:
            self._note(keys.of_address(sanction.address), sanction)

    def _note(self, subject: str, sanction: Sanction) -> None:
        if subject not in self._concerned:
            return
        known = self._known.setdefault(subject, {})
        before = known.get((sanction.verb, sanction.room))
        if before is None or before.at <= sanction.at:
            known[sanction.verb, sanction.room] = sanction

    # ---- asked -------------------------------------------------------------------------------------

    @property
    def none(self) -> bool:
        """Nobody and nothing here is banned or muted, as far as this worker knows."""
        return not self._known

    def banned(self, user: str, address: str, room: str, now: float) -> str | None:
        """Why a user, or as a guest the address, is kept out of a room, or out of everything (""); None: is not.

        `address` is empty for who is no guest; `now` is Unix time.
        """
        if not self._known:
            return None
        found = self._find("ban", keys.of_user(user), room, now)
        if found is None and address:
            found = self._find("ban", keys.of_address(address), room, now)
        return found.reason if found else None

    def muted(self, user: str, room: str, now: float) -> float | None:
        """Until when (Unix time; inf: without end) a user may not speak in a room; None: may."""
        if not self._known:
            return None
        found = self._find("mute", keys.of_user(user), room, now)
        if found is None:
            return None
        return found.until / 1000 if found.until else float("inf")

    def _find(self, verb: str, subject: str, room: str, now: float) -> Sanction | None:
        """The one that lasts longest of those for the room and for everywhere."""
        known = self._known.get(subject)
        if known is None:
            return None
        places = (known.get((verb, "")), known.get((verb, room)) if room else None)
        holding = [one for one in places if one and not one.lifted and not 0 < one.until <= now * 1000]
        return max(holding, key=lambda one: one.until or float("inf"), default=None)
