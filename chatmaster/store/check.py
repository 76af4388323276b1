"""Looks at a configured store in a child of its own, so that the master need not wait for a network.

It runs in the shell of `fork.py`, like a probe of the application, and answers over the same channel.
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
_AGAIN: Final = 0.2  # seconds between two looks at a store that reads its data


def _inspect(settings: Settings) -> StoreFacts:
    """What the store says, once it has read its data where it is about to. Raises StoreUnreachable."""
    from chatmaster.store import remote  # imports redis, which takes 0.1 s and more

    deadline = time.monotonic() + settings.master.ready_timeout / 2  # the workers need some of it, too
    while True:
        try:
            return remote.inspect(settings.store.url, settings.store.timeout, settings.master.name)
        except StoreUnreachable as error:
            if not error.transient or time.monotonic() > deadline:
                raise
        time.sleep(_AGAIN)


def main(task: Probe) -> int:
    """Answer with the store's facts, or Failed with one sentence."""
    task.channel.setblocking(True)
    try:
        facts = _inspect(task.settings)
    except StoreUnreachable as error:
        reason = f"the store cannot be reached: {error}"
        task.channel.send(contract.encode(contract.Failed(ExitCode.STORE_UNREACHABLE, reason)))
        return ExitCode.STORE_UNREACHABLE
    task.channel.send(contract.encode(contract.Answer(0, [dataclasses.asdict(facts)])))
    return ExitCode.DONE
