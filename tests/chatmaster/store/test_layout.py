"""The layout: shards are stable and spread, names lead back to their shard, and nothing else builds names."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from chatmaster.store import layout

ROOT = Path(__file__).parents[3]


def test_a_room_keeps_its_shard_for_ever() -> None:
    rooms = ("lobby", "@ann", "!control", "日本", "a:b.c-d_e")
    assert [layout.shard_of(room) for room in rooms] == [247, 64, 148, 204, 184]


def test_all_keys_and_the_channel_of_a_room_have_its_shard_as_their_hash_tag() -> None:
    names = [*layout.keys("chat", "lobby", "meta", "log"), layout.channel("chat", 3, "lobby")]
    assert names == ["chat:{247}:lobby/meta", "chat:{247}:lobby/log", "chat@3:{247}:lobby"]
    assert {layout.shard_of_name(name) for name in names} == {247}
    assert layout.key("chat", "lobby", "log") == names[1]
    assert layout.keys_in("chat", 7, "!probe", "stamp") == ["chat:{7}:!probe/stamp"]
    both = [*layout.keys("chat", "lobby", "meta", "log"), *layout.keys("chat", "@ann", "meta", "log")]
    assert layout.keys_of_all("chat", ["lobby", "@ann"], "meta", "log") == both
    assert layout.key_of_each("chat", ["lobby", "@ann"], "log") == both[1::2]
    assert layout.channel_in("chat:side", 0, 7, "!inboxes") == "chat:side@0:{7}:!inboxes"


def test_no_two_rooms_share_a_key_whatever_their_names() -> None:
    pace_of_a_user_named_meta = layout.keys_in("chat", 1, "a", "pace:u:meta")
    assert pace_of_a_user_named_meta != layout.keys_in("chat", 1, "a:pace:u", "meta")


def test_rooms_spread_over_the_shards_and_shards_over_the_slots() -> None:
    counts = Counter(layout.shard_of(f"room-{number}") for number in range(25_600))
    assert len(counts) == layout.SHARDS and max(counts.values()) < 160
    slots = {layout.slot_of(shard) for shard in range(layout.SHARDS)}
    assert len(slots) == layout.SHARDS
    thirds = Counter(slot * 3 // layout.SLOTS for slot in slots)
    assert max(thirds.values()) < 1.2 * min(thirds.values())


def test_only_the_layout_builds_names_with_hash_tags() -> None:
    found = [
        str(path.relative_to(ROOT))
        for package in ("chatmaster", "workers")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"f\"[^\"]*:\{\{[^\"]*\}\}", path.read_text("utf-8"))
    ]
    assert found == ["chatmaster/store/layout.py"]


def test_no_script_makes_a_key() -> None:
    """A key that a script makes may lie in another slot than its KEYS."""
    sources = {path: path.read_text("utf-8") for path in (ROOT / "workers").rglob("*.lua")}
    made = [
        (path.name, call)
        for path, source in sources.items()
        for call in re.findall(r"redis\.p?call\('(?!INFO|TIME|PUBLISH)\w+'(?:, ([^,)]+))", source)
        if ".." in call or "'" in call or call.startswith("ARGV")
    ]
    assert len(sources) > 40 and made == []
