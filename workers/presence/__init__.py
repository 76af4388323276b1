"""Presence: who is in which room, over all workers and machines; who came and went, told once."""

from workers.presence.presence import Presence, PresentUser, PresentUsers
from workers.presence.room_view import PresenceChange

__all__ = ["Presence", "PresenceChange", "PresentUser", "PresentUsers"]
