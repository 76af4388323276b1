"""Moderators and admins over all workers: their roles, and the names that nobody else may look like.

They are learned when they say hello: written to the store, told to every worker through the control room, and read
from the store when a worker starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from workers.chat.rules import names
from workers.chat.rules.identity import OPERATOR, Role

OPERATOR_NAME: Final = names.OPERATOR


class Moderator(Struct, frozen=True):
    """A user with a role, as the store and the control room have it."""

    user: str
    name: str
    role: Role


class ModeratorIndex:
    """The moderators that this worker knows of."""

    def __init__(self) -> None:
        self._moderators: dict[str, Moderator] = {}
        # Key of a name → users. The operator is none who says hello, but speaks all the same.
        self._bearers: dict[str, set[str]] = {key: {OPERATOR} for key in names.keys_of(OPERATOR_NAME)}

    def update(self, moderator: Moderator) -> bool:
        """A moderator is known from now on, or known otherwise; one without a role any more is let go.

        Returns whether anything changed.
        """
        known = self._moderators.get(moderator.user)
        if known == moderator or (known is None and moderator.role is Role.USER):
            return False
        if known is not None:
            for key in names.keys_of(known.name):
                self._bearers.get(key, set()).discard(known.user)
            del self._moderators[moderator.user]
        if moderator.role > Role.USER:
            self._moderators[moderator.user] = moderator
            for key in names.keys_of(moderator.name):
                self._bearers.setdefault(key, set()).add(moderator.user)
        return True

    def replace(self, moderators: Sequence[Moderator]) -> None:
        """These are all; whoever else was known has no role any more."""
        here = {moderator.user for moderator in moderators}
        for gone in [known for known in self._moderators.values() if known.user not in here]:
            self.update(Moderator(gone.user, gone.name, Role.USER))
        for moderator in moderators:
            self.update(moderator)

    def role_of(self, user: str) -> Role:
        """The role that the user last came with."""
        moderator = self._moderators.get(user)
        return moderator.role if moderator is not None else Role.USER

    def looks_like(self, name: str, user: str) -> bool:
        """Whether the name could be taken for that of a moderator other than the user."""
        return any(self._bearers.get(key, set()) - {user} for key in names.keys_of(name))
