"""How the load speaks to a server: where it connects, its hello, what answers that, and how a message is said.

In the templates %I becomes the number of the connection, %R that of its room, %T the time of sending, %P padding.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

HELLO: Final = '{"type":"hello","rooms":[{"room":"r%R"}]}'
SAY: Final = '{"type":"say","room":"r%R","text":"T=%T %P"}'
SAY_ONCE: Final = '{"type":"say","room":"r%R","key":"k%T","text":"T=%T %P"}'  # with a key, as a browser does


class Dialect(Struct, frozen=True):
    """The templates of one kind of server."""

    path: str = "/"
    hello: str = HELLO
    welcome: str = '"welcome"'  # what the answer to the hello holds
    say: str = SAY
    say_once: str = SAY_ONCE


CHAT: Final = Dialect()
# Two commands of one frame; the second is answered when the connection is in the channel.
CENTRIFUGO: Final = Dialect(
    path="/connection/websocket",
    hello='{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"r%R"}}',
    welcome='"subscribe":',
    say='{"id":3,"publish":{"channel":"r%R","data":{"text":"T=%T %P"}}}',
)
