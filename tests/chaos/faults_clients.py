"""Faults of clients: herds, readers that stall, floods, half-closed sockets; and a server without descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import resource

from tests.chaos.faults import fault
from tests.chaos.site import Site
from tests.support.ws import ChatSocket, Closed, RawSocket, Refused

HARMLESS = (OSError, TimeoutError, Closed, Refused, AssertionError)  # the server may be down just now


async def enter(site: Site, room: str, **how: object) -> ChatSocket | None:
    try:
        return await ChatSocket.enter(site.server.url, room, **how)  # type: ignore[arg-type]
    except HARMLESS:
        return None


@fault("clients")
async def herd(site: Site) -> None:
    """Very many come in the same second, are cut, and come back in the same second."""
    for _ in range(2):
        sockets = await asyncio.gather(*(enter(site, "herd") for _ in range(site.herd)))
        for socket in sockets:
            if socket is not None:
                socket.abort()


@fault("clients")
async def stalled_readers(site: Site) -> None:
    sockets = await asyncio.gather(*(enter(site, "hall", receive_buffer=4096) for _ in range(20)))
    await site.for_a_while(6)
    for socket in sockets:
        if socket is not None:
            socket.abort()


@fault("clients", long=True)
async def slow_reader(site: Site) -> None:
    """1 KiB a second."""
    socket = await enter(site, "hall", receive_buffer=4096)
    if socket is None:
        return
    with contextlib.suppress(*HARMLESS):
        for _ in range(10):
            await asyncio.wait_for(socket.reader.read(1024), 5)
            await site.for_a_while(1)
    socket.abort()


@fault("clients")
async def flood(site: Site) -> None:
    socket = await enter(site, "hall")
    if socket is None:
        return
    with contextlib.suppress(*HARMLESS):
        for _ in range(5000):
            socket.send_json('{"type":"ping"}')
        await socket.wait_closed(5.0)
    socket.abort()


@fault("clients")
async def half_closed(site: Site) -> None:
    sockets = await asyncio.gather(*(enter(site, "hall") for _ in range(10)))
    for socket in sockets:
        if socket is not None and socket.writer.can_write_eof():
            with contextlib.suppress(*HARMLESS):
                socket.writer.write_eof()
    await site.for_a_while(3)
    for socket in sockets:
        if socket is not None:
            socket.abort()


@fault("clients")
async def descriptors_exhausted(site: Site) -> None:
    """Workers have few descriptors left, and many knock."""
    pids, limits = site.workers(), {}
    for pid in pids:
        with contextlib.suppress(OSError):
            limits[pid] = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (60, limits[pid][1]))
    knocks = [asyncio.create_task(knock(site)) for _ in range(200)]
    await site.for_a_while(2)
    for pid, limit in limits.items():
        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
    for socket in await asyncio.gather(*knocks):
        if socket is not None:
            socket.abort()


async def knock(site: Site) -> RawSocket | None:
    try:
        return await RawSocket.open(site.server.url)
    except HARMLESS:
        return None
