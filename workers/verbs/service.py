"""VerbService: the verbs on one worker, for all doors. It takes the calls that programs outside leave in the store.

Of the workers that hear of a call the first one takes it out of the store, so each is carried out once; one that nobody
has taken is gone when its caller gives up.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Raw

from workers.bus.port import BusError
from workers.bus.script import Argument, scripts_of
from workers.chat.app import ChatApplication
from workers.node import control_room
from workers.node.client_connection import ClientConnection
from workers.node.node import Node
from workers.room_options import Options
from workers.verbs import host_settings, keys, table
from workers.verbs.api_keys import ApiKeys, NewKey
from workers.verbs.dispatcher import Dispatcher
from workers.verbs.fleet import Fleet
from workers.verbs.notes import Answered, decode_call, encode
from workers.verbs.operator import OperatorCommands
from workers.verbs.request import Caller, VerbError
from workers.verbs.verb import Services

logger = logging.getLogger(__name__)

PROGRAM: Final = Caller("gateway")
CONCURRENT: Final = 1000  # calls of programs outside that one worker carries out at once; others take the rest


class VerbService:
    """The verbs on one worker. Made when the application has started."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._name = node.settings.master.name
        self.message_size = node.settings.limits.message_size
        chat = node.application if isinstance(node.application, ChatApplication) else None
        self.is_chat = chat is not None
        self.fleet = Fleet(node, table.ACTS, table.parts(node))
        self.dispatcher = Dispatcher(
            Services(node=node, fleet=self.fleet, chat=chat, options=Options(node.settings.rooms))
        )
        self._commands = OperatorCommands(self.dispatcher, is_chat=self.is_chat)
        self.api_keys = ApiKeys(node.bus, self._name)
        self._take, self._answer = map(node.bus.script, scripts_of(Path(__file__).parent, "take", "answer"))
        self._under_way = 0

    async def start(self) -> None:
        """Hear calls from now on."""
        self._node.outside = self
        await self.fleet.start(self)

    async def stop(self) -> None:
        """Take no more calls; other workers do."""
        await self.fleet.stop()

    # ---- told by the node ----------------------------------------------------------------------------

    def receive_note(self, room: str, note: bytes) -> None:
        """A note of the server's own came."""
        self.fleet.receive_note(room, note)

    def carry_out(self, order: control_room.Act, connection: ClientConnection | None) -> None:
        """Another worker ordered something for a connection."""
        self.fleet.carry_out(order, connection)

    def reaped(self, process: str) -> None:
        """A sibling is dead."""
        self.fleet.reaped(process)

    # ---- programs outside ------------------------------------------------------------------------------

    def called(self, token: str) -> None:
        """A call waits in the store."""
        if self._under_way < CONCURRENT:
            self._under_way += 1
            self._node.tasks.start(self._carry_out(token), what="a call of a program outside")

    async def _carry_out(self, token: str) -> None:
        try:
            packed = await self._node.bus.call(self._take, [keys.call(self._name, token)], [], again=False)
            if packed is None:
                return
            answered = encode(await self._answered(packed))
            args: list[Argument] = [answered, int(keys.ANSWER_TTL * 1000)]
            await self._node.bus.call(self._answer, [keys.answer(self._name, token)], args, again=False)
        except BusError as error:
            logger.warning("a program outside gets no answer: %s", error)
        finally:
            self._under_way -= 1

    async def _answered(self, packed: bytes) -> Answered:
        try:
            call = decode_call(packed)
            return Answered(Raw(await self.dispatcher.call(PROGRAM, call.verb, bytes(call.request), call.key)))
        except VerbError as error:
            return Answered(Raw(b"null"), error.code, str(error), error.field, error.retry_after)
        except ValueError as error:
            return Answered(Raw(b"null"), "bad_request", f"the call cannot be read: {error}")

    # ---- the operator -----------------------------------------------------------------------------------

    async def query(self, what: str, args: dict[str, Any]) -> list[dict[str, Any]] | None:
        """Answer a question of chatctl's: `apikey`, `host_settings`, or a command by its verb; None: none of these.

        Raises ValueError for wrong arguments, LookupError for what is not there, VerbError, BusError.
        """
        if what == "host_settings":
            return await host_settings.of_all(self.fleet, str(args.get("salt") or ""))
        return await self._manage_keys(args) if what == "apikey" else await self._commands.answer(what, args)

    async def _manage_keys(self, args: dict[str, Any]) -> list[dict[str, Any]]:
        name = args.get("name")
        match args.get("do"):
            case "add":
                asked = msgspec.convert(_without(args, "do"), NewKey)
                unknown = set(asked.verbs) - table.TABLE.keys() - set(table.GROUPS) - {"read"}
                if unknown:
                    raise ValueError(f"there is no verb {', '.join(sorted(unknown))}")
                return [{"name": asked.name, "key": await self.api_keys.add(asked)}]
            case "list":
                return [msgspec.to_builtins(one) for one in await self.api_keys.listed()]
            case "revoke":
                ended = await self.api_keys.revoke(str(name))
                if not ended:
                    raise LookupError(f"there is no API key {name}; `apikey list` shows them")
                return [{"name": name, "revoked": ended}]
        raise ValueError("apikey takes add, list or revoke")


def _without(args: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in args.items() if key != name}
