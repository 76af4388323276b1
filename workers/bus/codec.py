"""The bytes of an entry: packing an entry for the store and for pub/sub, and unpacking both.

An envelope is one line, and the rest of the entry after the line::

    <form> <author> <key length> <exclude length> <change>\\n<key><exclude><payload>
    <form><room length> <author> <key length> <exclude length> <change>\\n<room><key><exclude><payload>

`change` is ``-`` or the change that the entry makes to an earlier one: a verb's letter and the target's offset,
``e12``. The room is named if its channel carries other rooms too. The store never looks into the payload.

A publication is ``<first offset> <time> <epoch> <sizes>\\n``, the sizes with commas between, and as many envelopes.

A note is ``n`` and its bytes, or ``s<room length>\\n<room>`` and its bytes on a channel that carries others too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from workers.bus.port import LOSS, Amendment, Change, Entry, EntryHead, LogState, Page, Placed, Publication, Reign

NOTE, SHARED_NOTE = ord("n"), ord("s")  # the first byte of a note; a publication begins with a digit
VERBS = {"edit": "e", "delete": "d", "react": "r", "unreact": "u", LOSS: "l"}
_BY_LETTER = {letter: verb for verb, letter in VERBS.items()}


def pack_envelope(
    payload: bytes,
    *,
    form: str,
    author: str = "",
    key: str = "",
    exclude: str = "",
    change: Change | None = None,
    room: str = "",
) -> bytes:
    """The envelope of an entry, as the store keeps it; `room` is given only if its channel carries other rooms too.

    Raises ValueError for an author with white space, or a payload that its form forbids.
    """
    if form == "j" and payload[:2] != b'{"':
        raise ValueError('form "j" takes a JSON object with at least one field and no leading space')
    plain = plain_head(author)
    if not key and not exclude and change is None and not room:
        return b"%b%b%b" % (form.encode(), plain, payload)
    packed_key, packed_exclude = key.encode(), exclude.encode()
    what = f"{VERBS[change.verb]}{change.target}" if change else "-"
    packed_room = room.encode()
    head = f"{form}{len(packed_room) or ''} {author} {len(packed_key)} {len(packed_exclude)} {what}\n"
    return b"".join((head.encode(), packed_room, packed_key, packed_exclude, payload))


@lru_cache(maxsize=1024)  # a user who has sent a message is likely to send more
def plain_head(author: str) -> bytes:
    """The first line, after the form, of an envelope without parts before its payload.

    Raises ValueError for an author with white space.
    """
    if " " in author or "\n" in author:
        raise ValueError(f"a user id has no white space: {author!r}")
    return b" %b 0 0 -\n" % author.encode()


def pack_note(note: bytes, *, room: str = "") -> bytes:
    """The bytes of a note, as published; `room` is given only if its channel carries other rooms too."""
    if not room:
        return b"n" + note
    packed_room = room.encode()
    return b"s%d\n%b%b" % (len(packed_room), packed_room, note)


def unpack_shared_note(data: bytes) -> tuple[str, bytes]:
    """The room and the note of a message on a channel that carries many rooms."""
    head, _, rest = data.partition(b"\n")
    size = int(head[1:])
    return rest[:size].decode(), rest[size:]


def room_of(data: bytes) -> str:
    """The room of a publication on a channel that carries many rooms; the rest stays undecoded."""
    head = data.index(b"\n") + 1
    begin = data.index(b"\n", head) + 1
    size = int(data[head + 1 : data.index(b" ", head)])
    return data[begin : begin + size].decode()


def unpack_publication(data: bytes) -> Publication:
    """Take one pub/sub message apart. The entries stay packed."""
    line, envelopes = data.split(b"\n", 1)
    first, time, epoch, sizes = line.decode().split(" ")
    packed, changes, at = [], False, 0
    for size in map(int, sizes.split(",")):
        words, body = envelopes[at : at + size].split(b"\n", 1)
        head = read_head(words.decode())
        packed.append((head, body))
        if head.change is not None:
            changes = True
        at += size
    return Publication(epoch, int(first), int(time), packed, changes)


def unpack_entry(offset: int, time: int, envelope: bytes, amendments: tuple[Amendment, ...] = ()) -> Entry:
    """Decode an entry that was read from the log."""
    end = envelope.index(b"\n")
    return read_head(envelope[:end].decode()).entry(offset, time, envelope[end + 1 :], amendments)


@lru_cache(maxsize=1024)  # a user who has sent a message is likely to send more
def read_head(line: str) -> EntryHead:
    """Decode the first line of an envelope, without its line end."""
    form, author, key_size, exclude_size, change = line.split(" ")
    what = None if change == "-" else Change(_BY_LETTER[change[0]], int(change[1:]))
    sizes = int(form[1:] or 0), int(key_size), int(exclude_size)
    return EntryHead(form[0], author, *sizes, what, plain=what is None and not any(sizes))


def unpack_placed(answer: bytes) -> Placed:
    """Decode the answer of publish.lua for one of several messages, or the answer of amend.lua."""
    epoch, offset, time, duplicate = _place(answer)
    return Placed(epoch, offset, time, duplicate)


def unpack_places(answer: bytes, count: int) -> list[Placed]:
    """Decode the answer of publish.lua for `count` messages, all of which were appended."""
    first, time, epoch = answer.decode().split(" ")
    offset, moment = int(first), int(time)
    return [Placed(epoch, offset + at, moment) for at in range(count)]


def unpack_all_placed(answer: bytes | list[Any], count: int) -> Sequence[Placed | Exception]:
    """Decode the answer of publish.lua for `count` messages."""
    if isinstance(answer, bytes):
        return unpack_places(answer, count)
    return [one if isinstance(one, Exception) else unpack_placed(one) for one in answer]


def _place(answer: bytes) -> tuple[str, int, int, bool]:
    parts = answer.decode().split(" ")
    return parts[2], int(parts[0]), int(parts[1]), len(parts) == 4


def unpack_state(answer: list[Any]) -> LogState:
    """The head of read.lua's answer."""
    return _state(*answer[:5])


