"""The settings of an instance: every key, its type, its default and its bounds.

This file defines the settings; `config/loader.py` reads their values. All classes are frozen: a reload creates a new
`Settings` and passes it to new workers.

Durations are in seconds, sizes in bytes, unless a name says otherwise. `0` means "no limit" only where the
comment beside the key says so.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from chatmaster.stats import MOST_WORKERS

Seconds = Annotated[float, Meta(ge=0.0)]
PositiveSeconds = Annotated[float, Meta(gt=0.0)]
Count = Annotated[int, Meta(ge=0)]
Bytes = Annotated[int, Meta(ge=1)]

# Part of process titles, socket names and key prefixes, so the characters must be safe in all of them.
InstanceName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z")]
HostName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,64}\Z")]


class Master(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The master process: its name, its directory and its deadlines."""

    name: InstanceName = "chat"
    host: HostName = ""  # among the hosts that share a store; "": the name of the machine
    state_dir: str = ""  # "": $STATE_DIRECTORY, else $XDG_STATE_HOME/chatmaster, else ~/.local/state/chatmaster
    user: str = ""
    group: str = ""
    ready_timeout: PositiveSeconds = 30.0
    drain_timeout: Seconds = 10.0
    stop_timeout: PositiveSeconds = 15.0
    hang_timeout: PositiveSeconds = 15.0


