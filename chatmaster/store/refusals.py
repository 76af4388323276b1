"""Explains the errors by which a store refuses a command: the text of the store, followed by advice. Pure.

The first word of an error is its code (LOADING, OOM, …). The error of a script contains the reason, on Redis 7 with or
without the code. A refused command had no effect.
"""

from __future__ import annotations

from typing import Final

MOST: Final = 200  # characters of the store's text that are repeated; that of protected mode is long

# Errors that pass: a start waits, and no advice is needed.
TRANSIENT: Final = frozenset({"LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN", "UNBLOCKED"})

_CLUSTER: Final = (
    "this is a node of a Redis Cluster: name some of its nodes in store.url, as redis+cluster://HOST:PORT,HOST:PORT"
)
_REPLICA: Final = "this is a replica: name its master in store.url, or its sentinels with redis+sentinel://"
_LOGIN: Final = "give user and password in store.url: redis://USER:PASSWORD@HOST, percent-encoded"
_ADVICE: Final[dict[str, str]] = {
    "OOM": "the store is over its maxmemory: raise it (CONFIG SET maxmemory), or keep less (store.history_size)",
    "MISCONF": "the store cannot write to its disk: see its log, and free some space",
    "READONLY": _REPLICA,
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "CLUSTERDOWN": "a node of a Redis Cluster that has no quorum, or slots that no node has: see CLUSTER INFO there; "
    "a cluster is named redis+cluster://HOST:PORT,HOST:PORT",
    "MASTERDOWN": "this is a replica without its master: name the master, or the sentinels with redis+sentinel://",
    "NOAUTH": _LOGIN,
    "WRONGPASS": _LOGIN,
    "DENIED": "the store is in protected mode: set a password, or bind it to an address that only chatmaster reaches",
    "NOREPLICAS": "the store has fewer replicas than min-replicas-to-write",
    "LOADING": "the store is loading its data and will answer when it has finished",
    "BUSY": "a script of another client is running: SCRIPT KILL ends it",
}
# Parts of errors without a code.
_PHRASES: Final = (
    ("max number of clients", "raise its maxclients"),
    (
        "nknown Redis command",
        "the store must not rename commands",
    ),
    (
        "unknown command",
        "the store must be Redis 6.2 or later, or Valkey, and must not rename commands",
    ),
    ("DB index is out of range", "the store has fewer databases than the number in store.url"),
)
_ACL_PHRASES: Final = (
    "ACL failure in script",
    "can't run this command",
    "can't access at least one of the keys",
    "can't publish to the channel",
)


def acl(name: str) -> str:
    """The permissions that the instance `name` needs, in the syntax of ACL SETUSER."""
    return f"~{name}:* &{name}@* +@all -@dangerous +info +config|get"


def eviction(policy: str) -> str:
    """The problem of a maxmemory-policy; "" for none, or if the store does not allow CONFIG."""
    if policy in ("", "noeviction"):
        return ""
    return f"{policy} evicts messages when the memory is full: CONFIG SET maxmemory-policy noeviction"


def code_of(words: str) -> str:
    """The code of an error, also inside the error of a script; "" for an unknown code."""
    first = words.partition(" ")[0]
    if first == "NOPERM" or any(phrase in words for phrase in _ACL_PHRASES):
        return "NOPERM"
    if first in _ADVICE:
        return first
    return next((code for code in ("OOM", "READONLY", "MISCONF", "NOREPLICAS") if f"{code} " in words), "")


def is_transient(words: str) -> bool:
    """True for an error that passes by itself."""
    return code_of(words) in TRANSIENT


def explained(words: str, name: str) -> str:
    """The text of the store with advice, for the instance `name`."""
    said = " ".join(words.split())
    said = said if len(said) <= MOST else said[:MOST] + "…"
    code = code_of(words)
    if not said.startswith(code):
        said = f"{code}: {said}"  # the error of a script may lack the code
    if code == "NOPERM":
        advice = f"the user needs: ACL SETUSER USER {acl(name)}"
    else:
        advice = _ADVICE.get(code) or next((told for part, told in _PHRASES if part in words), "")
    return f"{said.rstrip('.')} ({advice})" if advice else said
