"""Who judges the handshakes of a worker: the program's `on_handshake`, or else the backend of `hooks.handshake`."""

from __future__ import annotations

import logging
from typing import Final

from workers.asked_backend import MAX_REASON, AskedBackend, BackendAnswer, BackendFailed
from workers.callbacks.application import call
from workers.handshake_request import Accept, HandshakeRequest, Reject
from workers.node.node import Node
from workers.transport.ports import HandshakeJudge

logger = logging.getLogger(__name__)

_AWAY: Final = Reject(503, {"Retry-After": "1"}, "the application does not answer")


def judge_of(node: Node) -> HandshakeJudge | None:
    """The judge of a worker's handshakes; None: every handshake that is well formed is let in."""
    callback = node.worker.callbacks.get("handshake")
    if callback is None:
        return BackendJudge(node.backend).judge if "handshake" in node.backend.hooks else None

    async def judge(request: HandshakeRequest) -> Accept | Reject | None:
        verdict = await call(callback, request)
        if verdict is not None and not isinstance(verdict, Accept | Reject):
            raise TypeError(f"on_handshake returns None, Accept(…) or Reject(…), not {verdict!r}")
        return verdict

    return judge


class BackendJudge:
    """Asks the web application about each handshake, and turns the answer into a verdict; what fails is refused."""

    def __init__(self, backend: AskedBackend) -> None:
        self._backend = backend

    async def judge(self, request: HandshakeRequest) -> Accept | Reject | None:
        """Let the client in, as the user whom the application names; or answer as the application says."""
        question = {
            "path": request.path,
            "query": request.query,
            "host": request.host,
            "scheme": request.scheme,
            "address": request.remote_ip,
            "subprotocols": request.subprotocols,
        }
        try:
            answer = await self._backend.ask("handshake", {"request": question}, request.headers)
        except BackendFailed:
            return _AWAY
        try:
            return _verdict_of(answer)
        except (ValueError, TypeError) as error:
            logger.warning("the hook handshake answers what cannot be: %s; the handshake is refused (503)", error)
            return _AWAY


def _verdict_of(answer: BackendAnswer) -> Accept | Reject | None:
    """Raises ValueError, TypeError for a user or a status that is none."""
    if not answer.allow:
        return Reject(answer.status, body=answer.reason[:MAX_REASON])
    if not answer.user and not answer.session:
        return None
    return Accept(user=answer.user, session=answer.session)
