"""What the operator asks of the running master: stop, restart, reload, scale; by chatctl or by signal.

Reload, scale and restart come one after the other, in the order they were asked; reloads that wait are one. Each
goes through its steps here (read the configuration, ask the application in a probe, then the policy) and ends with
one answer to everybody who asked for it.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from chatmaster import __version__
from chatmaster.config import diff
from chatmaster.config.groups import Group, check_names, declarations, groups
from chatmaster.config.loader import Loaded
from chatmaster.contract import ExitCode
from chatmaster.errors import ApplicationError, ChatmasterError, UsageError
from chatmaster.master import app_probe, boot, exec_state, takeover, upgrade_check
from chatmaster.master.commands import outcome
from chatmaster.master.commands.jobs import Failure, Job, Plan, Requester, signal_for
from chatmaster.master.control_server import ControlPeer
from chatmaster.master.exec_state import CommandSnapshot, MasterProgram, MasterSnapshot
from chatmaster.plural import counted
from chatmaster.policy import events
from chatmaster.policy.policy import ServerPhase
from chatmaster.runtime import workdir
from chatmaster.runtime.event_loop import Timer

if TYPE_CHECKING:
    from chatmaster.master.arbiter import Arbiter

log = logging.getLogger(__name__)

_DOING: Final = {"reload": "reloading", "upgrade": "upgrading"}
_LEAVING: Final = 60.0  # seconds for workers that are on their way out before an upgrade
_LOOK_AGAIN: Final = 0.05  # seconds


class CommandQueue:
    """The queue of what was asked, and the one that goes on."""

    def __init__(self, arbiter: Arbiter) -> None:
        self.restarting = False
        self._visit: workdir.Visit | None = None
        self._arbiter = arbiter
        self._queue: deque[Job] = deque()
        self._job: Job | None = None
        self._number = 0
        self.highest = arbiter.policy.generation  # that was ever begun
        self.scaled: set[str] = set()  # groups whose count was changed by hand
        self._interrupted = False
        self._stop_askers: list[ControlPeer] = []
        self._patience: Timer | None = None  # of a graceful stop
        self.failure: Failure | None = None  # the last reload, upgrade or restart, where that failed

    def commands(self) -> dict[str, Callable[[ControlPeer, Mapping[str, Any]], None]]:
        """For the control socket."""
        return {
            "stop": self._stop_command,
            "restart": lambda peer, args: self._add(Job("restart", [peer])),
            "reload": lambda peer, args: self.reload(peer),
            "upgrade": self._upgrade_command,
            "scale": self._scale_command,
        }

    def state(self) -> str:
        """Of the server, in a word."""
        phase = self._arbiter.policy.phase
        if phase in (ServerPhase.STOPPING, ServerPhase.FINISHED):
            return "restarting" if self.restarting else "stopping"
        if phase in (ServerPhase.IDLE, ServerPhase.STARTING):
            return "starting"
        return _DOING.get(self._job.kind, "ready") if self._job is not None else "ready"

    # ---- asked -------------------------------------------------------------------------------------

    def reload(self, asker: Requester | None = None) -> None:
        """Bring configuration and application up to date."""
        who = asker or signal_for("reload")
        waiting = next((job for job in self._queue if job.kind == "reload"), None)
        if waiting is not None:
            waiting.askers.append(who)
        else:
            self._add(Job("reload", [who]))

    def scale(self, *, by: int = 0, to: int | None = None, worker: str = "", asker: Requester | None = None) -> None:
        """Change the number of workers."""
        self._add(Job("scale", [asker or signal_for("scale", by)], to=to, by=by, worker=worker))

    def upgrade(self, asker: Requester | None = None, program: MasterProgram | None = None) -> None:
        """Replace the program in place; without `program` by what is now where ours came from."""
        who = asker or signal_for("upgrade")
        self._add(Job("upgrade", [who], program=program or exec_state.own_program()))

    def stop(self, who: str, *, graceful: bool = False, seconds: float | None = None) -> None:
        """End everything, as `who` asks. `seconds` until what is left is killed; without it `stop_timeout`.

        Graceful: the clients have `seconds` to leave by themselves, or for ever; who is left is sent away as usual.
        """
        self.restarting = False
        open_now = self._arbiter.supervisor.connections
        what = "waiting until they have left" if graceful else "sending them away"
        log.info("stopping, as %s asked%s", who, f": {counted(open_now, 'connection')}, {what}" if open_now else "")
        if self._patience is not None:
            self._patience.cancel()
        usual = self._arbiter.site.settings.master.stop_timeout
        if graceful and seconds is not None:
            self._patience = self._arbiter.reactor.call_later(seconds, lambda: self._end(usual))
        self._end(None if graceful else usual if seconds is None else seconds)

    def interrupt(self) -> None:
        """Ctrl-C: stop; the second time, at once."""
        if self._interrupted:
            self._arbiter.decide(events.HurryAsked())
        self._interrupted = True
        self.stop("SIGINT")

    def _stop_command(self, peer: ControlPeer, args: Mapping[str, Any]) -> None:
        seconds = args.get("timeout")
        if seconds is not None and not isinstance(seconds, int | float):
            raise UsageError("timeout: a number of seconds")
        self._stop_askers.append(peer)
        self.stop("chatctl", graceful=bool(args.get("graceful")), seconds=seconds)

    def _upgrade_command(self, peer: ControlPeer, args: Mapping[str, Any]) -> None:
        command, root = args.get("command"), args.get("root", "")
        if not isinstance(command, list) or not all(isinstance(word, str) for word in [*command, root]) or not command:
            raise UsageError("upgrade takes command: [PATH, …] and root: PATH")
        self.upgrade(peer, upgrade_check.chosen(command, root, sys.argv[1:]))

    def _scale_command(self, peer: ControlPeer, args: Mapping[str, Any]) -> None:
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
        log.info("stopped")
        for peer in self._stop_askers:
            peer.done()

    def give_askers_away(self) -> tuple[int, ...]:
        """Who waits for the restart, for the next image to answer."""
        askers = self._job.askers if self._job is not None else []
        given = (asker.give_away() for asker in askers if isinstance(asker, ControlPeer))
        return tuple(fd for fd in given if fd is not None)

    # ---- one after the other -----------------------------------------------------------------------

    def _add(self, job: Job) -> None:
        phase = self._arbiter.policy.phase
        if phase in (ServerPhase.STOPPING, ServerPhase.FINISHED):
            for asker in job.askers:
                asker.fail(ExitCode.FAILED, "the server is stopping")
            return
        self._queue.append(job)
        self.next()
        if any(one is job for one in self._queue):
            before = f"{self._job.kind} to end" if self._job is not None else "the server to be ready"
            for asker in job.askers:
                asker.progress(f"waiting for {before}")

    def next(self) -> None:
        """Begin what waits, unless something goes on or the server still starts."""
        if self._job is not None or not self._queue or self._arbiter.policy.phase is not ServerPhase.RUNNING:
            return
        self._job = self._queue.popleft()
        self._job.began, self._job.moves = time.monotonic(), self._arbiter.supervisor.moves()
        try:
            if self._job.kind == "scale":
                self._begin_scaling(self._job)
            elif self._job.kind == "upgrade":
                self._begin_rehearsal(self._job)
            else:
                self._begin_reading(self._job)
        except (ChatmasterError, OSError) as error:
            self._fail(getattr(error, "exit_code", ExitCode.FAILED), str(error))

    def _done(self) -> None:
        job, policy = self._job, self._arbiter.policy
        if job is not None:
            told = outcome.sentence(
                job.kind,
                job.who,
                workers=sum(policy.counts.values()),
                generation=policy.generation,
                seconds=time.monotonic() - job.began,
                moves=self._arbiter.supervisor.moves().since(job.moves),
                version=__version__,
            )
            log.info("%s", told)
            if job.kind != "scale":
                self.failure = None
        self._finish(lambda asker, job: asker.done(job.result))

    def _fail(self, code: int, reason: str) -> None:
        job = self._job
        if job is not None and job.kind == "upgrade" and job.upgraded and job.program is not None:
            program, job.program = job.program, None
            log.error("upgrade: %s; back to the old program", reason)
            self._become(job, program, time.monotonic() + _LEAVING, refused=reason)
            return
        if self._visit is not None:
            self._visit.go_back()
        if job is not None:
            log.error("%s failed, as %s asked: %s", job.kind, job.who, reason)
            if job.kind != "scale":
                self.failure = Failure(job.kind, reason, time.monotonic())
        self._finish(lambda asker, _: asker.fail(code, reason))

    def _finish(self, answer: Callable[[Requester, Job], None]) -> None:
        job, self._job = self._job, None
        if self._visit is not None:
            self._visit.stay()
            self._visit = None
        if job is None:
            return
        if job.kind != "scale" and self._arbiter.policy.phase is ServerPhase.RUNNING:
            # A supervisor that was told of a reload waits for its end, also where a restart came to nothing.
            self._arbiter.notifier.ready(self._arbiter.summary())
        elif job.kind == "scale":
            self._arbiter.notifier.status(self._arbiter.summary())
        for asker in job.askers:
            answer(asker, job)
        # Not from within the policy's actions: what follows first has to be carried out.
        self._arbiter.reactor.call_later(0.0, self.next)

    # ---- reload and restart ------------------------------------------------------------------------

    def _begin_reading(self, job: Job) -> None:
        """Both begin by seeing that what they would start is good."""
        arbiter = self._arbiter
        arbiter.notifier.reloading(job.kind)
        self._visit = workdir.Visit()
        loaded = arbiter.site.loaded.reload()
        settings, _ = diff.after_reload(arbiter.site.settings, boot.effective_settings(loaded))
        asking = app_probe.ProbeProcess(
            arbiter.reactor,
            settings,
            arbiter.entry,
            lambda answer: self._application_answered(job, loaded, answer),
        )
        arbiter.reaper.expect(asking.pid, lambda status: asking.exited(os.waitstatus_to_exitcode(status)))

    def _application_answered(self, job: Job, loaded: Loaded, answer: app_probe.Answer) -> None:
        if self._job is not job:
            return  # the server stops meanwhile
        try:
            declared = app_probe.declared(answer)
            loaded = loaded.declare(declarations(declared.workers), loaded.settings.server.app)
            if job.kind == "restart":
                log.info("restarting, as %s asked", job.who)
                self.restarting = True
                self._end(self._arbiter.site.settings.master.stop_timeout)
            else:
                new = groups(declared.workers, loaded.settings, loaded.origins)
                check_names(new, self._arbiter.site.groups)
                self._roll(job, loaded, new)
        except ChatmasterError as error:
            self._fail(error.exit_code, str(error))

    def _roll(self, job: Job, loaded: Loaded, new: tuple[Group, ...]) -> None:
        site = self._arbiter.site
        settings, stay = diff.after_reload(site.settings, boot.effective_settings(loaded))
        self.highest += 1
        job.plan = Plan(loaded, settings, new)
        job.result |= {"generation": self.highest, "needs_restart": [*stay, *diff.moved_addresses(site.groups, new)]}
        self._arbiter.settings_of[self.highest] = settings
        self._number += 1
        timing = events.Timing.of(settings)
        self._arbiter.decide(events.ReloadAsked(self._number, self.highest, timing))

    def _reloaded(self, plan: Plan) -> None:
        """Every slot runs the new generation; what is left are the counts, unless they were changed by hand."""
        site = self._arbiter.site
        if site.loaded is not plan.loaded:
            site.loaded, site.settings = plan.loaded, plan.settings
            self._arbiter.forget_settings()
            self._arbiter.reconfigure()
        counts = self._arbiter.policy.counts
        for group in plan.groups:
            if group.name not in self.scaled and counts[group.name] != group.count:
                self._resize(group.name, group.count)
                return
        self._done()

    # ---- upgrade -----------------------------------------------------------------------------------

    def _begin_rehearsal(self, job: Job) -> None:
        """See in a child that the new program can go on where we leave off."""
        arbiter, program = self._arbiter, job.program
        assert program is not None
        arbiter.notifier.reloading(job.kind)
        self._visit = workdir.Visit()
        patience = arbiter.site.settings.master.ready_timeout + upgrade_check.PATIENCE

        def done(report: upgrade_check.Report | None, error: ChatmasterError | None) -> None:
            if self._job is not job:
                return  # the server stops meanwhile
            if error is not None:
                self._fail(error.exit_code, str(error))
                return
            if report is not None:
                log.info("upgrade: chatmaster %s can go on from here, and takes over", report.version)
            self._become(job, program, time.monotonic() + _LEAVING)

        try:
            trial = upgrade_check.Rehearsal(arbiter.reactor, program, takeover.gather(arbiter), patience, done)
        except OSError as error:
            raise ApplicationError(f"{program.argv[0]} cannot be executed: {error.strerror}") from None
        arbiter.reaper.expect(trial.pid, trial.exited)

    def _become(self, job: Job, program: MasterProgram, deadline: float, refused: str = "") -> None:
        """Execute the program once nobody is on the way out; what one worker hands another is in neither."""
        if self._job is not job:
            return
        if self._arbiter.policy.settled:
            try:
                takeover.execute(self._arbiter, program, refused)
            except OSError as error:
                self._fail(ExitCode.NOT_READY, f"{program.argv[0]} cannot be executed: {error.strerror}")
        elif time.monotonic() < deadline:
            again = lambda: self._become(job, program, deadline, refused)  # noqa: E731
            self._arbiter.reactor.call_later(_LOOK_AGAIN, again)
        else:
            self._fail(ExitCode.FAILED, refused or "workers are still leaving: try again later")

    def kept(self) -> tuple[CommandSnapshot, ...]:
        """What is not done, for the next image."""
        return tuple(job.kept() for job in (self._job, *self._queue) if job is not None)

    def resume(self, running: MasterSnapshot) -> None:
        """After an upgrade: bring new workers, then what else was asked."""
        self.highest, self.scaled = running.generation, set(running.scaled)
        self._queue.extend(Job.of(kept, self._arbiter.control) for kept in running.jobs)
        job = self._queue.popleft()
        self._job = job
        if running.refused:
            job.program = None
            self._fail(ExitCode.NOT_READY, f"the new program was given up: {running.refused}")
            return
        job.upgraded, job.program, job.moves = True, running.back, self._arbiter.supervisor.moves()
        job.result["version"] = __version__
        log.info("upgrade: the master is chatmaster %s now; its workers follow", __version__)
        self._arbiter.reactor.call_later(0.0, self._bring_workers)

    def _bring_workers(self) -> None:
        job = self._job
        if job is not None:
            try:
                self._begin_reading(job)
            except (ChatmasterError, OSError) as error:
                self._fail(getattr(error, "exit_code", ExitCode.FAILED), str(error))

    # ---- scaling and the end -----------------------------------------------------------------------

    def _begin_scaling(self, job: Job) -> None:
        counts = self._arbiter.policy.counts
        name = job.worker or next(iter(counts))
        if name not in counts:
            raise UsageError(f"there is no Worker {name!r}: this program has {', '.join(counts)}")
        count = counts[name] + job.by if job.to is None else job.to
        self.scaled.add(name)
        total = sum(counts.values()) - counts[name] + count
        job.result = {"worker": name, "workers": total}
        self._resize(name, count)

    def _resize(self, name: str, count: int) -> None:
        self._number += 1
        self._arbiter.decide(events.ScaleAsked(self._number, name, count))

    def _end(self, seconds: float | None) -> None:
        waiting, self._queue = self._queue, deque()
        for job in waiting:
            for asker in job.askers:
                asker.fail(ExitCode.FAILED, "the server is stopping")
        if not self.restarting:
            if self._job is not None:
                self._job.program = None  # there is nothing to go back to any more
            self._fail(ExitCode.FAILED, "the server is stopping")
            self._arbiter.notifier.stopping("stopping")
        self._arbiter.decide(events.StopAsked(seconds, restart=self.restarting))
