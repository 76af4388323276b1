"""The keys of what the chat keeps in the store beside the logs; each lies in the shard of its room or inbox."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from chatmaster.store import layout
from workers.addressing import INTERNAL, inbox_of
from workers.bus.keys import key_field

_CHAT: Final = f"{INTERNAL}chat"  # records of the chat as a whole lie where this room's would


def marks(server: str, room: str) -> str:
    """The hash of read positions in a room; in an inbox also the user's name."""
    return layout.key(server, room, "marks")


def guest_marks(server: str, room: str) -> list[str]:
    """The two hashes of guests' read positions in a room; see marks.lua."""
    return layout.keys(server, room, "guest-marks:0", "guest-marks:1")


def mentions(server: str, room: str) -> str:
    """The hash of mentions in a room by user; see mention.lua."""
    return layout.key(server, room, "mentions")


def pace(server: str, room: str, *, user: str, address: str) -> str:
    """The turn of a user in a slow room, or, with an address, of all guests from there."""
    return layout.key(server, room, f"pace:a:{address}" if address else f"pace:u:{user}")


def claim(server: str, user: str, key: str) -> str:
    """What an idempotency key of a user's direct messages stands for."""
    field = key_field(user=user, room="claim", key=key).hex()
    return layout.key(server, inbox_of(user), f"claim:{field}")


def copies(server: str, inbox: str) -> str:
    """Where the senders' copies of an inbox's messages lie."""
    return layout.key(server, inbox, "copies")


def address(server: str, guest: str) -> str:
    """Where a guest who has left came from."""
    return layout.key(server, inbox_of(guest), "address")


def guest_secret(server: str) -> str:
    """The secret that guests' identities are signed with."""
    return layout.key(server, _CHAT, "secret")


def token_keys(server: str, url: str) -> str:
    """The key set that `auth.jwks` last gave, for workers that start while the URL is away."""
    return layout.key(server, _CHAT, f"jwks:{blake2b(url.encode(), digest_size=8).hexdigest()}")


def push(server: str, user: str) -> str:
    """The hash of a user's browsers that want to be told by Web Push."""
    return layout.key(server, inbox_of(user), "push")


def push_rate(server: str, user: str) -> str:
    """How many notes a user got by Web Push lately."""
    return layout.key(server, inbox_of(user), "pushrate")


def staff(server: str) -> str:
    """The hash of moderators and admins."""
    return layout.key(server, _CHAT, "staff")


def occupants(server: str, room: str) -> str:
    """The hash of users in a room with a limit, by worker."""
    return layout.key(server, room, "occupants")


def name_holders(server: str, key: str, *, guests: bool) -> str:
    """The hash of users, by worker, whose name has this key; guests have one of their own."""
    return layout.key(server, _CHAT, f"guests:{key}" if guests else f"users:{key}")


def request_tokens(server: str, user: str) -> str:
    """The bucket of a user's requests over all connections."""
    return layout.key(server, inbox_of(user), "rate")
