"""Runs the operator's commands, asked by chatctl or by a signal: one at a time, in the order they were asked.

Reloads that wait are one. Each command goes through its own steps (`reload.py`, `restart.py`, `scale.py`, `upgrade.py`)
and ends with one answer to everybody who asked for it. A stop (`stop.py`) does not wait.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from chatmaster.contract import ExitCode
from chatmaster.errors import UsageError
from chatmaster.master import exec_state, upgrade_check
from chatmaster.master.commands.command import (
    CommandContext,
    OperatorCommand,
    ProgramCommand,
    Requester,
    SignalRequester,
)
from chatmaster.master.commands.outcome import CommandFailure
from chatmaster.master.commands.reload import Reload
from chatmaster.master.commands.restart import Restart
from chatmaster.master.commands.scale import Scale, signal_name
from chatmaster.master.commands.stop import Stop
from chatmaster.master.commands.upgrade import Upgrade
from chatmaster.master.control_server import CommandHandler, ControlPeer, ControlServer
from chatmaster.master.exec_state import CommandSnapshot, MasterProgram, MasterSnapshot
from chatmaster.policy.policy import ServerPhase

_STOPPING = "the server is stopping"


class CommandQueue:
    """The commands that wait, and the one that runs."""

    def __init__(self, context: CommandContext) -> None:
        self._context = context
        self._waiting: deque[OperatorCommand] = deque()
        self._current: OperatorCommand | None = None
        self.stop = Stop(context, abandon=self._abandon)
        self.failure: CommandFailure | None = None  # the last reload, upgrade or restart, where that failed

    def handlers(self) -> dict[str, CommandHandler]:
        """Return what the control socket calls, by the command's name."""
        return {
            "stop": self.stop.command,
            "restart": lambda peer, args: self._add(self._restart([peer])),
            "reload": lambda peer, args: self.reload(peer),
            "upgrade": self._upgrade_command,
            "scale": self._scale_command,
        }

    @property
    def state(self) -> str:
        """The state of the server, in a word."""
        phase = self._context.policy.phase
        if phase in (ServerPhase.STOPPING, ServerPhase.FINISHED):
            return "restarting" if self.restarting else "stopping"
        if phase in (ServerPhase.IDLE, ServerPhase.STARTING):
            return "starting"
        return self._current.activity if self._current is not None else "ready"

    @property
    def restarting(self) -> bool:
        """True once the workers are being ended for a restart."""
        return isinstance(self._current, Restart) and self._current.stopping

    @property
    def generation(self) -> int:
        """The highest generation that any command has begun."""
        return self._context.generation

    @property
    def scaled(self) -> frozenset[str]:
        """The groups whose count was changed by hand."""
        return frozenset(self._context.scaled)

    # ---- requests ----------------------------------------------------------------------------------

    def reload(self, requester: Requester | None = None) -> None:
        """Bring configuration and application up to date; without `requester`, SIGHUP asks."""
        who = requester or SignalRequester(Reload.signal)
        waiting = next((command for command in self._waiting if isinstance(command, Reload)), None)
        if waiting is not None:
            waiting.requesters.append(who)
        else:
            self._add(Reload(self._context, [who]))

    def scale(
        self, *, by: int = 0, to: int | None = None, worker: str = "", requester: Requester | None = None
    ) -> None:
        """Change the number of workers; without `requester`, a signal asks. See `Scale`."""
        who = requester or SignalRequester(signal_name(by))
        self._add(Scale(self._context, [who], to=to, by=by, worker=worker))

    def upgrade(self, requester: Requester | None = None, program: MasterProgram | None = None) -> None:
        """Replace the program in place; without `program`, by what is now at the path of this one."""
        who = requester or SignalRequester(Upgrade.signal)
        self._add(Upgrade(self._context, [who], program=program or exec_state.own_program()))

    def _restart(self, requesters: list[Requester]) -> Restart:
        return Restart(self._context, requesters, refuse_waiting=self._refuse_waiting)

    def _upgrade_command(self, peer: ControlPeer, args: Mapping[str, Any]) -> None:
        command, root = args.get("command"), args.get("root", "")
        if not isinstance(command, list) or not all(isinstance(word, str) for word in [*command, root]) or not command:
            raise UsageError("upgrade takes command: [PATH, …] and root: PATH")
        self.upgrade(peer, upgrade_check.requested_program(command, root, sys.argv[1:]))

    def _scale_command(self, peer: ControlPeer, args: Mapping[str, Any]) -> None:
        to, by = args.get("to"), args.get("by", 0)
        if not isinstance(by, int) or not isinstance(to, int | None):
            raise UsageError("scale takes to: N or by: N")
        self.scale(to=to, by=by, worker=str(args.get("worker") or ""), requester=peer)

    # ---- one after the other -----------------------------------------------------------------------

    def _add(self, command: OperatorCommand) -> None:
        if self._context.policy.phase in (ServerPhase.STOPPING, ServerPhase.FINISHED):
            _refuse(command)
            return
        self._waiting.append(command)
        self.advance()
        if any(one is command for one in self._waiting):
            before = f"{self._current.kind} to end" if self._current is not None else "the server to be ready"
            for requester in command.requesters:
                requester.progress(f"waiting for {before}")

    def advance(self) -> None:
        """Begin the next command, unless one runs or the server still starts."""
        if self._current is not None or not self._waiting or self._context.policy.phase is not ServerPhase.RUNNING:
            return
        self._current = self._waiting.popleft()
        self._current.begin(self._ended)

    def end_operation(self, operation: int, code: ExitCode, reason: str) -> None:
        """Take note that the policy has ended an operation."""
        if self._current is not None:
            self._current.end_operation(operation, code, reason)

    def _ended(self, command: OperatorCommand, code: int, reason: str) -> None:
        self._current = None
        if isinstance(command, ProgramCommand):
            done = code == ExitCode.DONE
            self.failure = None if done else CommandFailure(command.kind, reason, time.monotonic())
        # Not from within the policy's actions: what follows first has to be carried out.
        self._context.loop.call_later(0.0, self.advance)

    def _abandon(self) -> None:
        self._refuse_waiting()
        if self._current is not None:
            self._current.abandon(_STOPPING)

    def _refuse_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for command in waiting:
            _refuse(command)

    # ---- for the next image ------------------------------------------------------------------------

    def give_requesters_away(self) -> tuple[int, ...]:
        """Return descriptors of the connections that wait for the restart, for the next image to answer on."""
        return self._current.give_requesters_away() if self._current is not None else ()

    def snapshot(self) -> tuple[CommandSnapshot, ...]:
        """Return the commands that have not ended, the current one first."""
        return tuple(command.snapshot() for command in (self._current, *self._waiting) if command is not None)

    def restore(self, running: MasterSnapshot, control: ControlServer) -> None:
        """Go on with the commands of the image before this one; the upgrade is the first."""
        self._context.generation, self._context.scaled = running.generation, set(running.scaled)
        upgrade, *waiting = (self._restored(snapshot, control) for snapshot in running.jobs)
        self._waiting.extend(waiting)
        self._current = upgrade
        assert isinstance(upgrade, Upgrade)
        began = running.jobs[0].began or time.monotonic()
        upgrade.resume(self._ended, began=began, back=running.back, refused=running.refused)

    def _restored(self, snapshot: CommandSnapshot, control: ControlServer) -> OperatorCommand:
        peers: list[Requester] = [control.welcome(fd, asked=True) for fd in snapshot.peers]

        def and_signal(name: str) -> list[Requester]:
            return [*peers, *[SignalRequester(name)] * snapshot.signals]

        match snapshot.kind:
            case Reload.kind:
                return Reload(self._context, and_signal(Reload.signal))
            case Restart.kind:
                return self._restart(peers)
            case Scale.kind:
                requesters = and_signal(signal_name(snapshot.by))
                return Scale(self._context, requesters, to=snapshot.to, by=snapshot.by, worker=snapshot.worker)
            case _:
                return Upgrade(self._context, and_signal(Upgrade.signal), program=snapshot.program)


def _refuse(command: OperatorCommand) -> None:
    for requester in command.requesters:
        requester.fail(ExitCode.FAILED, _STOPPING)
