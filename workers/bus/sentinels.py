"""Asks all sentinels for the master, and believes the one that has heard of the latest failover.

During a failover the sentinels hear of the new master one after the other. A worker that believes the first answer may
publish to the old master, which was started again and does not know yet that it was replaced, while it listens to the
new one. Each failover has a higher config epoch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import RedisError
from redis.sentinel import MasterNotFoundError

GRACE: Final = 0.25  # seconds for the other sentinels once one has answered

Told = tuple[int, bool, tuple[str, int]]  # config epoch, whether the master serves, and where it is


async def find_master(sentinels: Sequence[Any], service: str) -> tuple[str, int]:
    """The address of the present master. Raises MasterNotFoundError; TimeoutError is the caller's."""
    asked = [asyncio.ensure_future(_ask(sentinel, service)) for sentinel in sentinels]
    try:
        answers, waiting = list[Told](), set(asked)
        while waiting:
            done, waiting = await asyncio.wait(
                waiting, timeout=GRACE if answers else None, return_when=asyncio.FIRST_COMPLETED
            )
            answers += [answer for one in done if (answer := one.result()) is not None]
            if not done:
                break
    finally:
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    return _latest(answers, service)


async def _ask(sentinel: Any, service: str) -> Told | None:
    """What one sentinel says; None where it does not answer, or does not know the service."""
    try:
        state = await sentinel.sentinel_master(service)
        found, port = await sentinel.sentinel_get_master_addr_by_name(service)
    except (RedisError, OSError, TypeError):  # TypeError: it has forgotten the service meanwhile
        return None
    host = found.decode() if isinstance(found, bytes) else str(found)
    # While replicas are told of a new master, its address is known already, and the state is that of the old one.
    replaced = (host, int(port)) != (state["ip"], int(state["port"]))
    serves = replaced or (state["is_master"] and not state["is_sdown"] and not state["is_odown"])
    return int(state["config-epoch"]), bool(serves), (host, int(port))


def _latest(answers: list[Told], service: str) -> tuple[str, int]:
    latest = max((epoch for epoch, _, _ in answers), default=-1)
    for epoch, serves, address in answers:
        if epoch == latest and serves:
            return address
    raise MasterNotFoundError(f"No master found for {service!r}")
