"""Builds the answer to `chatctl status`, and writes the master's own counters for the workers' /metrics."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import chatmaster
from chatmaster.config.formatting import without_password
from chatmaster.master import faults, status
from chatmaster.master.boot import ServerResources
from chatmaster.master.commands.outcome import CommandFailure
from chatmaster.master.status import Row
from chatmaster.master.supervisor import Supervisor
from chatmaster.policy.policy import Policy
from chatmaster.runtime import proc
from chatmaster.stats import STATES, Field
from chatmaster.store.supervisor import StoreSupervisor

log = logging.getLogger(__name__)


class CommandStatus(Protocol):
    """What the commands of the operator add to the report."""

    failure: CommandFailure | None

    @property
    def state(self) -> str: ...


class Report:
    """The state of one master, its store and its workers."""

    def __init__(
        self,
        resources: ServerResources,
        policy: Policy,
        supervisor: Supervisor,
        keeper: StoreSupervisor | None,
        commands: CommandStatus,
        *,
        started: float,
        since: float,
    ) -> None:
        """The master began at `started` (Unix time), which is `since` on the monotonic clock."""
        self._resources = resources
        self._policy = policy
        self._supervisor = supervisor
        self._keeper = keeper
        self._commands = commands
        self._started = started
        self._since = since
        self._filling = False
        self.drain: Row | None = None  # who has this host drained, and since when
        self._store_state = ("", time.monotonic())  # with what the workers report; and since when

    def note(self, now: float) -> None:
        """Write what only the master knows into the shared counters; called periodically."""
        policy, keeper, handles = self._policy, self._keeper, self._supervisor.handles
        retired = self._supervisor.retired
        retired[Field.HUNG], retired[Field.SILENT] = policy.hangs, policy.silences
        retired[Field.ALL_RESTARTS] = policy.restarts
        for number, handle in handles.items():
            process = policy.processes[number]
            handle.row[Field.STATE] = STATES.index(process.state)
            handle.row[Field.RESTARTS] = policy.slots[process.slot].restarts
        self._note_store_state(now)
        retired[Field.MASTER_MEMORY] = proc.resident(os.getpid())
        retired[Field.MASTER_CPU] = int(time.process_time() * 1e9)
        retired[Field.MASTER_DESCRIPTORS] = proc.open_files(os.getpid())
        retired[Field.DISK_FREE] = self.disk()["disk_free"] or 0
        if keeper is not None:
            retired[Field.STORE_RESTARTS] = keeper.restarts
            retired[Field.STORE_MAX_MEMORY] = keeper.store.max_memory
            retired[Field.STORE_MEMORY] = proc.resident(keeper.store.pid) if keeper.store.pid else 0
            retired[Field.STORE_CPU] = int(proc.cpu_seconds(keeper.store.pid) * 1e9) if keeper.store.pid else 0
            self._note_filling({"memory": retired[Field.STORE_MEMORY], "max_memory": keeper.store.max_memory})

    def _note_filling(self, store: Row) -> None:
        """Log once when the store begins to be full, and once when it no longer is."""
        if (filling := faults.is_filling(store)) == self._filling:
            return
        self._filling = filling
        if filling:
            used, most = store["memory"] // 1_000_000, store["max_memory"] // 1_000_000
            log.warning(
                "the store takes %d MB of the %d MB that it may; when it is full, it refuses writes", used, most
            )
        else:
            log.info("the store has space again")

    def status(self) -> dict[str, Any]:
        """Return the answer to `chatctl status`."""
        now, handles = time.monotonic(), self._supervisor.handles
        self.note(now)  # so that no value is older than the query
        for handle in handles.values():
            handle.measure()
        rows = status.workers(self._policy.slots, handles, now)
        retired = self._supervisor.retired
        counters = [handle.row for handle in handles.values()]
        found: dict[str, Any] = {
            "master": self._master(now),
            "store": self._store(now),
            "workers": rows,
            "totals": status.totals(rows, retired) | {"refused": status.refused([*counters, retired])},
        }
        return {**found, "faults": faults.find(found)}

    def _master(self, now: float) -> Row:
        resources, loaded = self._resources, self._resources.loaded
        return {
            "pid": os.getpid(),
            "name": resources.settings.master.name,
            "version": chatmaster.__version__,
            "generation": self._policy.generation,
            "started": round(self._started, 3),
            "uptime": round(now - self._since, 3),
            "state": "draining" if self.drain is not None and self._commands.state == "ready" else self._commands.state,
            "drain": self.drain,
            "listen": resources.addresses,
            "application": resources.settings.server.app,
            "config_file": str(loaded.file) if loaded.file is not None else None,
            "log_file": str(loaded.log_file) if loaded.log_file is not None else None,
            "state_dir": str(loaded.state_dir),
            "program": str(Path(chatmaster.__file__).parent),
            "python": sys.executable,
            "user": os.geteuid(),
            "memory": proc.resident(os.getpid()),
            "cpu_seconds": round(time.process_time(), 2),
            "last_crash": status.crash(self._policy.crash, now),
            "last_failure": status.failure(self._commands.failure, now),
        }

    def store_trouble(self) -> str:
        """Say in a sentence why the store does not serve; "" if it serves."""
        store = self._store(time.monotonic())
        return "" if store["state"] == "ready" else f"the store is {store['state']}: {store['reason']}"

    def _store(self, now: float) -> Row:
        keeper, handles = self._keeper, list(self._supervisor.handles.values())
        self._note_store_state(now)
        state, since = self._store_state
        found: Row = {
            "url": without_password(self._resources.store_url),
            "state": state,
            "state_age": round(now - since, 1),
            "reason": "" if state == "ready" else status.store_trouble(handles) or "the workers get no answer from it",
            "probe_ms": status.probe_ms(handles),
            "durability": self._resources.durability,
        }
        if keeper is not None:
            pid = keeper.store.pid
            own = keeper.state == state
            found |= {
                **({"pid": pid} if pid is not None else {}),
                "state_age": round(now - (keeper.since if own else since), 1),
                "reason": keeper.reason if own else found["reason"],
                "restarts": keeper.restarts,
                "memory": proc.resident(pid) if pid is not None else 0,
                "max_memory": keeper.store.max_memory,
                **self.disk(),
            }
        return found

    def _note_store_state(self, now: float) -> None:
        keeper, handles = self._keeper, list(self._supervisor.handles.values())
        state = status.store_state(keeper.state if keeper is not None else "ready", handles)
        if state != self._store_state[0]:
            self._store_state = (state, now)

    def disk(self) -> dict[str, int | None]:
        """Return free space and size, in bytes, of the disk of the state directory; None: unknown."""
        try:
            found = os.statvfs(self._resources.loaded.state_dir)
        except OSError:
            return {"disk_free": None, "disk_size": None}
        return {"disk_free": found.f_bavail * found.f_frsize, "disk_size": found.f_blocks * found.f_frsize}
