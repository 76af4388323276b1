"""Supervises the worker processes: forks them, sends and receives messages, reports their end, keeps their counters.

The supervisor carries out actions and reports events; it decides nothing.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from chatmaster import contract
from chatmaster.errors import ChatmasterError
from chatmaster.master.boot import ServerResources
from chatmaster.master.commands.outcome import MoveCounts
from chatmaster.master.exec_state import WorkerSnapshot
from chatmaster.master.worker_channel import Channel
from chatmaster.master.worker_handle import Rows, WorkerHandle
from chatmaster.policy import events
from chatmaster.runtime import fork, workdir
from chatmaster.runtime.child_watcher import ChildWatcher
from chatmaster.runtime.event_loop import EventLoop
from chatmaster.settings import Settings
from chatmaster.stats import Field, WorkerStats

log = logging.getLogger(__name__)

MOST_DEAD: Final = 512  # the highest number of workers
REMEMBERED: Final = 30.0  # seconds; a lease that is not renewed ends earlier (workers/cluster/lease.py)

Decide = Callable[[events.Event], None]
Receive = Callable[[WorkerHandle, contract.FromWorker], None]


class Supervisor:
    """All worker processes, by their number."""

    def __init__(
        self,
        loop: EventLoop,
        children: ChildWatcher,
        resources: ServerResources,
        entry: str,
        *,
        decide: Decide,
        receive: Receive,
    ) -> None:
        """`decide` is called with each event of a process, `receive` with each message of a worker."""
        self.handles: dict[int, WorkerHandle] = {}
        self.rows = Rows()
        self._loop = loop
        self._children = children
        self._resources = resources
        self._entry = entry
        self._decide = decide
        self._receive = receive
        self._dead: deque[tuple[float, str]] = deque(maxlen=MOST_DEAD)  # time of death and incarnation, the latest last

    def spawn(self, order: events.Spawn, settings: Settings) -> None:
        """Fork a worker; a failure is reported as CouldNotFork."""
        try:
            self._watch(*self._spawn(order, settings))
        except (OSError, ChatmasterError) as error:
            reason = str(error)
            # In a turn of its own: the actions of the policy are still being carried out.
            self._loop.call_later(0.0, lambda: self._decide(events.CouldNotFork(order.process, reason)))

    def _spawn(self, order: events.Spawn, settings: Settings) -> tuple[WorkerHandle, socket.socket]:
        row = self.rows.take()
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            self.rows.give_back(row)
            raise
        try:
            handle = WorkerHandle(order.process, order.slot, secrets.token_hex(8), row)
            row[Field.SLOT] = order.slot
            self._fork(handle, order, settings, theirs)
        except (OSError, ChatmasterError):
            ours.close()
            self.rows.give_back(row)
            raise
        finally:
            theirs.close()
        return handle, ours

    def _watch(self, handle: WorkerHandle, channel: socket.socket) -> None:
        self.handles[handle.number] = handle
        self._resources.record.add(handle.incarnation)
        handle.channel = Channel(self._loop, channel, lambda message: self._receive(handle, message))
        for died, incarnation in self._dead:  # if all workers died at once, only new workers can tell the store
            if time.monotonic() - died < REMEMBERED:
                handle.send(contract.Reaped(incarnation))
        self._children.expect(
            handle.pid,
            lambda status: self._ended(handle, status),
            stopped=lambda: self._decide(events.WasStopped(handle.number)),
            continued=lambda: self._decide(events.WasContinued(handle.number)),
        )

    def send(self, number: int, message: contract.ToWorker, descriptors: Sequence[int] = ()) -> None:
        """Send a worker a message; ignored if the worker has ended."""
        handle = self.handles.get(number)
        if handle is not None and not handle.send(message, descriptors):
            log.warning("worker %d does not read its messages (%s is lost)", handle.slot, type(message).__name__)

    def broadcast(self, message: contract.ToWorker) -> None:
        """Send a message to all workers."""
        for handle in self.handles.values():
            handle.send(message)

    def adopt(self, order: events.AdoptListener) -> None:
        """Pass a worker the listening sockets of a slot that has no process."""
        for listener in self._resources.listeners.of([order.listener]):
            self.send(order.process, contract.Adopt(listener.address), [listener.sock.fileno()])

    def hand_over(self, order: events.HandOverSlot) -> None:
        """Connect the two workers of a handover by a socket pair."""
        giver, heir = self.handles[order.process], self.handles[order.heir]
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.send(heir.number, contract.TakeOver(giver.incarnation), [ends[0].fileno()])
        self.send(giver.number, contract.HandOver(heir.incarnation, order.seconds, order.reload), [ends[1].fileno()])
        for end in ends:
            end.close()

    def kill(self, order: events.Kill) -> None:
        """Send a worker a signal; ignored if the worker has ended."""
        if order.process in self.handles:
            self.handles[order.process].kill(order.number)

    def forget(self, number: int) -> None:
        """Forget a worker that has ended, and tell the other workers."""
        dead = self.handles.pop(number, None)
        if dead is not None:  # None: it could not be forked
            if not dead.foreign:
                self.rows.give_back(dead.row)
            self._dead.append((time.monotonic(), dead.incarnation))
            self.broadcast(contract.Reaped(dead.incarnation))

    @property
    def retired(self) -> WorkerStats:
        """The counters of all workers that have ended."""
        return self.rows.retired

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return sum(handle.row[Field.CONNECTIONS] for handle in self.handles.values())

    def moves(self) -> MoveCounts:
        """Count the connections handed over between workers, workers that have ended included."""
        rows = [self.rows.retired, *(handle.row for handle in self.handles.values() if not handle.foreign)]
        moved, stayed = (sum(row[field] for row in rows) for field in (Field.HANDED_OVER, Field.HAND_OVER_FAILED))
        return MoveCounts(moved, stayed)

    def find(self, incarnation: str) -> WorkerHandle | None:
        """Return the worker of that incarnation, or None."""
        return next((handle for handle in self.handles.values() if handle.incarnation == incarnation), None)

    # ---- an upgrade in place -----------------------------------------------------------------------

    def snapshot(self) -> tuple[WorkerSnapshot, ...]:
        """Return what the next image must know of each worker."""
        found = []
        for one in self.handles.values():
            assert one.channel is not None
            fd, waiting = one.channel.snapshot()
            packets = tuple((packet, tuple(fds)) for packet, fds in waiting)
            found.append(
                WorkerSnapshot(
                    one.number,
                    one.slot,
                    one.pid,
                    one.incarnation,
                    one.started,
                    one.row.slot,
                    one.contract,
                    fd,
                    packets,
                    one.since,
                )
            )
        return tuple(found)

    def restore(self, kept: Sequence[WorkerSnapshot], tables: Mapping[int, int]) -> None:
        """Go on with the workers of the previous image."""
        self.rows = Rows(tables, {one.row for one in kept if one.contract == contract.CONTRACT_VERSION})
        for one in kept:
            handle = WorkerHandle(one.number, one.slot, one.incarnation, self.rows.of(one))
            handle.pid, handle.started, handle.contract = one.pid, one.started, one.contract
            handle.since = one.since or handle.since - max(0.0, time.time() - one.started)
            self._watch(handle, socket.socket(fileno=one.channel))
            assert handle.channel is not None
            handle.channel.restore([(packet, list(fds)) for packet, fds in one.waiting])

    def _fork(self, handle: WorkerHandle, order: events.Spawn, settings: Settings, channel: socket.socket) -> None:
        resources = self._resources
        launch = contract.Launch(
            settings=settings,
            channel=channel,
            worker=order.group,
            slot=order.slot,
            index=order.index,
            generation=order.generation,
            incarnation=handle.incarnation,
            store_url=resources.store_url,
            durability=resources.durability,
            stats=handle.row,
            listeners=resources.listeners.of(order.listeners),
            store_required=order.store_required,
            orphans=resources.record.orphans(),
        )
        workdir.enter_if_gone()
        title = fork.worker_title(order.slot, settings.master.name)
        handle.pid = fork.fork(launch, entry=self._entry, title=title, process=f"worker {order.slot}")

    def _ended(self, handle: WorkerHandle, status: int) -> None:
        fork.end_group(handle.pid)
        if handle.channel is not None:
            handle.channel.read_rest()
            handle.channel.close()
        code = os.waitstatus_to_exitcode(status)
        self._resources.record.remove(handle.incarnation, orderly=code == contract.ExitCode.DONE)
        self._decide(events.Exited(handle.number, code))
