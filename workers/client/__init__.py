"""A typed asyncio client of the chat, which reconnects by itself.

::

    from workers.client import Client, Message

    async with Client("ws://127.0.0.1:8000/", rooms=["lobby"], name="Ada") as chat:
        await chat.say("lobby", "Hello!")              # returns when the store has it
        async for event in chat.events():
            if isinstance(event, Message):
                print(event.sender.name, event.text)

Messages of a room arrive in order, each once, across lost connections, reloads and dead servers; a `Gap` or `Reset`
reports messages that are gone for good.
"""

from workers.client.client import Client, Connecting, connect
from workers.client.errors import CannotConnect, ClientError, ConnectionEnded, OutcomeUnknown, RequestRefused
from workers.client.events import (
    Ack,
    Banned,
    Bye,
    Deleted,
    Disconnected,
    Edited,
    Entry,
    Error,
    Event,
    Gap,
    HeldSanction,
    HeldSanctions,
    History,
    Joined,
    Left,
    Members,
    Message,
    Muted,
    Person,
    Position,
    Presence,
    Reacted,
    Read,
    Reset,
    Typing,
    Unmuted,
    Welcome,
)

__all__ = [
    "Ack",
    "Banned",
    "Bye",
    "CannotConnect",
    "Client",
    "ClientError",
    "Connecting",
    "ConnectionEnded",
    "Deleted",
    "Disconnected",
    "Edited",
    "Entry",
    "Error",
    "Event",
    "Gap",
    "HeldSanction",
    "HeldSanctions",
    "History",
    "Joined",
    "Left",
    "Members",
    "Message",
    "Muted",
    "OutcomeUnknown",
    "Person",
    "Position",
    "Presence",
    "Reacted",
    "Read",
    "RequestRefused",
    "Reset",
    "Typing",
    "Unmuted",
    "Welcome",
    "connect",
]
