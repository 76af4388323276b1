"""A proxy that can do to a byte stream what networks do: cut it, hold it, slow it down, drop one end of it.

It stands between the server and its store, or between clients and the server, on TCP or on a unix socket. Everything
it is told holds from the next chunk on, for connections that are open and for new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Address = tuple[str, int] | Path  # TCP, or a unix socket
Direction = str
UP, DOWN = "up", "down"  # towards the server, towards the client
CHUNK = 65_536
DIAL_TIMEOUT = 10.0  # seconds


@dataclass(eq=False)
class Pair:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter


class Proxy:
    """Forwards connections from `listen` to `target`."""

    def __init__(self, listen: Address, target: Address, dial: Callable[[], socket.socket] | None = None) -> None:
        """`dial` makes the sockets of the way onward: those of a network namespace, for instance."""
        self.listen = listen
        self.dial = dial
        self.target = target  # may be changed: new connections go there
        self.delay = 0.0  # seconds that each chunk waits, in either direction
        self.dribble = False  # forward byte by byte
        self.refuse = False  # accept and reset at once
        self.connections = 0  # ever
        self._open = {UP: asyncio.Event(), DOWN: asyncio.Event()}
        self._cut_after: int | None = None
        self._pairs: set[Pair] = set()
        self._server: asyncio.Server | None = None
        for gate in self._open.values():
            gate.set()

    async def start(self) -> None:
        if isinstance(self.listen, Path):
            self._server = await asyncio.start_unix_server(self._accept, self.listen)
        else:
            self._server = await asyncio.start_server(self._accept, *self.listen, backlog=4096)

    @property
    def port(self) -> int:
        """Of TCP, where port 0 was asked for."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.heal()
        self.cut()
        await self._server.wait_closed()

    # ---- faults --------------------------------------------------------------------------------------

    def cut(self) -> int:
        """Reset every connection, at both ends; says how many."""
        pairs = list(self._pairs)
        for pair in pairs:
            _reset(pair.client)
            _reset(pair.server)
        return len(pairs)

    def cut_in_mid_frame(self, size: int) -> None:
        """Forward `size` bytes of the next chunk, whatever connection it is on, and reset that connection."""
        self._cut_after = size

    @property
    def will_cut(self) -> bool:
        """Whether a cut in mid-frame waits for something to be sent."""
        return self._cut_after is not None

    def abandon(self) -> int:
        """Half-open: the server's ends are reset, the clients' stay and are silent."""
        pairs = list(self._pairs)
        for pair in pairs:
            _reset(pair.server)
        return len(pairs)

    def hold(self, *directions: Direction) -> None:
        """Let nothing through in these directions (both where none is named), and close nothing."""
        for direction in directions or (UP, DOWN):
            self._open[direction].clear()

    def heal(self) -> None:
        """Take everything back; connections that were cut stay so."""
        self.delay, self.dribble, self.refuse, self._cut_after = 0.0, False, False, None
        for gate in self._open.values():
            gate.set()

    # ---- forwarding ------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refuse:
            _reset(writer)
            return
        try:
            onward, server = await self._dial()
        except BaseException as error:
            _reset(writer)
            if not isinstance(error, OSError):
                raise
            return
        pair = Pair(writer, server)
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._pump(UP, reader, pair), self._pump(DOWN, onward, pair))
        finally:
            self._pairs.discard(pair)
            writer.close()
            server.close()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target)
        if self.dial is None:
            return await asyncio.open_connection(*self.target)
        sock = self.dial()
        try:
            sock.setblocking(False)
            async with asyncio.timeout(DIAL_TIMEOUT):
                await asyncio.get_running_loop().sock_connect(sock, self.target)
        except BaseException:
            sock.close()
            raise
        return await asyncio.open_connection(sock=sock)

    async def _pump(self, direction: Direction, reader: asyncio.StreamReader, pair: Pair) -> None:
        """Until either end is gone; the end of one direction is passed on, as a half-closed socket is."""
        writer = pair.server if direction == UP else pair.client
        try:
            while data := await reader.read(CHUNK):
                await self._open[direction].wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._forward(writer, data, pair)
            await self._open[direction].wait()
            if writer.can_write_eof():
                writer.write_eof()
        except (ConnectionError, OSError):
            if not (direction == DOWN and not pair.client.is_closing()):
                _reset(writer)
            # else half-open: the client's end is left as it is until somebody closes it

    async def _forward(self, writer: asyncio.StreamWriter, data: bytes, pair: Pair) -> None:
        if self._cut_after is not None:
            size, self._cut_after = self._cut_after, None
            writer.write(data[:size])
            await writer.drain()
            _reset(pair.client)
            _reset(pair.server)
            raise ConnectionResetError
        if not self.dribble:
            writer.write(data)
            await writer.drain()
            return
        for byte in data:
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0)
            if writer.is_closing():
                raise ConnectionResetError


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close without the rest of what was written; TCP's other end gets a reset."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
