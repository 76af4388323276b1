"""Messages: say, notify, edit, delete, react and history.

Whoever may call a verb may speak as any user: `user` says as whom. A key's rooms bound where.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from workers.addressing import inbox_of, is_inbox
from workers.bus.port import Change, Entry, NoTarget, Position
from workers.chat import history as chat_history
from workers.chat.rules import commands, effects, entries
from workers.chat.rules.identity import OPERATOR
from workers.chat.rules.mentions import MentionIndex
from workers.chat.rules.moderators import OPERATOR_NAME
from workers.chat.rules.names import MAX_LENGTH, cleaned, is_blank
from workers.chat.rules.request_error import RequestError
from workers.verbs.request import (
    VISIBLE,
    AnyUser,
    Caller,
    Limit,
    LogName,
    Offset,
    PlacedAnswer,
    RoomName,
    UserId,
    VerbAnswer,
    VerbError,
    VerbRequest,
    exactly_one,
)
from workers.verbs.verb import AnyVerb, Services, of_request, placed, verb

HISTORY_BYTES: Final = 262_144
# For readers of the schema; `names.cleaned` decides.
_NAME: Final = r"^$|^ *[\p{L}\p{N}\p{P}\p{S}][\p{L}\p{N}\p{P}\p{S} ]*$"
Name = Annotated[
    str,
    Meta(
        description="The name that is shown; empty: the user's id.",
        extra_json_schema={"pattern": _NAME, "maxLength": MAX_LENGTH},
    ),
]
Text = Annotated[
    str, Meta(description="A text of which something can be seen.", extra_json_schema={"pattern": VISIBLE})
]
Epoch = Annotated[str, Meta(max_length=64, description="In which the offset was seen; the call fails after a reset.")]
Emoji = Annotated[str, Meta(min_length=1, max_length=32, extra_json_schema={"pattern": VISIBLE})]
Data = Annotated[Raw, Meta(description="Any JSON, in the place of a text.")]


class RoomMessageRequest(VerbRequest, frozen=True):
    """A message for a room of the chat: `text` or `data`."""

    rule: ClassVar[dict[str, Any]] = exactly_one("text", "data")

    room: RoomName
    text: Text | UnsetType = UNSET
    data: Data | UnsetType = UNSET
    user: UserId = OPERATOR
    name: Name = ""
    reply_to: Offset | None = None
    epoch: Epoch = ""


class NotifyRequest(VerbRequest, frozen=True):
    """A message for a user's inbox: `text` or `data`, from `sender`."""

    rule: ClassVar[dict[str, Any]] = exactly_one("text", "data")

    user: UserId
    text: Text | UnsetType = UNSET
    data: Data | UnsetType = UNSET
    sender: UserId = OPERATOR
    name: Name = ""


class EditRequest(VerbRequest, frozen=True):
    """Another content for an earlier message. With a `user` only for a message of that user's."""

    inboxes: ClassVar[bool] = True
    rule: ClassVar[dict[str, Any]] = exactly_one("text", "data")

    room: LogName
    offset: Offset
    text: Text | UnsetType = UNSET
    data: Data | UnsetType = UNSET
    user: AnyUser = ""
    epoch: Epoch = ""


class DeleteRequest(VerbRequest, frozen=True):
    """Delete an earlier message. With a `user` only a message of that user's."""

    inboxes: ClassVar[bool] = True

    room: LogName
    offset: Offset
    user: AnyUser = ""
    epoch: Epoch = ""


class ReactRequest(VerbRequest, frozen=True):
    """Add a user's reaction to an earlier message, or remove it."""

    inboxes: ClassVar[bool] = True

    room: LogName
    offset: Offset
    emoji: Emoji
    user: UserId
    name: Name = ""
    remove: bool = False
    epoch: Epoch = ""


class HistoryRequest(VerbRequest, frozen=True):
    """Messages of a room before or after an offset, as they stand now; without both the last ones."""

    inboxes: ClassVar[bool] = True
    rule: ClassVar[dict[str, Any]] = {
        "not": {
            "required": ["before", "after"],
            "properties": {"before": {"type": "integer"}, "after": {"type": "integer"}},
        }
    }

    room: LogName
    before: Offset | None = None
    after: Annotated[int, Meta(ge=0, le=2**53 - 1)] | None = None
    limit: Limit = 50


