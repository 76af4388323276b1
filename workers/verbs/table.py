"""The table of verbs: every door shows exactly these, and what is carried out for a worker by the others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from workers.node.node import Node
from workers.verbs import host_settings, messages, people, programs, rooms
from workers.verbs.fleet import Act, Part
from workers.verbs.verb import AnyVerb, Application

TABLE: Final[Mapping[str, AnyVerb]] = MappingProxyType(
    {one.name: one for one in (*messages.VERBS, *rooms.VERBS, *people.VERBS, *programs.VERBS)}
)
# The groups, which keys may be limited to as well as to single verbs.
GROUPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "messages": "What is said in rooms and to users, and what becomes of it.",
        "rooms": "Who is in which room.",
        "people": "Who is connected, and what moderators do.",
        "programs": "For the clients of a program of one's own, and for its sessions.",
    }
)

# What the worker that has a connection does with it.
ACTS: Final[Mapping[str, Act]] = MappingProxyType(
    {
        "join": rooms.act_join,
        "leave": rooms.act_leave,
        "bind": people.act_bind,
        "unbind": people.act_unbind,
        "disconnect": people.act_disconnect,
        "send": programs.act_send,
        "session_get": programs.act_session_get,
        "session_set": programs.act_session_set,
        "session_update": programs.act_session_update,
    }
)


def parts(node: Node) -> Mapping[str, Part]:
    """What each worker knows, or does, a part of."""
    return {
        "rooms": partial(rooms.part, node),
        "connections": partial(people.part, node),
        "ids": partial(people.part_ids, node),
        "disconnect": partial(people.part_disconnect, node),
        "settings": partial(host_settings.part, node),
    }


def of_application(application: Application) -> list[AnyVerb]:
    """The verbs that the chat, or a program, has."""
    return [one for one in TABLE.values() if one.application in ("", application)]
