"""A small plot as SVG: lines over logarithmic axes, readable in light and dark, without a library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from msgspec import Struct

WIDTH, HEIGHT = 640, 376
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 56, 48
COLOURS = ("#2563eb", "#d97706", "#059669", "#c026d3", "#dc2626", "#0891b2")
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2937 } .title { font-size: 14px; font-weight: 600 }
.subtitle { font-size: 11px; fill-opacity: .75 }
.grid { stroke: #9ca3af; stroke-opacity: .35 } .axis { stroke: #6b7280 }
@media (prefers-color-scheme: dark) { text { fill: #e5e7eb } }
"""


class Point(NamedTuple):
    """A median, and the lowest and highest of its runs."""

    x: float
    y: float
    low: float
    high: float


Points = Sequence[Point]


class Axis(Struct, frozen=True):
    """A logarithmic axis over whole decades."""

    low: int
    high: int
    begin: float
    end: float

    def at(self, value: float) -> float:
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.begin + part * (self.end - self.begin)

    @property
    def decades(self) -> list[float]:
        return [10.0**power for power in range(self.low, self.high + 1)]


def plot(title: str, *, x: str, y: str, lines: Mapping[str, Points], subtitle: str = "") -> str:
    """The whole file. Every value must be above zero."""
    across = _axis([point.x for points in lines.values() for point in points], LEFT, WIDTH - RIGHT)
    ends = [value for points in lines.values() for point in points for value in (point.low, point.high)]
    up = _axis(ends, HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="22">{escape(title)}</text>',
        f'<text class="subtitle" x="{LEFT}" y="40">{escape(subtitle)}</text>',
        *(_grid_across(across, value) for value in across.decades),
        *(_grid_up(up, value) for value in up.decades),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x)}</text>',
        f'<text x="14" y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {(TOP + HEIGHT - BOTTOM) / 2})">{escape(y)}</text>',
    ]
    for number, (name, points) in enumerate(lines.items()):
        parts += _line(name, points, across, up, number)
    return "\n".join([*parts, "</svg>", ""])


def _axis(values: Sequence[float], begin: float, end: float) -> Axis:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return Axis(low, max(high, low + 1), begin, end)


def _grid_across(axis: Axis, value: float) -> str:
    x = axis.at(value)
    return (
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_short(value)}</text>'
    )


def _grid_up(axis: Axis, value: float) -> str:
    y = axis.at(value)
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>'
    )


def _line(name: str, points: Points, across: Axis, up: Axis, number: int) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    places = [(across.at(point.x), up.at(point.y)) for point in sorted(points)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
    end = TOP + 12 + number * 18
    return [
        *_range(points, across, up, colour),
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *dots,
        f'<rect x="{WIDTH - RIGHT + 14}" y="{end - 9}" width="10" height="10" rx="2" fill="{colour}"/>',
        f'<text x="{WIDTH - RIGHT + 30}" y="{end}">{escape(name)}</text>',
    ]


def _range(points: Points, across: Axis, up: Axis, colour: str) -> list[str]:
    """A light band over what the runs gave, with a bar at each point; nothing where they gave the same."""
    spread = [point for point in sorted(points) if point.high > point.low]
    if not spread:
        return []
    highs = [(across.at(point.x), up.at(point.high)) for point in sorted(points)]
    lows = [(across.at(point.x), up.at(point.low)) for point in sorted(points)]
    band = " ".join(f"{x:.1f},{y:.1f}" for x, y in highs + lows[::-1])
    bars = [
        f'<line class="range" x1="{across.at(point.x):.1f}" x2="{across.at(point.x):.1f}" '
        f'y1="{up.at(point.low):.1f}" y2="{up.at(point.high):.1f}" stroke="{colour}"/>'
        for point in spread
    ]
    return [f'<polygon points="{band}" fill="{colour}" fill-opacity=".16"/>', *bars]


def _short(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
