"""A message as it now stands: the entry that was kept, and what later entries of the log changed about it.

Pure. The order of changes matters only among edits, and a deletion wins over everything, so a change may be
applied twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from workers.bus.port import Amendment
from workers.chat.messages import encode


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

_BODY = ("text", "data", "mentions")
_TOMBSTONE = ("epoch", "offset", "time", "type", "room", "from", "to")


def amended(payload: bytes, amendments: Sequence[Amendment]) -> bytes:
    """Apply changes, oldest first, to a message (with or without its place).

    An edit replaces the body and adds `edited` (its time); reactions become `reactions`, a list of users for each
    emoji; a deleted message keeps who, where and when, and has `"deleted": true`.
    """
    message = _decode_message(payload)
    for amendment in amendments:
        if "deleted" in message:
            break
        if amendment.verb == "delete":
            message = {name: message[name] for name in _TOMBSTONE if name in message} | {"deleted": Raw(b"true")}
        elif amendment.verb == "edit":
            _edit(message, _decode_words(amendment.payload), amendment.time)
        else:
            _react(message, _decode_words(amendment.payload), add=amendment.verb == "react")
    return encode(message)


def _edit(message: dict[str, Raw], words: _Words, time: int) -> None:
    for name in _BODY:
        message.pop(name, None)
        value = getattr(words, name)
        if value is not msgspec.UNSET:
            message[name] = value
    message["edited"] = Raw(b"%d" % time)


def _react(message: dict[str, Raw], words: _Words, *, add: bool) -> None:
    reactions = _decode_reactions(message["reactions"]) if "reactions" in message else {}
    users = reactions.setdefault(words.emoji, [])
    user = words.sender.get("user", "")
    if add and user not in users:
        users.append(user)
    elif not add and user in users:
        users.remove(user)
    if not users:
        del reactions[words.emoji]
    message.pop("reactions", None)
    if reactions:
        message["reactions"] = Raw(encode(reactions))
