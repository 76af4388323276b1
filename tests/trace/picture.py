"""Draws `etc/doc/architecture.svg`: the packages of both processes, and who imports whom, from the real imports.

    python -m tests.trace map

Of the imports those are drawn that do not follow from others (the transitive reduction): an arrow from A to B and one
from B to C stand for A to C, too. Each arrow points down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from itertools import pairwise
from typing import Final, NamedTuple

from tests.support import sources
from tests.support.layers import LEAVES, PURE, may_import
from tests.support.sources import ROOT

TARGET: Final = ROOT / "etc/doc/architecture.svg"
Graph = Mapping[str, set[str]]


class Box(NamedTuple):
    """A package, or a few modules that are one thing to a reader."""

    title: str
    text: str
    modules: tuple[str, ...]
    step: str = ""  # where the way of a message passes


MASTER: Final = (
    Box("cli/", "chatctl, in the operator's shell", ("chatmaster.cli", "chatmaster.__main__")),
    Box("master/", "the running master", ("chatmaster.master",)),
    Box("policy/", "what the master decides", ("chatmaster.policy",)),
    Box("config/", "text becomes frozen settings", ("chatmaster.config",)),
    Box("store/", "the store: run, watched, checked", ("chatmaster.store",)),
    Box("runtime/", "the operating system", ("chatmaster.runtime",)),
)
FACE: Final = (
    "workers",
    "workers.gateway",
    "workers.async_gateway",
    "workers.timer",
)
WORKER: Final = (
    Box("main.py  process/", "one worker process", ("workers.main", "workers.process")),
    Box("chat/", "the chat as an application", ("workers.chat",), "2"),
    Box("chat/rules/", "what the chat decides", ("workers.chat.rules",), "3"),
    Box("callbacks/", "a program's callbacks", ("workers.callbacks",)),
    Box("verbs/", "what other programs may ask", ("workers.verbs",)),
    Box("handover/", "connections change workers", ("workers.handover",)),
    Box("gateway.py timer.py", "what programs are written with", FACE),
    Box("node/", "one worker, to an application", ("workers.node",)),
    Box("worker.py", "what a program declares", ("workers.worker",)),
    Box("presence/", "who is in which room", ("workers.presence",)),
    Box("registry/", "limits, bans, mutes, audit", ("workers.registry",)),
    Box("rooms/", "members, order, gaps, fan-out", ("workers.rooms",), "4 6"),
    Box("cluster/", "leases of the workers' lives", ("workers.cluster",)),
    Box("bus/", "the store, as a contract", ("workers.bus",), "5"),
    Box("transport/", "bytes to messages and back", ("workers.transport",), "1 7"),
    Box("http/", "page, health, metrics", ("workers.http",)),
    Box("client/", "the chat's client for Python", ("workers.client",)),
)

ROW: Final = 92
WIDTH, HEIGHT = 226, 52
LANE: Final = 20  # of an arrow that passes a row
GAP: Final = 22
LEFT, RIGHT = 490, 1010  # widths of the two panels
TOP: Final = 100
MARGIN, PADDING = 30, 18
LEAF_ROWS: Final = 3  # lines of the bar at the bottom

STYLE: Final = """
text { font: 12.5px system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--text) }
.page { fill: var(--page) } .panel { fill: var(--panel); stroke: var(--line) }
.box { fill: var(--box); stroke: var(--edge); stroke-width: 1.2 } .pure { fill: var(--pure); stroke: var(--pure-edge) }
.name { font: 600 14px ui-monospace, "SF Mono", Menlo, Consolas, monospace } .head { font-size: 19px; font-weight: 650 }
.file { font: 12px ui-monospace, "SF Mono", Menlo, Consolas, monospace; white-space: pre; fill: var(--soft) }
.leaf { stroke-dasharray: 4 3 } .shared { stroke-dasharray: 5 4 }
.soft { fill: var(--soft) } .way { fill: none; stroke: var(--arrow); stroke-width: 1.4 } .tip { fill: var(--arrow) }
.step { fill: var(--step) } .number { fill: var(--on-step); font-size: 11px; font-weight: 700 }
svg { --page: #fff; --panel: #f6f8fb; --line: #dbe1ea; --box: #fff; --edge: #9aa7b8; --pure: #e7f5ec;
  --pure-edge: #4b9a6a; --text: #1b2430; --soft: #586575; --arrow: #8794a6; --step: #2f6fde; --on-step: #fff }
@media (prefers-color-scheme: dark) { svg { --page: #0f141b; --panel: #161d27; --line: #2a3442; --box: #1e2733;
  --edge: #55647a; --pure: #17342a; --pure-edge: #4fa777; --text: #e6ebf2; --soft: #a3afbf; --arrow: #6d7c91;
  --step: #6ea0ff; --on-step: #0f141b } }
"""


def imports_between(boxes: Iterable[Box]) -> dict[str, set[str]]:
    """Which box imports which, by title. A leaf belongs to no box; what the table forbids is no part of the picture."""
    home = {unit: box.title for box in boxes for unit in box.modules}
    graph: dict[str, set[str]] = {title: set() for title in home.values()}
    for module in sources.modules():
        if (unit := sources.unit(module, home)) is not None:
            for target in sources.own_imports(module):
                other = sources.unit(target, home)
                if other is None or target in LEAVES:
                    continue
                if home[other] != home[unit] and may_import(module, target):
                    graph[home[unit]].add(home[other])
    return graph


def reach(graph: Graph, start: str) -> set[str]:
    """Everything that a node leads to, itself too where it stands in a circle."""
    found: set[str] = set()
    pending = [*graph[start]]
    while pending:
        if (node := pending.pop()) not in found:
            found.add(node)
            pending += graph[node]
    return found


def reduced(graph: Graph) -> dict[str, list[str]]:
    """The graph without the edges that follow from others. Raises ValueError for a circle, which has no picture."""
    below = {node: reach(graph, node) for node in graph}
    if inside := sorted(node for node in graph if node in below[node]):
        raise ValueError(f"these import each other: {', '.join(inside)}")
    return {
        node: sorted(one for one in targets if not any(one in below[other] for other in targets))
        for node, targets in graph.items()
    }


def ranks_of(graph: Mapping[str, list[str]]) -> dict[str, int]:
    """How many rows above the lowest one each node stands.

    A node stands as low as what it imports allows; then those with at least as many arrows from above as from below go
    up to their importers, which makes the arrows shorter. A node without arrows stands at the top.
    """
    ranks: dict[str, int] = {}

    def low(node: str) -> int:
        if node not in ranks:
            ranks[node] = 1 + max((low(target) for target in graph[node]), default=-1)
        return ranks[node]

    top = max(low(node) for node in graph)
    for node in sorted(graph, key=low, reverse=True):
        importers = [other for other in graph if node in graph[other]]
        if len(importers) >= len(graph[node]):
            ranks[node] = min((ranks[other] - 1 for other in importers), default=top)
    return ranks


class Layout:
    """Boxes in rows, and a lane in each row that a longer arrow passes, so that no arrow runs through a box."""

    def __init__(self, boxes: Iterable[Box], width: int) -> None:
        self.row: float = ROW  # from one row to the next
        self.boxes = {box.title: box for box in boxes}
        graph = reduced(imports_between(self.boxes.values()))
        ranks = ranks_of(graph)
        self.rows: list[list[str]] = [[] for _ in range(max(ranks.values()) + 1)]
        for node in graph:
            self.rows[ranks[node]].append(node)
        self.arrows = [self._lanes(node, target, ranks) for node in graph for target in graph[node]]
        self._up: dict[str, list[str]] = {}
        self._down: dict[str, list[str]] = {}
        for points in self.arrows:
            for upper, lower in pairwise(points):
                self._down.setdefault(upper, []).append(lower)
                self._up.setdefault(lower, []).append(upper)
        self.width = width
        self.x: dict[str, float] = {}
        self._place()

    def _lanes(self, node: str, target: str, ranks: Mapping[str, int]) -> list[str]:
        lanes = [f"{node}→{target}@{row}" for row in range(ranks[node] - 1, ranks[target], -1)]
        for row, lane in zip(range(ranks[node] - 1, ranks[target], -1), lanes, strict=True):
            self.rows[row].append(lane)
        return [node, *lanes, target]

    def _place(self) -> None:
        """Order each row by where its neighbours stand, then keep the distances; a few times, up and down."""
        for row in self.rows:
            self._spread(row, {node: index for index, node in enumerate(row)})
        for turn in range(24):
            neighbours = self._up if turn % 2 else self._down
            for row in self.rows[:: -1 if turn % 2 else 1]:
                wanted: dict[str, float] = {}
                for node in row:
                    near = [self.x[other] for other in neighbours.get(node, ())]
                    wanted[node] = sum(near) / len(near) if near else self.x[node]
                self._spread([node for _, node in sorted((wanted[node], node) for node in row)], wanted)

    def _spread(self, row: list[str], wanted: Mapping[str, float]) -> None:
        """Put a row, in this order, as near to the wanted places as distances and the panel's edges allow."""
        widths = [WIDTH if node in self.boxes else LANE for node in row]
        total = sum(widths) + GAP * (len(row) - 1)
        left = max(0.0, (self.width - total) / 2)
        middles = []
        for width in widths:
            middles.append(left + width / 2)
            left += width + GAP
        slack = max(0.0, (self.width - total) / 2)
        shift = sum(wanted[node] - middle for node, middle in zip(row, middles, strict=True)) / max(1, len(row))
        for node, middle in zip(row, middles, strict=True):
            self.x[node] = middle + max(-slack, min(slack, shift))

    def y(self, node: str) -> float:
        """The middle of a node's row, from the top."""
        for index, row in enumerate(self.rows):
            if node in row:
                return (len(self.rows) - 1 - index) * self.row + HEIGHT / 2
        raise KeyError(node)

    @property
    def height(self) -> float:
        return (len(self.rows) - 1) * self.row + HEIGHT

    def stretch(self, height: float) -> None:
        """Draw the rows over a height, however few they are."""
        self.row = (height - HEIGHT) / max(1, len(self.rows) - 1)


def picture() -> str:
    """The whole picture as SVG."""
    master, worker = Layout(MASTER, LEFT), Layout(WORKER, RIGHT)
    inner = max(master.height, worker.height)
    master.stretch(inner)
    worker.stretch(inner)
    right = MARGIN + LEFT + 2 * PADDING + MARGIN
    width, floor = right + RIGHT + 2 * PADDING + MARGIN, TOP + inner + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {floor + 200:.0f}" role="img" '
        'aria-labelledby="title">',
        '<title id="title">The packages of chatmaster and who imports whom</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{width:.0f}" height="{floor + 200:.0f}"/>',
        *_panel(MARGIN, LEFT, floor, "The master", "chatmaster/ · forks the workers, never serves a client"),
        *_panel(right, RIGHT, floor, "A worker", "workers/ · serves clients; one process of several"),
        *_drawn(master, MARGIN + PADDING, TOP),
        *_drawn(worker, right + PADDING, TOP),
        *_leaves(MARGIN + PADDING, LEFT, floor, "chatmaster"),
        *_leaves(right + PADDING, RIGHT, floor, "workers"),
        f'<path class="way shared" d="M{right + PADDING} {floor + 38:.0f}H{right - MARGIN - PADDING + 7}"/>',
        f'<path class="tip" d="M{right - MARGIN - PADDING + 8} {floor + 34:.0f}v8l-7 -4z"/>',
        *_legend(floor + 130),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _panel(left: float, width: float, floor: float, title: str, text: str) -> list[str]:
    return [
        f'<rect class="panel" x="{left}" y="20" width="{width + 2 * PADDING}" height="{floor + 76:.0f}" rx="14"/>',
        f'<text class="head" x="{left + PADDING}" y="54">{title}</text>',
        f'<text class="soft" x="{left + PADDING}" y="75">{text}</text>',
    ]


def _leaves(left: float, width: float, top: float, package: str) -> list[str]:
    """The bar at the bottom of a panel, with the modules that every box above may import."""
    leaves = {name for name in LEAVES if name.startswith(f"{package}.")}
    if package == "chatmaster":
        leaves |= {"chatmaster.contract", "chatmaster.errors"}
    names = ["/".join(name.split(".")[1:]) + ".py" for name in sorted(leaves)]
    rows = [names[first::LEAF_ROWS] for first in range(LEAF_ROWS)]
    return [
        f'<rect class="box leaf" x="{left}" y="{top:.0f}" width="{width}" height="{20 * LEAF_ROWS + 16}" rx="8"/>',
        *(
            f'<text class="file" x="{left + 12}" y="{top + 23 + 20 * row:.0f}">{"  ".join(line)}</text>'
            for row, line in enumerate(rows)
        ),
    ]


def _drawn(layout: Layout, left: float, top: float) -> list[str]:
    parts = []
    for points in layout.arrows:
        parts += _arrow([(left + layout.x[node], top + layout.y(node)) for node in points])
    for box in layout.boxes.values():
        parts += _box(box, left + layout.x[box.title] - WIDTH / 2, top + layout.y(box.title) - HEIGHT / 2)
    return parts


def _arrow(points: list[tuple[float, float]]) -> list[str]:
    """A smooth way from the lower edge of a box, straight down through its lanes, to the upper edge of another."""
    (x, y), (end_x, end_y) = points[0], points[-1]
    way = [f"M{x:.0f} {y + HEIGHT / 2:.0f}"]
    y += HEIGHT / 2
    for lane_x, lane_y in points[1:-1]:
        upper, lower = lane_y - HEIGHT / 2, lane_y + HEIGHT / 2
        way.append(f"C{x:.0f} {(y + upper) / 2:.0f} {lane_x:.0f} {(y + upper) / 2:.0f} {lane_x:.0f} {upper:.0f}")
        way.append(f"V{lower:.0f}")
        x, y = lane_x, lower
    last = end_y - HEIGHT / 2 - 6
    way.append(f"C{x:.0f} {(y + last) / 2:.0f} {end_x:.0f} {(y + last) / 2:.0f} {end_x:.0f} {last:.0f}")
    tip = f"M{end_x - 4:.0f} {last - 1:.0f}h8l-4 7z"
    return [f'<path class="way" d="{"".join(way)}"/>', f'<path class="tip" d="{tip}"/>']


def _box(box: Box, x: float, y: float) -> list[str]:
    pure = " pure" if all(sources.unit(module, PURE) for module in box.modules) else ""
    parts = [
        f'<rect class="box{pure}" x="{x:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
        f'<text class="name" x="{x + 12:.0f}" y="{y + 22:.0f}">{escape(box.title)}</text>',
        f'<text class="soft" x="{x + 12:.0f}" y="{y + 40:.0f}">{escape(box.text)}</text>',
    ]
    for place, number in enumerate(reversed(box.step.split())):
        parts += _step(x + WIDTH - 14 - 20 * place, y + 15, number)
    return parts


def _step(x: float, y: float, number: str) -> list[str]:
    return [
        f'<circle class="step" cx="{x:.0f}" cy="{y:.0f}" r="8.5"/>',
        f'<text class="number" x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle">{number}</text>',
    ]


def _legend(top: float) -> list[str]:
    lines = (
        "Arrows point at what is imported; those that follow from others are left out."
        " What is in a dashed bar, each box above may import.",
        "Of the master, a worker imports contract.py, settings.py, stats.py and leaves of store/ only."
        " Green is pure: no clock, no chance, no I/O.",
    )
    steps = (
        ("1", "a frame is parsed"),
        ("2", "a request"),
        ("3", "is judged"),
        ("4", "goes to its room"),
        ("5", "through the store"),
        ("6", "in order to its members"),
        ("7", "as one frame"),
    )
    parts = [
        f'<text class="soft" x="{MARGIN + 4}" y="{top + 22 * number:.0f}">{line}</text>'
        for number, line in enumerate(lines)
    ]
    x = MARGIN + 13.0
    for number, text in steps:
        parts += [*_step(x, top + 54, number), f'<text x="{x + 15:.0f}" y="{top + 58:.0f}">{text}</text>']
        x += 44 + 7.1 * len(text)
    return parts
