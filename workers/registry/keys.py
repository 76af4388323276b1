"""Owns the names of the registry's keys, and what a connection is counted under.

A *subject* is what is counted or sanctioned: ``u:<user>``, ``a:<address>`` (of IPv6 the network that a client has,
``2001:db8::/64``), or ``*`` for every connection. Its keys lie
in one slot, named by a hash of it, since a user's id may hold what a key's tag must not.
"""

from __future__ import annotations

import hashlib
import sys

from workers.addressing import ALL_CONNECTIONS, AUDIT_TRAIL, SANCTIONS
from workers.bus.keys import tag

ALL = "*"


def of_user(user: str) -> str:
    """The subject of a user."""
    return f"u:{user}"


def is_user(subject: str) -> bool:
    """Whether that is the subject of a user."""
    return subject.startswith("u:")


def of_address(address: str) -> str:
    """The subject of an IP address or network; interned, since one address may have thousands of connections."""
    return sys.intern(f"a:{address}")


def counts(name: str, subject: str) -> str:
    """How many connections each incarnation has of it."""
    return f"{_tag(name, subject)}:counts"


def sanctions(name: str, subject: str) -> str:
    """The bans and mutes that hold for it."""
    return f"{_tag(name, subject)}:held"


def all_sanctions(name: str) -> str:
    """The list of all bans and mutes."""
    return f"{tag(name, SANCTIONS)}:sanctions"


def audit(name: str) -> str:
    """The audit trail of the instance."""
    return f"{tag(name, AUDIT_TRAIL)}:trail"


def _tag(name: str, subject: str) -> str:
    if subject == ALL:
        return tag(name, ALL_CONNECTIONS)
    who = hashlib.blake2b(subject[2:].encode(), digest_size=12).hexdigest()
    return tag(name, subject[:2] + who)
