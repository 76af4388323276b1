"""What crosses versions as bytes: recorded from earlier commits, and read and written again by the present types.

`encodings.json` holds, for each commit, one value of every type with all of its fields set: msgpack in hexadecimal, or
the JSON of the wire. c9ef4a4 is an earlier commit, 77c61e9 the last one before the files moved. Between them the
handover's arrays changed on purpose (VERSION 3 → 4): those are recorded from 77c61e9 only. A class may be renamed; a
field that is encoded by its name, a tag, or the order of an array may not. New fields come last and have a default.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from chatmaster.master import exec_state
from tests.support.sources import ROOT
from workers.chat.rules import commands
from workers.chat.rules.state import SessionState
from workers.client import events
from workers.handover import protocol
from workers.transport import snapshot

RECORDED: dict[str, dict[str, Any]] = json.loads((ROOT / "tests/encodings.json").read_text())
DECODERS: dict[str, Callable[[bytes], Any]] = {
    "exec_state": exec_state.decode,
    "session_state": msgspec.msgpack.Decoder(SessionState).decode,
    "connection_state": snapshot.decode_state,
    "connection_snapshot": protocol.decode_snapshot,
    "from_giver": protocol.decode_from_sender,
    "from_taker": protocol.decode_from_receiver,
}
PACKED = [
    pytest.param(kind, value, id=f"{commit}-{kind}-{number}")
    for commit, kinds in RECORDED.items()
    for kind in DECODERS
    if kind in kinds
    for number, value in enumerate(kinds[kind] if isinstance(kinds[kind], list) else [kinds[kind]])
]
REQUESTS = [
    pytest.param(value, id=f"{commit}-{value[9:20]}") for commit in RECORDED for value in RECORDED[commit]["commands"]
]
PUSHES = [
    pytest.param(value, id=f"{commit}-{value[9:20]}") for commit in RECORDED for value in RECORDED[commit]["pushes"]
]


def holds(new: Any, old: Any) -> bool:
    """Whether everything recorded is still there, by name in maps and by place in arrays."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and holds(new[key], old[key]) for key in old)
    if isinstance(old, list):
        return isinstance(new, list) and len(new) >= len(old) and all(map(holds, new, old))
    return bool(new == old) and type(new) is type(old)


@pytest.mark.parametrize(("kind", "value"), PACKED)
def test_what_another_version_packed_is_read_and_written_alike(kind: str, value: str) -> None:
    recorded = bytes.fromhex(value)
    written = msgspec.msgpack.encode(DECODERS[kind](recorded))
    assert holds(msgspec.msgpack.decode(written), msgspec.msgpack.decode(recorded))


@pytest.mark.parametrize("value", REQUESTS)
def test_a_request_keeps_its_tag_and_fields(value: str) -> None:
    written = msgspec.json.encode(commands.decode(value))
    assert holds(json.loads(written), json.loads(value))


@pytest.mark.parametrize("value", PUSHES)
def test_a_push_keeps_its_tag_and_fields(value: str) -> None:
    assert holds(json.loads(msgspec.json.encode(events.decode(value))), json.loads(value))


@pytest.mark.parametrize(
    ("new", "old"),
    [({"a": 1}, {"b": 1}), ({"a": {"b": 2}}, {"a": {"b": 1}}), ([2, 1], [1, 2]), ([1], [1, 2]), ([True], [1])],
)
def test_a_lost_name_and_a_moved_place_are_found(new: Any, old: Any) -> None:
    assert not holds(new, old)
    assert holds(old, old)
