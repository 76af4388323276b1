"""The keys of what the verbs keep in the store, all in one slot, and the channels of notes between workers.

* `listeners`: a sorted set of the workers that hear calls, by until when (ms of the store's clock);
* `call`: the request of a program outside until a worker takes it; `answer`: a list with the answer to it;
* `kept_answer`: what a call with an idempotency key answered;
* `api_keys`: a hash of API keys by their public half; `bucket`: the rate of one of them.
"""

from __future__ import annotations

import hashlib
from typing import Final

from workers.addressing import CALLS_ROOM
from workers.bus.keys import channel, tag

LISTENS: Final = 10.0  # seconds that a worker counts as one that hears calls without saying so again
ANSWER_TTL: Final = 30.0  # seconds that an answer waits for who asked


def listeners(name: str) -> str:
    """Which workers hear calls."""
    return f"{tag(name, CALLS_ROOM)}:listeners"


def call(name: str, token: str) -> str:
    """The request of one call."""
    return f"{tag(name, CALLS_ROOM)}:call:{token}"


def answer(name: str, token: str) -> str:
    """The answer to one call."""
    return f"{tag(name, CALLS_ROOM)}:answer:{token}"


def kept_answer(name: str, caller: str, verb: str, key: str) -> str:
    """What a caller's idempotency key stands for; the parts are length-prefixed, so that no two share a name."""
    whole = "".join(f"{len(part)}:{part}" for part in (caller, verb, key))
    return f"{tag(name, CALLS_ROOM)}:key:{hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()}"


def api_keys(name: str) -> str:
    """All API keys of an instance."""
    return f"{tag(name, CALLS_ROOM)}:api-keys"


def used(name: str) -> str:
    """When each API key was last used."""
    return f"{tag(name, CALLS_ROOM)}:api-keys-used"


def bucket(name: str, key: str) -> str:
    """The tokens that an API key has left."""
    return f"{tag(name, CALLS_ROOM)}:bucket:{key}"


def calls_channel(name: str, database: int) -> str:
    """Where workers hear that there is a call."""
    return channel(name, database, CALLS_ROOM)
