"""workers: the process that does nothing but serve. The public API is `Worker`, `Connection`, `Timer`, `Gateway`."""

from workers.connection import ConnectionLost, ConnectionTimedOut
from workers.connection_api import Connection
from workers.gateway import Gateway
from workers.gateway_errors import (
    GatewayError,
    GatewayRefused,
    GatewayUnavailable,
    InstanceNotRunning,
    WrongApplication,
)
from workers.timer import Timer
from workers.worker import Worker

__all__ = [
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
