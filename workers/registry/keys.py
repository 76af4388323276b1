"""The names of the registry's keys, and the subjects under which connections are counted.

A *subject* is counted or sanctioned: ``u:<user>``, ``a:<address>`` (for IPv6 the client's network,
``2001:db8::/64``), or ``*`` for every connection. The keys of a subject lie in one slot, whose tag is a hash of the
subject, since a user's id may contain characters that a key's tag must not.
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
    """Whether a subject is that of a user."""
    return subject.startswith("u:")


def of_address(address: str) -> str:
    """The subject of an IP address or network; interned, since one address may have thousands of connections."""
    return sys.intern(f"a:{address}")


def counts(name: str, subject: str) -> str:
    """The key of the number of connections of a subject that each incarnation has."""
    return f"{_tag(name, subject)}:counts"


def sanctions(name: str, subject: str) -> str:
    """The key of the bans and mutes that hold for a subject."""
    return f"{_tag(name, subject)}:held"


def all_sanctions(name: str) -> str:
    """The key of the list of all bans and mutes."""
    return f"{tag(name, SANCTIONS)}:sanctions"


def audit(name: str) -> str:
    """The key of the instance's audit trail."""
    return f"{tag(name, AUDIT_TRAIL)}:trail"


def _tag(name: str, subject: str) -> str:
    if subject == ALL:
        return tag(name, ALL_CONNECTIONS)
    who = hashlib.blake2b(subject[2:].encode(), digest_size=12).hexdigest()
    return tag(name, subject[:2] + who)
