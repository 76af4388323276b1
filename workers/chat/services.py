"""ChatServices: what the parts of the chat share on one worker, built once in `app.py`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from chatmaster.settings import Settings
from workers.bus.store_bus import StoreBus
from workers.chat.connections import ChatConnections
from workers.chat.rules.context import Context
from workers.chat.rules.mentions import MentionIndex
from workers.chat.rules.moderators import ModeratorIndex
from workers.chat.store import ChatStore
from workers.node.counters import Counters
from workers.presence import Presence
from workers.registry import Registry
from workers.rooms.hub import Hub
from workers.tasks import Tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatServices:
    """What lies below the chat, and what its rules know. No part reaches another part through it."""

    settings: Settings
    loop: asyncio.AbstractEventLoop
    tasks: Tasks
    counters: Counters
    bus: StoreBus
    hub: Hub
    presence: Presence
    registry: Registry
    store: ChatStore
    connections: ChatConnections
    context: Context
    mentions: MentionIndex
    moderators: ModeratorIndex