class HistoryPage(VerbAnswer, frozen=True):
    """Oldest first; `more` says that there are further ones in the direction that was asked for."""

    room: str
    epoch: str
    messages: list[Any]
    more: bool


@verb("messages", RoomMessageRequest, PlacedAnswer, application="chat", keyed=True)
async def say(services: Services, caller: Caller, request: RoomMessageRequest, key: str) -> PlacedAnswer:
    """Say something in a room of the chat, as a user."""
    chat = services.the_chat
    user, by = _sender(request.user, request.name)
    body, mentions = _body(services, request.room, request.text, request.data, chat.publisher.mentions)
    payload = entries.message(request.room, by, body, reply_to=request.reply_to)
    options: dict[str, Any] = {"mentions": mentions}
    if request.reply_to is not None:
        options["reply_to"] = Position(request.epoch, request.reply_to)
    try:
        place = await chat.publisher.append(
            request.room, payload, author=user, key=key, digest=_digest("say", request), **options
        )
    except NoTarget:
        raise VerbError("not_found", "there is no such message any more", field="reply_to") from None
    return placed(request.room, place)


@verb("messages", NotifyRequest, PlacedAnswer, application="chat", keyed=True)
async def notify(services: Services, caller: Caller, request: NotifyRequest, key: str) -> PlacedAnswer:
    """Send a message to a user: every connection gets it, now or when the user comes back."""
    chat = services.the_chat
    inbox = inbox_of(request.user)
    user, by = _sender(request.sender, request.name)
    body, _ = _body(services, inbox, request.text, request.data, None)
    payload = entries.message(inbox, by, body, to=request.user)
    place = await chat.publisher.append(inbox, payload, author=user, key=key, digest=_digest("notify", request))
    return placed(inbox, place)


@verb("messages", EditRequest, PlacedAnswer, application="chat", keyed=True)
async def edit(services: Services, caller: Caller, request: EditRequest, key: str) -> PlacedAnswer:
    """Give an earlier message of a room, or of an inbox, another content; both sides of a direct message change."""
    user, by = _sender(request.user or OPERATOR, "")
    index = None if is_inbox(request.room) else services.the_chat.publisher.mentions
    body, mentions = _body(services, request.room, request.text, request.data, index)
    payload = entries.edited(request.room, by, request.offset, body)
    return await _amend(services, "edit", request, user, payload, key, mentions=mentions)


@verb("messages", DeleteRequest, PlacedAnswer, application="chat", keyed=True)
async def delete(services: Services, caller: Caller, request: DeleteRequest, key: str) -> PlacedAnswer:
    """Delete an earlier message of a room, or of an inbox; with a direct message the other side's copy goes, too."""
    user, by = _sender(request.user or OPERATOR, "")
    payload = entries.deleted(request.room, by, request.offset)
    return await _amend(services, "delete", request, user, payload, key)


@verb("messages", ReactRequest, PlacedAnswer, application="chat", keyed=True)
async def react(services: Services, caller: Caller, request: ReactRequest, key: str) -> PlacedAnswer:
    """Add a reaction of a user to an earlier message, or remove it."""
    if is_blank(request.emoji):
        raise VerbError("bad_request", "this emoji has no visible character", field="emoji")
    user, by = _sender(request.user, request.name)
    payload = entries.reacted(request.room, by, request.offset, request.emoji, remove=request.remove)
    what = "unreact" if request.remove else "react"
    return await _amend(services, what, request, user, payload, key, emoji=request.emoji)


@verb("messages", HistoryRequest, HistoryPage, reads=True)
async def history(services: Services, caller: Caller, request: HistoryRequest, key: str) -> HistoryPage:
    """Read what a room keeps."""
    if request.before is not None and request.after is not None:
        raise VerbError("bad_request", "give before or after, and not both", field="before")
    if services.chat is None:
        return await _program_history(services, request)
    asked = effects.ReadHistory(None, request.room, request.before, request.after, request.limit)
    page = await chat_history.history(services.node.bus, asked, user="", learn=_learn_nothing)
    found = msgspec.json.decode(page.payload)
    return HistoryPage(
        room=request.room, epoch=found["epoch"], messages=found["messages"], more=bool(found.get("more"))
    )


