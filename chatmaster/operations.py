"""What the operator asks of the running master: stop, restart, reload, scale; by chatctl or by signal.

Reload, scale and restart come one after the other, in the order they were asked; reloads that wait are one. Each
goes through its steps here (read the configuration, ask the application in a probe, then the policy) and ends with
one answer to everybody who asked for it.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from chatmaster import boot, changes, decisions, probe
from chatmaster.config import Loaded
from chatmaster.contract import ExitCode
from chatmaster.control_server import Peer
from chatmaster.errors import ChatmasterError, UsageError
from chatmaster.groups import Group, declarations, groups
from chatmaster.policy import Phase
from chatmaster.settings import Settings

if TYPE_CHECKING:
    from chatmaster.arbiter import Arbiter

log = logging.getLogger(__name__)


class Asker(Protocol):
    """Somebody who wants to know how it went."""

    def done(self, result: Mapping[str, Any] | None = None) -> None: ...
    def fail(self, exit_code: int, error: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Log:
    """Asks on behalf of a signal."""

    what: str

    def done(self, result: Mapping[str, Any] | None = None) -> None:
        log.info("%s: done", self.what)

    def fail(self, exit_code: int, error: str) -> None:
        log.error("%s failed: %s", self.what, error)


@dataclass(slots=True)
class _Job:
    kind: str  # reload, scale, restart
    askers: list[Asker]
    to: int | None = None
    by: int = 0
    worker: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    plan: _Plan | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a reload brings, once configuration and application are known to be good."""

    loaded: Loaded
    settings: Settings
    groups: tuple[Group, ...]


