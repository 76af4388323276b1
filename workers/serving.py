"""The life of a worker: come up, serve, drain, go.

What the master says arrives here; what is built here is handed to the `Node`, through which the parts reach each
other.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
import traceback

from chatmaster import contract
from chatmaster.contract import ExitCode, Launch
from chatmaster.stats import Field, WorkerStats
from workers import parts
from workers.callbacks import CallbackApplication
from workers.channel import Channel
from workers.control import CONTROL_ROOM
from workers.drain import Drain
from workers.events import call
from workers.handover.incoming import Incoming
from workers.handover.outgoing import PATIENCE, Outgoing
from workers.heartbeat import Heartbeat
from workers.node import Node
from workers.queries import Queries
from workers.timer import TimerWheel
from workers.worker import Worker

logger = logging.getLogger(__name__)

DEAF_DRAIN = 2.0  # seconds to send the clients of a worker away that hears nothing


class Serving:
    """One worker process, from its first turn of the loop to its last."""

    def __init__(self, launch: Launch, worker: Worker) -> None:
        self._launch = launch
        self._node = Node(launch, worker)
        self._channel = Channel(launch.channel, receive=self._receive, lost=self._master_lost)
        self._queries = Queries(self._node, self._channel)
        self._early: list[tuple[contract.ToWorker, list[int]]] | None = []  # what came before this process was built
        self._giving: tuple[contract.HandOver, socket.socket] | None = None
        self._hurrying: asyncio.Future[contract.Drain] | None = None
        self._ending: asyncio.Future[contract.Drain] = self._node.loop.create_future()
        self._heartbeat = Heartbeat(launch.stats, self._copy_counters)
        self._node.on_deaf = self._deaf
        self._exit_code = ExitCode.DONE

    @classmethod
    async def run(cls, launch: Launch, worker: Worker) -> int:
        """Serve until the master says otherwise. Returns the exit code."""
        serving = cls(launch, worker)
        try:
            return await serving._live()
        except parts.StoreUnreachable as error:
            serving._fail(ExitCode.STORE_UNREACHABLE, str(error), "")
            return ExitCode.STORE_UNREACHABLE
        except Exception as error:
            text = "".join(traceback.format_exception(error))
            serving._fail(ExitCode.NOT_READY, f"the worker could not start: {error!r}", text)
            return ExitCode.NOT_READY

    async def _live(self) -> int:
        node, launch = self._node, self._launch
        launch.stats[Field.PID] = os.getpid()
        launch.stats[Field.GENERATION] = launch.generation
        launch.stats[Field.STARTED] = time.time_ns()
        self._heartbeat.start()
        TimerWheel(node.loop).install()
        await parts.build(node)
        node.worker.bind(node)
        node.application = (node.worker.application or _callbacks)(node.worker, node)
        node.hub.follow(CONTROL_ROOM, node.ordered)
        await node.application.start()
        await parts.listen(node)
        self._catch_up_with_master()
        launch.stats[Field.READY] = 1
        self._channel.send(contract.Ready())
        order = await self._ending
        await self._go(order)
        return self._exit_code

    async def _go(self, order: contract.Drain) -> None:
        self._launch.stats[Field.READY] = 0
        if self._giving is not None:
            await self._give_away(*self._giving)
        drain = Drain(self._node)
        final_order: contract.Drain | None = order
        while final_order is not None and final_order.graceful:
            final_order = await drain.wait(self._next_order())
        if final_order is not None:
            await drain.run(seconds=final_order.seconds, final=final_order.final)
        await self._node.application.stop()
        await parts.close(self._node)
        self._heartbeat.stop()
        self._channel.send(contract.Drained())

    async def _give_away(self, order: contract.HandOver, sock: socket.socket) -> None:
        """Hand the connections over; what is left is drained afterwards."""
        node = self._node
        node.stop_accepting()
        await call(node.worker.callbacks.get("worker_reload"), node.worker)
        outgoing = Outgoing(node, sock, peer=order.peer, ask_kill=self._ask_kill)
        node.transfers.append(outgoing)
        left = await outgoing.run(order.seconds, max(node.settings.master.drain_timeout, PATIENCE))
        node.transfers.remove(outgoing)
        if left:
            logger.warning("%d connections could not be handed over and are sent away", left)

    def _ask_kill(self, incarnation: str) -> None:
        self._channel.send(contract.KillPeer(incarnation))

    def _fail(self, code: ExitCode, reason: str, text: str) -> None:
        self._channel.send(contract.Failed(code, reason, text))

    # ---- told by the master ------------------------------------------------------------------------

    def _receive(self, message: contract.ToWorker, fds: list[int]) -> None:
        if self._early is not None and not isinstance(message, contract.Drain | contract.HandOver):
            self._early.append((message, fds))  # a sibling died meanwhile: its accept queue is ours, once we have one
            return
        match message:
            case contract.Drain():
                if not self._ending.done():
                    self._ending.set_result(message)
                elif self._hurrying is not None and not self._hurrying.done():
                    self._hurrying.set_result(message)
            case contract.HandOver():
                if not self._ending.done():
                    self._giving = message, socket.socket(fileno=fds[0])
                    drain_timeout = self._launch.settings.master.drain_timeout
                    self._ending.set_result(contract.Drain(seconds=min(message.seconds, drain_timeout)))
            case contract.TakeOver(peer):
                self._node.transfers.append(Incoming(self._node, socket.socket(fileno=fds[0]), peer=peer))
            case contract.Query():
                self._queries.ask(message)
            case contract.CancelQuery():
                self._queries.cancel(message.id)
            case contract.Adopt(address):
                listener = contract.Listener(address, socket.socket(fileno=fds[0]))
                self._node.tasks.start(parts.adopt(self._node, listener), what=f"adopt {address}")
            case contract.Reaped(incarnation):
                self._node.reaped(incarnation)
            case contract.ReopenLogs():
                reopen_logs()

    def _catch_up_with_master(self) -> None:
        early, self._early = self._early or [], None
        for message, fds in early:
            self._receive(message, fds)

    def _master_lost(self) -> None:
        # The kernel's own signal (PDEATHSIG) is on its way; this is for a master that closed its end only.
        logger.error("the master is gone: this worker ends")
        os.kill(os.getpid(), signal.SIGKILL)

    def _next_order(self) -> asyncio.Future[contract.Drain]:
        """What the master orders while clients are waited for: to wait no longer."""
        self._hurrying = self._node.loop.create_future()
        return self._hurrying

    def _deaf(self) -> None:
        # The master replaces a worker that ends with another code than 0 at once.
        self._exit_code = ExitCode.FAILED
        self._node.counters.replaced_deaf = 1
        if not self._ending.done():
            self._ending.set_result(contract.Drain(seconds=DEAF_DRAIN))

    # ---- counters ----------------------------------------------------------------------------------

    def _copy_counters(self, row: WorkerStats) -> None:
        parts.copy_counters(self._node, row)


def reopen_logs() -> None:
    """Have the handlers that write to a file open it again; the master's shell round this process installed them."""
    for handler in logging.getLogger().handlers:
        reopen = getattr(handler, "reopen", None)
        if reopen is not None:
            reopen()


def _callbacks(worker: Worker, node: Node) -> CallbackApplication:
    return CallbackApplication(node)