VERBS: Final[tuple[AnyVerb, ...]] = (say, notify, edit, delete, react, history)


async def _amend(
    services: Services,
    what: str,
    request: EditRequest | DeleteRequest | ReactRequest,
    user: str,
    payload: bytes,
    key: str,
    *,
    emoji: str = "",
    mentions: Sequence[str] = (),
) -> PlacedAnswer:
    chat, room, digest = services.the_chat, request.room, _digest(what, request)
    change, any_author = Change(what, request.offset, emoji, request.epoch), bool(emoji) or not request.user
    if not is_inbox(room):
        place = await chat.publisher.append(
            room, payload, author=user, key=key, digest=digest, change=change, any_author=any_author, mentions=mentions
        )
        return placed(room, place)
    amend = effects.AmendMessage(None, room, change, payload, digest, key, any_author)
    try:
        return placed(room, await chat.direct_messages.change(user, amend))
    except RequestError as error:
        raise of_request(error) from None


def _sender(user: str, name: str) -> tuple[str, bytes]:
    """The user, and the member `from` of a message. Raises VerbError."""
    if not name:
        return user, entries.sender(user, OPERATOR_NAME if user == OPERATOR else user)
    try:
        return user, entries.sender(user, cleaned(name))
    except ValueError as error:
        raise VerbError("bad_request", str(error), field="name") from None


def _body(
    services: Services, room: str, text: str | UnsetType, data: Raw | UnsetType, mentions: MentionIndex | None
) -> tuple[bytes, Sequence[str]]:
    """The message of a text or of data, and whom it mentions. Raises VerbError for neither, both, or too much."""
    if isinstance(text, str) == isinstance(data, Raw):
        raise VerbError("bad_request", "give text or data, and not both", field="text")
    limit, of_room = services.node.settings.limits.message_size, services.options.of(room).message_size
    most = limit if of_room is None else min(limit, of_room)
    field, content = ("data", bytes(data)) if isinstance(data, Raw) else ("text", str(text).encode())
    if len(content) > most:
        raise VerbError("too_large", f"the message has {len(content)} bytes, {most} are allowed", field=field)
    if isinstance(data, Raw):
        try:
            commands.check_data(data)
        except (ValueError, RecursionError) as error:
            raise VerbError("bad_request", f"this JSON cannot be sent: {error}", field="data") from None
        return entries.body_of_data(data), ()
    if is_blank(str(text)):
        raise VerbError("bad_request", "this text has no visible character", field="text")
    found = mentions.mentioned(room, str(text)) if mentions is not None and entries.MENTION_SIGN in str(text) else ()
    return entries.body_of_text(str(text), found), found


def _digest(what: str, request: VerbRequest) -> bytes:
    """What a repetition has to repeat."""
    return what.encode() + b" " + msgspec.json.encode(request)


async def _program_history(services: Services, request: HistoryRequest) -> HistoryPage:
    """The messages of a program's room, as they were sent."""
    bus, limit = services.node.bus, request.limit
    if request.after is not None:
        page = await bus.read(request.room, after=request.after, limit=limit, max_bytes=HISTORY_BYTES)
    else:
        before = request.before or 2**53 - 1
        page = await bus.read_before(request.room, before=before, limit=limit, max_bytes=HISTORY_BYTES)
    messages = [_shown(entry) for entry in page.entries]
    return HistoryPage(room=request.room, epoch=page.state.epoch, messages=messages, more=page.more)


def _shown(entry: Entry) -> dict[str, Any]:
    content: dict[str, Any] = {"binary": entry.payload} if entry.form == "b" else {"text": entry.payload.decode()}
    return {"offset": entry.offset, "time": entry.time / 1000, **content}


def _learn_nothing(user: str, name: str) -> None:
    """Nobody here asks for names."""
