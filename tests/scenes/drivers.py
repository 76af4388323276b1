"""Both clients behind one interface, so that the same scenes can be played with each.

What differs by language is made the same here: exceptions and rejected promises become `error` and `field`, and what
was told becomes a tuple that begins with its kind.
"""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from tests.scenes.steps import Call, Scene
from workers.client import Client, ConnectionEnded, Disconnected, Event, OutcomeUnknown, RequestRefused
from workers.http.page import build

Result = dict[str, Any]

# For each kind that both clients tell: what of it is compared. `ended` is the end of a connection.
TOLD = {
    "message": ("room", "epoch", "offset", "edited", "deleted", "reactions"),
    "presence": ("room", "count", "joined", "renamed"),
    "gap": ("room", "from", "to"),
    "reset": ("room", "epoch", "offset"),
    "left": ("room", "reason"),
    "error": ("code", "field"),
    "ended": ("code",),
}
_SOON = 0.01  # for a random number: a back-off of some milliseconds
_RETRIED = ("rate_limited", "refused", "unavailable", "internal")


class Driver(Protocol):
    """A client on its way through a scene."""

    def start(self, url: str, scene: Scene) -> None: ...

    def results(self) -> list[Result]: ...

    def told(self) -> list[tuple[Any, ...]]: ...

    def state(self) -> str: ...

    def close(self) -> None: ...


class PythonDriver:
    """`workers.client` on a loop in a thread of its own: Playwright has a loop in this one."""

    def __init__(self) -> None:
        self._results: list[Result] = []
        self._told: list[tuple[Any, ...]] = []
        self._client: Client | None = None
        self._failed: Exception | None = None
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def start(self, url: str, scene: Scene) -> None:
        asyncio.run_coroutine_threadsafe(self._run(url, scene), self._loop)

    def results(self) -> list[Result]:
        return list(self._results)

    def told(self) -> list[tuple[Any, ...]]:
        return list(self._told)

    def state(self) -> str:
        if self._failed is not None:
            return "closed"
        return "connected" if self._client is not None and self._client.connected else "waiting"

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _run(self, url: str, scene: Scene) -> None:
        options = {"rooms": ["lobby"], "random": lambda: _SOON, **scene.options}
        self._client = client = Client(url, on_event=self._note, **options)
        starting = asyncio.ensure_future(self._connect(client))
        if not scene.early:
            await starting
        for step in scene.do:
            calls = [step] if isinstance(step, Call) else step
            self._results += await asyncio.gather(*(self._call(client, one) for one in calls))
        await starting

    async def _connect(self, client: Client) -> None:
        try:
            await client.start()
        except (ConnectionEnded, RequestRefused) as error:
            self._failed = error

    async def _call(self, client: Client, what: Call) -> Result:
        try:
            answer = await getattr(client, what.verb)(*what.arguments, **what.options)
        except RequestRefused as error:
            return {"error": error.code, "field": error.field}
        except OutcomeUnknown:
            return {"error": "outcome_unknown"}
        except ConnectionEnded:
            return {"error": "ended"}
        found: Result = msgspec.to_builtins(answer) or {}
        return found

    def _note(self, event: Event) -> None:
        if isinstance(event, Disconnected):
            self._told.append(("ended", event.code))
            if event.retry_in is None:
                self._failed = ConnectionEnded(event.code, event.reason)
            return
        fields = msgspec.json.decode(msgspec.json.encode(event))
        if fields.get("code") not in _RETRIED:  # the other client has an event of its own for them
            self._told += compared(fields["type"], fields)

    async def _close(self) -> None:
        if self._client is not None:
            await self._client.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)


_START = """async ([address, url, options, soon, early, steps, kinds]) => {
    const { connect } = await import(address);
    const told = (window.told = []);
    const results = (window.results = []);
    const chat = (window.chat = connect(url, { rooms: ["lobby"], random: () => soon, ...options }));
    for (const kind of kinds) chat.on(kind, (detail) => told.push([kind, detail]));
    chat.on("state", (state) => { if (state.code) told.push(["ended", state]) });
    const call = async ([verb, args, options]) => {
        try {
            return (await chat[verb](...args, ...options)) ?? {};
        } catch (error) {
            return { error: error.code, field: error.field };
        }
    };
    const settled = () => ["connected", "closed"].includes(chat.state.state);
    const play = async () => {
        while (!early && !settled()) {
            await new Promise((resolve) => chat.addEventListener("state", resolve, { once: true }));
        }
        for (const calls of steps) results.push(...(await Promise.all(calls.map(call))));
    };
    play();
}"""


class BrowserDriver:
    """`/chat.js` on a page in Chromium."""

    def __init__(self, browser: Any) -> None:
        # A page for each scene: Chromium makes one that lost connections wait longer and longer for the next.
        self._page = browser.new_page()

    def start(self, url: str, scene: Scene) -> None:
        address = "data:text/javascript;base64," + base64.b64encode(build().script).decode()
        steps = [_plain([step] if isinstance(step, Call) else step) for step in scene.do]
        kinds = [kind for kind in TOLD if kind != "ended"]
        self._page.evaluate(_START, [address, url, dict(scene.options), _SOON, scene.early, steps, kinds])

    def results(self) -> list[Result]:
        found: list[Result] = self._page.evaluate("() => window.results")
        return found

    def told(self) -> list[tuple[Any, ...]]:
        told = self._page.evaluate("() => window.told")
        return [one for kind, detail in told for one in compared(kind, detail)]

    def state(self) -> str:
        state: str = self._page.evaluate("() => chat.state.state")
        return state

    def close(self) -> None:
        self._page.close()


def _plain(calls: Sequence[Call]) -> list[list[Any]]:
    return [[one.verb, list(one.arguments), [one.options] if one.options else []] for one in calls]


def compared(kind: str, fields: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What of an event is compared; nothing where only one client tells it so."""
    if kind not in TOLD or (kind == "left" and fields.get("reason") is None):  # the answer to `leave`
        return []
    return [(kind, *(_given(fields.get(name)) for name in TOLD[kind]))]


def _given(value: Any) -> Any:
    """What one client leaves out has its empty value in the other."""
    return None if value is False or value in ([], {}) else value
