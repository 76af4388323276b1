"""Parses `store.url` for the master, `doctor`, the workers and `Gateway`. Pure.

Forms: ``redis://[USER:PASSWORD@]HOST[:PORT][/DB]``, the same with ``rediss://`` (TLS),
``unix://[USER:PASSWORD@]/PATH``, ``redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…]/SERVICE[/DB]``,
``redis+cluster://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…]`` and ``rediss+cluster://`` (TLS). An IPv6 address is in
brackets. In user, password and path, reserved characters are percent-encoded (RFC 3986, 2.1). No error shows a
password.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote, unquote_to_bytes

from chatmaster.addresses import MAX_UNIX_PATH

ALLOWED: Final = (
    "allowed: embedded, redis://HOST:PORT/DB, rediss://…, unix:///PATH, redis+sentinel://HOST:PORT/SERVICE, "
    "redis+cluster://HOST:PORT,HOST:PORT"
)
ENCODE: Final = (
    "in a user, password or path these are percent-encoded: / as %2F, ? as %3F, # as %23, [ as %5B, "
    "] as %5D, @ as %40, : as %3A, % as %25"
)
STORE_PORT: Final = 6379
SENTINEL_PORT: Final = 26379

_PLAIN_KEYS: Final = ("db", "username", "password")
_TLS_KEYS: Final = (
    "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_cert_reqs", "ssl_check_hostname",
)  # fmt: skip
# The query keys of each form; a key means the same as the argument of redis-py with that name.
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "redis": _PLAIN_KEYS,
    "rediss": (*_PLAIN_KEYS, *_TLS_KEYS),
    "unix": _PLAIN_KEYS,
    "redis+sentinel": (*_PLAIN_KEYS, "sentinel_username", "sentinel_password"),
    "redis+cluster": ("username", "password"),
    "rediss+cluster": ("username", "password", *_TLS_KEYS),
}
_FLAGS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_HOST: Final = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^\[\]:]*))(?::(?P<port>.*))?")


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """The place of a store, and the login. Exactly one of `hosts` and `path` is set."""

    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()  # of the store, the sentinels or some nodes; IPv6 without brackets
    path: str = ""  # of a unix socket
    service: str = ""  # what the sentinels call the store
    database: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    sentinel_login: Mapping[str, str] = field(default_factory=dict, repr=False)  # redis-py's arguments
    tls: Mapping[str, Any] = field(default_factory=dict, repr=False)  # redis-py's arguments

    @property
    def is_cluster(self) -> bool:
        """Whether the hosts are nodes of a Redis Cluster."""
        return self.scheme.endswith("+cluster")

    @property
    def shown(self) -> str:
        """The URL without user, password and query."""
        if self.path:
            return f"unix://{self.path}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        if self.is_cluster:
            return f"{self.scheme}://{hosts}"
        return f"{self.scheme}://{hosts}/" + (f"{self.service}/" if self.service else "") + str(self.database)

    def options(self) -> dict[str, Any]:
        """The arguments of redis-py for a connection to the store; without host and port if there may be several."""
        options: dict[str, Any] = dict(self.tls) if self.is_cluster else {"db": self.database, **self.tls}
        if self.user:
            options["username"] = self.user
        if self.password:
            options["password"] = self.password
        if self.path:
            options["path"] = self.path
        elif not self.service and not self.is_cluster:
            ((options["host"], options["port"]),) = self.hosts
        return options


def unix_url(path: str | os.PathLike[str]) -> str:
    """The URL of a store behind a unix socket, for any characters in the path."""
    return f"unix://{quote(os.fsencode(path))}"


def parse(text: str) -> StoreUrl:
    """Parse the URL of a store. Raises ValueError with the fault and the allowed forms, without any password."""
    parts = _split(text)
    asked = _query(parts.scheme, parts.query)
    user, _, password = parts.login.partition(":")
    login = _text(user) or asked.get("username", ""), _text(password) or asked.get("password", "")
    if parts.scheme == "unix":
        return _of_unix_socket(parts, asked, *login)
    return _of_hosts(parts, asked, *login)


class _Parts(NamedTuple):
    """A URL in pieces, nothing decoded yet."""

    scheme: str
    login: str
    hosts: str
    path: str  # with the slash that begins it, if there is one
    query: str


def _split(text: str) -> _Parts:
    """Take a URL to pieces. Raises ValueError for what has to be percent-encoded."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in KEYS:
        raise ValueError(ALLOWED)
    if any(ord(character) < 32 for character in rest):
        raise ValueError(
            "the URL has a line break or another control character (the file of a secret often ends with one)"
        )
    if "#" in rest:
        raise ValueError(f"a # has no meaning here; {ENCODE}")
    place, _, query = rest.partition("?")
    authority, slash, path = place.partition("/")
    login, _, hosts = authority.rpartition("@")
    if " " in hosts:
        raise ValueError(f"a host has no space; {ENCODE}")
    if "@" in query.partition("=")[0] or (scheme != "unix" and "@" in path):
        raise ValueError(f"an @ after the first / or ?; {ENCODE}")
    if "[" in login or "]" in login:
        raise ValueError(f"a [ or ] before the host; {ENCODE}")
    return _Parts(scheme, login, hosts, slash + path, query)


