"""The listening sockets: opened once, kept over reload, scaling and restart, never closed while the server runs.

The accept queue of a SO_REUSEPORT socket is lost when the socket closes, so the sockets of a slot outlive every process
of the slot. A TCP address has one socket for each slot; the kernel spreads the connections among them. A unix socket
and a socket inherited from systemd have a single queue that all slots share. SO_REUSEPORT would silently let a second
server of the same user bind the address, so a bind without it is tried first.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from chatmaster import addresses
from chatmaster.config.groups import Group
from chatmaster.contract import Listener
from chatmaster.errors import ChatmasterError
from chatmaster.policy.events import ListenerKey

log = logging.getLogger(__name__)

UNIX_MODE: Final = 0o660  # the default of `server.unix_mode`: a reverse proxy in front shares the group
_FIRST_INHERITED: Final = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)

Where = tuple[Any, ...]  # what bind(2) takes, in Python's form for the family
Place = tuple[int, Where]


class AddressInUse(ChatmasterError):
    """Another process listens on the address."""


@dataclass(frozen=True, slots=True)
class ListenerSnapshot:
    """What the next image must know of a listening socket."""

    address: str
    group: str
    index: int  # of the slot; -1: shared by all of the group
    fd: int
    made: bool  # by the master, not inherited from systemd: the master removes the file of a unix socket


class Listeners:
    """All listening sockets of the server."""

    def __init__(self, backlog: int, unix_mode: int = UNIX_MODE) -> None:
        self._backlog = backlog
        self._unix_mode = unix_mode
        self._groups: dict[str, Group] = {}
        self._own: dict[tuple[str, str, int], list[socket.socket]] = {}  # (group, address, slot's index)
        self._shared: dict[tuple[str, str], socket.socket] = {}  # (group, address)
        self._made: dict[str, tuple[int, int]] = {}  # path of a unix socket that the master made → device and inode

    # ---- opening -----------------------------------------------------------------------------------

    def inherit(self, groups: Sequence[Group], sockets: Iterable[socket.socket], *, tls: bool) -> tuple[Group, ...]:
        """Take systemd's sockets; return the groups with the addresses they now have.

        A socket goes to the group that names its address. A socket that no group names goes to the first group, in
        place of the sockets that group would open.
        """
        inherited: dict[str, list[str]] = {}
        for sock in sockets:
            group, address = _home(sock, groups, tls=tls)
            self._shared[group, address] = sock
            inherited.setdefault(group, []).append(address)
        first = groups[0].name
        return tuple(
            replace(group, listen=tuple(inherited[first]), inherited=True)
            if group.name == first and first in inherited
            else group
            for group in groups
        )

    def restore(self, kept: Iterable[ListenerSnapshot]) -> None:
        """Go on with the sockets of the previous image."""
        for one in kept:
            sock = socket.socket(fileno=one.fd)
            os.set_inheritable(one.fd, False)
            sock.setblocking(False)
            if one.index < 0:
                self._shared[one.group, one.address] = sock
            else:
                self._own.setdefault((one.group, one.address, one.index), []).append(sock)
            address = addresses.parse(one.address)
            if one.made and address.is_unix:
                self._made[address.path] = _identity(address.path)

    def open(self, groups: Sequence[Group]) -> None:
        """Open what is not open yet, for every slot. Raises AddressInUse or ChatmasterError and opens nothing then."""
        self._groups = {group.name: group for group in groups}
        wanted = [(group, addresses.parse(text)) for group in groups for text in group.bound]
        for group, address in wanted:
            if not self._knows(group.name, address.text):
                _probe(address)
        for group, address in wanted:
            for index in range(group.count):
                self._open(group.name, address, index)
        self._drop_unwanted()

    def of(self, keys: Iterable[ListenerKey]) -> tuple[Listener, ...]:
        """Return the listeners of a process with these keys; open those that a new slot lacks."""
        found: dict[int, Listener] = {}
        for group, index in keys:
            for text in self._groups[group].bound:
                for sock in self._sockets(group, addresses.parse(text), index):
                    found.setdefault(sock.fileno(), Listener(text, sock))
        return tuple(found.values())

    def keys(self) -> tuple[ListenerKey, ...]:
        """Return the keys of all open accept queues, those of removed slots included."""
        return tuple(sorted({(group, index) for group, _, index in self._own}))

    def snapshot(self) -> list[ListenerSnapshot]:
        """Return all open sockets, for the next image."""
        kept = [
            ListenerSnapshot(address, group, index, sock.fileno(), made=True)
            for (group, address, index), sockets in self._own.items()
            for sock in sockets
        ]
        for (group, address), sock in self._shared.items():
            path = addresses.parse(address).path
            kept.append(ListenerSnapshot(address, group, -1, sock.fileno(), made=path in self._made))
        return kept

    def close(self) -> None:
        """Close all sockets, and remove the files of unix sockets that the master made."""
        for sock in (*self._shared.values(), *(sock for sockets in self._own.values() for sock in sockets)):
            sock.close()
        for path, identity in self._made.items():
            if _identity(path) == identity:
                os.unlink(path)

    def _knows(self, group: str, address: str) -> bool:
        return (group, address) in self._shared or any(key[:2] == (group, address) for key in self._own)

    def _sockets(self, group: str, address: addresses.Address, index: int) -> list[socket.socket]:
        shared = self._shared.get((group, address.text))
        return [shared] if shared is not None else self._open(group, address, index)

    def _open(self, group: str, address: addresses.Address, index: int) -> list[socket.socket]:
        key = (group, address.text, index)
        if (group, address.text) in self._shared or key in self._own:
            return self._own.get(key, [])
        if address.is_unix:
            self._shared[group, address.text] = self._open_unix(address)
            return [self._shared[group, address.text]]
        sibling = next((sockets for known, sockets in self._own.items() if known[:2] == key[:2]), None)
        # If another slot listens already, its place is used: the running master must not block on a name lookup.
        places = _places(address) if sibling is None else [(sock.family, sock.getsockname()) for sock in sibling]
        try:
            self._own[key] = [_listen(family, place, self._backlog) for family, place in places]
        except OSError as error:
            if sibling is None:
                raise _refused(address, error) from None
            # Privileges were dropped: the port is below 1024, or its sockets belong to root. Share a queue instead.
            log.info(
                "a new worker cannot open its own socket on %s (%s) and shares that of another worker",
                address.text,
                error.strerror,
            )
            return sibling
        return self._own[key]

    def _open_unix(self, address: addresses.Address) -> socket.socket:
        _remove_stale(address)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o777 & ~self._unix_mode)
        try:
            sock.bind(address.path)
            sock.listen(self._backlog)
        except OSError as error:
            sock.close()
            raise _refused(address, error) from None
        finally:
            os.umask(before)
        sock.setblocking(False)
        self._made[address.path] = _identity(address.path)
        return sock

    def _drop_unwanted(self) -> None:
        """Close the sockets that the configuration no longer names, after an exec; no worker of this run uses them."""
        wanted = {(group.name, address) for group in self._groups.values() for address in group.bound}
        for key in [key for key in self._own if key[:2] not in wanted]:
            for sock in self._own.pop(key):
                sock.close()
        for shared in [key for key in self._shared if key not in wanted]:
            self._shared.pop(shared).close()


def from_systemd(environ: Mapping[str, str]) -> list[socket.socket]:
    """Return the sockets of LISTEN_FDS if LISTEN_PID is this process. Raises ChatmasterError."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    sockets = []
    for fd in range(_FIRST_INHERITED, _FIRST_INHERITED + int(environ.get("LISTEN_FDS", "0"))):
        try:
            sock = socket.socket(fileno=fd)
            listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            raise ChatmasterError(f"descriptor {fd} of LISTEN_FDS is no socket: {error.strerror}") from None
        if not listens or sock.type != socket.SOCK_STREAM:
            raise ChatmasterError(f"descriptor {fd} of LISTEN_FDS is no listening stream socket (Accept=no is needed)")
        os.set_inheritable(fd, False)
        sock.setblocking(False)
        sockets.append(sock)
    return sockets


