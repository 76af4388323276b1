"""What is aimed at: ratios between figures of one run, so that the machine's speed is no part of them.

A ratio is the median of the rounds' ratios, with the lowest and the highest of them: the servers of one round were
measured in turn. Figures with a unit are those of the machine itself.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from tests.bench.run import Figure

Figures = Mapping[str, Mapping[str, Figure]]  # by scenario and server
OURS: Final = "chatmaster"


class Range(Struct, frozen=True):
    """A median with its lowest and highest value."""

    median: float
    low: float
    high: float


class Target(Struct, frozen=True, kw_only=True):
    """One row: a figure of ours, and what it is divided by."""

    row: str
    scenario: str
    beside: str = ""  # the server, or the scenario of ours, that it is divided by
    figure: str = ""  # a detail of the scenario instead of its value
    unit: str = ""
    at_most: float
    reach: float
    more_is_better: bool = False

    def of(self, figures: Figures) -> Range | None:
        """What came of it, or None where a part of it was not measured."""
        ours = self._values(figures.get(self.scenario, {}).get(OURS))
        if self.beside:
            divisor = figures.get(self.scenario, {}).get(self.beside) or figures.get(self.beside, {}).get(OURS)
            ours = [value / other for value, other in zip(ours, self._values(divisor), strict=False)]
        return Range(statistics.median(ours), min(ours), max(ours)) if ours else None

    def _values(self, figure: Figure | None) -> list[float]:
        if figure is None:
            return []
        return [details[self.figure] for details in figure.details] if self.figure else figure.values

    def verdict(self, found: Range) -> str:
        """Whether the median is as good as what is reached for, within the bound, or neither."""
        sign = -1 if self.more_is_better else 1
        if sign * found.median <= sign * self.reach:
            return "reached"
        return "met" if sign * found.median <= sign * self.at_most else "missed"


TARGETS: Final[tuple[Target, ...]] = (
    Target(row="1,000, 16 in flight / C", scenario="room-16", beside="bound", at_most=1.3, reach=1.15),
    Target(row="1,000, 1 in flight / C", scenario="room-1", beside="bound", at_most=1.2, reach=1.1),
    Target(row="two workers, 16 in flight / one worker", scenario="two-16", beside="room-16", at_most=1.4, reach=1.2),
    Target(row="room of 10 / Centrifugo", scenario="two-small", beside="centrifugo", at_most=0.7, reach=0.5),
    Target(row="100 rooms of 10 / Centrifugo", scenario="two-rooms", beside="centrifugo", at_most=0.75, reach=0.6),
    Target(
        row="newcomers a second / Centrifugo",
        scenario="welcome",
        beside="centrifugo",
        at_most=1.3,
        reach=2,
        more_is_better=True,
    ),
    Target(row="p99 of 50/s × 1,000 / C", scenario="rate-50", beside="bound", at_most=1.4, reach=1.15),
    Target(row="p99 at half of what saturates / C", scenario="half-load", beside="bound", at_most=1.5, reach=1.2),
    Target(row="reload of 10,000 in a busy room", scenario="handover", unit="s", at_most=3, reach=2),
    Target(row="longest silence in it", scenario="handover", figure="silence_ms", unit="ms", at_most=500, reach=300),
    Target(row="an idle connection", scenario="idle", unit="KiB", at_most=3.5, reach=2.5),
)


def table(figures: Figures) -> str:
    """Markdown: a row for each target of which everything was measured; "" where there is none."""
    rows = [_row(target, found) for target in TARGETS if (found := target.of(figures)) is not None]
    head = ["target", "median", "lowest to highest", "bound", "reach for", ""]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) if rows else ""


def missed(figures: Figures) -> list[str]:
    """The rows whose figure is beyond its bound."""
    found = ((target, target.of(figures)) for target in TARGETS)
    return [target.row for target, one in found if one is not None and target.verdict(one) == "missed"]


def _row(target: Target, found: Range) -> list[str]:
    sign = "≥" if target.more_is_better else "≤"
    unit = f" {target.unit}" if target.unit else ""
    return [
        target.row,
        f"{found.median:.3g}{unit}",
        f"{found.low:.3g} to {found.high:.3g}",
        f"{sign} {target.at_most:g}",
        f"{sign} {target.reach:g}",
        target.verdict(found),
    ]
