"""`python -m tests.browser.measure`: how quickly the page comes, and how smoothly it runs in a room that talks.

Each figure is measured in a real Chromium at a real server of two workers; `--only` takes some of them. The machine
should do nothing else meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from playwright.sync_api import sync_playwright

from tests.browser.conftest import ARGUMENTS, find_chromium
from tests.support.server import ROOT, Chatmaster
from workers.client import connect

KEPT: Final = 50  # messages that are there
PHONE: Final = {"width": 360, "height": 740}
DESK: Final = {"width": 1280, "height": 800}
SLOW: Final = {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 50_000}  # 400 kbit/s
RATE: Final = 50  # messages a second
SECONDS: Final = 10
BARE_SECONDS: Final = 3
LIGHTHOUSE: Final = ROOT / "etc" / "javascript" / "measure"
CATEGORIES: Final = ("performance", "accessibility", "best-practices", "seo")

# When the first message is drawn (ms since the navigation), and by how much the layout moved until now.
WATCH: Final = """
window.shift = 0;
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
const look = () => {
    if (document.querySelector(".message[data-offset] .text")) window.firstAt = performance.now();
    else requestAnimationFrame(look);
};
look();
"""
# Frames and long tasks (of more than 50 ms) in so many ms; `longest` is the longest time between two frames.
COUNT_FRAMES: Final = """(duration) => new Promise((resolve) => {
    let frames = 0, longest = 0, tasks = 0, last = performance.now();
    const begun = last;
    const observer = new PerformanceObserver((list) => (tasks += list.getEntries().length));
    observer.observe({ type: "longtask" });
    const frame = (now) => {
        frames += 1;
        longest = Math.max(longest, now - last);
        last = now;
        if (now - begun < duration) return requestAnimationFrame(frame);
        observer.disconnect();
        resolve({ rate: (frames * 1000) / (now - begun), longest, tasks });
    };
    requestAnimationFrame(frame);
})"""


@contextmanager
def room_with_messages() -> Iterator[Chatmaster]:
    """A server with messages in its lobby."""
    with Chatmaster(workers=2, settings={"limits.rate": 0}) as server:
        asyncio.run(_say(server.url, KEPT, 0.0, threading.Event()))
        yield server


async def _say(url: str, count: int, pause: float, stop: threading.Event) -> None:
    async with await connect(url, rooms=["lobby"], name="Talker") as chat:
        for number in range(count):
            if stop.is_set():
                return
            await chat.say("lobby", f"message {number} of somebody who says a little, **as people do**, about [x]")
            await asyncio.sleep(pause)


@contextmanager
def talker(url: str, rate: float = RATE, room: str = "lobby") -> Iterator[None]:
    """Somebody named Talker who says so many messages a second in a room."""
    stop = threading.Event()

    async def talk() -> None:
        async with await connect(url, rooms=[room], name="Talker") as chat:
            begun, number = time.monotonic(), 0
            while not stop.is_set():
                number += 1
                saying = asyncio.ensure_future(chat.say(room, f"talk {number} " + "and so on " * (number % 9)))
                await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
                await saying

    thread = threading.Thread(target=lambda: asyncio.run(talk()))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


@contextmanager
def chromium() -> Iterator[Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def measure_load() -> dict[str, Any]:
    """Bytes and seconds to the first message on a slow line, the first time and the second, and the layout's shift."""
    with room_with_messages() as server, chromium() as browser:
        context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True, locale="en-GB")
        first = _load(context, server.http)
        second = _load(context, server.http)
        context.close()
    return {
        "KiB of files to the first message": round(first["files"], 1),
        f"KiB of {KEPT} messages and the welcome, as JSON": round(first["frames"], 1),
        "first load at 400 kbit/s, s": round(first["seconds"], 2),
        "second load at 400 kbit/s, s": round(second["seconds"], 2),
        "KiB of files of the second load": round(second["files"], 1),
        "CLS on a phone": round(max(first["shift"], second["shift"]), 4),
    }


