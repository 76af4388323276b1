"""Asks the application's hooks, and makes of their answers what the session and the client need."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Raw

from workers.chat import commands as c
from workers.chat import effects as e
from workers.chat.hooks import HelloRequest, Hooks, JoinRequest, Kept, Person, Refuse, SayRequest
from workers.chat.identity import Identity
from workers.chat.mistake import Mistake

if TYPE_CHECKING:
    from workers.bus.port import Placed
    from workers.connection import Connection
    from workers.events import Tasks

logger = logging.getLogger(__name__)


class Counsel:
    """The hooks of one worker's application."""

    def __init__(self, hooks: Hooks, tasks: Tasks) -> None:
        self._hooks = hooks
        self._tasks = tasks

    async def ask(self, connection: Connection, consult: e.Consult) -> str | None:
        """Ask about a request. Returns another text where the hook gives one; raises Mistake where it refuses."""
        person = _person(connection, consult.identity)
        command = consult.command
        if isinstance(command, c.Hello | c.Rename):
            request: Any = HelloRequest(person)
        elif isinstance(command, c.Join):
            request = JoinRequest(person, command.room)
        else:
            request = _say_request(person, command)
        return await self._ask(consult.hook, request)

    async def ask_join(self, connection: Connection, identity: Identity, room: str) -> None:
        """Ask about one room of a hello. Raises Mistake where it refuses."""
        await self._ask("join", JoinRequest(_person(connection, identity), room))

    async def _ask(self, hook: str, request: Any) -> str | None:
        try:
            verdict: Any = self._hooks.callbacks[hook](request)
            if inspect.isawaitable(verdict):
                verdict = await verdict
        except Refuse as refused:
            verdict = refused
        except Exception:
            logger.exception("the hook on_%s failed; what it was asked about is refused", hook)
            raise Mistake("internal", "the application failed", retry_after=1.0) from None
        if isinstance(verdict, Refuse):
            raise Mistake(verdict.code, verdict.reason)
        return verdict if isinstance(verdict, str) and hook == "say" else None

    def kept(self, room: str, placed: Placed, payload: bytes) -> None:
        """The store has a message: tell who wants to see all of them."""
        message = Kept(room, placed.epoch, placed.offset, placed.time, msgspec.json.decode(payload))
        try:
            seen = self._hooks.callbacks["kept"](message)
        except Exception:
            logger.exception("the hook on_kept failed")
            return
        if inspect.isawaitable(seen):
            self._tasks.start(_awaited(seen), what="on_kept")


async def _awaited(seen: Any) -> None:
    await seen


def _person(connection: Connection, identity: Identity) -> Person:
    return Person(identity.user, identity.name, identity.role.name.lower(), connection.remote_ip, identity.guest)


def _say_request(person: Person, command: c.Command) -> SayRequest:
    assert isinstance(command, c.Say | c.Direct | c.Edit)
    return SayRequest(
        person,
        room="" if isinstance(command, c.Direct) else command.room,
        to=command.to if isinstance(command, c.Direct) else "",
        text=None if command.text is UNSET else command.text,
        data=msgspec.json.decode(command.data) if isinstance(command.data, Raw) else None,
        offset=command.offset if isinstance(command, c.Edit) else None,
    )
