"""The server of a scene: each connection plays its part, and what is not as it should be is noted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from tests.scenes.steps import WELCOME, Answer, Close, Cut, Fields, Greet, Hear, Push, Step, Waited

WITHIN = 10.0  # seconds for a client's next request


class Fault(AssertionError):
    """The client did not do what the scene says."""


class Stage:
    """The parts that are left, what was heard, and the faults."""

    def __init__(self, parts: Sequence[Sequence[Step]]) -> None:
        self.faults: list[str] = []
        self.played = 0  # parts that came to their end
        self._parts = list(parts)
        self._begun = 0
        self._heard: dict[str, dict[str, Any]] = {}  # by the name it was saved under; "" is the last one
        self._place = ""  # in the scene, for the report
        self._last_step = 0.0  # time.monotonic

    @property
    def over(self) -> bool:
        return self.played == len(self._parts)

    def play(self, ws: ServerConnection) -> None:
        """Play the next part."""
        number = self._begun
        self._begun += 1
        self._place = f"connection {number + 1}"
        try:
            if number >= len(self._parts):
                raise Fault("nobody expected this connection")
            for at, step in enumerate(self._parts[number]):
                self._place = f"connection {number + 1}, step {at + 1}"
                begun = time.monotonic()
                try:
                    self._take(ws, step)
                except ConnectionClosed:
                    # A client that sees a hole leaves, maybe before the rest of what is pushed to it is on its way.
                    if not all(isinstance(left, Push) for left in self._parts[number][at:]):
                        raise
                    break
                if not isinstance(step, Close):  # that takes as long as the client does
                    self._last_step = begun
            self.played += 1
            for late in ws:
                raise Fault(f"nobody expected {late!r}")
        except Fault as fault:
            self.faults.append(f"{self._place}: {fault}")
        except (ConnectionClosed, TimeoutError) as error:
            if self.played <= number:
                self.faults.append(f"{self._place}: {error!r}")

    def _take(self, ws: ServerConnection, step: Step) -> None:
        match step:
            case Greet(hello=fields, offset=offset, more=more):
                hello = self._hear(ws, Hear("hello", "", "", fields))
                rooms = [{"room": one["room"], "epoch": "e", "offset": offset} for one in hello["rooms"]]
                self._send(ws, "welcome", {"id": hello["id"], **WELCOME, "rooms": rooms, **more})
            case Hear():
                self._hear(ws, step)
            case Answer(kind=kind, to=to, fields=fields):
                self._send(ws, kind, {"id": self._heard[to]["id"], **fields})
            case Push(kind=kind, fields=fields):
                self._send(ws, kind, fields)
            case Waited(seconds=seconds):
                if (waited := time.monotonic() - self._last_step) < seconds:
                    raise Fault(f"it was back after {waited:.3f} s")
            case Close(code=code):
                ws.close(code)
            case Cut():
                ws.socket.shutdown(2)

    def _hear(self, ws: ServerConnection, wanted: Hear) -> dict[str, Any]:
        heard: dict[str, Any] = json.loads(ws.recv(timeout=WITHIN))
        different = {name for name, value in wanted.fields.items() if heard.get(name) != value}
        if heard["type"] != wanted.kind or different:
            raise Fault(f"heard {heard} for {wanted}")
        if wanted.same and heard != self._heard[wanted.same]:
            raise Fault(f"heard {heard} for {self._heard[wanted.same]}")
        self._heard[wanted.save] = self._heard[""] = heard
        return heard

    def _send(self, ws: ServerConnection, kind: str, fields: Fields) -> None:
        ws.send(json.dumps({"type": kind, **fields}))


@contextmanager
def playing(stage: Stage) -> Iterator[str]:
    """Serve a stage; gives its URL."""
    with serve(stage.play, "127.0.0.1", 0, subprotocols=["chat.v1.json"]) as server:  # type: ignore[list-item]  # a NewType
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        finally:
            server.shutdown()
            thread.join(10)
