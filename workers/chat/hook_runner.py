"""Calls the application's hooks and translates their answers for the session and the client."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from workers.bus.port import Placed
from workers.chat.hooks import HelloRequest, Hooks, JoinRequest, Kept, Person, Refuse, SayRequest
from workers.chat.rules import commands, effects
from workers.chat.rules.identity import Identity
from workers.chat.rules.request_error import RequestError
from workers.failures import Failures, brief
from workers.node.client_connection import ClientConnection
from workers.node.counters import Counters
from workers.tasks import Tasks


class HookRunner:
    """The hooks of one worker's application."""

    def __init__(self, hooks: Hooks, tasks: Tasks, counters: Counters, *, is_dev: bool = False) -> None:
        self._hooks = hooks
        self._tasks = tasks
        self._counters = counters
        self._failures = Failures()
        self._is_dev = is_dev

    async def ask(self, connection: ClientConnection, consult: effects.Consult) -> str | None:
        """Call the hook for a request. Returns its replacement text, if any. Raises RequestError on a refusal."""
        person = _person(connection, consult.identity)
        command = consult.command
        if isinstance(command, commands.Hello | commands.Rename):
            request: Any = HelloRequest(person, connection.request)
        elif isinstance(command, commands.Join | commands.History):
            request = JoinRequest(person, command.room)
        else:
            request = _say_request(person, command)
        return await self._ask(consult.hook, request)

    async def ask_join(self, connection: ClientConnection, identity: Identity, room: str) -> None:
        """Call the hook on_join for one room of a hello. Raises RequestError on a refusal."""
        await self._ask("join", JoinRequest(_person(connection, identity), room))

    async def _ask(self, hook: str, request: Any) -> str | None:
        try:
            verdict: Any = self._hooks.callbacks[hook](request)
            if inspect.isawaitable(verdict):
                verdict = await verdict
        except Refuse as refused:
            verdict = refused
        except BaseException as error:
            if self._tasks.is_ending(error):
                raise
            self._counters.callback_errors += 1
            self._failures.log(f"the hook on_{hook} failed; the request is refused", error)
            told = f"the application failed: {brief(error)}" if self._is_dev else "the application failed"
            raise RequestError("internal", told, retry_after=1.0) from None
        if isinstance(verdict, Refuse):
            raise RequestError(verdict.code, verdict.reason)
        return verdict if isinstance(verdict, str) and hook == "say" else None

    def notify_kept(self, room: str, placed: Placed, payload: bytes) -> None:
        """Call the hook on_kept for a message that the store has."""
        message = Kept(room, placed.epoch, placed.offset, placed.time, msgspec.json.decode(payload))
        try:
            seen: Any = self._hooks.callbacks["kept"](message)
        except BaseException as error:
            self._kept_failed(error)
            return
        if inspect.isawaitable(seen):
            self._tasks.start(self._awaited(seen), what="on_kept")

    async def _awaited(self, seen: Awaitable[Any]) -> None:
        try:
            await seen
        except BaseException as error:
            if self._tasks.is_ending(error):
                raise
            self._kept_failed(error)

    def _kept_failed(self, error: BaseException) -> None:
        self._counters.callback_errors += 1
        self._failures.log("the hook on_kept failed", error)


def _person(connection: ClientConnection, identity: Identity) -> Person:
    return Person(identity.user, identity.name, identity.role.name.lower(), connection.remote_ip, identity.guest)


def _say_request(person: Person, command: commands.Command) -> SayRequest:
    assert isinstance(command, commands.Say | commands.Direct | commands.Edit)
    return SayRequest(
        person,
        room="" if isinstance(command, commands.Direct) else command.room,
        to=command.to if isinstance(command, commands.Direct) else "",
        text=None if command.text is UNSET else command.text,
        data=msgspec.json.decode(command.data) if isinstance(command.data, Raw) else None,
        offset=command.offset if isinstance(command, commands.Edit) else None,
    )
