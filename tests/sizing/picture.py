"""The picture of a reconnect: knocks and welcomes a second, and the queue, over the seconds since the loss.

The first second has a hundred times the knocks of the later ones, so the values are on a logarithmic axis.
"""

from __future__ import annotations

import math
from html import escape

from tests.bench.svg import COLOURS, STYLE
from tests.sizing.reconnect import Course, a_second, longest

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 376, 84, 150, 56, 48
Line = list[tuple[float, float]]


def draw(title: str, subtitle: str, course: Course, measured: Line | None = None) -> str:
    """The whole file; `measured` are welcomes a second of a real run."""
    end = course.back_after[-1]
    step = max(end / 80, 0.05)
    lines = {
        "knocks a second": _times(a_second(course.tries, step), course.grain),
        "welcomes a second": _times(a_second(course.back_after, step), course.grain),
        "waiting": longest(course.queue, step),
    }
    if measured:
        lines["welcomes, measured"] = measured
    decades = math.ceil(math.log10(max(value for line in lines.values() for _, value in line)))
    last = max(time for line in lines.values() for time, _ in line)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="22">{escape(title)}</text>',
        f'<text class="subtitle" x="{LEFT}" y="40">{escape(subtitle)}</text>',
    ]
    for power in range(decades + 1):
        parts += _grid(power / decades, last * power / decades, 10.0**power)
    for number, (name, line) in enumerate(lines.items()):
        parts += _line(name, line, last, decades, number)
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">seconds since the loss</text>')
    return "\n".join([*parts, "</svg>", ""])


def _times(line: Line, grain: int) -> Line:
    return [(time, value * grain) for time, value in line]


def _across(part: float) -> float:
    return LEFT + part * (WIDTH - RIGHT - LEFT)


def _up(part: float) -> float:
    return HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP)


def _grid(part: float, x: float, y: float) -> list[str]:
    return [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_up(part):.1f}" y2="{_up(part):.1f}"/>',
        f'<text x="{LEFT - 8}" y="{_up(part) + 4:.1f}" text-anchor="end">{y:,.0f}</text>',
        f'<text x="{_across(part):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:.2g}</text>',
    ]


def _line(name: str, line: Line, last: float, decades: int, number: int) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    heights = [math.log10(max(value, 1.0)) / decades for _, value in line]
    path = " ".join(
        f"{_across(time / last):.1f},{_up(height):.1f}" for (time, _), height in zip(line, heights, strict=True)
    )
    end = TOP + 12 + number * 18
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        f'<rect x="{WIDTH - RIGHT + 14}" y="{end - 9}" width="10" height="10" rx="2" fill="{colour}"/>',
        f'<text x="{WIDTH - RIGHT + 30}" y="{end}">{escape(name)}</text>',
    ]
