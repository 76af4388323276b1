"""workers: the process that does nothing but serve. The public API is `Worker`, `Connection`, `Timer`, `Gateway`."""

from typing import TYPE_CHECKING, Any

from workers.bus.port import BusError
from workers.connection import Connection, ConnectionLost, ConnectionTimedOut
from workers.timer import Timer
from workers.worker import Worker

if TYPE_CHECKING:
    from workers.gateway import (
        Gateway,
        GatewayError,
        GatewayRefused,
        GatewayUnavailable,
        InstanceNotRunning,
        WrongApplication,
    )

__all__ = [
    "BusError",
    "Connection",
    "ConnectionLost",
    "ConnectionTimedOut",
    "Gateway",
    "GatewayError",
    "GatewayRefused",
    "GatewayUnavailable",
    "InstanceNotRunning",
    "Timer",
    "Worker",
    "WrongApplication",
]


def __getattr__(name: str) -> Any:
    """Import `Gateway` and its errors at their first use: they need redis, and a worker needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from workers import gateway

    return getattr(gateway, name)
