"""CloseCode: every WebSocket close code that the server sends or reports, by name.

1000 to 1015 are defined by RFC 6455, 7.4.1 and the IANA registry, 4000 to 4999 by the application (7.4.2). The protocol
document says what a client does about each code.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final


@unique
class CloseCode(IntEnum):
    """A close code; equal to its number, and formatted as its number."""

    NORMAL = 1000  # the conversation is over
    GOING_AWAY = 1001  # the server stops, or the page was left
    PROTOCOL_ERROR = 1002  # broken frames
    UNSUPPORTED_DATA = 1003  # binary where only text is allowed
    NO_STATUS = 1005  # reported, never sent: the peer's Close named no code
    ABNORMAL = 1006  # reported, never sent: the connection was lost without a Close
    INVALID_DATA = 1007  # text that is not UTF-8
    POLICY_VIOLATION = 1008  # refused by policy
    TOO_BIG = 1009  # a message larger than the limit
    INTERNAL_ERROR = 1011  # a bug in the application or the server
    SERVICE_RESTART = 1012  # the worker is replaced, or the store is away: reconnect
    UNAUTHORIZED = 4001  # the token is missing, wrong or expired
    NO_HELLO = 4002  # no `hello` within its time
    REMOVED = 4003  # kicked or banned
    TOO_MANY = 4004  # a limit on connections is reached
    TOO_SLOW = 4008  # the client does not read what is sent
    FLOOD = 4009  # the client goes on while requests are refused, or sends too many control frames
    NO_ANSWER = 4010  # no answer to a ping in time


NEVER_SENT: Final = frozenset({1004, CloseCode.NO_STATUS, CloseCode.ABNORMAL, 1015})  # RFC 6455, 7.4.1


def may_be_sent(code: int) -> bool:
    """Return whether a server may send a code: 1000 to 1014 without NEVER_SENT, or 3000 to 4999 (RFC 6455, 7.4)."""
    return (1000 <= code <= 1014 and code not in NEVER_SENT) or 3000 <= code <= 4999
