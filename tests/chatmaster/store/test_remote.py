"""What a store is tried with at the start is all that the workers' scripts ask of it."""

from __future__ import annotations

import re
from pathlib import Path

from chatmaster.store import layout
from chatmaster.store.remote import TRIAL, trial_keys

WORKERS = Path(__file__).parents[3] / "workers"


def test_every_command_of_every_script_is_tried() -> None:
    sources = [path.read_text("utf-8") for path in WORKERS.rglob("*.lua")]
    used = {name for source in sources for name in re.findall(r"redis\.p?call\('([A-Z]+)'", source)}
    tried = set(re.findall(r"\{ '([A-Z]+)'", TRIAL))
    assert len(used) > 25 and used - tried == set()


def test_the_trial_stays_within_one_slot_and_the_instances_own_keys() -> None:
    keys = trial_keys("chat")
    assert len({layout.shard_of_name(key) for key in keys}) == 1
    assert all(key.startswith("chat:{") for key in keys)
