"""Owns the names of the registry's keys, and what a connection is counted under.

A *subject* is what is counted or sanctioned: ``u:<user>``, ``a:<address>``, or ``*`` for every connection. Its keys lie
in one slot, named by a hash of it, since a user's id may hold what a key's tag must not.
"""

from __future__ import annotations

import hashlib
import sys

from workers.bus.keys import tag

ALL = "*"


def of_user(user: str) -> str:
    """The subject of a user."""
    return f"u:{user}"


def of_address(address: str) -> str:
    """The subject of an IP address; interned, since one address may have thousands of connections."""
    return sys.intern(f"a:{address}")


def counts(name: str, subject: str) -> str:
    """How many connections each incarnation has of it."""
    return f"{_tag(name, subject)}:counts"


def sanctions(name: str, subject: str) -> str:
    """Its bans and mutes."""
    return f"{_tag(name, subject)}:sanctions"


def audit(name: str) -> str:
    """The audit trail of the instance."""
    return f"{tag(name, '!audit')}:trail"


def _tag(name: str, subject: str) -> str:
    if subject == ALL:
        return tag(name, "!all-connections")
    who = hashlib.blake2b(subject[2:].encode(), digest_size=12).hexdigest()
    return tag(name, subject[:2] + who)
