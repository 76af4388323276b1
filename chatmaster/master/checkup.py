"""What the running server says of itself for `chatctl doctor`: its limits, its machine, its store, as it sees them.

The store is asked in a child, by the address that the workers use, so that the master waits for nobody.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from chatmaster import contract
from chatmaster.master import app_probe
from chatmaster.master.control_server import ControlPeer
from chatmaster.runtime import cores, proc
from chatmaster.store import check

if TYPE_CHECKING:
    from chatmaster.master.arbiter import Arbiter

STORE_TIMEOUT: Final = 3.0  # seconds; chatctl itself waits for ten


class Checkup:
    """The command `doctor` of the control socket."""

    def __init__(self, arbiter: Arbiter) -> None:
        self._arbiter = arbiter

    def command(self, peer: ControlPeer, args: Mapping[str, Any]) -> None:
        """Answer with what is known, once the store has answered or has not in time."""
        arbiter = self._arbiter
        settings = arbiter.site.settings
        store = msgspec.structs.replace(
            settings.store, url=arbiter.site.store_url, timeout=min(settings.store.timeout, STORE_TIMEOUT)
        )
        # The time for which it is asked again while it reads its data.
        master = msgspec.structs.replace(settings.master, ready_timeout=STORE_TIMEOUT)
        asking = app_probe.ProbeProcess(
            arbiter.reactor,
            msgspec.structs.replace(settings, store=store, master=master),
            check.ENTRY,
            lambda answer: peer.done({**self._facts(), **_of_store(answer)}),
            what="asking the store",
        )
        arbiter.reaper.expect(asking.pid, lambda status: asking.exited(os.waitstatus_to_exitcode(status)))

    def _facts(self) -> dict[str, Any]:
        arbiter = self._arbiter
        settings, loaded = arbiter.site.settings, arbiter.site.loaded
        told = arbiter.report.status()
        limits = [proc.file_limit(handle.pid) for handle in arbiter.supervisor.handles.values()]
        keys = ("pid", "name", "state_dir", "config_file", "log_file", "memory")
        return {
            **{key: told["master"][key] for key in keys},
            "workers": len(told["workers"]),
            "cores": dataclasses.asdict(cores.available()),
            "files": min((soft for soft, _ in filter(None, limits)), default=None),
            "files_used": max((row["descriptors"] for row in told["workers"]), default=0),
            "workers_memory": told["totals"]["memory"],
            "backlog": settings.server.backlog,
            "connections_wanted": settings.limits.connections,
            "store": told["store"],
            "embedded": arbiter.keeper is not None,
            **arbiter.report.disk(),
            "log_lines_dropped": told["totals"]["log_lines_dropped"],
            "faults": told["faults"],
            "secret_bytes": len(settings.auth.secret.encode()) if settings.auth.secret else None,
            "holds_secret": bool(settings.auth.secret or "@" in loaded.settings.store.url),
        }


def _of_store(answer: app_probe.Answer) -> dict[str, Any]:
    if isinstance(answer, contract.Answer) and answer.rows:
        return {"store_facts": answer.rows[0]}
    return {"store_error": answer.reason if isinstance(answer, contract.Failed) else "it gave no answer"}
