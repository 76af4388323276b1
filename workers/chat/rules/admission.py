"""Admission: who says hello, under which name, for which rooms; and the second hello, which renews the first.

Each function takes the actor and returns effects, or raises RequestError.
"""

from __future__ import annotations

import msgspec

from workers.addressing import inbox_of, is_inbox
from workers.chat.rules import commands, names
from workers.chat.rules.context import Context
from workers.chat.rules.effects import (
    Admit,
    Consult,
    Effect,
    Effects,
    Greet,
)
from workers.chat.rules.identity import Identities, Identity, Presented, Refusal, Role, is_users
from workers.chat.rules.permissions import may, permit
from workers.chat.rules.request_error import RequestError
from workers.chat.rules.state import Actor


def identify(actor: Actor, command: commands.Hello, now: float) -> Presented | Refusal:
    """The identity of a hello, with the name that it asks for. Raises RequestError."""
    found = _identified(actor, command.token, now)
    if isinstance(found, Refusal) or command.name is None:
        return found
    name = checked_name(actor.context, command.name, found)
    return msgspec.structs.replace(found, name=name, chosen=name != found.name)


def _identified(actor: Actor, token: str | None, now: float) -> Presented | Refusal:
    """The user of the handshake, also where the client presents a guest's token; else who presents the token."""
    identities, login = actor.context.identities, actor.login
    if login is not None and not is_users(token):
        return login
    _check_ready(identities, token)
    found = identities.identify(token, now)
    if login is not None and isinstance(found, Presented) and found.user != login.user:
        return Refusal("this token is another user's", note="the handshake named another user than the token")
    return found


def _check_ready(identities: Identities, token: str | None) -> None:
    """Raise RequestError where it cannot be decided now who presents the token."""
    if missing := identities.missing_for(token):
        raise RequestError("unavailable", missing, retry_after=1.0)


def admit(actor: Actor, identity: Presented, command: commands.Hello, now: float) -> Admit:
    """Admit to the inbox and to each wanted room that the user may join; each other room gets an `error`."""
    inbox = inbox_of(identity.user)
    chosen = {inbox: commands.Wanted(inbox)}
    refused = []
    most = actor.context.limits.rooms_per_connection
    for place, wanted in enumerate(command.rooms):
        if len(chosen) > most and wanted.room not in chosen:  # a room over the limit is not checked any further
            refused.append(_one_too_many(f"rooms[{place}].room").reply(None))
            continue
        try:
            check_entry(actor, identity, wanted.room, len(chosen) - 1, now)
        except RequestError as mistake:
            mistake.field = f"rooms[{place}].room"
            refused.append(mistake.reply(None))
        else:
            chosen[wanted.room] = wanted
    rooms = tuple(chosen.values())
    return Admit(command.id, identity, rooms, tuple(refused), chosen=identity.chosen, asked=command.rooms)


def check_entry(actor: Actor, identity: Identity, room: str, inside: int, now: float) -> str:
    """Check that a user who is in `inside` rooms may join another; returns the hook to ask. Raises RequestError."""
    hook = permit(actor, identity, "join", room, now)
    if inside >= actor.context.limits.rooms_per_connection and not is_inbox(room):
        raise _one_too_many("room")
    return hook


def _one_too_many(field: str) -> RequestError:
    return RequestError("limit_reached", "one connection cannot be in more rooms", field=field)


def renew(actor: Actor, command: commands.Hello, now: float) -> Effects:
    """A second hello may renew the token or the name of the same user, nothing else. Raises RequestError."""
    if command.rooms:
        raise RequestError("bad_request", "a second hello joins no rooms: use join", field="rooms")
    identity = _renewed(actor, command, now)
    if "hello" in actor.context.consulted:
        return (Consult("hello", command, identity),)
    return renewed(actor, identity, command)


def renewed(actor: Actor, identity: Identity, command: commands.Hello) -> Effects:
    """Renew an approved session. `Renames` gives the name, to all connections of the user."""
    name = identity.name if identity.name != actor.identity.name else ""
    ask_again = "join" in actor.context.consulted and identity.role != actor.identity.role
    actor.identity = msgspec.structs.replace(identity, name=actor.identity.name)
    return (*_leave_forbidden(actor), Greet(command.id, name, ask_again=ask_again))


def _renewed(actor: Actor, command: commands.Hello, now: float) -> Identity:
    identity = actor.identity
    if command.token is not None:
        _check_ready(actor.context.identities, command.token)
        found = actor.context.identities.identify(command.token, now)
        if isinstance(found, Refusal):
            raise RequestError("unauthorized", found.reason, field="token")
        if found.user != identity.user:
            raise RequestError("unauthorized", "this token is another user's", field="token")
        identity = msgspec.structs.replace(found.settled(), name=identity.name)
    if command.name is not None:
        identity = msgspec.structs.replace(identity, name=checked_name(actor.context, command.name, identity))
    return identity


def checked_name(context: Context, name: str, identity: Identity) -> str:
    """The normalized name. Raises RequestError where it breaks the rules or looks like a moderator's."""
    try:
        name = names.cleaned(name)
    except names.NameRefused as refused:
        raise RequestError("bad_request", str(refused), field="name") from None
    if could_deceive(context, name, identity):
        raise RequestError("bad_request", "this name could be taken for a moderator's", field="name")
    return name


def could_deceive(context: Context, name: str, identity: Identity) -> bool:
    """Whether a chosen name could be taken for that of the operator or of another moderator."""
    if names.is_the_operators(name):
        return True
    if identity.role >= Role.MODERATOR:
        return False
    return names.is_reserved(name) or context.moderators.looks_like(name, identity.user)


def _leave_forbidden(actor: Actor) -> list[Effect]:
    """Leave the rooms that a new token does not allow any more."""
    options = actor.context.options
    lost = [room for room in actor.rooms if not may(actor.identity, "join", room, options.of(room))]
    return [effect for room in lost for effect in actor.expelled(room, "your new token does not allow this room")]
