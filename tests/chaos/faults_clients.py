"""Faults of clients: herds, readers that stall, floods, half-closed sockets; and a server without descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections import Counter
from collections.abc import AsyncIterator

from tests.chaos.faults import Turn, fault
from tests.chaos.site import Site
from tests.chaos.witness import Witness
from tests.support.wait import until_async
from tests.support.ws import ChatSocket, Closed, RawSocket, Refused

HARMLESS = (OSError, TimeoutError, Closed, Refused, AssertionError)  # the server may be down just now
FEW = 200  # descriptors of a worker, of which it keeps a reserve
KNOCKS = 900  # more than all workers together have then
SLOW = "slow"  # the room of those who do not read


async def enter(site: Site, room: str, **how: object) -> ChatSocket | str:
    """A socket that is in, or why not."""
    try:
        return await ChatSocket.enter(site.server.url, room, **how)  # type: ignore[arg-type]
    except HARMLESS as error:
        cause = error.__cause__ or error
        return "timed out" if isinstance(cause, TimeoutError) else f"{cause!r}"


@contextlib.asynccontextmanager
async def inside(site: Site, turn: Turn, room: str, count: int, **how: object) -> AsyncIterator[list[ChatSocket]]:
    """So many sockets in a room. That one takes long may be the machine; that one is turned away is not."""
    came = await asyncio.gather(*(enter(site, room, **how) for _ in range(count)))
    sockets = [one for one in came if isinstance(one, ChatSocket)]
    refused = Counter(one for one in came if isinstance(one, str) and one != "timed out")
    try:
        turn.expect(not refused, f"of {count} that came, some were turned away: {dict(refused)}")
        turn.expect(sockets, f"none of {count} came in")
        yield sockets
    finally:
        for socket in sockets:
            socket.abort()


@fault("clients")
async def herd(site: Site, turn: Turn) -> None:
    """Very many come in the same second, are cut, and come back in the same second."""
    for _ in range(2):
        async with inside(site, turn, "herd", site.herd):
            pass


# ---- readers ---------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def talk(site: Site) -> AsyncIterator[None]:
    """A client sends far more than the kernel's buffers and the server's queue of one reader can hold."""
    async with Witness(site.server.url, SLOW, name="talker", timeout=30) as talker:

        async def speak() -> None:
            for turn in range(40):  # of 10 times 60 kB: 24 MB, the first 6 at once
                texts = (f"{turn} {number}".ljust(60_000) for number in range(10))
                await asyncio.gather(*(talker.attempt(text, turn=turn, timeout=10) for text in texts))

        speaking = asyncio.create_task(speak())
        try:
            yield
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)


async def _is_lagging(site: Site, cut_before: float) -> bool:
    return await site.metric("lagging_members") > 0 or await site.metric("readers_cut") > cut_before


async def _lags(site: Site, turn: Turn, seconds: float) -> None:
    before = await site.metric("readers_cut")
    with contextlib.suppress(*(() if turn.alone else HARMLESS)):
        await until_async(lambda: _is_lagging(site, before), seconds, "the server reads on for them from the log")


@fault("clients", long=True)
async def stalled_readers(site: Site, turn: Turn) -> None:
    """Readers that stop: the server stops feeding them, and cuts them when they do not catch up."""
    async with inside(site, turn, SLOW, 10, receive_buffer=4096) as stalled:
        before = await site.metric("readers_cut")
        with contextlib.suppress(*(() if turn.alone else (*HARMLESS, Exception))):
            async with talk(site):
                await _lags(site, turn, 40 if turn.alone else 6)
                if turn.alone and stalled:
                    await until_async(lambda: site.more_than("readers_cut", before), 40, "who never reads is cut")


@fault("clients", long=True)
async def slow_reader(site: Site, turn: Turn) -> None:
    """1 KiB a second."""
    async with inside(site, turn, SLOW, 1, receive_buffer=4096) as slow:
        with contextlib.suppress(*(() if turn.alone else (*HARMLESS, Exception))):
            async with talk(site):
                sipping = asyncio.create_task(_sip(site, slow))
                await _lags(site, turn, 40 if turn.alone else 6)
                sipping.cancel()


async def _sip(site: Site, sockets: list[ChatSocket]) -> None:
    while sockets:
        await asyncio.gather(*(socket.reader.read(1024) for socket in sockets))
        await site.for_a_while(1)


# ---- floods and half-closed sockets ------------------------------------------------------------------------


@fault("clients")
async def flood(site: Site, turn: Turn) -> None:
    before = await site.metric("throttled")
    async with inside(site, turn, "hall", 1) as sockets:
        with contextlib.suppress(*HARMLESS):
            for socket in sockets:
                for _ in range(5000):
                    socket.send_json('{"type":"ping"}')
                await socket.wait_closed(3.0)
        if turn.alone:
            await until_async(lambda: site.more_than("throttled", before), 20, "the flood is limited")


@fault("clients")
async def half_closed(site: Site, turn: Turn) -> None:
    """They say that they send nothing more: the server closes its side, too."""
    async with inside(site, turn, "hall", 10) as sockets:
        for socket in sockets:
            if socket.writer.can_write_eof():
                with contextlib.suppress(*HARMLESS):
                    socket.writer.write_eof()
        ends = await asyncio.gather(*(_ended(socket) for socket in sockets))
        turn.expect(all(ends), f"of 10 half-closed sockets the server has closed {sum(ends)}")


async def _ended(socket: ChatSocket) -> bool:
    try:
        await socket.wait_closed(10.0)
    except TimeoutError:
        return False
    except HARMLESS:
        return True
    return True


# ---- descriptors -----------------------------------------------------------------------------------------


@fault("clients", long=True)
async def descriptors_exhausted(site: Site, turn: Turn) -> None:
    """Workers with few descriptors, and more knock than they can hold: newcomers get in, nobody in is hurt."""
    async with site.files:
        began = asyncio.get_running_loop().time()
        pid = site.server.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (FEW, limits[1]))  # for the workers that it forks
        knocks: list[asyncio.Task[RawSocket | None]] = []
        try:
            await site.ctl("reload")
            knocks = [asyncio.create_task(knock(site)) for _ in range(KNOCKS)]
            with contextlib.suppress(*(() if turn.alone else HARMLESS)):
                await until_async(lambda: _comes_in(site), 20 if turn.alone else 4, "a newcomer gets in")
            turn.expect(not site.cuts(began), f"who was in was cut: {site.cuts(began)}")
        finally:
            for socket in await asyncio.gather(*knocks):
                if socket is not None:
                    socket.abort()
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        await site.ctl("reload")


async def _comes_in(site: Site) -> bool:
    socket = await enter(site, "hall")
    if isinstance(socket, ChatSocket):
        await socket.close()
        return True
    return False


async def knock(site: Site) -> RawSocket | None:
    try:
        return await RawSocket.open(site.server.url)
    except HARMLESS:
        return None
