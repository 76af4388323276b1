"""The signatures of all callbacks, for type checkers: what each is called with; a decorator changes no type."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from workers.chat.hooks import HelloRequest, JoinRequest, Kept, Refuse, SayRequest
    from workers.connection_api import Connection
    from workers.worker import Worker

OfWorker = Callable[["Worker"], object]
OfConnection = Callable[["Connection"], object]
OfMessage = Callable[["Connection", "str | bytes"], object]
OfClose = Callable[["Connection", int, str], object]
OfError = Callable[["Connection", Exception], object]
OfHello = Callable[["HelloRequest"], "Refuse | Awaitable[Refuse | None] | None"]
OfJoin = Callable[["JoinRequest"], "Refuse | Awaitable[Refuse | None] | None"]
OfSay = Callable[["SayRequest"], "str | Refuse | Awaitable[str | Refuse | None] | None"]
OfKept = Callable[["Kept"], object]

_Worker = TypeVar("_Worker", bound=OfWorker)
_Connection = TypeVar("_Connection", bound=OfConnection)
_Message = TypeVar("_Message", bound=OfMessage)
_Close = TypeVar("_Close", bound=OfClose)
_Error = TypeVar("_Error", bound=OfError)
_Hello = TypeVar("_Hello", bound=OfHello)
_Join = TypeVar("_Join", bound=OfJoin)
_Say = TypeVar("_Say", bound=OfSay)
_Kept = TypeVar("_Kept", bound=OfKept)


class DecoratesWorker(Protocol):
    """See `Registrar`."""

    @overload
    def __call__(self, callback: _Worker, /) -> _Worker: ...
    @overload
    def __call__(self) -> Callable[[_Worker], _Worker]: ...


class DecoratesConnection(Protocol):
    """See `Registrar`."""

    @overload
    def __call__(self, callback: _Connection, /) -> _Connection: ...
    @overload
    def __call__(self) -> Callable[[_Connection], _Connection]: ...


class DecoratesThreadedConnection(Protocol):
    """See `Registrar`."""

    @overload
    def __call__(self, callback: _Connection, /) -> _Connection: ...
    @overload
    def __call__(self, /, *, threaded: bool = False) -> Callable[[_Connection], _Connection]: ...


class DecoratesMessage(Protocol):
    """See `Registrar`."""

    @overload
    def __call__(self, callback: _Message, /) -> _Message: ...
    @overload
    def __call__(self, /, *, threaded: bool = False) -> Callable[[_Message], _Message]: ...


class DecoratesClose(Protocol):
    """See `Registrar`."""

    @overload
    def __call__(self, callback: _Close, /) -> _Close: ...
    @overload
    def __call__(self, /, *, threaded: bool = False) -> Callable[[_Close], _Close]: ...


class DecoratesError(Protocol):
    """See `Registrar`."""

    @overload
    def __call__(self, callback: _Error, /) -> _Error: ...
    @overload
    def __call__(self) -> Callable[[_Error], _Error]: ...


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
