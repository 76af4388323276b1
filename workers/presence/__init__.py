"""Presence: who is in which room, over all workers and machines; who came and went, told once."""

from workers.cluster.lease import Lease
from workers.presence.presence import Member, Members, Presence
from workers.presence.room_view import PresenceChange

__all__ = ["Lease", "Member", "Members", "Presence", "PresenceChange"]
