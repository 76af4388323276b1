"""What the sessions of one worker share: settings made ready for use, and what is known of other people.

Everything here is asked synchronously and answers from memory; who keeps that memory up to date is
another part's affair (`sanctions.py`, `moderators.py`, `mentions.py`).
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
    """Who is banned or muted, over all workers, as this worker knows it. Answers are reasons; None: no."""

    @property
    def none(self) -> bool:
        """Nobody is."""

    def banned(self, user: str, address: str, room: str, now: float) -> str | None:
        """Whether the user, or as a guest the address, is kept out of the room (or out of everything: "")."""

    def muted(self, user: str, address: str, room: str, now: float) -> float | None:
        """Until when (Unix time; inf: without end) the user, or as a guest the address, may not speak in the room."""

    def why_muted(self, user: str, address: str, room: str, now: float) -> str:
        """The reason that was given for it; "": none."""


class ModeratorLookup(Protocol):
    """Moderators and admins, over all workers."""

    def role_of(self, user: str) -> Role:
        """The role that the user last came with."""

    def looks_like(self, name: str, user: str) -> bool:
        """Whether the name could be taken for that of a moderator other than the user."""


class MentionLookup(Protocol):
    """Who can be mentioned."""

    def mentioned(self, room: str, text: str) -> tuple[str, ...]:
        """The users whom `@name` in the text means, and `@room`; each once."""


class Context:
    """What every session of a worker knows."""

    __slots__ = (
        "consulted",
        "identities",
        "limits",
        "limits_shown",
        "mentions",
        "moderators",
        "options",
        "ping_interval",
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
        self.rate_limited = 0  # requests that were refused because there were too many
        self.limits_shown = _shown(settings.limits)


def _shown(limits: Limits) -> msgspec.Raw:
    """The member `limits` of `welcome`: what a client must know to behave."""
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
