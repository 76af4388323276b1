"""`Gateway`: the same rooms and users for other programs, such as a web application or a cron job.

It needs only the store: a message takes the path of every other message, through the same script, and reaches
every member on every worker and machine, once and in the room's order. It is synchronous and may be used by one
thread at a time. This module imports redis, which takes 0.1 s and more: `workers` imports it when it is used.

What `Gateway` raises beside TypeError and ValueError for wrong arguments is one tree::

    GatewayError
    ├── GatewayUnavailable      the store did not answer; of what was sent nobody knows whether it is kept
    ├── GatewayRefused          the store refused: wrong password, no memory, a key that was used with other content
    ├── InstanceNotRunning      nobody runs an instance of that name in this store
    └── WrongApplication        what runs there would misunderstand it
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import msgspec
import redis

from chatmaster.settings import Settings
from chatmaster.store import client
from chatmaster.store import url as store_url
from workers.addressing import (
    ALL_ROOM,
    connection_id,
    connection_ids,
    inbox_of,
    room_name,
    scoped,
    user_id,
)
from workers.bus import keys as bus_keys
from workers.bus.codec import pack_envelope, unpack_all_placed
from workers.bus.port import BusError, Placed
from workers.bus.script import load_own
from workers.chat.rules import names
from workers.cluster import keys as presence_keys
from workers.node import control_room
from workers.node import published_settings as kept
from workers.payload import close_reason, packed
from workers.registry import keys as registry_keys
from workers.room_options import retention

MAX_TIMEOUT = 3600.0  # seconds
LOOK_EVERY = 1.0  # seconds between two checks of whether the instance runs, and of its published settings


class GatewayError(Exception):
    """A call of a `Gateway` failed; the message gives the reason in one sentence."""


class GatewayUnavailable(GatewayError):
    """The store did not answer: the message may or may not be stored; with a `key` the call can be repeated."""


class GatewayRefused(GatewayError):
    """The store refused; nothing was done."""


class InstanceNotRunning(GatewayError):
    """No instance of that name runs with this store; nothing was sent."""


class WrongApplication(GatewayError):
    """The running application would not understand the message; nothing was sent."""


@contextmanager
def own_errors() -> Iterator[None]:
    """Convert errors of the store and of its connection to GatewayError."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        if isinstance(error, redis.AuthenticationError):
            raise GatewayRefused(f"the store refused: {error}") from error
        raise GatewayUnavailable(f"the store did not answer: {error}") from error
    except redis.RedisError as error:
        raise GatewayRefused(f"the store refused: {error}") from error
    except BusError as error:
        raise GatewayRefused(str(error) or type(error).__name__) from error


