"""The picture of `chatctl demo`: the lines for a terminal of a given size. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import click

from chatmaster.cli.demo_crowd import Tally
from chatmaster.cli.tables import number
from chatmaster.cli.top import cells, clip
from chatmaster.plural import counted

_ALIVE, _LOST, _AWAITED = "■", "✗", "·"
_BAR: Final = "█"
_LEAST_BAR: Final = 10  # columns
_GENERATIONS: Final = ("cyan", "magenta", "yellow", "blue")  # colours, by generation in turns
_CHAT_LINES: Final = 3  # at least


@dataclass
class Scene:
    """What is to be seen now."""

    wanted: int  # connections
    address: str
    tally: Tally = field(default_factory=Tally)
    alive: Sequence[bool] = ()
    workers: Sequence[Mapping[str, Any]] = ()
    reloads: int = 0
    reloading: bool = False
    seconds: float = 0.0


def frame(scene: Scene, width: int, height: int) -> list[str]:
    """The lines of the whole screen: at most `height`, none wider than `width`."""
    head = [_title(scene), _verdict(scene), ""]
    workers = [*_workers(scene, width), ""]
    foot = ["", click.style("q ends the demonstration", dim=True)]
    left = height - len(head) - len(workers) - len(foot)
    grid = _grid(scene, width, max(1, left - _CHAT_LINES - 1))
    chat = _chat(scene, left - len(grid) - 1)
    lines = [*head, *workers, *grid, *([""] if chat else []), *chat, *foot]
    if len(lines) > height:
        lines = [*lines[: max(0, height - 1)], foot[-1]] if height > 1 else lines[:height]
    return [clip(line, width) for line in lines]


def summary(scene: Scene) -> str:
    """The result as one sentence."""
    tally = scene.tally
    return (
        f"{counted(scene.wanted, 'connection')}, {counted(scene.reloads, 'reload')}: {number(tally.dropped)} dropped; "
        f"{counted(tally.deliveries, 'delivery', several='deliveries')}: {number(tally.missing)} missing, "
        f"{number(tally.doubled)} doubled"
    )


def _title(scene: Scene) -> str:
    if scene.tally.connected + scene.tally.dropped < scene.wanted:
        doing = f"opening {number(scene.wanted)} connections"
    elif scene.reloading:
        doing = click.style(f"reload {scene.reloads + 1}: connections move", fg="yellow", bold=True)
    else:
        doing = "the bots talk"
    return f"{click.style('chatmaster', bold=True)}  {scene.address}  {scene.seconds:.0f} s  {doing}"


def _verdict(scene: Scene) -> str:
    tally = scene.tally
    parts = [  # the most important first: a narrow terminal cuts the end
        f"connected {number(tally.connected)}",
        _good(tally.dropped, "dropped"),
        _good(tally.missing, "missing"),
        _good(tally.doubled, "doubled"),
        f"reloads {scene.reloads}",
        f"deliveries {number(tally.deliveries)}",
    ]
    return "  ".join(parts)


def _good(count: int, what: str) -> str:
    return click.style(f"{what} {number(count)}", fg="red" if count else "green", bold=True)


def _workers(scene: Scene, width: int) -> list[str]:
    """A bar for each process: during a reload the old ones shrink while the new ones grow."""
    most = max([1, *(row["connections"] for row in scene.workers)])
    lines = []
    for row in sorted(scene.workers, key=lambda row: (row["slot"], row["generation"])):
        label = f"worker {row['slot']}  generation {row['generation']:<3} {row['state']:<9}"
        label += f" {number(row['connections']):>6} "
        space = max(_LEAST_BAR, width - cells(label) - 1)
        bar = _BAR * round(space * row["connections"] / most)
        lines.append(label + click.style(bar, fg=_GENERATIONS[row["generation"] % len(_GENERATIONS)]))
    slots = len({row["slot"] for row in scene.workers})
    return [*lines, *[""] * (2 * slots - len(lines))]  # what is below stays where it is during a reload


def _grid(scene: Scene, width: int, most: int) -> list[str]:
    """A mark for each connection; where there are too many, one for several of them."""
    columns = max(1, width - 1)
    each = max(1, -(-scene.wanted // (columns * most)))
    groups = [scene.alive[at : at + each] for at in range(0, scene.wanted, each)]
    marks = ["lost" if False in group else "alive" if group else "awaited" for group in groups]
    lines = [_row(marks[at : at + columns]) for at in range(0, len(marks), columns)]
    return lines if each == 1 else [*lines[:most]]


def _row(marks: Iterable[str]) -> str:
    styles = {"alive": (_ALIVE, "green"), "lost": (_LOST, "red"), "awaited": (_AWAITED, "bright_black")}
    parts: list[tuple[str, str]] = []  # text and colour; equal neighbours together
    for mark in marks:
        character, colour = styles[mark]
        if parts and parts[-1][1] == colour:
            parts[-1] = (parts[-1][0] + character, colour)
        else:
            parts.append((character, colour))
    return "".join(click.style(text, fg=colour) for text, colour in parts)


def _chat(scene: Scene, most: int) -> list[str]:
    shown = list(scene.tally.lines)[-most:] if most > 0 else []
    return [f"{click.style(f'{name:>8}', bold=True)}  {text}" for name, text in shown]
