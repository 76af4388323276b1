"""`chatctl stop`, SIGTERM, SIGQUIT and Ctrl-C: ends the server, at once or when the clients have left by themselves.

A stop waits for no other command: it begins when it is asked, and ends those that wait or run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from chatmaster.errors import UsageError
from chatmaster.master.commands.command import CommandContext
from chatmaster.master.control_server import ControlPeer
from chatmaster.plural import counted
from chatmaster.policy import events
from chatmaster.runtime.event_loop import LoopTimer

log = logging.getLogger(__name__)


class Stop:
    """The end of the server, however often it is asked for."""

    def __init__(self, context: CommandContext, *, abandon: Callable[[], None]) -> None:
        """`abandon` ends all commands that wait or run."""
        self._context = context
        self._abandon = abandon
        self._requesters: list[ControlPeer] = []
        self._interrupted = False
        self._patience: LoopTimer | None = None  # of a graceful stop

    def command(self, peer: ControlPeer, args: Mapping[str, Any]) -> None:
        """The command `stop` of the control socket. Raises UsageError."""
        seconds = args.get("timeout")
        if seconds is not None and not isinstance(seconds, int | float):
            raise UsageError("timeout: a number of seconds")
        self._requesters.append(peer)
        self.stop("chatctl", graceful=bool(args.get("graceful")), seconds=seconds)

    def interrupt(self) -> None:
        """Ctrl-C: stop; the second time, at once."""
        if self._interrupted:
            self._context.master.decide(events.HurryRequested())
        self._interrupted = True
        self.stop("SIGINT")

    def stop(self, who: str, *, graceful: bool = False, seconds: float | None = None) -> None:
        """End the server, as `who` asks. Workers that are left after `seconds` are killed; default: `stop_timeout`.

        A graceful stop gives the clients `seconds`, or any time, to leave by themselves before the usual stop begins.
        """
        context = self._context
        connections = context.supervisor.connections
        what = "waiting until they have left" if graceful else "sending them away"
        clients = f": {counted(connections, 'connection')}, {what}" if connections else ""
        log.info("stopping, as %s asked%s", who, clients)
        if self._patience is not None:
            self._patience.cancel()
        usual = context.resources.settings.master.stop_timeout
        if graceful and seconds is not None:
            self._patience = context.loop.call_later(seconds, lambda: self._begin(usual))
        self._begin(None if graceful else usual if seconds is None else seconds)

    def answer(self) -> None:
        """Answer those who asked: everything has ended."""
        log.info("stopped")
        for peer in self._requesters:
            peer.done()

    def _begin(self, seconds: float | None) -> None:
        self._abandon()
        self._context.notifier.stopping("stopping")
        self._context.master.decide(events.StopRequested(seconds))
