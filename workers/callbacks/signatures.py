"""The signatures of the callbacks of connections, for type checkers: a decorator changes no type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from workers.connection import Connection
    from workers.handshake_request import ConnectionRequest, HandshakeRequest

OfConnection = Callable[["Connection"], object]
OfWebSocketConnect = Callable[["Connection", "ConnectionRequest"], object]
OfHandshake = Callable[["HandshakeRequest"], object]
OfMessage = Callable[["Connection", "str | bytes"], object]
OfClose = Callable[["Connection", int, str], object]
OfError = Callable[["Connection", Exception], object]

_Connection = TypeVar("_Connection", bound=OfConnection)
_WebSocketConnect = TypeVar("_WebSocketConnect", bound=OfWebSocketConnect)
_Handshake = TypeVar("_Handshake", bound=OfHandshake)
_Message = TypeVar("_Message", bound=OfMessage)
_Close = TypeVar("_Close", bound=OfClose)
_Error = TypeVar("_Error", bound=OfError)


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


class DecoratesWebSocketConnect(Protocol):
    """See `Registrar`."""

    @overload
    def __call__(self, callback: _WebSocketConnect, /) -> _WebSocketConnect: ...
    @overload
    def __call__(self, /, *, threaded: bool = False) -> Callable[[_WebSocketConnect], _WebSocketConnect]: ...


class DecoratesHandshake(Protocol):
    """See `Registrar`."""

    @overload
    def __call__(self, callback: _Handshake, /) -> _Handshake: ...
    @overload
    def __call__(self, /, *, threaded: bool = False) -> Callable[[_Handshake], _Handshake]: ...


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
