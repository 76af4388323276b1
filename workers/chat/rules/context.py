"""Context: what the sessions of one worker share: prepared settings, and what is known of other users.

Every lookup is synchronous and answers from memory. Other parts keep that memory up to date: the registry the
sanctions, `roles.py` the moderators, `room_presence.py` the names.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from chatmaster.settings import Limits, Settings
from workers.chat.rules.commands import HISTORY_LIMIT
from workers.chat.rules.entries import encode
from workers.chat.rules.identity import Identities, Role
from workers.chat.rules.names import MAX_LENGTH
from workers.room_options import Options


class SanctionLookup(Protocol):
    """Who is banned or muted, over all workers, as this worker knows it."""

    @property
    def none(self) -> bool:
        """True while nobody is banned or muted."""

    def banned(self, user: str, address: str, room: str, now: float) -> str | None:
        """Why the user, or a guest's address, is banned from the room ("": from everything); None: no ban."""

    def banned_until(self, user: str, address: str, room: str, now: float) -> float:
        """Until when that ban holds: Unix time, or inf; `now` where there is none."""

    def muted(self, user: str, address: str, room: str, now: float) -> float | None:
        """Until when the user, or a guest's address, is muted in the room: Unix time, or inf; None: not muted."""

    def why_muted(self, user: str, address: str, room: str, now: float) -> str:
        """The reason of that mute; "" where none was given."""


class ModeratorLookup(Protocol):
    """Moderators and admins, over all workers."""

    def role_of(self, user: str) -> Role:
        """The role that the user last came with."""

    def looks_like(self, name: str, user: str) -> bool:
        """Whether the name looks like that of a moderator other than the user."""


class MentionLookup(Protocol):
    """Who can be mentioned."""

    def mentioned(self, room: str, text: str) -> tuple[str, ...]:
        """The users whom `@name` in the text means, and `@room`; each once."""


class Context:
    """What every session of a worker knows. `consulted` are the hooks that the application has."""

    __slots__ = (
        "consulted",
        "identities",
        "limits",
        "limits_shown",
        "mentions",
        "moderators",
        "options",
        "ping_interval",
        "push_key",
        "rate_limited",
        "sanctions",
    )

    def __init__(
        self,
        settings: Settings,
        *,
        identities: Identities,
        sanctions: SanctionLookup,
        moderators: ModeratorLookup,
        mentions: MentionLookup,
        consulted: frozenset[str] = frozenset(),
    ) -> None:
        self.limits = settings.limits
        self.ping_interval = settings.limits.ping_interval
        self.options = Options(settings.rooms)
        self.identities = identities
        self.sanctions = sanctions
        self.moderators = moderators
        self.mentions = mentions
        self.consulted = consulted  # the hooks that the application has
        self.push_key = ""  # of Web Push, once it was read
        self.rate_limited = 0  # requests refused by a rate limit, for the metrics
        self.limits_shown = _shown(settings.limits)


def _shown(limits: Limits) -> msgspec.Raw:
    """The member `limits` of `welcome`: the limits that a client has to keep."""
    return msgspec.Raw(
        encode(
            {
                "message_size": limits.message_size,
                "rate": limits.rate,
                "burst": limits.burst,
                "rooms_per_connection": limits.rooms_per_connection,
                "key_ttl": limits.key_ttl,
                "history": HISTORY_LIMIT,
                "name": MAX_LENGTH,
            }
        )
    )
