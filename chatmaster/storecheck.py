"""Looks at a configured store in a child of its own, so that the master need not wait for a network.

It runs in the shell of `children.py`, like a probe of the application, and answers over the same channel.
"""

from __future__ import annotations

import dataclasses

from chatmaster import contract
from chatmaster.contract import ExitCode, Probe
from chatmaster.errors import StoreUnreachable

ENTRY = "chatmaster.storecheck:main"


def main(task: Probe) -> int:
    """Answer with the store's facts, or Failed with one sentence."""
    from chatmaster import store_remote  # imports redis, which takes 0.1 s and more

    store = task.settings.store
    task.channel.setblocking(True)
    try:
        facts = store_remote.look(store.url, store.timeout)
    except StoreUnreachable as error:
        reason = f"the store cannot be reached: {error}"
        task.channel.send(contract.encode(contract.Failed(ExitCode.STORE_UNREACHABLE, reason)))
        return ExitCode.STORE_UNREACHABLE
    task.channel.send(contract.encode(contract.Answer(0, [dataclasses.asdict(facts)])))
    return ExitCode.DONE