@lru_cache(maxsize=256)  # what one script says of many new inboxes is the same
def _state(epoch: bytes, top: bytes, first: bytes, listed: bytes, dropped: bytes) -> LogState:
    present = _epoch(epoch)
    return LogState(present, int(top), int(first), _reigns(present, listed.decode()), int(dropped))


@lru_cache(maxsize=256)  # logs that one script creates, as those of many new inboxes, begin in the same epoch
def _epoch(epoch: bytes) -> str:
    """Decode an epoch: one string for all who keep it, as every follower does."""
    return epoch.decode()


def unpack_states(answer: list[Any]) -> list[LogState]:
    """The answer of states.lua."""
    return [_state(*answer[at : at + 5]) for at in range(0, len(answer), 5)]


def _reigns(epoch: str, listed: str) -> tuple[Reign, ...]:
    log, present = epoch[:8], epoch[8:]
    pairs = [item.split(":") for item in listed.split(" ")]
    # The present one shares the epoch's string: a follower keeps both, and each user's inbox has a follower.
    return tuple([Reign(epoch if reign == present else log + reign, int(first)) for reign, first in pairs])


def unpack_page(answer: list[Any], *, backward: bool = False) -> Page:
    """Decode the whole answer of read.lua; the entries are returned oldest first."""
    changes = _amendments(answer[6])
    entries = [
        unpack_entry(int(answer[at]), int(answer[at + 1]), answer[at + 2], changes.get(int(answer[at]), ()))
        for at in range(7, len(answer), 3)
    ]
    if backward:
        entries.reverse()
    return Page(unpack_state(answer), tuple(entries), answer[5] == 1)


def _amendments(changes: list[bytes]) -> dict[int, tuple[Amendment, ...]]:
    """The amendments in the overlay, by offset."""
    found: dict[int, tuple[Amendment, ...]] = {}
    for field, value in zip(changes[::2], changes[1::2], strict=True):
        offset, kind = int(field[:-1]), field[-1:].decode()
        if kind == "r":
            told = [_reaction(*one) for one in msgspec.json.decode(value, type=dict[str, str]).items()]
            told.sort(key=lambda one: one.time)
        else:
            told = [_amendment(_BY_LETTER[kind], value)]
        found[offset] = (*found.get(offset, ()), *told)
    return found


def _reaction(pair: str, time: str) -> Amendment:
    """The overlay keeps who reacted how, and when; the payload has what a message's present state needs of that."""
    user, _, emoji = pair.partition(" ")
    return Amendment("react", int(time), msgspec.json.encode({"from": {"user": user}, "emoji": emoji}))


def _amendment(verb: str, value: bytes) -> Amendment:
    time, _, payload = value.partition(b" ")
    return Amendment(verb, int(time), payload)
