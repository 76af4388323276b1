"""A small plot as SVG: lines over logarithmic axes, readable in light and dark, without a library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from msgspec import Struct

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 40, 48
COLOURS = ("#2563eb", "#d97706", "#059669", "#c026d3", "#dc2626", "#0891b2")
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2937 } .title { font-size: 14px; font-weight: 600 }
.grid { stroke: #9ca3af; stroke-opacity: .35 } .axis { stroke: #6b7280 }
@media (prefers-color-scheme: dark) { text { fill: #e5e7eb } }
"""

Points = Sequence[tuple[float, float]]


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


def plot(title: str, *, x: str, y: str, lines: Mapping[str, Points]) -> str:
    """The whole file. Every value must be above zero."""
    across = _axis([point[0] for points in lines.values() for point in points], LEFT, WIDTH - RIGHT)
    up = _axis([point[1] for points in lines.values() for point in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="22">{escape(title)}</text>',
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
    places = [(across.at(x), up.at(y)) for x, y in sorted(points)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
    end = TOP + 12 + number * 18
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *dots,
        f'<rect x="{WIDTH - RIGHT + 14}" y="{end - 9}" width="10" height="10" rx="2" fill="{colour}"/>',
        f'<text x="{WIDTH - RIGHT + 30}" y="{end}">{escape(name)}</text>',
    ]


def _short(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
