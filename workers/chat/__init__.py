"""The chat: rules without I/O, and an application of a worker that carries them out.

`workers.chat:worker` is what `chatctl start` serves. `Chat` is the same with an application's own hooks (`hooks.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workers.chat.hooks import HelloRequest, Hooks, JoinRequest, Kept, Person, Refuse, SayRequest, WordFilter
from workers.worker import Worker

if TYPE_CHECKING:
    from workers.chat.app import ChatApplication
    from workers.node.node import Node

__all__ = [
    "Chat",
    "HelloRequest",
    "JoinRequest",
    "Kept",
    "Person",
    "Refuse",
    "SayRequest",
    "WordFilter",
    "create",
    "worker",
]


_SERVED = "the chat serves this Worker, and its hooks are on_hello, on_join, on_say and on_kept, beside on_handshake"


class Chat(Hooks):
    """A chat with hooks: set them with `on_hello`, `on_join`, `on_say`, `on_kept`, and serve `worker`."""

    def __init__(
        self,
        listen: str = "websocket://127.0.0.1:8000",
        *,
        name: str = "",
        count: int = 0,
        http: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__()
        self.worker = Worker(listen, name=name, count=count, application=self._create, http=http)
        self.worker.serve_by(_SERVED)
        self._application: ChatApplication | None = None

    def _create(self, worker: Worker, node: Node) -> ChatApplication:
        self._application = create(worker, node, self)
        return self._application

    async def say(self, room: str, text: str, *, user: str, name: str) -> int:
        """Say something in a room as somebody who is not connected, a bot for example; returns its offset.

        `user` must be a valid user id; no rights are asked, and no hook. Raises ValueError, or BusError where the store
        does not answer.
        """
        if self._application is None:
            raise RuntimeError("this chat does not run here: use it inside a hook")
        return await self._application.say(room, text, user=user, name=name)


def create(worker: Worker, node: Node, hooks: Hooks | None = None) -> ChatApplication:
    """The chat of the process that serves; called by the composition root."""
    from workers.chat.app import ChatApplication

    return ChatApplication(node, hooks or Hooks())


worker = Worker("websocket://127.0.0.1:8000", application=create)
worker.serve_by(_SERVED)
