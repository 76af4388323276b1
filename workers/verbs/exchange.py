"""How a program outside calls a verb through the store, step by step, for clients that block and for those that await.

The request waits in the store; some workers are told, and the first of them takes it. Where none takes it soon, all are
told. The answer comes by a list of the call's own. A call that is given up before any worker took it is taken back:
then it is certain that nothing was done. Pure: each step is a command that the client carries out.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from msgspec import Raw, Struct

from workers.bus.codec import pack_note
from workers.bus.script import Argument
from workers.verbs import keys
from workers.verbs.notes import Answered, Called, StoredCall, decode_answered, encode

PATIENCE: Final = 0.25  # seconds in which a worker should have taken and answered a call, before others are told
TAKERS: Final = 3  # workers that are told first


class FetchKey(Struct, frozen=True):
    """Get a key: its bytes, or None."""

    key: str


class ListSet(Struct, frozen=True):
    """The members of a sorted set."""

    key: str


class LeaveCall(Struct, frozen=True):
    """Run `call.lua`."""

    keys: list[str]
    args: list[Argument]


class AwaitAnswer(Struct, frozen=True):
    """Pop from a list, for so many seconds at most: the answer, or None."""

    key: str
    seconds: float


class WithdrawCall(Struct, frozen=True):
    """Delete a key: whether it was there."""

    key: str


Step = FetchKey | ListSet | LeaveCall | AwaitAnswer | WithdrawCall


class NobodyHears(Exception):
    """No worker of that instance hears calls; nothing was sent."""


class NobodyTook(Exception):
    """No worker took the call in time; nothing was done."""


class NoAnswer(Exception):
    """A worker took the call, and did not answer in time: the outcome is unknown."""


def exchange(
    call: StoredCall, *, name: str, database: int, token: str, takers: tuple[str, ...], timeout: float
) -> Generator[Step, Any, Answered]:
    """Call a verb of the instance `name`; `takers` are told first, none: all. `timeout` in seconds.

    Raises NobodyHears, NobodyTook, NoAnswer; ValueError for an answer that cannot be read.
    """
    channel = keys.calls_channel(name, database)
    places = [keys.listeners(name), keys.call(name, token)]
    wait_ms = int(timeout * 1000)

    def leave(request: bytes, told: tuple[str, ...]) -> LeaveCall:
        return LeaveCall(places, [channel, pack_note(encode(Called(token, told))), request, wait_ms])

    if not (yield leave(encode(call), takers)):
        raise NobodyHears
    first = min(PATIENCE, timeout / 2)
    answer = yield AwaitAnswer(keys.answer(name, token), first)
    if answer is None:
        yield leave(b"", ())
        answer = yield AwaitAnswer(keys.answer(name, token), timeout - first)
    if answer is None:
        if (yield WithdrawCall(places[1])):
            raise NobodyTook
        raise NoAnswer
    answered: Answered = decode_answered(answer)
    return answered


def stored(verb: str, request: bytes, key: str) -> StoredCall:
    """The call of a verb with a request in JSON."""
    return StoredCall(verb, Raw(request), key)
