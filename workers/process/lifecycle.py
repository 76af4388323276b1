"""The life of a worker: start, serve, drain, end.

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
from contextvars import copy_context
from types import CodeType

from chatmaster import contract
from chatmaster.contract import ExitCode, Launch
from chatmaster.stats import Field, WorkerStats
from workers.callbacks.application import CallbackApplication, call
from workers.handover.handover import Handover
from workers.handover.receiver import Receiver
from workers.node.node import Node
from workers.process import composition
from workers.process.admin_queries import Queries
from workers.process.asgi_lifecycle import Lifespan, RequestDrain
from workers.process.debugger import Debugger
from workers.process.drain import DrainProcedure
from workers.process.forked import Forks, end_children
from workers.process.heartbeat import Heartbeat
from workers.process.host_member import HostMember
from workers.process.master_channel import MasterChannel
from workers.process.watcher import BLOCKED_AFTER, BLOCKED_AFTER_IN_DEVELOPMENT, Watcher
from workers.timer import TimerWheel
from workers.verbs.http_api import HttpApi
from workers.verbs.service import VerbService
from workers.worker import Worker

logger = logging.getLogger(__name__)

DEAF_DRAIN = 2.0  # seconds to drain a worker that receives nothing from the store and that the master does not replace
DEAF_CALLS = 3  # requests for replacement, 20 s apart, before the worker ends by itself
RELOAD_TIMEOUT = 2.0  # seconds for on_worker_reload: the clients wait


class Lifecycle:
    """One worker process, from its first turn of the loop to its last."""

    _watcher: Watcher
    _verbs: VerbService
    _member: HostMember

    def __init__(self, launch: Launch, worker: Worker, forks: Forks) -> None:
        self._launch = launch
        self._node = Node(launch, worker)
        self._forks = forks
        # Before anything is registered with the loop: whatever it calls, for connections that come from another
        # worker too, has this context.
        TimerWheel(self._node.loop, self._node.tasks, self._node.counters).install()
        self._node.context = copy_context()
        self._channel = MasterChannel(launch.channel, receive=self._receive, lost=self._master_lost)
        self._queries = Queries(self._node, self._channel)
        self._early: list[tuple[contract.ToWorker, list[int]]] | None = []  # what arrived before the node was built
        self._giving: Handover | None = None
        self._order: contract.Drain | None = None  # the master's latest order to drain
        self._told = asyncio.Event()  # set by each order to drain
        self._lifespan: Lifespan | None = None
        self._was_ready = False
        self._going = False
        self._reloading = False
        self._asked_for_replacement = 0
        self._heartbeat = Heartbeat(launch.stats, self._copy_counters)
        self._node.on_deaf = self._deaf
        self._exit_code = ExitCode.DONE

    @classmethod
    async def run(cls, launch: Launch, worker: Worker, forks: Forks, base: CodeType, debugger: Debugger) -> int:
        """Serve until the master orders the end. Returns the exit code; `base` is the function that runs the loop."""
        serving = cls(launch, worker, forks)
        blocked_after = BLOCKED_AFTER_IN_DEVELOPMENT if launch.settings.server.dev else BLOCKED_AFTER
        serving._watcher = Watcher(serving._node.counters, base, debugger, blocked_after)
        try:
            return await serving._live()
        except composition.StoreNotReached as error:
            serving._fail(ExitCode.STORE_UNREACHABLE, str(error), "")
            return ExitCode.STORE_UNREACHABLE
        except BaseException as error:  # application code runs here and may raise anything
            text = "".join(traceback.format_exception(error))
            code, reason = _why(error, was_ready=serving._was_ready)
            serving._fail(code, reason, text)
            return code

    async def _live(self) -> int:
        node, launch = self._node, self._launch
        launch.stats[Field.PID] = os.getpid()
        launch.stats[Field.GENERATION] = launch.generation
        launch.stats[Field.STARTED] = time.time_ns()
        self._heartbeat.start()
        await composition.build(node)
        self._forks.store = node.bus.descriptors
        node.worker.bind(node)
        node.application = (node.worker.application or _callbacks)(node.worker, node)
        node.follow_orders()
        await node.application.start()
        self._verbs = VerbService(node)
        await self._verbs.start()
        api = node.settings.api
        node.routes = HttpApi(self._verbs).routes() if api.public else ()
        node.api_routes = HttpApi(self._verbs, keyless=api.listen.startswith("unix:")).routes()
        self._queries.verbs = self._verbs
        self._member = self._queries.member = HostMember(node, self._channel.send)
        await self._member.start()
        node.why_not_welcome = lambda: self._member.why_not_ready
        await call(node.worker.callbacks.get("worker_start"), node.worker)
        await self._start_program()
        self._keep_log()
        await composition.listen(node, self._forks)
        self._catch_up_with_master()
        launch.stats[Field.READY] = 1
        self._watcher.start()
        self._was_ready = True
        self._channel.send(contract.Ready())
        await self._told.wait()
        await self._go()
        return self._exit_code

    async def _start_program(self) -> None:
        """Start the lifespan of the program's ASGI application, if there is one. Raises LifespanFailed."""
        if self._node.worker.http is not None:
            self._lifespan = Lifespan(self._node.worker.http)
            self._node.http_state = self._lifespan.state
            await self._lifespan.start()

    def _request_seconds(self) -> float | None:
        """How long HTTP requests that are under way may take, as the last order says."""
        if self._order is None:
            return self._launch.settings.master.drain_timeout
        return None if self._order.graceful else self._order.seconds

    async def _go(self) -> None:
        self._going = True
        self._launch.stats[Field.READY] = 0
        for transfer in self._node.transfers:
            transfer.decline()
        drain = DrainProcedure(self._node, self._told)
        self._node.stop_accepting()
        requests = RequestDrain(self._node, self._request_seconds)
        if self._reloading:
            await self._reload_callback()
        if self._giving is not None:
            await self._give()
        while not await self._send_away(drain):
            """Superseded by a newer order."""
        await requests.finish()
        if self._lifespan is not None:
            await self._lifespan.stop()
        await self._member.stop(final=self._order is not None and self._order.final)
        await self._verbs.stop()
        await self._stop_callback()
        await self._node.application.stop()
        await end_children()
        await composition.close(self._node)
        self._watcher.stop()
        self._heartbeat.stop()
        self._channel.send(contract.Drained())

    async def _give(self) -> None:
        """Hand the connections over. After a bug the remaining clients are closed and reconnect."""
        assert self._giving is not None
        try:
            await self._giving.run()
        except Exception:
            logger.exception("the handover failed: the remaining clients are closed and reconnect")

    async def _send_away(self, drain: DrainProcedure) -> bool:
        """Carry out the last order; return False if a newer order arrived before it was done."""
        order = self._order
        if order is None:  # connections that could not be handed over
            seconds = self._giving.seconds if self._giving is not None else 0.0
            order = contract.Drain(seconds=min(seconds, self._launch.settings.master.drain_timeout))
        self._told.clear()
        if order.graceful:
            return await drain.wait()
        return await drain.run(seconds=order.seconds, final=order.final)

    async def _reload_callback(self) -> None:
        """Call on_worker_reload; a bug closes no connection and does not stop the reload."""
        try:
            callback = self._node.worker.callbacks.get("worker_reload")
            await asyncio.wait_for(call(callback, self._node.worker), RELOAD_TIMEOUT)
        except TimeoutError:
            self._node.counters.callback_errors += 1
            logger.error("on_worker_reload takes longer than %.0f s: the reload does not wait", RELOAD_TIMEOUT)
        except BaseException:
            self._node.counters.callback_errors += 1
            logger.exception("on_worker_reload failed; the reload continues")

    async def _stop_callback(self) -> None:
        try:
            await call(self._node.worker.callbacks.get("worker_stop"), self._node.worker)
        except BaseException:  # the server never cancels this task: the worker still ends in order
            self._node.counters.callback_errors += 1
            logger.exception("on_worker_stop failed; the worker still ends")

    def _keep_log(self) -> None:
        if self._launch.log is not None:
            self._launch.log.keep()

    def _ask_kill(self, incarnation: str) -> None:
        self._channel.send(contract.KillPeer(incarnation))

    def _fail(self, code: ExitCode, reason: str, text: str) -> None:
        self._channel.send(contract.Failed(code, reason, text))

    # ---- called by the master ----------------------------------------------------------------------

    def _receive(self, message: contract.ToWorker, fds: list[int]) -> None:
        if self._early is not None and not isinstance(message, contract.Drain | contract.HandOver):
            self._early.append((message, fds))  # a sibling died: its listeners are adopted once the node is built
            return
        match message:
            case contract.Drain():
                self._drain(message)
            case contract.HandOver():
                self._hand_over(message, socket.socket(fileno=fds[0]))
            case contract.TakeOver(peer):
                incoming = Receiver(self._node, socket.socket(fileno=fds[0]), peer=peer)
                self._node.transfer_began(incoming)
                if self._going:
                    incoming.decline()
            case contract.Query():
                self._queries.start(message)
            case contract.CancelQuery():
                self._queries.cancel(message.id)
            case contract.Adopt(address):
                listener = contract.Listener(address, socket.socket(fileno=fds[0]))
                self._node.tasks.start(composition.adopt(self._node, listener, self._forks), what=f"adopt {address}")
            case contract.Reaped(incarnation):
                self._node.on_reaped(incarnation)
            case contract.ReopenLogs():
                self._reopen_logs()

    def _drain(self, order: contract.Drain) -> None:
        """Drain: close the clients. This ends a handover and replaces an earlier drain."""
        self._order = order
        self._reloading = self._reloading or order.reload
        if self._giving is not None:
            self._giving.stop()
        self._told.set()

    def _hand_over(self, order: contract.HandOver, sock: socket.socket) -> None:
        """The master names a worker that takes the connections over, the first or the next after a death."""
        if self._order is not None:
            sock.close()
            return
        self._reloading = self._reloading or order.reload
        if self._giving is None:
            self._giving = Handover(self._node, self._ask_kill)
        self._giving.add_receiver(order, sock)
        self._told.set()

    def _reopen_logs(self) -> None:
        if self._launch.log is None:
            return
        try:
            self._launch.log.reopen()
        except OSError as error:
            logger.error("the log could not be opened again: %s", error.strerror)

    def _catch_up_with_master(self) -> None:
        early, self._early = self._early or [], None
        for message, fds in early:
            self._receive(message, fds)

    def _master_lost(self) -> None:
        # PDEATHSIG covers the death of the master; this covers a master that only closed the channel.
        logger.error("the master is gone: this worker ends")
        os.kill(os.getpid(), signal.SIGKILL)

    def _deaf(self) -> None:
        """Ask for a new process, which takes the connections over unless the master cannot start it."""
        self._asked_for_replacement += 1
        if self._going:
            return
        self._node.counters.replaced_deaf = 1
        if self._asked_for_replacement <= DEAF_CALLS:
            self._channel.send(contract.Replace("it hears nothing from a store that answers others"))
            return
        # The master at once replaces a worker that exits with a code other than 0.
        self._exit_code = ExitCode.FAILED
        self._drain(contract.Drain(seconds=DEAF_DRAIN))

    # ---- counters ----------------------------------------------------------------------------------

    def _copy_counters(self, row: WorkerStats) -> None:
        self._keep_log()
        composition.copy_counters(self._node, row)


def _callbacks(worker: Worker, node: Node) -> CallbackApplication:
    return CallbackApplication(node)


def _why(error: BaseException, *, was_ready: bool) -> tuple[ExitCode, str]:
    """The exit code, and the reason in words, of a worker that cannot start."""
    if not was_ready:
        return ExitCode.NOT_READY, f"the worker could not start: {error!r}"
    if isinstance(error, asyncio.CancelledError):
        return ExitCode.FAILED, "application code cancelled the worker's own tasks, as by asyncio.all_tasks()"
    return ExitCode.FAILED, f"the worker failed: {error!r}"
