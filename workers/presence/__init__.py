"""Presence: the users in each room, over all workers and machines; each arrival and departure is announced once."""

from workers.presence.presence import Presence, PresentUser, PresentUsers
from workers.presence.room_view import PresenceChange

__all__ = ["Presence", "PresenceChange", "PresentUser", "PresentUsers"]
