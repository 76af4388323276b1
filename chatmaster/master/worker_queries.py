"""Passes queries of chatctl to the workers, and answers with what has arrived by a deadline.

Some queries go to every process (its connections, its rooms). The others go to one process, because each of them can
answer for all, or because the act must happen once. A program's Workers have rooms and connections of their own: `who`,
`tail`, `say` and `kick` go to one process of each Worker, moderation to the chat (or the first Worker). A peer may name
the Worker.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from chatmaster import contract
from chatmaster.contract import ExitCode
from chatmaster.errors import UsageError
from chatmaster.master.control_server import ControlPeer
from chatmaster.runtime.event_loop import EventLoop, LoopTimer

# Seconds. Longer than the store's own deadline (store.timeout, 5 s), so that the answer has its reason; shorter than
# the ten of chatctl.
DEADLINE: Final = 7.0
_OF_EVERYONE: Final = frozenset({"connections", "rooms"})
_OF_EACH_GROUP: Final = frozenset({"who", "tail", "say", "kick"})
_ENDLESS: Final = frozenset({"tail"})


class Askable(Protocol):
    """A worker process that can answer queries."""

    number: int
    slot: int
    group: str  # the program's Worker that it serves

    def send(self, message: contract.ToWorker) -> bool:
        """Send a message; False: the worker does not take it."""


@dataclass(slots=True)
class _Question:
    what: str
    peer: ControlPeer
    waiting: dict[int, Askable]
    several: bool = False  # the program has several Workers: each row names its own
    missing: list[int] = field(default_factory=list)
    refused: dict[str, contract.Answer] = field(default_factory=dict)  # by the Worker that refused
    done: int = 0  # how many have answered
    facts: dict[str, Any] = field(default_factory=dict)
    pieces: dict[int, bytearray] = field(default_factory=dict)  # of a row that a process is sending
    timer: LoopTimer | None = None


class WorkerQueries:
    """The queries that are not answered yet."""

    def __init__(
        self,
        loop: EventLoop,
        workers: Callable[[], tuple[Sequence[Askable], Sequence[Askable]]],
        groups: Callable[[], Sequence[str]],
        trouble: Callable[[], str],
    ) -> None:
        """`workers` returns the processes that can answer, the latest heartbeat first, and those that cannot.

        `groups` names the program's Workers, first the one that is asked if only one can be.

        `trouble` says why the store does not serve, which may explain a missing answer; "" if it serves.
        """
        self._loop = loop
        self._workers = workers
        self._groups = groups
        self._trouble = trouble
        self._open: dict[int, _Question] = {}
        # Not from 1: after an upgrade in place a worker may still answer a query of the previous image.
        self._ids = itertools.count(time.time_ns())

    def command(self, peer: ControlPeer, args: Mapping[str, Any]) -> None:
        """The command `query` of the control socket. Raises UsageError."""
        what, given, worker = args.get("what"), args.get("args", {}), args.get("worker") or ""
        if not isinstance(what, str) or not isinstance(given, dict) or not isinstance(worker, str):
            raise UsageError("query takes what: NAME, args: {…} and worker: NAME")
        self.ask(peer, what, given, worker)

    def ask(self, peer: ControlPeer, what: str, args: Mapping[str, Any], group: str = "") -> None:
        """Send the query, and answer the peer when the workers have answered. Raises UsageError.

        `group` names one of the program's Workers; "": as the query needs.
        """
        groups = self._groups()
        meant = _meant(what, groups, group)
        able, unable = ([worker for worker in some if worker.group in meant] for some in self._workers())
        if not able:
            peer.fail(ExitCode.FAILED, "no worker is ready to answer")
            return
        number = next(self._ids)
        query = contract.Query(number, what, dict(args))
        if len(contract.encode(query)) > contract.MAX_PACKET:
            raise UsageError(f"{what}: a query may have about {contract.MAX_PACKET} bytes")
        everyone = what in _OF_EVERYONE
        asked = able if everyone else list({worker.group: worker for worker in reversed(able)}.values())
        question = _Question(what, peer, {worker.number: worker for worker in asked}, several=len(groups) > 1)
        question.missing = [worker.slot for worker in unable] if everyone else []
        silent = set() if everyone else set(meant) - {worker.group for worker in asked}
        question.refused = {group: contract.Answer(number, error="no worker is ready to answer") for group in silent}
        self._open[number] = question
        if what not in _ENDLESS:
            question.timer = self._loop.call_later(DEADLINE, lambda: self._overdue(number))
        peer.on_gone(lambda: self._cancel(number))
        for worker in asked:
            if not worker.send(query):
                self.remove_worker(worker.number)

    def receive_answer(self, worker: int, answer: contract.Answer) -> None:
        """Take the answer of a worker process, or a part of it."""
        question = self._open.get(answer.id)
        if question is None or worker not in question.waiting:
            return
        answering = question.waiting[worker]
        whose: dict[str, Any] = {"slot": answering.slot} if question.what in _OF_EVERYONE else {}
        whose |= {"worker": answering.group} if question.several else {}
        for row in [*answer.rows, *_completed(question.pieces, worker, answer)]:
            question.peer.row(whose | row)
        if not (answer.error or answer.last):
            return
        del question.waiting[worker]
        if answer.error:
            question.refused[answering.group] = answer
        else:
            question.done += 1
            question.facts = _together(question.facts, answer.facts)
        self._finish_if_complete(answer.id)

    def refuse_all(self, reason: str) -> None:
        """Fail all open queries."""
        for number in list(self._open):
            question = self._close(number)
            if question is not None:
                self._tell_cancelled(number, question)
                question.peer.fail(ExitCode.FAILED, reason)

    def remove_worker(self, worker: int) -> None:
        """Take note that a worker process has ended and will not answer."""
        for number, question in list(self._open.items()):
            asked = question.waiting.pop(worker, None)
            if asked is not None:
                question.missing.append(asked.slot)
                self._finish_if_complete(number)

    def _finish_if_complete(self, number: int) -> None:
        question = self._open.get(number)
        if question is None or (question.waiting and question.what not in _ENDLESS):
            return
        self._close(number)
        self._tell_cancelled(number, question)
        everyone = question.what in _OF_EVERYONE
        if question.refused and (everyone or not (question.done or question.missing)):
            first = next(iter(question.refused.values()))
            question.peer.fail(first.exit_code or ExitCode.FAILED, first.error)
        elif question.missing and not everyone:
            question.peer.fail(ExitCode.FAILED, self._silence(question))
        else:
            refused = {group: answer.error for group, answer in question.refused.items()}
            question.peer.done({**question.facts, "missing": sorted(set(question.missing)), "refused": refused})

    def _silence(self, question: _Question) -> str:
        trouble = self._trouble()
        if trouble:
            return f"{trouble}; it is not known whether this was done"
        return f"worker {question.missing[0]}, which was asked, does not answer"

    def _overdue(self, number: int) -> None:
        question = self._open.get(number)
        if question is not None:
            self._tell_cancelled(number, question)
            question.missing += [worker.slot for worker in question.waiting.values()]
            question.waiting.clear()
            self._finish_if_complete(number)

    def _cancel(self, number: int) -> None:
        question = self._close(number)
        if question is not None:
            self._tell_cancelled(number, question)

    def _tell_cancelled(self, number: int, question: _Question) -> None:
        for worker in question.waiting.values():
            worker.send(contract.CancelQuery(number))

    def _close(self, number: int) -> _Question | None:
        question = self._open.pop(number, None)
        if question is not None and question.timer is not None:
            question.timer.cancel()
        return question


def _meant(what: str, groups: Sequence[str], group: str) -> Sequence[str]:
    """Return the Workers that a query is for. Raises UsageError."""
    if group and group not in groups:
        raise UsageError(f"this program has no Worker {group!r}; it has {', '.join(groups)}")
    if group:
        return [group]
    return groups if what in _OF_EVERYONE | _OF_EACH_GROUP else groups[:1]


def _together(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the facts of two Workers: values of the same key are added."""
    return {**one, **{key: one[key] + value if key in one else value for key, value in other.items()}}


def _completed(pieces: dict[int, bytearray], worker: int, answer: contract.Answer) -> list[dict[str, Any]]:
    """Return the row that is complete with this piece, if any."""
    if not answer.piece:
        return []
    whole = pieces.setdefault(worker, bytearray())
    whole += answer.piece
    return [] if answer.more else [contract.decode_row(pieces.pop(worker))]
