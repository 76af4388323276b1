"""ChatStore: the records that the chat keeps in the store beside the logs, built for one server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chatmaster.settings import Settings
from workers.bus.script import Script, ScriptRunner, scripts_of
from workers.chat.store.identity_records import Guests, ModeratorRecords, TokenKeyRecords
from workers.chat.store.publishing_records import DirectPairs, SlowMode
from workers.chat.store.user_records import PushRecords, ReadPositions, UserNames

TTL_FACTOR: Final = 4  # as the hash that holds a room's own position
CLAIM_SLACK: Final = 60  # seconds that a claim outlives the keys it stands for


@dataclass(frozen=True, slots=True)
class ChatStore:
    """The records by kind. They are the same for all workers of a server."""

    read_positions: ReadPositions
    user_names: UserNames
    slow_mode: SlowMode
    direct_pairs: DirectPairs
    guests: Guests
    moderators: ModeratorRecords
    token_keys: TokenKeyRecords
    pushes: PushRecords

    @classmethod
    def of(cls, calls: ScriptRunner, settings: Settings) -> ChatStore:
        """The records of the server that the settings name."""

        def script(name: str) -> Script:
            (found,) = scripts_of(Path(__file__).parent, name)
            return calls.script(found)

        server, kept = settings.master.name, settings.store
        ttl = TTL_FACTOR * kept.history_ttl
        key_ttl = 2 * settings.limits.key_ttl + CLAIM_SLACK  # so long may a key be known; see append.lua
        return cls(
            read_positions=ReadPositions(
                calls, server, ttl, kept.guest_ttl,
                look=script("look"), mark=script("mark"), mention=script("mention"),
            ),
            user_names=UserNames(calls, server, ttl, kept.guest_ttl, call=script("call")),
            slow_mode=SlowMode(calls, server, pace=script("pace")),
            direct_pairs=DirectPairs(
                calls, server, ttl, key_ttl, kept.history_size,
                claim=script("claim"), pair=script("pair"), paired=script("paired"),
            ),
            guests=Guests(
                calls, server, secret=script("secret"), depart=script("depart"), origin=script("origin")
            ),
            moderators=ModeratorRecords(calls, server, enlist=script("enlist"), roll=script("roll")),
            token_keys=TokenKeyRecords(calls, server, jwks=script("jwks")),
            pushes=PushRecords(
                calls, server, kept.guest_ttl,
                subscribe=script("push_subscribe"), take=script("push_take"), forget=script("push_forget"),
            ),
        )  # fmt: skip
