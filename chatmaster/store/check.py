"""Inspects a configured store in a child process, so that the master never waits for a network.

The child is a probe like that of the application (`runtime/fork.py`) and answers over the same channel. Only the child
imports `remote.py`, and with it redis.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Final

from chatmaster import contract
from chatmaster.contract import ExitCode, Probe
from chatmaster.errors import StoreUnreachable

if TYPE_CHECKING:
    from chatmaster.settings import Settings
    from chatmaster.store.remote import StoreFacts

ENTRY: Final = "chatmaster.store.check:main"
_AGAIN: Final = 0.2  # seconds between two attempts while the store loads its data


def _inspect(settings: Settings) -> StoreFacts:
    """Inspect the store; wait for one that loads its data. Raises StoreUnreachable."""
    from chatmaster.store import remote  # imports redis, which takes 0.1 s and more

    deadline = time.monotonic() + settings.master.ready_timeout / 2  # the workers need the other half
    while True:
        try:
            return remote.inspect(settings.store.url, settings.store.timeout, settings.master.name)
        except StoreUnreachable as error:
            if not error.transient or time.monotonic() > deadline:
                raise
        time.sleep(_AGAIN)


def main(task: Probe) -> int:
    """Answer with the facts of the store, or with Failed and one sentence."""
    task.channel.setblocking(True)
    try:
        facts = _inspect(task.settings)
    except StoreUnreachable as error:
        reason = f"the store cannot be reached: {error}"
        task.channel.send(contract.encode(contract.Failed(ExitCode.STORE_UNREACHABLE, reason)))
        return ExitCode.STORE_UNREACHABLE
    task.channel.send(contract.encode(contract.Answer(0, [dataclasses.asdict(facts)])))
    return ExitCode.DONE
