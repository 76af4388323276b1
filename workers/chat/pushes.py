"""Pushes: tells users whose page is closed of mentions and direct messages, by Web Push.

Nothing of it is on a message's way: a message that the store has is put into a bounded queue, and what does not fit is
dropped and counted. A task looks up who is away and sends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from chatmaster.settings import Push
from workers.addressing import inbox_of
from workers.bus.port import BusError
from workers.chat.rules.entries import ROOM_MENTION
from workers.chat.rules.request_error import RequestError
from workers.chat.services import ChatServices
from workers.failures import OncePerPlace
from workers.outgoing_http import OutgoingError
from workers.push.sender import AT_ONCE, PushSender, SubscriptionGone
from workers.push.subscription import PushSubscription, complaint

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 1_000  # messages
MAX_TEXT: Final = 300  # characters of a message in a note
CUT: Final = "…"


class _NoteSource(Struct):
    """The members of a message that a note shows."""

    sender: dict[str, str] = msgspec.field(name="from", default_factory=dict)
    text: str = ""


class _Waiting(Struct, frozen=True):
    """A message, and the users whom it is for; `room` is "" for a direct message."""

    users: tuple[str, ...]
    room: str
    payload: bytes


_decode: Final = msgspec.json.Decoder(_NoteSource).decode


class Pushes:
    """The notes of one worker. `start` it inside the running loop."""

    def __init__(self, services: ChatServices, settings: Push) -> None:
        self._tasks = services.tasks
        self._counters = services.counters
        self._registry = services.registry
        self._connections = services.connections
        self._context = services.context
        self._records = services.store.pushes
        self._hosts = settings.hosts
        self._sender = PushSender(Path(settings.key_file), settings.contact)
        self._queue: deque[_Waiting] = deque()
        self._filled = asyncio.Event()
        self._free = asyncio.Semaphore(AT_ONCE)
        self._failures: OncePerPlace[str] = OncePerPlace()

    async def start(self) -> None:
        """Read the server's key, which clients are told, and begin; without it there is no push, as the log says."""
        try:
            self._context.push_key = await self._sender.prepare()
        except (OSError, ValueError) as error:
            logger.error("Web Push is off: its key cannot be read or made: %s", error)
            return
        self._tasks.start(self._run(), what="Web Push")

    async def close(self) -> None:
        """Close the kept connections; what still waits is dropped."""
        self._queue.clear()
        await self._sender.close()

    # ---- what a browser asks for -----------------------------------------------------------------------

    async def subscribe(self, user: str, subscription: PushSubscription) -> None:
        """Keep a subscription. Raises RequestError, BusError."""
        if not self._context.push_key:
            raise RequestError("forbidden", "this server sends no push messages", field="")
        wrong = complaint(subscription.endpoint, subscription.p256dh, subscription.auth, self._hosts)
        if wrong is not None:
            raise RequestError("bad_request", wrong[1], field=wrong[0])
        await self._records.keep(user, subscription)

    async def unsubscribe(self, user: str, endpoint: str) -> None:
        """Forget a subscription. Raises BusError."""
        await self._records.forget(user, PushSubscription(endpoint, "", "").name)

    # ---- what happens ----------------------------------------------------------------------------------

    def mentioned(self, room: str, payload: bytes, users: Sequence[str]) -> None:
        """A message that the store has mentions these users."""
        self._offer(_Waiting(tuple(user for user in users if user != ROOM_MENTION), room, payload))

    def written(self, user: str, payload: bytes) -> None:
        """A direct message to a user is in the store."""
        self._offer(_Waiting((user,), "", payload))

    def _offer(self, waiting: _Waiting) -> None:
        if not self._context.push_key or not waiting.users:
            return
        if len(self._queue) >= MAX_WAITING:
            self._failed("the queue is full", "messages come faster than notes can be sent")
            return
        self._queue.append(waiting)
        self._filled.set()

    async def _run(self) -> None:
        while True:
            while not self._queue:
                self._filled.clear()
                await self._filled.wait()
            waiting = self._queue.popleft()
            for user in waiting.users:
                try:
                    await self._tell(user, waiting)
                except BusError as error:
                    logger.debug("no push to %s: %s", user, error)

    async def _tell(self, user: str, waiting: _Waiting) -> None:
        """Send a note to the browsers of a user who has no page open. Raises BusError."""
        if self._connections.of_user(user) or await self._registry.is_online(user):
            return
        subscriptions = await self._records.take(user)
        if not subscriptions or await self._is_banned(user, waiting.room):
            return
        said = _decode(waiting.payload)
        sender = said.sender.get("user", "")
        if sender == user or not said.text:
            return
        note = _note(said, waiting.room, sender)
        for subscription in subscriptions:
            if subscription.wants(waiting.room, sender, time.time()):
                await self._free.acquire()
                place = waiting.room or sender
                self._tasks.start(self._send(user, subscription, note, place), what="a push message")

    async def _is_banned(self, user: str, room: str) -> bool:
        held = await self._registry.sanctions_held()
        return any(one.verb == "ban" and one.user == user and one.room in ("", room) for one in held)

    async def _send(self, user: str, subscription: PushSubscription, note: bytes, place: str) -> None:
        try:
            if complaint(subscription.endpoint, subscription.p256dh, subscription.auth, self._hosts) is None:
                await self._sender.send(subscription, note, place)
        except SubscriptionGone:
            try:
                await self._records.forget(user, subscription.name)
            except BusError as error:
                logger.debug("a subscription that is over stays until the next note: %s", error)
        except OutgoingError as error:
            host = subscription.endpoint.split("/")[2]
            self._failed(host, f"the push service {host} {error}")
        finally:
            self._free.release()

    def _failed(self, place: str, why: str) -> None:
        now = time.monotonic()
        if not self._failures.is_due(place, now):
            self._failures.omit(place)
            return
        omitted = self._failures.log(place, now)
        logger.warning("a push message was dropped: %s (%d more before)", why, omitted)


def _note(said: _NoteSource, room: str, sender: str) -> bytes:
    """What the page's service worker shows (`http/page/shell/sw.js`): names and text alone, which no language needs."""
    name = said.sender.get("name", "") or sender
    text = said.text if len(said.text) <= MAX_TEXT else said.text[: MAX_TEXT - 1] + CUT
    title = f"{name} · #{room}" if room else name
    return msgspec.json.encode({"title": title, "body": text, "place": room or inbox_of(sender)})
