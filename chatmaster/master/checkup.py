"""Answers `chatctl doctor` with the limits, machine and store of the running server, as the server sees them.

A child asks the store, at the address that the workers use, so that the master never blocks.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from chatmaster import contract
from chatmaster.master import app_probe
from chatmaster.master.boot import ServerResources
from chatmaster.master.control_server import ControlPeer
from chatmaster.master.report import Report
from chatmaster.master.supervisor import Supervisor
from chatmaster.runtime import cores, proc
from chatmaster.runtime.child_watcher import ChildWatcher
from chatmaster.runtime.event_loop import EventLoop
from chatmaster.store import check

STORE_TIMEOUT: Final = 3.0  # seconds; chatctl waits for ten


class Checkup:
    """The command `doctor` of the control socket."""

    def __init__(
        self,
        resources: ServerResources,
        report: Report,
        supervisor: Supervisor,
        loop: EventLoop,
        children: ChildWatcher,
    ) -> None:
        self._resources = resources
        self._report = report
        self._supervisor = supervisor
        self._loop = loop
        self._children = children

    def command(self, peer: ControlPeer, args: Mapping[str, Any]) -> None:
        """Answer once the store has answered, or has not in time."""
        settings = self._resources.settings
        store = msgspec.structs.replace(
            settings.store, url=self._resources.store_url, timeout=min(settings.store.timeout, STORE_TIMEOUT)
        )
        # The time for which the child asks again while the store loads its data.
        master = msgspec.structs.replace(settings.master, ready_timeout=STORE_TIMEOUT)
        probe = app_probe.ProbeProcess(
            self._loop,
            msgspec.structs.replace(settings, store=store, master=master),
            check.ENTRY,
            lambda answer: peer.done({**self._facts(), **_of_store(answer)}),
            what="asking the store",
        )
        self._children.expect(probe.pid, lambda status: probe.exited(os.waitstatus_to_exitcode(status)))

    def _facts(self) -> dict[str, Any]:
        settings, loaded = self._resources.settings, self._resources.loaded
        status = self._report.status()
        limits = [proc.file_limit(handle.pid) for handle in self._supervisor.handles.values()]
        keys = ("pid", "name", "state_dir", "config_file", "log_file", "memory")
        return {
            **{key: status["master"][key] for key in keys},
            "workers": len(status["workers"]),
            "cores": dataclasses.asdict(cores.available()),
            "files": min((soft for soft, _ in filter(None, limits)), default=None),
            "files_used": max((row["descriptors"] for row in status["workers"]), default=0),
            "workers_memory": status["totals"]["memory"],
            "backlog": settings.server.backlog,
            "connections_wanted": settings.limits.connections,
            "store": status["store"],
            "embedded": self._resources.store is not None,
            **self._report.disk(),
            "log_lines_dropped": status["totals"]["log_lines_dropped"],
            "faults": status["faults"],
            "secret_bytes": len(settings.auth.secret.encode()) if settings.auth.secret else None,
            "holds_secret": bool(settings.secrets or "@" in loaded.settings.store.url),
        }


def _of_store(answer: app_probe.ProbeAnswer) -> dict[str, Any]:
    if isinstance(answer, contract.Answer) and answer.rows:
        return {"store_facts": answer.rows[0]}
    return {"store_error": answer.reason if isinstance(answer, contract.Failed) else "it gave no answer"}