class Server(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The application, its addresses and the number of workers."""

    app: str = "workers.chat:worker"
    listen: tuple[str, ...] = ("ws://127.0.0.1:8000",)
    workers: Annotated[int, Meta(ge=0, le=MOST_WORKERS)] = 0  # 0: one for each core that this process may use
    dev: bool = False
    unix_mode: Annotated[str, Meta(pattern=r"^0?[0-7]{3}\Z")] = "0660"  # octal
    backlog: Annotated[int, Meta(ge=1, le=65535)] = 4096
    max_batch_delay: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    max_lifetime: Seconds = 0.0  # 0: no limit
    max_memory: Count = 0  # 0: no limit
    tls_cert: str = ""
    tls_key: str = ""
    trusted_proxies: tuple[str, ...] = ()
    # A header's name (RFC 9110, 5.1), or "proxy-protocol".
    forwarded_header: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}\Z")] = "x-forwarded-for"


class Store(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The Redis or Valkey server that carries and keeps the messages."""

    url: str = "embedded"
    history_size: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    history_ttl: Annotated[int, Meta(ge=1)] = 604_800
    max_memory: Annotated[int, Meta(ge=0)] = 0  # of the embedded store; 0: half of the machine's or control group's
    guest_ttl: Annotated[int, Meta(ge=60)] = 86_400  # of what is kept for a guest alone
    timeout: PositiveSeconds = 5.0


class Limits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits for clients."""

    message_size: Bytes = 65_536
    queue_size: Annotated[int, Meta(ge=4096)] = 1_048_576
    lag_timeout: PositiveSeconds = 30.0
    key_ttl: Annotated[int, Meta(ge=1)] = 600
    rate: Annotated[float, Meta(ge=0.0)] = 20.0  # 0: unlimited
    burst: Annotated[int, Meta(ge=1)] = 40
    user_rate: Annotated[float, Meta(ge=0.0)] = 0.0  # over all connections of a user; 0: as much as `rate`
    user_burst: Count = 0  # 0: as much as `burst`
    control_frames: Annotated[int, Meta(ge=1)] = 2000
    header_size: Annotated[int, Meta(ge=256, le=65_536)] = 8192
    connections: Count = 0  # 0: no limit, likewise the next two
    per_address: Count = 0
    per_user: Count = 0
    # Kept in a day by one user with a token, and by all guests of one address together; 0: no limit.
    user_bytes: Count = 67_108_864
    user_rooms: Count = 2000
    guest_bytes: Count = 134_217_728
    guest_rooms: Count = 5000
    ipv6_prefix: Annotated[int, Meta(ge=16, le=128)] = 64  # bits of an IPv6 address that are one client
    hello_timeout: PositiveSeconds = 10.0
    handshake_timeout: PositiveSeconds = 10.0
    ping_interval: PositiveSeconds = 25.0
    ping_timeout: PositiveSeconds = 10.0
    rooms_per_connection: Annotated[int, Meta(ge=1)] = 100


class Chat(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The chat application."""

    presence_interval: PositiveSeconds = 0.5
    presence_names: Count = 100


class RoomRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options for the rooms whose name matches a pattern; the first matching table wins."""

    match: str
    join: tuple[str, ...] = ("*",)  # user patterns, or "role:moderator"
    say: tuple[str, ...] = ("*",)
    history_size: Count | None = None
    history_ttl: Count | None = None
    presence: bool = True
    message_size: Bytes | None = None
    slow_mode: Seconds = 0.0
    members: Count = 0  # 0: no limit
    topic: Annotated[str, Meta(max_length=250)] = ""  # what the room is about, shown with its name


class Auth(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may enter. `secret`, `public_key` or `jwks` verifies JSON Web Tokens (RFC 7519)."""

    mode: Literal["guest", "token"] = "guest"
    secret: str = ""
    public_key: str = ""
    jwks: str = ""  # a key set (RFC 7517): a URL, or the JSON of the file that the configuration names
    jwks_refresh: Annotated[float, Meta(ge=1.0)] = 600.0
    algorithms: tuple[str, ...] = ()
    issuer: str = ""
    audience: str = ""
    leeway: Seconds = 10.0  # tolerated difference of clocks, for exp and nbf
    login_url: str = ""  # of the site: where the page sends people to sign in
    token_url: str = ""  # of the site: gives the page a token for the session there
    logout_url: str = ""  # of the site: where the page sends people who sign out


class AskedHooks(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The web application that is asked before something is done; each hook is a URL, "": nobody is asked."""

    handshake: str = ""
    hello: str = ""
    join: str = ""
    say: str = ""
    secret: str = ""  # signs the questions
    timeout: PositiveSeconds = 2.0
    concurrency: Annotated[int, Meta(ge=1, le=1000)] = 50  # questions of one worker at once
    headers: tuple[str, ...] = ()  # of the handshake, which handshake and hello pass on


class Push(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Notes to browsers whose page is closed, by Web Push (RFC 8030)."""

    contact: str = ""  # mailto: or https: address of whoever runs the server; "": no push
    hosts: tuple[str, ...] = ()  # push services that may be asked; empty: the public ones
    key_file: str = ""  # the server's private key; "": NAME.vapid.pem in the state directory


class Http(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the port answers to plain HTTP."""

    origins: tuple[str, ...] = ()  # empty: same origin only
    hosts: tuple[str, ...] = ()  # empty: any
    root_path: Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9._~-]+)*/?\Z")] = ""
    page: bool = True
    metrics: bool | Literal["public"] = True  # True: only for clients on this machine
    body_size: Count = 16_777_216  # of a request; 0: no limit
    keep_alive: Annotated[int, Meta(ge=1)] = 15  # seconds that a connection waits for its next request
    request_timeout: PositiveSeconds = 30.0  # without a byte of a body that is sent, or of an answer that is taken


class Api(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where programs outside call verbs by HTTP."""

    listen: str = ""  # an address of its own: http://HOST:PORT or unix:/PATH; "": none
    public: bool = True  # the verbs are served on server.listen, too; there a call always needs a key
    key_bytes: Count = (
        1_073_741_824  # that one key may have kept in a day, and rooms and inboxes written to; 0: no limit
    )
    key_rooms: Count = 100_000

    @property
    def address(self) -> str:
        """`listen` as the listeners write it: plain HTTP comes to the same kind of socket as ws://."""
        return "ws://" + self.listen.removeprefix("http://").rstrip("/") if self.is_tcp else self.listen

    @property
    def is_tcp(self) -> bool:
        """False for a unix socket."""
        return self.listen.startswith("http://")


class Log(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The destination and the format of the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json", "dev"] = "text"
    file: str = ""  # "": standard error


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All settings of one instance."""

    master: Master = msgspec.field(default_factory=Master)
    server: Server = msgspec.field(default_factory=Server)
    store: Store = msgspec.field(default_factory=Store)
    limits: Limits = msgspec.field(default_factory=Limits)
    chat: Chat = msgspec.field(default_factory=Chat)
    rooms: tuple[RoomRule, ...] = ()
    auth: Auth = msgspec.field(default_factory=Auth)
    hooks: AskedHooks = msgspec.field(default_factory=AskedHooks)
    push: Push = msgspec.field(default_factory=Push)
    http: Http = msgspec.field(default_factory=Http)
    api: Api = msgspec.field(default_factory=Api)
    log: Log = msgspec.field(default_factory=Log)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no log may show."""
        return tuple(filter(None, (self.auth.secret, self.hooks.secret)))
