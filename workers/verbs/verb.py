"""VerbRow: one thing that a program outside may ask for; and what the functions behind verbs work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

from workers.bus.port import BusError
from workers.bus.port import Placed as Place
from workers.chat.app import ChatApplication
from workers.chat.rules.request_error import RequestError
from workers.node.node import Node
from workers.room_options import Options
from workers.tasks import answer_of
from workers.verbs.fleet import Fleet
from workers.verbs.request import STATUS, Caller, PlacedAnswer, VerbAnswer, VerbError, VerbRequest

R = TypeVar("R", bound=VerbRequest)
A = TypeVar("A", bound=VerbAnswer)

Application = Literal["", "chat", "program"]
AUTHOR: Final = "gateway"  # who a program's messages are by, for the keys that make a repetition safe


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the functions reach: the worker that carries a call out."""

    node: Node
    fleet: Fleet
    chat: ChatApplication | None  # None: a program's own Worker
    options: Options

    async def publish(self, room: str, payload: bytes, *, form: str, key: str, exclude: str = "") -> Place:
        """Append to a room's log. Raises BusError."""

        def publish(done: Callable[[Place | BusError], None]) -> None:
            self.node.hub.publish(room, payload, form=form, done=done, author=AUTHOR, key=key, exclude=exclude)

        return await answer_of(publish)

    async def holders_of(self, name: str) -> list[str]:
        """The connected users of the chat with that name; none in a program. Raises BusError."""
        return await self.chat.claims.holders(name) if self.chat is not None else []

    @property
    def the_chat(self) -> ChatApplication:
        """The chat; a verb of the chat is not called where there is none."""
        if self.chat is None:
            raise VerbError("wrong_application", "the instance runs no chat")
        return self.chat


Run = Callable[[Services, Caller, R, str], Awaitable[A]]


@dataclass(frozen=True, slots=True)
class VerbRow(Generic[R, A]):
    """One row of the table. `run` gets the idempotency key, "" where there is none."""

    name: str
    group: str  # messages, rooms, people, programs
    request: type[R]
    answer: type[A]
    run: Run[R, A]
    application: Application  # what has it; "": the chat and programs
    reads: bool  # it changes nothing
    keyed: bool  # the logs remember its keys; of the others the dispatcher does

    @property
    def text(self) -> str:
        """What it does, for documents."""
        return " ".join((self.run.__doc__ or "").split())


AnyVerb = VerbRow[Any, Any]


def verb(
    group: str,
    request: type[R],
    answer: type[A],
    *,
    application: Application = "",
    reads: bool = False,
    keyed: bool = False,
) -> Callable[[Run[R, A]], VerbRow[R, A]]:
    """Make a function a verb, under its own name."""

    def make(run: Run[R, A]) -> VerbRow[R, A]:
        name: str = run.__name__
        return VerbRow(name.rstrip("_"), group, request, answer, run, application, reads, keyed)

    return make


def of_request(error: RequestError) -> VerbError:
    """What the chat's rules refuse, as a verb says it."""
    code = error.code if error.code in STATUS else "forbidden"  # banned, muted
    return VerbError(code, str(error), field=error.field or "", retry_after=error.retry_after or 0.0)


async def no_such_user(services: Services, caller: Caller, user: str, *, also: str = "") -> VerbError:
    """What is said of an id that no connected user has: whose name it is, if it is one. Raises BusError.

    A key for some rooms does not hear who is elsewhere. `also` is what else the caller can give.
    """
    holders = await services.holders_of(user)
    if not holders:
        return VerbError("not_found", f"no user {user} is connected", field="user")
    whose = "a user" if caller.rooms is not None else holders[0] + (" and others" if len(holders) > 1 else "")
    return VerbError("not_found", f"{user} is the name of {whose}: give the id{also}", field="user")


def placed(room: str, place: Place) -> PlacedAnswer:
    """The answer of a verb that has published something."""
    return PlacedAnswer(
        room=room, epoch=place.epoch, offset=place.offset, time=place.time / 1000, duplicate=place.duplicate
    )