class Gateway:
    """Sends to, and queries, a running server from another program.

    `url` is the store's (`redis://…`, `unix:///…`; `chatctl status` shows it), `name` the instance's (`master.name`),
    `timeout` in seconds for each answer.
    `worker` names one of several Workers of a program; without it the chat is meant, or the first Worker.
    How long rooms are kept is what the server says; `settings` overrides it.
    Every method raises GatewayError, see above: InstanceNotRunning if the instance does not run (nothing goes
    into the void), WrongApplication for what its clients would misunderstand, GatewayUnavailable, GatewayRefused; and
    TypeError and ValueError for wrong arguments. After GatewayUnavailable the outcome is unknown, and a repetition is
    kept once only with a `key`.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "chat",
        worker: str = "",
        timeout: float = 5.0,
        settings: Settings | None = None,
    ) -> None:
        if not all(isinstance(one, str) for one in (url, name, worker)):
            raise TypeError("url, name and worker are strings")
        if settings is not None and not isinstance(settings, Settings):
            raise TypeError(f"settings is a chatmaster.settings.Settings, not {type(settings).__name__}")
        _check_timeout(timeout)
        # No retries: a retry could write twice.
        where = _parse_url(url)
        self._client: Any = client.connect(where, timeout)
        self._database = where.database
        self._instance = name
        self._worker = worker
        self._name = scoped(name, worker)  # prefix of the Worker's keys; see `_look`
        self._given = settings
        self._settings = settings or Settings()
        self._retention = retention(self._settings)
        self._application = ""  # the kind of the running application
        self._looked_at = -math.inf
        self._seed = secrets.token_hex(4)
        self._publish = self._client.register_script(load_own("publish").source)

    # ---- sending -----------------------------------------------------------------------------------

    def broadcast(self, data: str | bytes, *, exclude: str | Iterable[str] = (), key: str = "") -> None:
        """Send to every connection of a program (see `Worker.broadcast`). Raises WrongApplication for the chat."""
        self._send(ALL_ROOM, data, exclude, key)

    def send_to_room(self, room: str, data: str | bytes, *, exclude: str | Iterable[str] = (), key: str = "") -> Placed:
        """Send to every member of a room, text for str and binary for bytes; `exclude` names connections.

        The data is sent unchanged. Raises WrongApplication for the chat, whose clients understand only `say`.
        """
        return self._send(room_name(room), data, exclude, key)

    def send_to_user(self, user: str, data: str | bytes, *, exclude: str | Iterable[str] = (), key: str = "") -> Placed:
        """Send to every connection of a user. Raises WrongApplication for the chat."""
        return self._send(inbox_of(user_id(user)), data, exclude, key)

    def _send(self, room: str, data: str | bytes, exclude: str | Iterable[str], key: str) -> Placed:
        payload, form = packed(data)
        excluded = ",".join(connection_ids(exclude))
        with own_errors():
            self._must_run(kept.PROGRAM)
            return self._append(room, payload, form, excluded, key)

    def send_to_connection(self, connection: str, data: str | bytes) -> None:
        """Send to one connection of any worker. Raises WrongApplication for the chat."""
        order = control_room.send_to(connection_id(connection), data)
        with own_errors():
            self._must_run(kept.PROGRAM)
            self._order(order)

    def kick(self, connection: str, *, reason: str = "") -> None:
        """Close one connection of any worker with 4003; `connection` is its `Connection.id`, not a user id.

        There is no error for an id that no worker has.
        """
        order = control_room.KickConnection(connection_id(connection), close_reason(reason))
        with own_errors():
            self._must_run()
            self._order(order)

    def say(self, room: str, text: str = "", *, user: str, name: str = "", data: Any = None, key: str = "") -> Placed:
        """Send a message to a room of the chat as `user`; `data` is any JSON instead of a text.

        Raises ValueError for what the chat would refuse as well: a name that no room or user can have, too much, a text
        of which nothing can be seen.
        """
        room, user = room_name(room), user_id(user)
        if not isinstance(text, str) or not isinstance(name, str):
            raise TypeError("text and name are strings; other content is `data`")
        name = names.cleaned(name) if name else user
        if data is None and names.is_blank(text):
            raise ValueError("this text has no visible character")
        content = {"data": data} if data is not None else {"text": text}
        message = {"type": "message", "room": room, "from": {"user": user, "name": name}, **content}
        payload = msgspec.json.encode(message)
        with own_errors():
            self._must_run(kept.CHAT)
            size, most = len(_body(text, data)), self._settings.limits.message_size
            if size > most:
                raise ValueError(f"the message has {size} bytes, {most} are allowed")
            return self._append(room, payload, "j", "", key, author=user)

    # ---- queries ----------------------------------------------------------------------------------

    def is_online(self, user: str) -> bool:
        """Return whether the user has a connection to any worker."""
        subject = registry_keys.of_user(user_id(user))
        with own_errors():
            self._must_run()
            return self._count(subject) > 0

    def online(self) -> int:
        """Return the number of connections of all workers and machines."""
        with own_errors():
            self._must_run()
            return self._count(registry_keys.ALL)

    def members(self, room: str) -> list[dict[str, Any]]:
        """The users in a room: `user`, `name`, `connections`; at most 1,000."""
        room = room_name(room)
        with own_errors():
            self._must_run()
            return self._members(room)

    def _members(self, room: str) -> list[dict[str, Any]]:
        _, users, names = presence_keys.of_room(self._name, room)
        found: list[tuple[bytes, bytes]] = []
        for entry in self._client.hscan_iter(users, count=presence_keys.MEMBERS_MOST):
            found.append(entry)
            if len(found) == presence_keys.MEMBERS_MOST:
                break
        called = self._client.hmget(names, [user for user, _ in found]) if found else []
        return [
            {"user": user.decode(), "name": (name or user).decode(), "connections": int(connections)}
            for (user, connections), name in zip(found, called, strict=True)
        ]

    # ---- closing ------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connection to the store."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # ---- the store ---------------------------------------------------------------------------------

    def _order(self, order: control_room.SendTo | control_room.KickConnection) -> None:
        self._append(control_room.room_of(order), control_room.encode(order), "t", "", "")

    def _append(
        self, room: str, payload: bytes, form: str, exclude: str, key: str, *, author: str = "gateway"
    ) -> Placed:
        own = [*bus_keys.of_log(self._name, room)]
        shared = room if bus_keys.shares_channel(room) else ""
        if not isinstance(key, str):
            raise TypeError(f"a key is a string, not {type(key).__name__}")
        envelope = pack_envelope(payload, form=form, author=author, key=key, exclude=exclude, room=shared)
        channel, key_ttl = bus_keys.channel(self._name, self._database, room), self._settings.limits.key_ttl
        args: list[Any] = [channel, self._seed, *self._retention(room), key_ttl, envelope]
        if key:
            own += bus_keys.keys_of(self._name, room)
            args += [bus_keys.key_field(user=author, room=room, key=key), bus_keys.digest(payload)]
        (placed,) = unpack_all_placed(self._publish(keys=own, args=args), 1)
        if isinstance(placed, Exception):
            raise placed
        return placed

    def _must_run(self, application: str = "") -> None:
        """Raises InstanceNotRunning, and WrongApplication if another application than `application` runs."""
        if time.monotonic() >= self._looked_at + LOOK_EVERY:
            self._look()
        if application and application != self._application:
            what = "the chat, whose clients understand only `say`" if self._application == kept.CHAT else "no chat"
            raise WrongApplication(f"the instance {self._name!r} runs {what}")

    def _look(self) -> None:
        """Read the instance's published settings: appending with other limits would trim its rooms.

        The chat, or else the first Worker of a program, keeps its rooms under the instance's own name: a name that the
        Worker may get and lose by a reload. Raises InstanceNotRunning.
        """
        own, first = scoped(self._instance, self._worker), self._instance
        found = self._published(own)
        self._name = own
        if found is None and self._worker:
            found = self._published(first)
            self._name = first
            if found is not None and found.worker != self._worker:
                raise InstanceNotRunning(f"the instance {first!r} runs no Worker of the name {self._worker!r}")
        if found is None:
            raise InstanceNotRunning(f"nobody runs an instance of the name {first!r} in this store")
        self._application = found.application
        if self._given is None:
            self._settings, self._retention = found.settings, retention(found.settings)
        self._looked_at = time.monotonic()

    def _published(self, name: str) -> kept.Published | None:
        """Return what the workers of a name publish; None if no such worker runs."""
        said = self._client.get(kept.key_of(name))
        return kept.unpack(said) if said is not None and self._incarnations(name) else None

    def _incarnations(self, name: str) -> set[bytes]:
        """The workers that count as alive by the store's clock."""
        seconds, micros = self._client.time()
        leases = presence_keys.of_incarnations(name)[0]
        return set(self._client.zrangebyscore(leases, seconds * 1000 + micros // 1000, "+inf"))

    def _count(self, subject: str) -> int:
        counts = self._client.hgetall(registry_keys.counts(self._name, subject))
        alive = self._incarnations(self._name)
        return sum(int(number) for incarnation, number in counts.items() if incarnation in alive)


def _parse_url(url: str) -> store_url.StoreUrl:
    try:
        return store_url.parse(url)
    except ValueError as error:  # only the server knows the address of an embedded store
        raise ValueError(f"url: {str(error).replace('embedded, ', '')}") from None


def _check_timeout(timeout: Any) -> None:
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout is a number of seconds, not {timeout!r}")
    if not 0 < timeout <= MAX_TIMEOUT:
        raise ValueError(f"timeout is more than 0 and at most {MAX_TIMEOUT:g} seconds, not {timeout!r}")


def _body(text: str, data: Any) -> bytes:
    """Return the size of the content that `limits.message_size` limits."""
    return text.encode() if data is None else msgspec.json.encode(data)
