"""chatmaster: the master process, which forks, watches, replaces and reloads the workers, and chatctl.

What a program is written against is here, too: ``from chatmaster import Worker, Connection, Timer, Gateway, Chat``.
These names belong to the package `workers` and are imported at their first use: chatctl and the master never do so.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers import (
        Accept,
        AsyncGateway,
        BusError,
        Connection,
        ConnectionLost,
        ConnectionRequest,
        ConnectionTimedOut,
        Gateway,
        GatewayError,
        GatewayNotFound,
        GatewayRefused,
        GatewayUnavailable,
        HandshakeRequest,
        InstanceNotRunning,
        Reject,
        Timer,
        Worker,
        WrongApplication,
    )
    from workers.chat import Chat, Refuse

__version__ = "0.2.0"

__all__ = [
    "Accept",
    "AsyncGateway",
    "BusError",
    "Chat",
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
    "Refuse",
    "Reject",
    "Timer",
    "Worker",
    "WrongApplication",
]

_OF_THE_CHAT = ("Chat", "Refuse")


def __getattr__(name: str) -> Any:
    """Import one of the names above. Raises ImportError where another package or folder hides `workers`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    from chatmaster import own_package

    if complaint := own_package.complaint():
        raise ImportError(complaint)
    return getattr(importlib.import_module("workers.chat" if name in _OF_THE_CHAT else "workers"), name)
