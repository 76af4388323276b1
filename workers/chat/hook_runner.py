"""Calls the application's hooks and translates their answers for the session and the client."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from workers.asked_backend import MAX_REASON, AskedBackend, BackendAnswer, BackendFailed
from workers.bus.port import Placed
from workers.chat.hooks import ERROR_CODES, HelloRequest, Hooks, JoinRequest, Kept, Person, Refuse, SayRequest
from workers.chat.rules import commands, effects
from workers.chat.rules.identity import Identity
from workers.chat.rules.request_error import RequestError
from workers.failures import Failures, brief
from workers.node.client_connection import ClientConnection
from workers.node.counters import Counters
from workers.tasks import Tasks


class HookRunner:
    """The hooks of one worker's application: the program's callback first, then the backend of `[hooks]`."""

    def __init__(
        self, hooks: Hooks, tasks: Tasks, counters: Counters, backend: AskedBackend, *, is_dev: bool = False
    ) -> None:
        self._hooks = hooks
        self._backend = backend
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
        text = await self._ask_program(hook, request) if hook in self._hooks.callbacks else None
        if hook not in self._backend.hooks:
            return text
        if text is not None:
            request = msgspec.structs.replace(request, text=text)
        changed = await self._ask_backend(hook, request)
        return text if changed is None else changed

    async def _ask_backend(self, hook: str, request: Any) -> str | None:
        """Ask the web application, which may give another text for a message. Raises RequestError."""
        headers = request.request.headers if isinstance(request, HelloRequest) else {}
        try:
            answer = await self._backend.ask(hook, _question(request), headers)
            return _verdict_of(hook, answer)
        except BackendFailed as error:
            told = f": {error}" if self._is_dev else ""
            raise RequestError("unavailable", f"the application does not answer{told}", retry_after=1.0) from None

    async def _ask_program(self, hook: str, request: Any) -> str | None:
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


def _question(request: Any) -> dict[str, Any]:
    """What the backend is asked, as JSON has it; the headers of a handshake are those of the question."""
    if not isinstance(request, HelloRequest):
        found: dict[str, Any] = msgspec.to_builtins(request)
        return found
    made = request.request
    return {"person": msgspec.to_builtins(request.person), "request": {"path": made.path, "query": made.query}}


def _verdict_of(hook: str, answer: BackendAnswer) -> str | None:
    """The text that the backend wants instead, if any. Raises RequestError where it refuses."""
    if answer.allow:
        return answer.text if hook == "say" else None
    code = answer.code if answer.code in ERROR_CODES else "forbidden"
    raise RequestError(code, answer.reason[:MAX_REASON] or "the application refuses this")


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
