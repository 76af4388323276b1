"""Ports of the public face: what `Worker` calls of the process that serves it, so that a program imports no server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import Context
from typing import Any, Protocol

from workers.connection import Connection


class Cluster(Protocol):
    """The connections of one Worker, over all processes and machines. Every method raises BusError."""

    async def broadcast(self, data: str | bytes, *, exclude: tuple[str, ...] = ()) -> None: ...

    async def send_to_room(self, room: str, data: str | bytes, *, exclude: tuple[str, ...] = ()) -> None: ...

    async def send_to_user(self, user: str, data: str | bytes, *, exclude: tuple[str, ...] = ()) -> None: ...

    async def send_to_connection(self, connection: str, data: str | bytes) -> None: ...

    async def kick(self, connection: str, *, reason: str = "") -> None: ...

    async def is_online(self, user: str) -> bool: ...

    async def members(self, room: str) -> list[dict[str, Any]]: ...

    async def online(self) -> int: ...


class WorkerHost(Cluster, Protocol):
    """The process that serves a Worker; `workers.node.node.Node` is one."""

    thread: int  # the ident of the loop's thread
    loop: asyncio.AbstractEventLoop
    context: Context  # in which what comes from other threads runs

    @property
    def index(self) -> int:
        """The number of this process among those of the same Worker, from 0."""

    @property
    def connections(self) -> Mapping[str, Connection]:
        """The connections of this process by id."""

    def cluster_of(self, scope: str) -> Cluster:
        """The connections of another Worker of the same program, which keeps its rooms under `scope`."""
