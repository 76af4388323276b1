"""What operators do: no fault at all. Alone, each has to succeed, and cuts nobody."""

from __future__ import annotations

import time
from pathlib import Path

from tests.chaos.faults import Turn, fault
from tests.chaos.site import Site
from tests.support.server import ROOT


async def operate(site: Site, turn: Turn, *commands: tuple[str, ...]) -> None:
    began = time.monotonic()
    for command in commands:
        code = await site.ctl(*command)
        turn.expect(code == 0, f"{' '.join(command)}: exit code {code}")
    if turn.alone:
        await site.calm()  # what is sent away is sent away a moment after
    turn.expect(not site.cuts(began), f"{' '.join(commands[0])} cut {site.cuts(began)}")


@fault("operator")
async def reload(site: Site, turn: Turn) -> None:
    await operate(site, turn, ("reload",))


@fault("operator")
async def scale_up_and_down(site: Site, turn: Turn) -> None:
    await operate(site, turn, ("scale", "+1"), ("scale", "-1"))


@fault("operator", long=True)
async def upgrade_and_back(site: Site, turn: Turn) -> None:
    """To a copy of the program with another version, and back to this one."""
    await operate(site, turn, *(("upgrade", "--program", str(place)) for place in (_other(site), ROOT)))


def _other(site: Site) -> Path:
    place = site.folder / "other"
    if not place.exists():
        site.copy_program(place, version="9.9.9")
    return place
