"""EndpointConfig: the limits from the settings, and the options of the application that the endpoint serves."""

from __future__ import annotations

from dataclasses import dataclass

from chatmaster.settings import Settings
from workers.transport import frames

WEBSOCKET_PATHS = frozenset({"/", "/ws"})
AT_ONCE = (64 + 256) * 1024  # bytes of a step of a lagging member (rooms/slow_consumer.py), and of a page of history


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """Sizes in bytes, times in seconds. The defaults equal those of the settings."""

    message_size: int = 65_536
    queue_size: int = 1_048_576
    max_send_buffer: int = 67_108_864  # including messages larger than the queue
    header_size: int = 8192
    handshake_timeout: float = 10.0  # also for the head of each plain request
    body_size: int = 16_777_216  # of a plain request; 0: no limit
    keep_alive: int = 15  # until the next plain request
    request_timeout: float = 30.0  # without progress of a client that sends a body or takes an answer
    ping_interval: float = 25.0
    ping_timeout: float = 10.0
    close_timeout: float = 5.0  # for the peer's Close and FIN after the server's
    lag_timeout: float = 30.0
    backlog: int = 4096
    binary: bool = True  # False: a binary message is refused with 1003
    deflate: bool = True
    compress_from: int = frames.COMPRESS_FROM
    control_frames: int = 2000  # from one peer in a ping interval; a tiny fragment counts an eighth; beyond: 4009
    subprotocols: tuple[str, ...] = ()  # in order of preference; a client that offers none gets none
    paths: frozenset[str] | None = WEBSOCKET_PATHS  # None: any path
    keep_headers: tuple[str, ...] = ()  # in lower case: what a connection keeps of its request's headers
    origins: tuple[str, ...] = ()  # patterns, in addition to the endpoint's own origin
    hosts: tuple[str, ...] = ()  # patterns of Host headers; empty: any
    root_path: str = ""  # path under which a proxy serves the endpoint, where the proxy passes the path on
    trusted_proxies: tuple[str, ...] = ()  # networks, and "unix" for peers behind a unix socket
    forwarded_header: str = "x-forwarded-for"  # the header that is believed, or "proxy-protocol"
    per_address: int = 0  # connections from one address, newcomers included; 0: limited by descriptors only
    ipv6_prefix: int = 64  # bits of an IPv6 address that identify one client
    reserve: int = 64  # descriptors kept free: accepting pauses there

    @property
    def most_waiting(self) -> int:
        """Bytes that may wait for a reader: twice the queue, and two writes that had begun below its end.

        These two are a step through the log and a page of history; each ends with the message that fills it.
        """
        return 2 * (self.queue_size + self.message_size) + AT_ONCE

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        binary: bool = True,
        subprotocols: tuple[str, ...] = (),
        paths: frozenset[str] | None = WEBSOCKET_PATHS,
        message_size: int = 0,
        max_send_buffer: int = 67_108_864,
        keep_headers: tuple[str, ...] = (),
    ) -> EndpointConfig:
        """The configuration from the settings, for an application with these options.

        `message_size`: bytes of a WebSocket message; 0: `limits.message_size`.
        """
        limits = settings.limits
        return cls(
            message_size=message_size or limits.message_size,
            queue_size=limits.queue_size,
            max_send_buffer=max(max_send_buffer, limits.queue_size),
            header_size=limits.header_size,
            per_address=limits.per_address,
            ipv6_prefix=limits.ipv6_prefix,
            control_frames=limits.control_frames,
            handshake_timeout=limits.handshake_timeout,
            body_size=settings.http.body_size,
            keep_alive=settings.http.keep_alive,
            request_timeout=settings.http.request_timeout,
            ping_interval=limits.ping_interval,
            ping_timeout=limits.ping_timeout,
            lag_timeout=limits.lag_timeout,
            backlog=settings.server.backlog,
            binary=binary,
            subprotocols=subprotocols,
            paths=paths,
            keep_headers=keep_headers,
            origins=settings.http.origins,
            hosts=settings.http.hosts,
            root_path=settings.http.root_path.rstrip("/"),
            trusted_proxies=settings.server.trusted_proxies,
            forwarded_header=settings.server.forwarded_header,
        )