def _load(context: Any, url: str) -> dict[str, float]:
    page = context.new_page()
    page.add_init_script(WATCH)
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", SLOW)
    files: list[tuple[float, float]] = []
    frames: list[tuple[float, float]] = []
    session.on("Network.loadingFinished", lambda event: files.append((time.monotonic(), event["encodedDataLength"])))
    session.on(
        "Network.webSocketFrameReceived",
        lambda event: frames.append((time.monotonic(), len(event["response"]["payloadData"].encode()))),
    )
    page.goto(f"{url}/#lobby", wait_until="commit")
    page.wait_for_function("() => window.firstAt", timeout=60_000)
    until = time.monotonic()
    seconds = page.evaluate("() => window.firstAt") / 1000
    page.wait_for_timeout(1500)  # what shifts afterwards counts, too
    shift = page.evaluate("() => window.shift")
    page.close()
    return {
        "seconds": seconds,
        "files": sum(size for at, size in files if at <= until) / 1024,
        "frames": sum(size for at, size in frames if at <= until) / 1024,
        "shift": shift,
    }


def measure_frames() -> dict[str, Any]:
    """Frames a second and long tasks in a room with 50 messages a second, beside a page that only counts frames."""
    with room_with_messages() as server, chromium() as browser:
        page = browser.new_page(viewport=DESK, locale="en-GB")
        page.goto("about:blank")
        bare = page.evaluate(COUNT_FRAMES, BARE_SECONDS * 1000)
        page.goto(f"{server.http}/#lobby")
        page.locator(".message").first.wait_for()
        with talker(server.url):
            page.locator(".message .text", has_text="talk").first.wait_for()
            talking = page.evaluate(COUNT_FRAMES, SECONDS * 1000)
        shown = page.locator(".message").count()
        page.close()
    return {
        "frames a second of a bare loop": round(bare["rate"], 1),
        f"frames a second at {RATE} messages a second": round(talking["rate"], 1),
        f"long tasks in {SECONDS} s": talking["tasks"],
        "longest time between frames, ms": round(talking["longest"]),
        "messages in the document": shown,
    }


def measure_lighthouse(runs: int) -> dict[str, Any]:
    """Lighthouse's categories on a desktop and on its slow phone, each the median of the runs."""
    if not (LIGHTHOUSE / "node_modules").is_dir():
        subprocess.run(["npm", "ci", "--silent", "--no-fund", "--no-audit"], cwd=LIGHTHOUSE, check=True)
    found: dict[str, Any] = {}
    with room_with_messages() as server, tempfile.TemporaryDirectory() as folder:
        for device, options in (("desktop", ["--preset=desktop"]), ("mobile", [])):
            reports = [_lighthouse(f"{server.http}/#lobby", Path(folder), options) for _ in range(runs)]
            for category in CATEGORIES:
                scores = [report["categories"][category]["score"] * 100 for report in reports]
                found[f"{device}, {category}"] = round(statistics.median(scores))
            found[f"{device}, what is not perfect"] = _faults(reports[-1])
    return found


def _lighthouse(url: str, folder: Path, options: list[str]) -> Any:
    report = folder / "report.json"
    command = [
        str(LIGHTHOUSE / "node_modules" / ".bin" / "lighthouse"), url, "--quiet", "--output=json",
        f"--output-path={report}", f"--chrome-path={find_chromium()}", *options,
        "--chrome-flags=" + " ".join(ARGUMENTS), f"--only-categories={','.join(CATEGORIES)}",
    ]  # fmt: skip
    subprocess.run(command, check=True, timeout=180, cwd=folder)
    return json.loads(report.read_text())


def _faults(report: Any) -> list[str]:
    weighed = {one["id"] for part in report["categories"].values() for one in part["auditRefs"] if one["weight"]}
    return sorted(
        f"{name} {audit['score']}"
        for name, audit in report["audits"].items()
        if name in weighed and audit["score"] is not None and audit["score"] < 0.995
    )


@click.command(help=__doc__)
@click.option("--only", multiple=True, type=click.Choice(["load", "frames", "lighthouse"]), help="all by default")
@click.option("--runs", default=5, show_default=True, help="of Lighthouse, for each device; the median counts")
def main(only: tuple[str, ...], runs: int) -> None:
    """Print the figures."""
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "load": measure_load,
        "frames": measure_frames,
        "lighthouse": lambda: measure_lighthouse(runs),
    }
    if "lighthouse" in (only or measures) and shutil.which("npm") is None:
        raise click.ClickException("npm is not installed, which Lighthouse comes from; --only takes the other figures")
    for name in only or measures:
        for what, figure in measures[name]().items():
            click.echo(f"{what}: {figure}")


if __name__ == "__main__":
    main()
