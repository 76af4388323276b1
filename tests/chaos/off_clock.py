"""`python -m tests.chaos.off_clock URL SECONDS`: a client whose clock is off by so many seconds, and jumps.

It speaks, is cut, comes back with what it missed while its clock jumps the other way, and speaks again. Ends with 0
where every message came once and in order.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

_off = 0.0
_time, _time_ns = time.time, time.time_ns


def _set_clock(seconds: float) -> None:
    """Before the client is imported, and while it runs: everything that asks for the time is told another."""
    global _off
    _off = seconds
    time.time = lambda: _time() + _off
    time.time_ns = lambda: _time_ns() + int(_off * 1e9)


async def main(url: str, seconds: float) -> None:
    from tests.chaos.witness import Seen, Witness

    room = f"clock-{os.getpid()}"
    async with Witness(url, room, name="clock", timeout=60) as client:
        said = [f"{room} {number}" for number in range(10)]
        for turn, text in enumerate(said):
            if turn == 5:
                client.fall_asleep()
                _set_clock(-seconds)
                client.wake_up()
            assert await client.attempt(text, turn=turn, timeout=60), f"no answer to {text!r}"
        async with asyncio.timeout(60):
            while (seen := [note.text for note in client.notes if isinstance(note, Seen)])[-1:] != said[-1:]:
                await asyncio.sleep(0.05)
    assert seen == said, seen


if __name__ == "__main__":
    _set_clock(float(sys.argv[2]))
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