def from_predecessor(kept: Iterable[ListenerSnapshot]) -> list[socket.socket]:
    """Return systemd's sockets among those of the previous image; they are matched to the groups again."""
    sockets = []
    for one in kept:
        if not one.made:
            sock = socket.socket(fileno=one.fd)
            os.set_inheritable(one.fd, False)
            sock.setblocking(False)
            sockets.append(sock)
    return sockets


def _home(sock: socket.socket, groups: Sequence[Group], *, tls: bool) -> tuple[str, str]:
    """Return the group of an inherited socket, and its address as configured, else as the kernel says."""
    name = sock.getsockname()
    for group in groups:
        for text in group.bound:
            address = addresses.parse(text)
            if address.path == name if address.is_unix else name in [place for _, place in _places(address)]:
                return group.name, text
    if sock.family == socket.AF_UNIX:
        return groups[0].name, f"unix:{name}"
    host = f"[{name[0]}]" if sock.family == socket.AF_INET6 else name[0]
    return groups[0].name, f"{'wss' if tls else 'ws'}://{host}:{name[1]}"


def _places(address: addresses.Address) -> list[Place]:
    """Return where to bind for a TCP address: a name such as localhost may have several addresses."""
    if not address.host:
        return [(socket.AF_INET6, ("::", address.port, 0, 0)) if _has_ipv6() else (socket.AF_INET, ("", address.port))]
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ChatmasterError(f"{address.text}: {address.host} cannot be found: {error.strerror}") from None
    places: list[Place] = list(dict.fromkeys((int(family), place) for family, _, _, _, place in found))
    if len(places) > 1 and not _has_ipv6():
        places = [place for place in places if place[0] != socket.AF_INET6]
    return places


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _bind(family: int, place: Where, *, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # Only "every interface" also accepts IPv4; localhost has its own IPv4 address.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if place[0] == "::" else 1)
        sock.bind(place)
    except OSError:
        sock.close()
        raise
    return sock


def _listen(family: int, place: Where, backlog: int) -> socket.socket:
    sock = _bind(family, place, reuse_port=True)
    sock.listen(backlog)
    sock.setblocking(False)
    return sock


def _probe(address: addresses.Address) -> None:
    """Raise AddressInUse if another process listens on the address."""
    if address.is_unix:
        return  # `_remove_stale` checks it
    for family, place in _places(address):
        try:
            _bind(family, place, reuse_port=False).close()
        except OSError as error:
            raise _refused(address, error) from None


def _refused(address: addresses.Address, error: OSError) -> ChatmasterError:
    what = address.path if address.is_unix else f"port {address.port}"
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(f"{address.text}: {what} is in use by another process; -b names another address")
    if error.errno == errno.EACCES and not address.is_unix:
        return ChatmasterError(f"{address.text}: {what} is only for root, or for CAP_NET_BIND_SERVICE")
    return ChatmasterError(f"{address.text}: {what} cannot be listened on: {error.strerror}")


def _remove_stale(address: addresses.Address) -> None:
    """Remove a socket file without a listener. Raises ChatmasterError for any other file, which stays."""
    try:
        found = os.lstat(address.path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ChatmasterError(f"{address.text}: {address.path} is there already and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(address.path)
        except ConnectionRefusedError:
            os.unlink(address.path)
            return
        except OSError:
            pass  # a full queue, or no permission: there is a listener
    raise AddressInUse(f"{address.text}: {address.path} is in use by another process")


def _identity(path: str) -> tuple[int, int]:
    try:
        found = os.lstat(path)
    except OSError:
        return (-1, -1)
    return (found.st_dev, found.st_ino)
