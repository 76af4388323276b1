"""The names of the registry's keys, and the subjects under which connections are counted.

A *subject* is counted, sanctioned or has a quota: a user by the id, ``*a:<address>`` (for IPv6 the client's network,
``2001:db8::/64``), ``*k:<name>`` for an API key, or ``*`` for every connection; no user's id has a ``*``. A user's keys
lie beside the user's inbox, so that a user depends on one shard; an address or a key's name is hashed.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence

from chatmaster.store import layout
from workers.addressing import ALL_CONNECTIONS, AUDIT_TRAIL, INBOX, INTERNAL, SANCTIONS, inbox_of

ALL = "*"
_ADDRESS = "*a:"
_API_KEY = "*k:"


def of_user(user: str) -> str:
    """The subject of a user: the very id, which each connection has anyway."""
    return user


def is_user(subject: str) -> bool:
    """Whether a subject is that of a user."""
    return subject[0] != ALL


def of_address(address: str) -> str:
    """The subject of an IP address or network; interned, since one address may have thousands of connections."""
    return sys.intern(_ADDRESS + address)


def is_address(subject: str) -> bool:
    """Whether a subject is that of an address."""
    return subject.startswith(_ADDRESS)


def of_api_key(key: str) -> str:
    """The subject of an API key, by its name."""
    return _API_KEY + key


def counts(name: str, subject: str) -> str:
    """The key of the number of connections of a subject that each incarnation has."""
    return layout.key(name, _room_of(subject), "counts")


def counts_of_all(name: str, subjects: Sequence[str]) -> list[str]:
    """As `counts`, of many subjects."""
    return layout.key_of_each(name, [INBOX + one if one[0] != ALL else _room_of(one) for one in subjects], "counts")


def sanctions(name: str, subject: str) -> str:
    """The key of the bans and mutes that hold for a subject."""
    return layout.key(name, _room_of(subject), "held")


def today(name: str, subject: str) -> str:
    """The key of what a subject had kept in the day that runs."""
    return layout.key(name, _room_of(subject), "today")


def all_sanctions(name: str) -> str:
    """The key of the list of all bans and mutes."""
    return layout.key(name, SANCTIONS, "sanctions")


def audit(name: str) -> str:
    """The key of the instance's audit trail."""
    return layout.key(name, AUDIT_TRAIL, "trail")


def _room_of(subject: str) -> str:
    """The room beside which the records of a subject lie."""
    if subject == ALL:
        return ALL_CONNECTIONS
    if is_user(subject):
        return inbox_of(subject)
    kind, name = subject[1:3], subject[3:]
    return f"{INTERNAL}{kind}{hashlib.blake2b(name.encode(), digest_size=12).hexdigest()}"
