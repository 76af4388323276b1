"""The words of a scene: what the program does, what the server does, what must come of it: data only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

Fields = Mapping[str, Any]


class Greet(Struct, frozen=True):
    """Hear a hello with these fields (None: without that field), and welcome its rooms, which stand at `offset`."""

    hello: Fields
    offset: int
    more: Fields


class Hear(Struct, frozen=True):
    """The next request is of that kind and has these fields. `same`: it is the one that was heard as `save` before."""

    kind: str
    save: str
    same: str
    fields: Fields


class Answer(Struct, frozen=True):
    """Answer the request that was saved as `to`; without a name the last one."""

    kind: str
    to: str
    fields: Fields


class Push(Struct, frozen=True):
    """Send something that answers nothing."""

    kind: str
    fields: Fields


class Waited(Struct, frozen=True):
    """At least so many seconds have passed since the last connection played its last step."""

    seconds: float


class Close(Struct, frozen=True):
    """Close with this code."""

    code: int


class Cut(Struct, frozen=True):
    """End the connection without a word."""


Step = Greet | Hear | Answer | Push | Waited | Close | Cut


def greet(*, hello: Fields | None = None, offset: int = 0, **more: Any) -> Greet:
    return Greet(hello or {}, offset, more)


def hear(kind: str, *, save: str = "", same: str = "", **fields: Any) -> Hear:
    return Hear(kind, save, same, fields)


def answer(kind: str, *, to: str = "", **fields: Any) -> Answer:
    return Answer(kind, to, fields)


def refuse(code: str, *, to: str = "", **fields: Any) -> Answer:
    return Answer("error", to, {"code": code, "message": code, **fields})


def kept(offset: int, *, to: str = "", room: str = "lobby") -> Answer:
    """The `ack` with a place."""
    return Answer("ack", to, {"room": room, "epoch": "e", "offset": offset})


def entry(offset: int, *, epoch: str = "e", **more: Any) -> Push:
    """A message in the lobby."""
    place = {"room": "lobby", "epoch": epoch, "offset": offset, "time": 1}
    return Push("message", {**place, "from": {"user": "u2", "name": "B"}, **(more or {"text": "hi"})})


def gap(first: int, last: int) -> Push:
    return Push("gap", {"room": "lobby", "epoch": "e", "from": first, "to": last})


def reset(epoch: str, offset: int) -> Push:
    return Push("reset", {"room": "lobby", "epoch": epoch, "offset": offset})


def bye(code: int, *, retry_after_ms: int = 0) -> Push:
    return Push("bye", {"code": code, "reason": "so", "retry_after_ms": retry_after_ms})


# A welcome without rooms but the lobby, where it answers another hello than that of `greet`.
WELCOME: Final[dict[str, Any]] = {
    "connection": "c",
    "user": "u1",
    "name": "Ada",
    "server_time": 1,
    "rooms": [{"room": "lobby", "epoch": "e", "offset": 0}],
}
GREET: Final = greet()
CUT: Final = Cut()


class Call(Struct, frozen=True):
    """A method of the client, by the name and with the arguments that it has in both."""

    verb: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


def call(verb: str, *arguments: Any, **options: Any) -> Call:
    return Call(verb, arguments, options)


class Expect(Struct, frozen=True, kw_only=True):
    """What must come of it.

    `results`: of each call the fields of its answer, or `error` and `field`. `told`: what the application was shown
    of the kinds in `drivers.TOLD`, in order.
    """

    results: Sequence[Fields] = ()
    told: Sequence[tuple[Any, ...]] = ()
    state: str = "connected"


class Scene(Struct, frozen=True, kw_only=True):
    """One run of a client against a server that plays a part.

    `do` begins when the client is connected, or cannot be; with `early` at once. Each of it begins when the one before
    has its answer; the calls of a list begin together. The n-th connection plays the n-th part and then stays; a
    connection for which there is no part is a fault.
    """

    name: str
    connections: Sequence[Sequence[Step]]
    expect: Expect
    do: Sequence[Call | Sequence[Call]] = ()
    early: bool = False
    options: Fields = {}
