"""What a store means by refusing, and what to do about it: its own words, with advice behind them. Pure.

The first word of an error is its code (LOADING, OOM, …). A script's error has the reason inside it, on Redis 7 with the
code or without. What is refused was not done.
"""

from __future__ import annotations

from typing import Final

MOST: Final = 200  # characters of the store's words that are repeated: protected mode explains itself at length

# That end by themselves: who starts waits a little, and nobody has to be told what to do.
TRANSIENT: Final = frozenset({"LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN", "UNBLOCKED"})

_CLUSTER: Final = (
    "this is a node of a Redis Cluster, which is not supported yet: name a single store, or redis+sentinel://"
)
_REPLICA: Final = "this is a replica: name its master in store.url, or its sentinels with redis+sentinel://"
_LOGIN: Final = "give user and password in store.url: redis://USER:PASSWORD@HOST, percent-encoded"
_ADVICE: Final[dict[str, str]] = {
    "OOM": "it is over its maxmemory: raise that (CONFIG SET maxmemory), or keep less (store.history_size)",
    "MISCONF": "it cannot write to its disk: see its log, and give it space",
    "READONLY": _REPLICA,
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "CLUSTERDOWN": _CLUSTER,
    "MASTERDOWN": "this is a replica without its master: name the master, or the sentinels with redis+sentinel://",
    "NOAUTH": _LOGIN,
    "WRONGPASS": _LOGIN,
    "DENIED": "it is in protected mode: set a password for it, or let it listen where only chatmaster comes",
    "NOREPLICAS": "it has fewer replicas than min-replicas-to-write",
    "LOADING": "it reads its data, and will be there when it has",
    "BUSY": "another client's script occupies it: SCRIPT KILL ends that",
}
# Parts of messages that have no code of their own.
_PHRASES: Final = (
    ("max number of clients", "raise its maxclients"),
    (
        "nknown Redis command",
        "it must have all commands under their own names",
    ),
    (
        "unknown command",
        "it must be Redis 6.2 or later, or Valkey, with all commands under their own names",
    ),
    ("DB index is out of range", "it has fewer databases than the number in store.url"),
)
_ACL_PHRASES: Final = (
    "ACL failure in script",
    "can't run this command",
    "can't access at least one of the keys",
    "can't publish to the channel",
)


def acl(name: str) -> str:
    """The permissions that an instance of that name needs, as ACL SETUSER wants them."""
    return f"~{name}:* &{name}@* +@all -@dangerous +info +config|get"


def eviction(policy: str) -> str:
    """What is wrong with a store's maxmemory-policy; "": nothing, or it does not tell."""
    if policy in ("", "noeviction"):
        return ""
    return f"{policy} throws messages away when its memory is full: CONFIG SET maxmemory-policy noeviction"


def code_of(words: str) -> str:
    """What kind of refusal it is: the code, also where a script's error repeats it; "" for none that is known."""
    first = words.partition(" ")[0]
    if first == "NOPERM" or any(phrase in words for phrase in _ACL_PHRASES):
        return "NOPERM"
    if first in _ADVICE:
        return first
    return next((code for code in ("OOM", "READONLY", "MISCONF", "NOREPLICAS") if f"{code} " in words), "")


def is_transient(words: str) -> bool:
    """Whether it ends by itself."""
    return code_of(words) in TRANSIENT


def explained(words: str, name: str) -> str:
    """The store's words with what to do about them, for the instance `name`."""
    said = " ".join(words.split())
    said = said if len(said) <= MOST else said[:MOST] + "…"
    code = code_of(words)
    if not said.startswith(code):
        said = f"{code}: {said}"  # a script's error may have the reason in words only
    if code == "NOPERM":
        advice = f"its user needs: ACL SETUSER USER {acl(name)}"
    else:
        advice = _ADVICE.get(code) or next((told for part, told in _PHRASES if part in words), "")
    return f"{said.rstrip('.')} ({advice})" if advice else said
