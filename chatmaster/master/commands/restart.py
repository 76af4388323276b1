"""`chatctl restart`: ends all workers and executes the master's program again, after a check of what would start."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from chatmaster.config.loader import Loaded
from chatmaster.contract import Declares
from chatmaster.master.commands.command import CommandContext, ProgramCommand, Requester
from chatmaster.policy import events

log = logging.getLogger(__name__)


class Restart(ProgramCommand):
    """The command `restart`. It stays the current one until the master executes itself, and is answered afterwards."""

    kind = "restart"
    past = "restarted"

    def __init__(
        self, context: CommandContext, requesters: Sequence[Requester], *, refuse_waiting: Callable[[], None]
    ) -> None:
        """`refuse_waiting` answers those whose commands will not be run any more."""
        super().__init__(context, requesters)
        self.stopping = False  # the workers are being ended
        self._refuse_waiting = refuse_waiting

    def accept(self, loaded: Loaded, declared: Declares) -> None:
        log.info("restarting, as %s asked", self.who)
        self.stopping = True
        self._refuse_waiting()
        context = self._context
        context.master.decide(events.StopRequested(context.resources.settings.master.stop_timeout, restart=True))

    def advance(self) -> None:
        """The policy is asked for no operation."""
