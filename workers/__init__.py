"""workers: the process that does nothing but serve. The public API is `Worker`, `Connection`, `Timer`,
`Gateway` and `AsyncGateway`."""

from typing import TYPE_CHECKING, Any

from workers.bus.port import BusError
from workers.connection import Connection, ConnectionLost, ConnectionTimedOut
from workers.handshake_request import Accept, ConnectionRequest, HandshakeRequest, Reject
from workers.timer import Timer
from workers.worker import Worker

if TYPE_CHECKING:
    from workers.async_gateway import AsyncGateway
    from workers.gateway import (
        Gateway,
        GatewayError,
        GatewayNotFound,
        GatewayRefused,
        GatewayUnavailable,
        InstanceNotRunning,
        WrongApplication,
    )

__all__ = [
    "Accept",
    "AsyncGateway",
    "BusError",
    "Connection",
    "ConnectionLost",
    "ConnectionRequest",
    "ConnectionTimedOut",
    "Gateway",
    "GatewayError",
    "GatewayNotFound",
    "GatewayRefused",
    "GatewayUnavailable",
    "HandshakeRequest",
    "InstanceNotRunning",
    "Reject",
    "Timer",
    "Worker",
    "WrongApplication",
]


def __getattr__(name: str) -> Any:
    """Import the gateways and their errors at their first use: they need redis, and a worker needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "AsyncGateway":
        from workers.async_gateway import AsyncGateway

        return AsyncGateway
    from workers import gateway

    return getattr(gateway, name)
