"""`python -m tests.browser.pictures FOLDER`: how the page looks, as one sheet of pictures for each situation.

Each sheet has a row for light, dark and forced colours, and a column for each width. `--page` takes the picture of the
documents instead, a busy room in light and dark, and writes it to the path FOLDER.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import click

from tests.browser.conftest import USUAL, Line, Person
from tests.browser.measure import chromium
from tests.support.server import Chatmaster
from workers.client import Client, connect

WIDTHS: Final = (320, 360, 768, 1440, 1920)
PHONE: Final = 400  # px: up to here a finger presses
HEIGHT: Final = 760
FADED: Final = 400  # ms: what fades in, or changes its colour, is done
NARROW: Final = 1100  # px: people are a drawer
DOCUMENTS: Final = 1120
TALLER: Final = 840
NAMES: Final = {320: "Joan", 360: "Mary", 768: "Betty", 1440: "Frances", 1920: "Barbara", DOCUMENTS: "Ada"}
LOOKS: Final[dict[str, dict[str, str]]] = {
    "light": {"color_scheme": "light", "forced_colors": "none"},
    "dark": {"color_scheme": "dark", "forced_colors": "none"},
    "forced": {"color_scheme": "light", "forced_colors": "active"},
}
CODE: Final = """```python
async def main():
    async with await connect(url) as chat:
        await chat.say("lobby", "hi")
```"""
SAID: Final[dict[str, list[tuple[str, str]]]] = {
    "garden": [],
    "lobby": [
        ("Grace", "Morning! The release is on **Thursday**, see https://example.org/plan"),
        ("Grace", "Who takes the notes?"),
        ("Linus", "I can. Left are:\n- the migration\n- the figures in the document\n- a picture of the page"),
        ("Margaret", "> a picture of the page\nThat one is mine, it is nearly done 🎉"),
        ("Linus", CODE),
        ("Grace", "@Ada could you look at the figures before noon?"),
        ("Margaret", "They look good to me: 57 frames a second at `50` messages"),
        ("Linus", "I am on it, ten minutes"),
    ],
    "ديوان": [
        ("ليلى", "صباح الخير! الإصدار يوم **الخميس**، انظروا https://example.org/plan"),
        ("عمر", "من يكتب الملاحظات؟\n- الأرقام\n- الصور"),
        ("Grace", "I can read it, thank you"),
        ("ليلى", "@Ada هل تراجعين الأرقام قبل الظهر؟"),
    ],
    "広場": [
        ("花子", "おはようございます。リリースは**木曜日**です。 https://example.org/plan を見てください"),
        ("太郎", "議事録は誰が書きますか。残りは三つです:\n- 移行\n- 数字の確認\n- 画面の画像"),
        ("Grace", "数字は私が見ます"),
        ("花子", "@Ada お昼までにお願いできますか"),
    ],
}  # fmt: skip
SITUATIONS: Final = {"empty": "garden", "busy": "lobby", "offline": "lobby", "rtl": "ديوان", "japanese": "広場"}
RTL: Final = "() => document.documentElement.setAttribute('dir', 'rtl')"


@contextmanager
def rooms() -> Iterator[Chatmaster]:
    """A server whose rooms have what is said in them, with its people there."""
    ready, stop = threading.Event(), threading.Event()
    with Chatmaster(workers=2, settings={"limits.rate": 0}) as server:
        people = threading.Thread(target=lambda: asyncio.run(_say(server.url, ready, stop)))
        people.start()
        try:
            if not ready.wait(30):
                raise click.ClickException("what the rooms hold could not be said in 30 s")
            yield server
        finally:
            stop.set()
            people.join(30)


async def _say(url: str, ready: threading.Event, stop: threading.Event) -> None:
    """Say it, and stay until `stop`."""
    async with AsyncExitStack() as people:
        here: dict[tuple[str, str], Client] = {}
        for room, said in SAID.items():
            for name, text in said:
                if (name, room) not in here:
                    coming = await connect(url, rooms=[room], name=name)
                    here[name, room] = await people.enter_async_context(coming)
                sent = await here[name, room].say(room, text)
            if said and sent.offset is not None:
                for other in [one for (_, place), one in here.items() if place == room][:3]:
                    await other.react(room, sent.offset, "👍")
        ready.set()
        await asyncio.to_thread(stop.wait)


def _visit(browser: Any, server: Chatmaster, situation: str, width: int) -> Any:
    """The page, with the situation in view."""
    touch = {"has_touch": True, "is_mobile": True} if width <= PHONE else {}
    language = {"locale": "ja-JP"} if situation == "japanese" else {}
    context = browser.new_context(viewport={"width": width, "height": HEIGHT}, **(USUAL | touch | language))
    page = context.new_page()
    kept = {"name": NAMES[width], "rooms": [room for room in SAID if room != "garden"], "people": width > NARROW}
    for key, value in kept.items():
        page.add_init_script(f"try {{ localStorage['chatmaster.{key}'] = {json.dumps(json.dumps(value))} }} catch {{}}")
    line = Line(page)
    Person(page, server.http).come(SITUATIONS[situation])
    if situation == "rtl":
        page.evaluate(RTL)
    if situation == "offline":
        line.cut()
        page.locator("#state[data-kind='busy']").wait_for()
        page.locator("#text").fill("Is anybody there?")
    return page


def _looks(page: Any, looks: tuple[str, ...]) -> list[bytes]:
    """Pictures of the page, which is closed then."""
    found = []
    for look in looks:
        page.emulate_media(**LOOKS[look])
        page.wait_for_timeout(FADED)
        found.append(page.screenshot())
    page.context.close()
    return found


def sheet(browser: Any, pictures: list[list[bytes]], path: Path) -> None:
    """Write pictures in rows as one PNG."""
    rows = "".join(
        "<p>" + "".join(f'<img src="data:image/png;base64,{base64.b64encode(one).decode()}">' for one in row) + "</p>"
        for row in pictures
    )
    page = browser.new_page(viewport={"width": sum(WIDTHS) + 120, "height": 800})
    page.set_content(
        f"<style>p {{ display: flex; gap: 20px; margin: 0 0 20px }} body {{ background: #888 }}</style>{rows}"
    )
    page.screenshot(path=path, full_page=True)
    page.close()


def take_sheets(folder: Path, situations: tuple[str, ...], tell: Callable[[str], None]) -> None:
    """One sheet for each situation."""
    with rooms() as server, chromium() as browser:
        for situation in situations:
            columns = [_looks(_visit(browser, server, situation, width), tuple(LOOKS)) for width in WIDTHS]
            rows = [list(row) for row in zip(*columns, strict=True)]
            path = folder / f"{situation}.png"
            sheet(browser, rows, path)
            tell(str(path))


def take_page(path: Path) -> None:
    """The busy room, light and dark side by side."""
    with rooms() as server, chromium() as browser:
        visited = _visit(browser, server, "busy", DOCUMENTS)
        visited.set_viewport_size({"width": DOCUMENTS, "height": TALLER})
        row = _looks(visited, ("light", "dark"))
        page = browser.new_page(viewport={"width": 2270, "height": TALLER + 20})
        images = "".join(f'<img src="data:image/png;base64,{base64.b64encode(one).decode()}">' for one in row)
        page.set_content(f"<style>body {{ margin: 10px; display: flex; gap: 10px }}</style>{images}")
        page.screenshot(path=path)
        page.close()


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--only", multiple=True, type=click.Choice(list(SITUATIONS)), help="all by default")
@click.option("--page", is_flag=True, help="FOLDER is a file, for the picture of the documents")
def main(folder: Path, only: tuple[str, ...], page: bool) -> None:
    """Take the pictures."""
    if page:
        take_page(folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    take_sheets(folder, only or tuple(SITUATIONS), click.echo)


if __name__ == "__main__":
    main()
