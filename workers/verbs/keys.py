"""The keys of what the verbs keep in the store, all in one shard, and the channels of notes between workers.

* `listeners`: a sorted set of the workers that hear calls, by until when (ms of the store's clock);
* `call`: the request of a program outside until a worker takes it; `answer`: a list with the answer to it;
* `kept_answer`: what a call with an idempotency key answered, or which worker carries it out;
* `api_keys`: a hash of API keys by their public half; `bucket`: the rate of one of them.
"""

from __future__ import annotations

import hashlib
from typing import Final

from chatmaster.store import layout
from workers.addressing import CALLS_ROOM
from workers.bus.keys import channel

LISTENS: Final = 10.0  # seconds that a worker counts as one that hears calls without saying so again
ANSWER_TTL: Final = 30.0  # seconds that an answer waits for who asked


def listeners(name: str) -> str:
    """Which workers hear calls."""
    return _key(name, "listeners")


def call(name: str, token: str) -> str:
    """The request of one call."""
    return _key(name, f"call:{token}")


def answer(name: str, token: str) -> str:
    """The answer to one call."""
    return _key(name, f"answer:{token}")


def kept_answer(name: str, caller: str, verb: str, key: str) -> str:
    """What a caller's idempotency key stands for; the parts are length-prefixed, so that no two share a name."""
    whole = "".join(f"{len(part)}:{part}" for part in (caller, verb, key))
    return _key(name, f"key:{hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()}")


def api_keys(name: str) -> str:
    """All API keys of an instance."""
    return _key(name, "api-keys")


def used(name: str) -> str:
    """When each API key was last used."""
    return _key(name, "api-keys-used")


def bucket(name: str, key: str) -> str:
    """The tokens that an API key has left."""
    return _key(name, f"bucket:{key}")


def calls_channel(name: str, database: int) -> str:
    """Where workers hear that there is a call."""
    return channel(name, database, CALLS_ROOM)


def _key(name: str, kind: str) -> str:
    return layout.key(name, CALLS_ROOM, kind)