def _of_unix_socket(parts: _Parts, asked: Mapping[str, str], user: str, password: str) -> StoreUrl:
    if parts.hosts or len(parts.path) < 2:
        raise ValueError(f"allowed: unix:// with an absolute path, as unix:///run/redis.sock; {ENCODE}")
    database = _database("", asked)
    return StoreUrl(parts.scheme, path=_path(parts.path), database=database, user=user, password=password)


def _of_hosts(parts: _Parts, asked: Mapping[str, str], user: str, password: str) -> StoreUrl:
    scheme, path, service = parts.scheme, parts.path[1:], ""
    if scheme.endswith("+cluster") and path.strip("/") not in ("", "0"):
        raise ValueError(f"a cluster has no database but 0: {scheme}://HOST:PORT[,HOST:PORT]")
    if scheme == "redis+sentinel":
        service, _, path = path.strip("/").partition("/")
        if not service:
            raise ValueError("the service is missing: redis+sentinel://HOST:PORT[,HOST:PORT]/SERVICE[/DB]")
    port = SENTINEL_PORT if service else STORE_PORT
    return StoreUrl(
        scheme,
        hosts=_hosts(parts.hosts, port, several=scheme not in ("redis", "rediss")),
        service=_text(service),
        database=_database(path.rstrip("/"), asked),
        sentinel_login={
            name.removeprefix("sentinel_"): value for name, value in asked.items() if name.startswith("sentinel_")
        },
        tls=_tls(asked),
        user=user,
        password=password,
    )


def complaint(text: str) -> str:
    """The fault of a store's URL; "" for a valid one."""
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return ""


def _text(text: str) -> str:
    if _BAD_PERCENT.search(text):
        raise ValueError(f"a % without two hexadecimal digits; {ENCODE}")
    return unquote(text)


def _path(text: str) -> str:
    if _BAD_PERCENT.search(text):
        raise ValueError("a % of the path is written %25, a ? %3F, a # %23")
    raw = unquote_to_bytes(text)
    if b"\0" in raw or len(raw) > MAX_UNIX_PATH:
        raise ValueError(f"a unix socket's path may have {MAX_UNIX_PATH} bytes, none of them 0")
    return os.fsdecode(raw)


def _query(scheme: str, text: str) -> dict[str, str]:
    """The keys and values of the query. A + stays a +, as meant in a password."""
    found: dict[str, str] = {}
    for pair in filter(None, text.split("&")):
        name, equals, value = pair.partition("=")
        if name not in KEYS[scheme]:
            near = difflib.get_close_matches(name, KEYS[scheme], 1)
            # A key without a value may be part of a password, so it is not shown.
            what = f"unknown key {name!r} after the ?" if equals and _DIGITS.fullmatch(name) is None else "a ?"
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{what}{hint}; allowed keys with {scheme}://: {', '.join(KEYS[scheme])}; {ENCODE}")
        if name in found:
            raise ValueError(f"the key {name} is given twice")
        found[name] = _text(value)
    return found


def _hosts(text: str, default: int, *, several: bool) -> tuple[tuple[str, int], ...]:
    hosts = text.split(",")
    if len(hosts) > 1 and not several:
        raise ValueError("several hosts are allowed with redis+sentinel:// and redis+cluster:// only")
    return tuple(_host(one, default) for one in hosts)


def _host(text: str, default: int) -> tuple[str, int]:
    if text.count(":") > 1 and "[" not in text:
        raise ValueError(f"an IPv6 address is written in brackets, as [::1]:{default}; {ENCODE}")
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError(f"allowed: HOST:PORT, or [IPV6]:PORT; {ENCODE}")
    host, port = found["v6"] or found["name"], found["port"]
    if not host:
        raise ValueError(f"a URL without a host; {ALLOWED}")
    if port is not None and (_DIGITS.fullmatch(port) is None or not 1 <= int(port) <= 65535):
        raise ValueError(f"a port is a number from 1 to 65535; {ENCODE}")
    return _text(host), int(port) if port is not None else default


def _database(path: str, asked: Mapping[str, str]) -> int:
    numbers = {text for text in (path, asked.get("db", "")) if text}
    if any(_DIGITS.fullmatch(text) is None for text in numbers):
        raise ValueError("a database is a number, as in redis://HOST:PORT/0")
    if len({int(text) for text in numbers}) > 1:
        raise ValueError("two databases are named, one after the / and one by db")
    return int(numbers.pop()) if numbers else 0


def _tls(asked: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {name: value for name, value in asked.items() if name.startswith("ssl_")}
    if found.get("ssl_cert_reqs") not in (None, "none", "optional", "required"):
        raise ValueError("ssl_cert_reqs is none, optional or required")
    if "ssl_check_hostname" in found:
        flag = _FLAGS.get(found["ssl_check_hostname"].lower())
        if flag is None:
            raise ValueError("ssl_check_hostname is true or false")
        found["ssl_check_hostname"] = flag
    return found
