"""`chatctl reload`: brings configuration and application up to date, one worker after the other.

`RollingCommand` has the steps, because an upgrade takes the same ones once the master is the new program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatmaster.config import diff
from chatmaster.config.groups import Group, check_names, groups
from chatmaster.config.loader import Loaded
from chatmaster.contract import Declares
from chatmaster.master import boot
from chatmaster.master.commands.command import CommandContext, ProgramCommand, Requester
from chatmaster.policy import events
from chatmaster.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reload brings, once configuration and application are known to be good."""

    loaded: Loaded
    settings: Settings
    groups: tuple[Group, ...]


class RollingCommand(ProgramCommand):
    """Brings every slot to a new generation, then the counts of workers to what the configuration says."""

    def __init__(self, context: CommandContext, requesters: Sequence[Requester]) -> None:
        super().__init__(context, requesters)
        self._plan: Plan | None = None

    def accept(self, loaded: Loaded, declared: Declares) -> None:
        context = self._context
        resources = context.resources
        new = groups(declared.workers, loaded.settings, loaded.origins)
        check_names(new, resources.groups)
        settings, stay = diff.after_reload(resources.settings, boot.effective_settings(loaded))
        context.generation += 1
        generation = context.generation
        self._plan = Plan(loaded, settings, new)
        self.result |= {
            "generation": generation,
            "needs_restart": [*stay, *diff.moved_addresses(resources.groups, new)],
        }
        context.master.use_settings(generation, settings)
        self.ask_policy(lambda operation: events.ReloadRequested(operation, generation, events.Timing.of(settings)))

    def advance(self) -> None:
        """Every slot runs the new generation; what is left are the counts, unless they were changed by hand."""
        plan, context = self._plan, self._context
        assert plan is not None
        if context.resources.loaded is not plan.loaded:
            context.master.reconfigure(plan.loaded, plan.settings)
        counts = context.policy.counts
        open_groups = (group for group in plan.groups if group.name not in context.scaled)
        group = next((group for group in open_groups if counts[group.name] != group.count), None)
        if group is not None:
            self.ask_policy(lambda operation: events.ScaleRequested(operation, group.name, group.count))
        else:
            self.finish(generation=context.policy.generation, version=self.result.get("version", ""))


class Reload(RollingCommand):
    """The command `reload`, and SIGHUP."""

    kind = "reload"
    past = "reloaded"
    activity = "reloading"
    signal = "SIGHUP"
