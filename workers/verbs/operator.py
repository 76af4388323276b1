"""OperatorCommands: `chatctl say`, `kick`, `ban` and the others, each by the verb that does it.

chatctl says what a command is called and what it was given. Here that becomes a request of the table, and the answer
becomes the rows that chatctl prints. In a program of one's own, `say` sends the text as it is, and `kick` closes
connections.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec

from workers.addressing import normalized
from workers.chat.rules.identity import OPERATOR as OPERATOR_ID
from workers.verbs.dispatcher import Dispatcher
from workers.verbs.request import MOST_LISTED, Caller, VerbError

logger = logging.getLogger(__name__)

OPERATOR: Final = Caller(OPERATOR_ID)
_PAST: Final = {"kick": "kicked", "ban": "banned", "mute": "muted", "unban": "unbanned", "unmute": "unmuted"}
_FIELDS: Final = ("user", "room", "seconds", "reason", "ahead")

Row = dict[str, Any]


class OperatorCommands:
    """Answers what chatctl asks of an application."""

    def __init__(self, dispatcher: Dispatcher, *, is_chat: bool) -> None:
        self._dispatcher, self._is_chat = dispatcher, is_chat

    async def answer(self, what: str, args: Row) -> list[Row] | None:
        """Carry out a command; None: it is none of these. Raises VerbError, BusError, LookupError."""
        match what:
            case "verb":
                given, verb, key = args.get("request") or {}, str(args.get("verb") or ""), str(args.get("key") or "")
                return [await self._call(verb, given, key)]
            case "say":
                return [await self._say(args)]
            case "kick" if not self._is_chat:
                return [await self._disconnect(args)]
            case "kick" | "ban" | "mute" | "unban" | "unmute":
                return await self._moderate(what, {name: args[name] for name in _FIELDS if args.get(name) is not None})
            case "who":  # the store may give a user twice while a room grows
                members = await self._all("members", "members", {"room": args.get("room")})
                return [row for _, row in sorted({row["user"]: row for row in members}.items())]
            case "sanctions":
                return await self._sanctions(args)
            case "audit":
                given = {name: args.get(name) or "" for name in ("room", "user")}
                return await self._all("audit", "deeds", given)
        return None

    async def _call(self, verb: str, request: Row, key: str = "") -> Row:
        answer: Row = msgspec.json.decode(
            await self._dispatcher.call(OPERATOR, verb, msgspec.json.encode(request), key)
        )
        return answer

    async def _all(self, verb: str, field: str, request: Row) -> list[Row]:
        """The rows of all pages."""
        rows: list[Row] = []
        cursor = ""
        while True:
            page = await self._call(verb, {**request, "cursor": cursor, "limit": MOST_LISTED})
            rows += page[field]
            cursor = page["cursor"]
            if not cursor:
                return rows

    async def _say(self, args: Row) -> Row:
        room, text = args.get("room"), args.get("text")
        if self._is_chat:
            return await self._call("say", {"room": room, "text": text})
        sent = await self._call("send_to_room", {"rooms": [room], "text": text})
        logger.info("the operator sent a message to %s", sent["sent"][0]["room"])
        return {"room": sent["sent"][0]["room"]}

    async def _moderate(self, verb: str, request: Row) -> list[Row]:
        try:
            answer = await self._call(verb, request)
        except VerbError as error:
            if error.code == "bad_request" and error.field == "user":  # most likely a name with spaces
                raise VerbError(
                    error.code, f"{error}; `who ROOM` shows each id beside the name", field="user"
                ) from None
            raise
        user, room = normalized(request.get("user", "")), normalized(request.get("room", ""))
        if answer.get("lifted") is False:
            return [{"user": user, "room": room, **answer}]
        where = f" in {room}" if room else ""
        how_long = f" for {request['seconds']:g} s" if request.get("seconds") else ""
        why = f" ({request['reason']})" if request.get("reason") else ""
        logger.info("the operator has %s %s%s%s%s", _PAST[verb], user, where, how_long, why)
        return [{"user": user, "room": room, **answer}] if answer else []

    async def _sanctions(self, args: Row) -> list[Row]:
        """The bans and mutes that hold; with a room "" only those that apply everywhere."""
        given = {name: args.get(name) or "" for name in ("kind", "room", "user")}
        rows = await self._all("sanctions", "sanctions", given)
        return [row for row in rows if args.get("room") != "" or not row["room"]]

    async def _disconnect(self, args: Row) -> Row:
        """`connections` are the ids that chatctl has found for that user."""
        user, ids, reason = args.get("user"), args.get("connections") or [], str(args.get("reason") or "kicked")
        if args.get("room"):
            raise ValueError("only the chat can remove a user from a room; without --room the user is disconnected")
        closed = 0
        for connection in ids:  # some may be gone by now, or be those of another Worker of the program
            try:
                closed += (await self._call("disconnect", {"connection": str(connection), "reason": reason}))[
                    "connections"
                ]
            except VerbError as error:
                if error.code != "not_found":
                    raise
        if not closed:
            raise LookupError(f"no connection of {user} is open: a program's users are those that it binds")
        logger.info("the operator has kicked %s, connections: %d", user, closed)
        return {"user": user, "connections": closed}
