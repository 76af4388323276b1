"""The layers of the two packages: what each package may import, and which modules are pure.

`tests/test_boundaries.py` holds this table; the picture of the architecture takes its colours from here.
"""

from __future__ import annotations

from tests.support.sources import unit

# The modules of the master that the workers may import.
SHARED = {
    "chatmaster.contract",
    "chatmaster.settings",
    "chatmaster.signatures",
    "chatmaster.stats",
    "chatmaster.store.client",
    "chatmaster.store.cluster_map",
    "chatmaster.store.layout",
    "chatmaster.store.refusals",
    "chatmaster.store.url",
    "chatmaster.tokens",
    "chatmaster.tracebacks",
}

# Leaves: they import no module of either package but leaves and, in the workers, what is shared.
LEAVES = {
    "chatmaster",
    "chatmaster.addresses",
    "chatmaster.own_package",
    "chatmaster.plural",
    "chatmaster.runtime.exit_status",
    "chatmaster.settings",
    "chatmaster.signatures",
    "chatmaster.stats",
    "chatmaster.tokens",
    "chatmaster.tracebacks",
    "workers.addressing",
    "workers.asked_backend",
    "workers.close_codes",
    "workers.callbacks.registering",
    "workers.callbacks.signatures",
    "workers.connection",
    "workers.failures",
    "workers.handshake_request",
    "workers.ip_addresses",
    "workers.outgoing_http",
    "workers.payload",
    "workers.ports",
    "workers.rate_limit",
    "workers.room_options",
    "workers.session",
    "workers.tasks",
    "workers.threads",
}

# Each package, or module beside the packages, and what it may import besides leaves and itself. Read it from below:
# imports point down. What the workers may import of the master is SHARED, and is not repeated here.
MAY_IMPORT: dict[str, str] = {
    # the master and the operator's tools
    "chatmaster.__main__": "cli",
    "chatmaster.testing": "cli errors",
    "chatmaster.cli": "master config store runtime contract errors",
    "chatmaster.master": "policy config store runtime contract errors",
    "chatmaster.policy": "contract",
    "chatmaster.config": "store runtime contract errors",
    "chatmaster.store": "runtime contract errors",
    "chatmaster.runtime": "contract errors",
    "chatmaster.errors": "contract",
    "chatmaster.contract": "",
    # the workers
    "workers": "worker gateway async_gateway timer bus",
    "workers.main": "process worker",
    "workers.process": (
        "verbs handover chat callbacks node worker timer registry presence cluster rooms bus transport http"
    ),
    "workers.verbs": "chat chat.rules node registry presence cluster rooms bus transport http",
    "workers.handover": "node registry rooms bus transport",
    "workers.chat": "callbacks node worker registry presence cluster rooms bus transport http chat.rules push",
    "workers.callbacks": "node worker presence bus",
    "workers.gateway": "gateway_calls verbs bus",
    "workers.async_gateway": "gateway_calls verbs bus",
    "workers.gateway_calls": "verbs node chat.rules bus",
    "workers.timer": "node",
    "workers.node": "worker registry presence rooms cluster bus transport",
    "workers.worker": "",
    "workers.chat.rules": "bus push",
    "workers.push": "",
    "workers.registry": "cluster bus",
    "workers.presence": "cluster bus",
    "workers.rooms": "bus transport",
    "workers.cluster": "bus",
    "workers.bus": "",
    "workers.transport": "http",
    "workers.http": "",
    "workers.client": "",
}

# The one exception to "the master imports nothing of the workers": programs write `from chatmaster import Worker`. The
# package has these names for type checkers, and imports them when they are first used, never by itself.
PUBLIC_NAMES = {"chatmaster": {"workers", "workers.chat"}}

# Pure modules: time, chance and ids are arguments, and what is to be done is the result.
PURE = (
    "chatmaster.policy",
    "workers.chat.rules",
    "workers.client.core",
    "workers.client.places",
    "workers.client.reconnect",
    "workers.client.requests",
    "workers.client.verbs",
    "workers.handover.receiver_state",
    "workers.handover.sender_state",
    "workers.handover.window",
    "workers.push.subscription",
    "workers.rooms.acknowledged",
    "workers.rooms.follower",
    "workers.rooms.log_item",
    "workers.rooms.recovery",
    "workers.rooms.ring",
)
IMPURE = {
    *("asyncio", "io", "multiprocessing", "os", "random", "redis", "secrets", "select", "selectors", "socket"),
    *("subprocess", "threading", "time"),
}
ONLY_CONSTANTS_OF = {"logging", "signal"}
# What a pure module may import of the project besides pure modules and leaves: records, constants, bytes of frames.
PURE_ENOUGH = {
    "chatmaster.contract",
    "workers.bus.port",
    "workers.client.errors",
    "workers.client.events",
    "workers.transport.frames",
}


def may_import(module: str, target: str) -> bool | None:
    """Whether the table allows an import inside the project. None: the module stands in no table."""
    units = MAY_IMPORT.keys() | LEAVES
    home, other = unit(module, units), unit(target, units)
    if home is None:
        return None
    base = home.split(".")[0]
    if base == "workers" and target in SHARED:
        return True
    allowed = {home, *LEAVES, *(f"{base}.{name}" for name in MAY_IMPORT.get(home, "").split())}
    return other in allowed and target.split(".")[0] == base
