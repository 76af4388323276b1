"""Posting: the checks and effects of say, direct, edit, delete, react, typing and read.

Each function takes the actor, the request and the time, and returns effects or raises RequestError. If the
application has a hook, the request is checked before the hook is called, and the hook's text is checked again.
"""

from __future__ import annotations

from msgspec import UNSET, Raw

from chatmaster.settings import RoomRule
from workers.addressing import inbox_of, is_inbox, room_or_inbox, user_of_inbox
from workers.bus.port import Change, Position
from workers.chat.rules import commands, effects, entries, replies
from workers.chat.rules.effects import Effects
from workers.chat.rules.identity import Role
from workers.chat.rules.names import is_blank
from workers.chat.rules.permissions import permit
from workers.chat.rules.plain_say import PlainSay
from workers.chat.rules.request_error import RequestError
from workers.chat.rules.state import Actor

MENTIONS_A_TOKEN = 100  # `@` in a text that cost a token, beside the request's own: each may be a name to look up


def say(actor: Actor, command: commands.Say, now: float) -> Effects:
    """A message for a room."""
    plain = actor.plain_say if actor.context.sanctions.none else None
    if plain is not None:
        if not plain.holds(actor.identity, actor.rooms, command.room):
            plain = None
        elif (payload := plain.payload(command)) is not None:
            if command.key is UNSET:
                return (effects.Publish(command.id, plain.room, payload),)
            return (_publish(command, plain.room, payload),)
    if permit(actor, actor.identity, "say", command.room, now):
        return _consult(actor, command, command.room)
    said = say_approved(actor, command, now)
    if actor.context.sanctions.none and plain is None:
        actor.plain_say = _plain_say(actor, command.room)
    return said


def _plain_say(actor: Actor, room: str) -> PlainSay | None:
    """The cached checks for a room in which the actor may speak without a hook; None for a room with slow mode."""
    rule = actor.context.options.of(room)
    if rule.slow_mode:
        return None
    return PlainSay(actor.identity, actor.rooms, room, _most(actor, rule))


def say_approved(actor: Actor, command: commands.Say, now: float) -> Effects:
    """Carry on with an approved request."""
    room = command.room
    rule = actor.context.options.of(room)
    body, mentions = _body(actor, command, room, rule)
    payload = entries.message(room, _sender(actor), body, reply_to=command.reply_to)
    return (_publish(command, room, payload, slow_mode=_slow_mode(actor, rule), mentions=mentions),)


def _publish(
    command: commands.Say, room: str, payload: bytes, *, slow_mode: float = 0.0, mentions: tuple[str, ...] = ()
) -> effects.Publish:
    if command.key is UNSET and not slow_mode and command.reply_to is None:
        return effects.Publish(command.id, room, payload, mentions=mentions)
    content = _content("say", command.reply_to or 0, command)
    answered = None if command.reply_to is None else Position(command.epoch or "", command.reply_to)
    return effects.Publish(command.id, room, payload, command.key or "", content, slow_mode, answered, mentions)


def direct(actor: Actor, command: commands.Direct, now: float) -> Effects:
    """A message for a user's inbox; a copy goes to the sender's."""
    inbox = inbox_of(command.to)
    if permit(actor, actor.identity, "direct", inbox, now):
        return _consult(actor, command, inbox)
    return direct_approved(actor, command, now)


def direct_approved(actor: Actor, command: commands.Direct, now: float) -> Effects:
    """Carry on with an approved request."""
    inbox, own = inbox_of(command.to), inbox_of(actor.identity.user)
    body, _ = _body(actor, command, inbox, actor.context.options.of(inbox))
    payload, copy = (entries.message(room, _sender(actor), body, to=command.to) for room in (inbox, own))
    content = b"%b %b" % (command.to.encode(), _content("direct", command.reply_to or 0, command))
    answered = None if command.reply_to is None else Position(command.epoch or "", command.reply_to)
    return (effects.PublishDirect(command.id, command.to, payload, copy, command.key or "", content, answered),)


def edit(actor: Actor, command: commands.Edit, now: float) -> Effects:
    """Replace the text or data of an earlier message."""
    if permit(actor, actor.identity, "edit", command.room, now):
        return _consult(actor, command, command.room)
    return edit_approved(actor, command, now)


def edit_approved(actor: Actor, command: commands.Edit, now: float) -> Effects:
    """Carry on with an approved request."""
    rule = actor.context.options.of(command.room)
    body, mentions = _body(actor, command, command.room, rule)
    payload = entries.edited(command.room, _sender(actor), command.offset, body)
    content = _content("edit", command.offset, command)
    return (_amend(actor, "edit", command, payload, content, slow_mode=_slow_mode(actor, rule), mentions=mentions),)


def delete(actor: Actor, command: commands.Delete, now: float) -> Effects:
    """Delete an earlier message."""
    permit(actor, actor.identity, "delete", command.room, now)
    payload = entries.deleted(command.room, _sender(actor), command.offset)
    return (_amend(actor, "delete", command, payload, b"delete %d" % command.offset),)


