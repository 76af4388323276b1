"""workers: the process that does nothing but serve. The public API is `Worker`, `Connection`, `Timer`, `Gateway`."""

from workers.connection import Connection, ConnectionLost, ConnectionTimedOut
from workers.gateway import Gateway
from workers.timer import Timer
from workers.worker import Worker

__all__ = ["Connection", "ConnectionLost", "ConnectionTimedOut", "Gateway", "Timer", "Worker"]