class Operations:
    """The queue of what was asked, and the one that goes on."""

    def __init__(self, arbiter: Arbiter) -> None:
        self.restarting = False
        self._arbiter = arbiter
        self._queue: deque[_Job] = deque()
        self._job: _Job | None = None
        self._number = 0
        self._generation = arbiter.policy.generation
        self._scaled: set[str] = set()  # groups whose count was changed by hand
        self._interrupted = False
        self._stop_askers: list[Peer] = []

    def commands(self) -> dict[str, Callable[[Peer, Mapping[str, Any]], None]]:
        """For the control socket."""
        return {
            "stop": self._stop_command,
            "restart": lambda peer, args: self._add(_Job("restart", [peer])),
            "reload": lambda peer, args: self.reload(peer),
            "upgrade": lambda peer, args: self.upgrade(peer),
            "scale": self._scale_command,
        }

    def state(self) -> str:
        """Of the server, in a word."""
        phase = self._arbiter.policy.phase
        if phase in (Phase.STOPPING, Phase.FINISHED):
            return "restarting" if self.restarting else "stopping"
        if phase in (Phase.IDLE, Phase.STARTING):
            return "starting"
        return "reloading" if self._job is not None and self._job.kind == "reload" else "ready"

    # ---- asked -------------------------------------------------------------------------------------

    def reload(self, asker: Asker | None = None) -> None:
        """Bring configuration and application up to date."""
        who = asker or _Log("reload")
        waiting = next((job for job in self._queue if job.kind == "reload"), None)
        if waiting is not None:
            waiting.askers.append(who)
        else:
            self._add(_Job("reload", [who]))

    def scale(self, *, by: int = 0, to: int | None = None, worker: str = "", asker: Asker | None = None) -> None:
        """Change the number of workers."""
        self._add(_Job("scale", [asker or _Log("scale")], to=to, by=by, worker=worker))

    def upgrade(self, asker: Asker | None = None) -> None:
        """Replace the program in place: not built yet."""
        (asker or _Log("upgrade")).fail(ExitCode.FAILED, "upgrade is not built yet; restart does it with a pause")

    def stop(self, *, graceful: bool = False, seconds: float | None = None) -> None:
        """End everything. `seconds` until what is left is killed; without it `stop_timeout`, graceful: for ever."""
        self.restarting = False
        if seconds is None and not graceful:
            seconds = self._arbiter.site.settings.master.stop_timeout
        self._end(seconds)

    def interrupt(self) -> None:
        """Ctrl-C: stop; the second time, at once."""
        if self._interrupted:
            self._arbiter.decide(decisions.HurryAsked())
        self._interrupted = True
        self.stop()

    def _stop_command(self, peer: Peer, args: Mapping[str, Any]) -> None:
        seconds = args.get("timeout")
        if seconds is not None and not isinstance(seconds, int | float):
            raise UsageError("timeout: a number of seconds")
        self._stop_askers.append(peer)
        self.stop(graceful=bool(args.get("graceful")), seconds=seconds)

    def _scale_command(self, peer: Peer, args: Mapping[str, Any]) -> None:
        to, by = args.get("to"), args.get("by", 0)
        if not isinstance(by, int) or not isinstance(to, int | None):
            raise UsageError("scale takes to: N or by: N")
        self.scale(to=to, by=by, worker=str(args.get("worker") or ""), asker=peer)

    # ---- answers -----------------------------------------------------------------------------------

    def ended(self, operation: int, code: ExitCode, reason: str) -> None:
        """The policy has come to the end of what it was asked."""
        job = self._job
        if job is None or operation != self._number:
            return
        if code is not ExitCode.DONE:
            self._fail(code, reason)
        elif job.plan is not None:
            self._reloaded(job.plan)
        else:
            self._done()

    def tell_stopped(self) -> None:
        """Everything has ended."""
        for peer in self._stop_askers:
            peer.done()

    def give_askers_away(self) -> tuple[int, ...]:
        """Who waits for the restart, for the next image to answer."""
        askers = self._job.askers if self._job is not None else []
        given = (asker.give_away() for asker in askers if isinstance(asker, Peer))
        return tuple(fd for fd in given if fd is not None)

    # ---- one after the other -----------------------------------------------------------------------

    def _add(self, job: _Job) -> None:
        phase = self._arbiter.policy.phase
        if phase in (Phase.STOPPING, Phase.FINISHED):
            for asker in job.askers:
                asker.fail(ExitCode.FAILED, "the server is stopping")
            return
        self._queue.append(job)
        self.next()

    def next(self) -> None:
        """Begin what waits, unless something goes on or the server still starts."""
        if self._job is not None or not self._queue or self._arbiter.policy.phase is not Phase.RUNNING:
            return
        self._job = self._queue.popleft()
        try:
            if self._job.kind == "scale":
                self._begin_scaling(self._job)
            else:
                self._begin_reading(self._job)
        except (ChatmasterError, OSError) as error:
            self._fail(getattr(error, "exit_code", ExitCode.FAILED), str(error))

    def _done(self) -> None:
        self._finish(lambda asker, job: asker.done(job.result))

    def _fail(self, code: int, reason: str) -> None:
        self._finish(lambda asker, _: asker.fail(code, reason))

    def _finish(self, answer: Callable[[Asker, _Job], None]) -> None:
        job, self._job = self._job, None
        if job is None:
            return
        if job.kind == "reload" and self._arbiter.policy.phase is Phase.RUNNING:
            self._arbiter.notifier.ready(self._arbiter.summary())
        for asker in job.askers:
            answer(asker, job)
        # Not from within the policy's actions: what follows first has to be carried out.
        self._arbiter.reactor.call_later(0.0, self.next)

    # ---- reload and restart ------------------------------------------------------------------------

    def _begin_reading(self, job: _Job) -> None:
        """Both begin by seeing that what they would start is good."""
        arbiter = self._arbiter
        arbiter.notifier.reloading(job.kind)
        loaded = arbiter.site.loaded.reload()
        settings, _ = changes.reloaded(arbiter.site.settings, boot.effective_settings(loaded))
        asking = probe.Asking(
            arbiter.reactor,
            settings,
            arbiter.entry,
            lambda answer: self._application_answered(job, loaded, answer),
        )
        arbiter.reaper.expect(asking.pid, lambda status: asking.exited(os.waitstatus_to_exitcode(status)))

    def _application_answered(self, job: _Job, loaded: Loaded, answer: probe.Answer) -> None:
        if self._job is not job:
            return  # the server stops meanwhile
        try:
            declared = probe.declared(answer)
            loaded = loaded.declare(declarations(declared.workers), loaded.settings.server.app)
            if job.kind == "restart":
                self.restarting = True
                self._end(self._arbiter.site.settings.master.stop_timeout)
            else:
                self._roll(job, loaded, groups(declared.workers, loaded.settings, loaded.origins))
        except ChatmasterError as error:
            self._fail(error.exit_code, str(error))

    def _roll(self, job: _Job, loaded: Loaded, new: tuple[Group, ...]) -> None:
        site = self._arbiter.site
        settings, stay = changes.reloaded(site.settings, boot.effective_settings(loaded))
        names = [group.name for group in site.groups]
        if sorted(group.name for group in new) != sorted(names):
            raise ChatmasterError(
                f"the program now declares {', '.join(group.name for group in new)} instead of {', '.join(names)}: "
                "that needs a restart"
            )
        self._generation += 1
        job.plan = _Plan(loaded, settings, new)
        job.result = {"generation": self._generation, "needs_restart": list(stay)}
        self._arbiter.settings_of[self._generation] = settings
        self._number += 1
        timing = decisions.Timing.of(settings)
        self._arbiter.decide(decisions.ReloadAsked(self._number, self._generation, timing))

    def _reloaded(self, plan: _Plan) -> None:
        """Every slot runs the new generation; what is left are the counts, unless they were changed by hand."""
        site = self._arbiter.site
        if site.loaded is not plan.loaded:
            site.loaded, site.settings = plan.loaded, plan.settings
            self._arbiter.forget_settings()
            self._arbiter.reconfigure_log()
        counts = self._arbiter.policy.counts
        for group in plan.groups:
            if group.name not in self._scaled and counts[group.name] != group.count:
                self._resize(group.name, group.count)
                return
        self._done()

    # ---- scaling and the end -----------------------------------------------------------------------

    def _begin_scaling(self, job: _Job) -> None:
        counts = self._arbiter.policy.counts
        name = job.worker or next(iter(counts))
        if name not in counts or (not job.worker and len(counts) > 1 and isinstance(job.askers[0], Peer)):
            raise UsageError(f"which Worker? This program has {', '.join(counts)}")
        count = counts[name] + job.by if job.to is None else job.to
        self._scaled.add(name)
        total = sum(counts.values()) - counts[name] + count
        job.result = {"worker": name, "workers": total}
        self._resize(name, count)

    def _resize(self, name: str, count: int) -> None:
        self._number += 1
        self._arbiter.decide(decisions.ScaleAsked(self._number, name, count))

    def _end(self, seconds: float | None) -> None:
        waiting, self._queue = self._queue, deque()
        for job in waiting:
            for asker in job.askers:
                asker.fail(ExitCode.FAILED, "the server is stopping")
        if not self.restarting:
            self._fail(ExitCode.FAILED, "the server is stopping")
            self._arbiter.notifier.stopping("stopping")
        self._arbiter.decide(decisions.StopAsked(seconds, restart=self.restarting))
