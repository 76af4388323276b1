"""Hooks: an application's control over the chat (hellos, joins, messages), and its view of stored messages.

    from workers.chat import Chat, Refuse

    chat = Chat()

    @chat.on_say
    def polite(message):
        return message.text.replace("damn", "d***") if message.text else None

    worker = chat.worker

A callback that returns None accepts. A callback that returns or raises `Refuse` refuses, with an error code and a
sentence for the client. `on_say` may also return another text. Plain functions and coroutines both work, and with
`@chat.on_say(threaded=True)` plain functions that block, for example on a database; while a coroutine or a
thread runs, the connection's next requests wait. A callback that raises anything else refuses with `internal`, and is
logged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar, overload

from msgspec import Struct

from workers.callbacks.registering import Callbacks, Event
from workers.handshake_request import ConnectionRequest

ERROR_CODES: Final = (
    "bad_request", "unauthorized", "forbidden", "not_joined", "not_found", "too_large", "rate_limited", "muted",
    "banned", "limit_reached", "name_taken", "refused", "unavailable", "internal",
)  # fmt: skip


class Refuse(Exception):
    """The application refuses: `code` is one of the protocol's error codes, `reason` is for the client.

    Raises ValueError for a code that the protocol does not define.
    """

    def __init__(self, reason: str, *, code: str = "forbidden") -> None:
        super().__init__(reason)
        if code not in ERROR_CODES:
            raise ValueError(f"{code!r} is not an error code of the protocol; use one of {', '.join(ERROR_CODES)}")
        self.reason = reason
        self.code = code


class Person(Struct, frozen=True):
    """The author of a request."""

    user: str
    name: str
    role: str  # user, moderator, admin
    address: str
    guest: bool


class HelloRequest(Struct, frozen=True):
    """A user says hello, or changes name or token: `person` is what the user would become.

    `request` is of the handshake: path, query, and the headers and cookies that `chat.worker.keep_headers` names.
    """

    person: Person
    request: ConnectionRequest


class JoinRequest(Struct, frozen=True):
    """A user wants to join a room, to read it without joining, or to stay in it with another role."""

    person: Person
    room: str


class SayRequest(Struct, frozen=True):
    """A user sends a message to a room or a user, or edits the message at `offset`."""

    person: Person
    room: str = ""  # "" for a direct message
    to: str = ""
    text: str | None = None
    data: Any = None
    offset: int | None = None  # of the message that is edited


class Kept(Struct, frozen=True):
    """A stored message or change. Only the worker that accepted it calls the hook, at most once.

    The hook is for bots and notices: a worker that is killed or hands over does not report the last messages it
    accepted, and no other worker does. An application that needs every message reads `history`.

    For a direct message and its changes it is the entry in the author's inbox. Messages of `Chat.say` and of the
    operator are reported as well, so a bot ignores its own; messages of a `Gateway` are not, since they pass no worker.
    """

    room: str
    epoch: str
    offset: int
    time: int  # ms since 1970
    message: dict[str, Any]  # as clients get it, without its place: of type message, edited, deleted or reacted


Verdict = str | Refuse | None


# The signatures of the hooks, for type checkers; a decorator changes no type.
OfHello = Callable[[HelloRequest], Refuse | Awaitable[Refuse | None] | None]
OfJoin = Callable[[JoinRequest], Refuse | Awaitable[Refuse | None] | None]
OfSay = Callable[[SayRequest], str | Refuse | Awaitable[str | Refuse | None] | None]
OfKept = Callable[[Kept], object]

_Hello = TypeVar("_Hello", bound=OfHello)
_Join = TypeVar("_Join", bound=OfJoin)
_Say = TypeVar("_Say", bound=OfSay)
_Kept = TypeVar("_Kept", bound=OfKept)


class DecoratesHello(Protocol):
    """See `Registrar`."""

    @overload
    def __call__(self, callback: _Hello, /) -> _Hello: ...
    @overload
    def __call__(self, /, *, threaded: bool = False) -> Callable[[_Hello], _Hello]: ...


class DecoratesJoin(Protocol):
    """See `Registrar`."""

    @overload
    def __call__(self, callback: _Join, /) -> _Join: ...
    @overload
    def __call__(self, /, *, threaded: bool = False) -> Callable[[_Join], _Join]: ...


class DecoratesSay(Protocol):
    """See `Registrar`."""

    @overload
    def __call__(self, callback: _Say, /) -> _Say: ...
    @overload
    def __call__(self, /, *, threaded: bool = False) -> Callable[[_Say], _Say]: ...


class DecoratesKept(Protocol):
    """See `Registrar`."""

    @overload
    def __call__(self, callback: _Kept, /) -> _Kept: ...
    @overload
    def __call__(self, /, *, threaded: bool = False) -> Callable[[_Kept], _Kept]: ...


class Hooks(Callbacks):
    """The callbacks of an application, by hook."""

    on_hello: Event[OfHello, DecoratesHello] = Event("request", threads=True)
    """`(HelloRequest)`: before anybody is let in, is renamed, or renews the token."""

    on_join: Event[OfJoin, DecoratesJoin] = Event("request", threads=True)
    """`(JoinRequest)`: before `join`, for each room of a hello, before `history` of a room that was not joined, and for
    each joined room where the user's role changes: who may not join may not read either."""

    on_say: Event[OfSay, DecoratesSay] = Event("request", threads=True)
    """`(SayRequest)`: before `say`, `direct` and `edit`; it may return another text."""

    on_kept: Event[OfKept, DecoratesKept] = Event("message", threads=True)
    """`(Kept)`: of messages, edits, deletions and reactions that this worker had kept: at most once, and here only. See
    `Kept` for what it misses. What it raises is logged."""

    @property
    def consulted(self) -> frozenset[str]:
        """The hooks that may refuse something."""
        return frozenset(self.callbacks) - {"kept"}


class WordFilter:
    """An `on_say` that stars out words, in text that people write; `refuse` refuses the message instead.

    Whole words only, whatever their case and whichever look-alike letters they are written with.
    """

    def __init__(self, words: list[str], *, refuse: bool = False) -> None:
        from workers.chat.word_patterns import pattern_of

        self._pattern = pattern_of(words)
        self._refuse = refuse

    def __call__(self, request: SayRequest) -> Verdict:
        if request.text is None:
            return None
        parts = self._pattern.split(request.text)  # every second one is a word; a function for each took twice as long
        if len(parts) == 1:
            return None
        if self._refuse:
            return Refuse("watch your language")
        parts[1::2] = [word[0] + "*" * (len(word) - 1) for word in parts[1::2]]
        return "".join(parts)
