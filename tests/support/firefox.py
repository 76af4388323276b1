"""Firefox for a test, by WebDriver BiDi: the program is started, asked over its WebSocket, and ended with the test.

Playwright brings a Firefox of its own, and drives Debian's only in part. Each wait has a deadline: a Firefox that hangs
fails a test with `FirefoxFailed`, and `Firefox.close` ends its whole process group.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from websockets.sync.client import ClientConnection, connect

NAMES: Final = ("firefox-esr", "firefox")
START_TIMEOUT: Final = 40.0  # seconds
ANSWER_TIMEOUT: Final = 30.0  # seconds for each command
LARGEST: Final = 64 * 2**20  # bytes of an answer: a picture
PRESSED_FOR: Final = 100  # ms between down and up, as a hand does
KEYS: Final[Mapping[str, str]] = {
    "Enter": "\ue007", "Escape": "\ue00c", "Tab": "\ue004", "ArrowDown": "\ue015", "Shift": "\ue008",
    "Control": "\ue009",
}  # fmt: skip
# Nothing of Firefox's own is asked of the network, and no first-run page lies before the test's.
PREFERENCES: Final[Mapping[str, str | int | bool]] = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.region.network.url": "",
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.update.enabled": False,
    "intl.accept_languages": "en-GB",
    "messaging-system.rsexperimentloader.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}

_listening = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")


class FirefoxFailed(Exception):
    """It did not start, did not answer in time, or refused a command."""


def find_firefox() -> str | None:
    """The path of the program; None: it is not installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Firefox:
    """One process with a profile of its own, as a context manager."""

    def __init__(self, path: str, preferences: Mapping[str, str | int | bool] | None = None) -> None:
        self._path = path
        self._preferences = {**PREFERENCES, **(preferences or {})}
        self._profile = Path(tempfile.mkdtemp(prefix="cm-firefox-"))
        self._ends = contextlib.ExitStack()
        self._connection: ClientConnection | None = None
        self._last = 0  # number of a command
        self._tabs: dict[str, Tab] = {}

    def __enter__(self) -> Firefox:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _start(self) -> None:
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in self._preferences.items())
        (self._profile / "user.js").write_text("\n".join(lines))
        log = self._profile / "log"
        process = subprocess.Popen(
            [self._path, "--headless", "--no-remote", "--profile", str(self._profile), "--remote-debugging-port", "0"],
            stdout=subprocess.DEVNULL,
            stderr=self._ends.enter_context(log.open("wb")),
            env={**os.environ, "MOZ_CRASHREPORTER_DISABLE": "1", "HOME": str(self._profile), "TZ": "UTC"},
            start_new_session=True,
        )
        self._ends.callback(_end, process)
        deadline = time.monotonic() + START_TIMEOUT
        while not (found := _listening.search(log.read_bytes())):
            if process.poll() is not None or time.monotonic() > deadline:
                raise FirefoxFailed(f"{self._path} does not listen: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        address = f"{found[1].decode()}/session"
        self._connection = self._ends.enter_context(connect(address, max_size=LARGEST, compression=None))
        self.ask("session.new", capabilities={})
        self.ask("session.subscribe", events=["log.entryAdded"])

    def close(self) -> None:
        """End the process and all below it, and remove its profile."""
        self._ends.close()
        shutil.rmtree(self._profile, ignore_errors=True)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give a command, and return its result; what the tabs log meanwhile is noted by them."""
        assert self._connection is not None
        self._last += 1
        self._connection.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        deadline = time.monotonic() + ANSWER_TIMEOUT
        while True:
            try:
                told = json.loads(self._connection.recv(max(0.0, deadline - time.monotonic())))
            except TimeoutError:
                raise FirefoxFailed(f"no answer to {method} in {ANSWER_TIMEOUT:g} s") from None
            if told.get("method") == "log.entryAdded":
                self._logged(told["params"])
            elif told.get("id") == self._last:
                if told["type"] == "error":
                    raise FirefoxFailed(f"{method}: {told['error']}: {told['message']}")
                result: dict[str, Any] = told["result"]
                return result

    def _logged(self, entry: dict[str, Any]) -> None:
        tab = self._tabs.get(entry["source"].get("context", ""))
        if tab is not None and entry["level"] in ("error", "warn"):
            tab.complaints.append(f"{entry['level']}: {entry['text']}")

    def visit(self, width: int = 1280, height: int = 800) -> Tab:
        """A tab whose cookies and storage are its own."""
        user = self.ask("browser.createUserContext")["userContext"]
        context = self.ask("browsingContext.create", type="tab", userContext=user)["context"]
        self._tabs[context] = tab = Tab(self, context, user)
        self.ask("browsingContext.setViewport", context=context, viewport={"width": width, "height": height})
        return tab


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Tab:
    """A tab of somebody. `complaints` are the errors and warnings on its console."""

    def __init__(self, firefox: Firefox, context: str, user: str) -> None:
        self._firefox = firefox
        self._context = context
        self._user = user
        self.complaints: list[str] = []

    def close(self) -> None:
        """End it with its cookies and storage."""
        self._firefox.ask("browser.removeUserContext", userContext=self._user)

    def before_each_page(self, statement: str) -> None:
        """Run it before the scripts of every page that the tab opens."""
        function = f"() => {{ {statement} }}"
        self._firefox.ask("script.addPreloadScript", functionDeclaration=function, contexts=[self._context])

    def go(self, url: str) -> None:
        """Open an address, and wait until the page is loaded."""
        self._firefox.ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def reload(self) -> None:
        """Load the page anew."""
        self._firefox.ask("browsingContext.reload", context=self._context, wait="complete")

    def set_offline(self, is_offline: bool) -> None:
        """Take the network from it, or give it back."""
        conditions = {"type": "offline"} if is_offline else None
        self._firefox.ask("emulation.setNetworkConditions", networkConditions=conditions, contexts=[self._context])

    def run(self, function: str, *given: Any) -> Any:
        """Call a JavaScript function, which may be async; arguments and result are what JSON has."""
        result = self._firefox.ask(
            "script.callFunction",
            functionDeclaration=f"async (given) => JSON.stringify((await ({function})(...JSON.parse(given))) ?? null)",
            arguments=[{"type": "string", "value": json.dumps(given)}],
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        if result["type"] == "exception":
            raise FirefoxFailed(f"{function}: {result['exceptionDetails']['text']}")
        return json.loads(result["result"]["value"])

    def press(self, at: tuple[float, float], pressed_for: int = PRESSED_FOR) -> None:
        """The mouse moves there, goes down, and up after so many ms."""
        actions = [
            {"type": "pointerMove", "x": round(at[0]), "y": round(at[1])},
            {"type": "pointerDown", "button": 0},
            {"type": "pause", "duration": pressed_for},
            {"type": "pointerUp", "button": 0},
        ]
        self._act([{"type": "pointer", "id": "mouse", "actions": actions}])

    def point(self, at: tuple[float, float]) -> None:
        """The mouse moves there."""
        move = {"type": "pointerMove", "x": round(at[0]), "y": round(at[1])}
        self._act([{"type": "pointer", "id": "mouse", "actions": [move]}])

    def type(self, text: str) -> None:
        """Press the key of each character."""
        self._act([{"type": "key", "id": "keys", "actions": [step for one in text for step in _stroke(one)]}])

    def key(self, *names: str) -> None:
        """Press keys together, as "Control", "k"; see `KEYS`."""
        values = [KEYS.get(name, name) for name in names]
        downs = [{"type": "keyDown", "value": value} for value in values]
        ups = [{"type": "keyUp", "value": value} for value in reversed(values)]
        self._act([{"type": "key", "id": "keys", "actions": downs + ups}])

    def _act(self, sources: list[dict[str, Any]]) -> None:
        self._firefox.ask("input.performActions", context=self._context, actions=sources)

    def picture(self, path: Path) -> None:
        """Write what is in view, as PNG."""
        data = self._firefox.ask("browsingContext.captureScreenshot", context=self._context)["data"]
        path.write_bytes(base64.b64decode(data))


def _stroke(character: str) -> list[dict[str, str]]:
    return [{"type": "keyDown", "value": character}, {"type": "keyUp", "value": character}]
