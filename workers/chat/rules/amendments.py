"""A message in its present state: the entry that was kept, with the changes by later entries of the log.

Pure. The order of changes matters only among edits, and a deletion wins over everything, so a change may be
applied twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from workers.bus.port import Amendment
from workers.chat.rules.entries import encode


class _Words(Struct):
    """The members of `edited` and `reacted` that matter here."""

    sender: dict[str, Any] = msgspec.field(name="from", default_factory=dict)
    text: Raw | msgspec.UnsetType = msgspec.UNSET
    data: Raw | msgspec.UnsetType = msgspec.UNSET
    mentions: Raw | msgspec.UnsetType = msgspec.UNSET
    emoji: str = ""


_decode_message = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_words = msgspec.json.Decoder(_Words).decode
_decode_reactions = msgspec.json.Decoder(dict[str, list[str]]).decode

Reactions = dict[str, dict[str, None]]  # emoji → users, in the order of their reactions

_BODY = ("text", "data", "mentions")
_TOMBSTONE = ("epoch", "offset", "time", "type", "room", "from", "to")


def amended(payload: bytes, amendments: Sequence[Amendment]) -> bytes:
    """Apply changes, oldest first, to a message (with or without its place).

    An edit replaces the body and adds `edited` (the time of the edit); reactions become `reactions`, a list of users
    for each emoji; a deleted message keeps its author, room and time, and has `"deleted": true`. The time that this
    takes is linear in the number of changes.
    """
    message = _decode_message(payload)
    reactions: Reactions = {}
    if "reactions" in message:
        reactions = {emoji: dict.fromkeys(users) for emoji, users in _decode_reactions(message["reactions"]).items()}
    edit = None
    for amendment in amendments:
        if "deleted" in message or amendment.verb == "delete":
            tombstone = {name: message[name] for name in _TOMBSTONE if name in message}
            return encode(tombstone | {"deleted": Raw(b"true")})
        if amendment.verb == "edit":
            edit = amendment
        else:
            _react(reactions, _decode_words(amendment.payload), add=amendment.verb == "react")
    if edit is not None:
        _edit(message, _decode_words(edit.payload), edit.time)
    message.pop("reactions", None)
    if reactions:
        message["reactions"] = Raw(encode({emoji: list(users) for emoji, users in reactions.items()}))
    return encode(message)


def _edit(message: dict[str, Raw], words: _Words, time: int) -> None:
    for name in _BODY:
        message.pop(name, None)
        value = getattr(words, name)
        if value is not msgspec.UNSET:
            message[name] = value
    message["edited"] = Raw(b"%d" % time)


def _react(reactions: Reactions, words: _Words, *, add: bool) -> None:
    users = reactions.setdefault(words.emoji, {})
    user = words.sender.get("user", "")
    if add:
        users.setdefault(user)
    else:
        users.pop(user, None)
    if not users:
        del reactions[words.emoji]
