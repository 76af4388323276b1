"""The meaning of the store's error replies for the command that got one. Pure."""

from __future__ import annotations

from enum import Enum

from workers.bus.port import BusError, KeyConflict, NoTarget, NotAuthor, StoreRefused, TooMany


class StoreFault(Enum):
    """What to do about an error reply."""

    UNKNOWN_SCRIPT = "load the scripts and send it again"
    WRONG_SERVER = "nothing was done here: connect again and repeat it"
    REFUSED = "tell the caller"


# Nothing of the command was carried out; another connection or a short wait helps.
_ELSEWHERE = ("READONLY", "LOADING", "MASTERDOWN", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "NOAUTH", "UNBLOCKED")


# The first words of our own scripts' errors.
_REFUSALS: dict[str, type[BusError]] = {
    "KEYCONFLICT": KeyConflict,
    "NOTARGET": NoTarget,
    "NOTAUTHOR": NotAuthor,
    "TOOMANY": TooMany,
}


def fault_of(message: str) -> StoreFault:
    """Sort an error reply by its first word; Redis 7 repeats it inside the errors of scripts."""
    word = message.split(" ", 1)[0]
    if word == "NOSCRIPT":
        return StoreFault.UNKNOWN_SCRIPT
    if word in _ELSEWHERE or (word == "ERR" and "READONLY" in message):
        return StoreFault.WRONG_SERVER
    return StoreFault.REFUSED


def refusal(message: str) -> BusError:
    """The error for the caller of a command that was refused."""
    word, _, reason = message.partition(" ")
    return _REFUSALS.get(word, StoreRefused)(reason if word in _REFUSALS else message)