def react(actor: Actor, command: commands.React, now: float) -> Effects:
    """Add a reaction to an earlier message, or remove it."""
    permit(actor, actor.identity, "react", command.room, now)
    if is_blank(command.emoji):
        raise RequestError("bad_request", "nothing of this emoji can be seen", field="emoji")
    verb = "unreact" if command.remove else "react"
    payload = entries.reacted(command.room, _sender(actor), command.offset, command.emoji, remove=command.remove)
    content = f"{verb} {command.offset} {command.emoji}".encode()
    return (_amend(actor, verb, command, payload, content, emoji=command.emoji),)


def typing(actor: Actor, command: commands.Typing, now: float) -> Effects:
    """Tell a room, or a user, that the actor is typing; no log keeps it."""
    room = command.room
    if is_inbox(room) and room not in actor.rooms:
        room = peers_inbox(actor, room, now)
    else:
        permit(actor, actor.identity, "typing", room, now)
    return (effects.PublishNotice(room, replies.typing(room, actor.identity.user, actor.identity.name)),)


def read(actor: Actor, command: commands.Read, now: float) -> Effects:
    """Mark how far the actor has read: in a room, or in another user's messages; then only that user is told."""
    if is_inbox(command.room) and command.room not in actor.rooms:
        inbox = peers_inbox(actor, command.room, now)
        return (effects.TellRead(user_of_inbox(inbox), command.offset),)
    permit(actor, actor.identity, "read", command.room, now)
    return (effects.MarkRead(command.room, command.offset),)


def peers_inbox(actor: Actor, room: str, now: float) -> str:
    """The inbox of a user to whom the actor may write. Raises RequestError."""
    try:
        inbox = room_or_inbox(room)
    except ValueError as error:
        raise RequestError("bad_request", str(error), field="room") from None
    permit(actor, actor.identity, "direct", inbox, now)
    return inbox


def _amend(
    actor: Actor,
    verb: str,
    command: commands.Edit | commands.Delete | commands.React,
    payload: bytes,
    content: bytes,
    *,
    emoji: str = "",
    slow_mode: float = 0.0,
    mentions: tuple[str, ...] = (),
) -> effects.AmendMessage:
    return effects.AmendMessage(
        command.id,
        command.room,
        Change(verb, command.offset, emoji, command.epoch or ""),
        payload,
        content,
        command.key or "",
        any_author=bool(emoji) or (actor.identity.role >= Role.MODERATOR and not is_inbox(command.room)),
        slow_mode=slow_mode,
        mentions=mentions,
    )


def _slow_mode(actor: Actor, rule: RoomRule) -> float:
    """Seconds between two messages or edits of the actor; 0: none."""
    return rule.slow_mode if actor.identity.role < Role.MODERATOR else 0.0


def _consult(actor: Actor, command: commands.Say | commands.Direct | commands.Edit, room: str) -> Effects:
    _check_body(actor, command, actor.context.options.of(room))
    return (effects.Consult("say", command, actor.identity),)


def _sender(actor: Actor) -> bytes:
    return entries.sender(actor.identity.user, actor.identity.name)


def _body(
    actor: Actor, command: commands.Say | commands.Direct | commands.Edit, room: str, rule: RoomRule
) -> tuple[bytes, tuple[str, ...]]:
    """The members of the message, and whom it mentions. Raises RequestError."""
    _check_body(actor, command, rule)
    if isinstance(command.data, Raw):
        return entries.body_of_data(command.data), ()
    text = command.text or ""
    if entries.MENTION_SIGN not in text:
        return entries.body_of_text(text), ()
    actor.charge(text.count(entries.MENTION_SIGN) / MENTIONS_A_TOKEN)
    mentions = tuple(actor.context.mentions.mentioned(room, text))
    return entries.body_of_text(text, mentions), mentions


def _check_body(actor: Actor, command: commands.Say | commands.Direct | commands.Edit, rule: RoomRule) -> None:
    """Exactly one of text and data, within the server's and the room's size. Raises RequestError."""
    text, data = command.text, command.data
    if isinstance(text, str) == isinstance(data, Raw):
        raise RequestError("bad_request", "give text or data, and not both", field="text")
    most = _most(actor, rule)
    field, content = ("data", bytes(data)) if isinstance(data, Raw) else ("text", str(text).encode())
    if len(content) > most:
        raise RequestError("too_large", f"at most {most} bytes, and this has {len(content)}", field=field)
    if isinstance(text, str) and is_blank(text):
        raise RequestError("bad_request", "nothing of this text can be seen", field="text")
    if isinstance(data, Raw):
        try:
            commands.check_data(data)
        except (ValueError, RecursionError) as error:
            raise RequestError("bad_request", commands.explain(error, b"").message, field="data") from None


def _most(actor: Actor, rule: RoomRule) -> int:
    """Bytes that a text or `data` may have in a room."""
    most = actor.context.limits.message_size
    return most if rule.message_size is None else min(most, rule.message_size)


def _content(verb: str, number: int, command: commands.Say | commands.Direct | commands.Edit) -> bytes:
    """The content that a retry must repeat: the request as it arrived, without the server's additions."""
    given = b"d" + bytes(command.data) if isinstance(command.data, Raw) else b"t" + str(command.text).encode()
    return b"%b %d %b" % (verb.encode(), number, given)
