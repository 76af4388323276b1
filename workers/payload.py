"""Checks what a program sends, at the call, and converts it to the bytes and the form that rooms carry."""

from __future__ import annotations

from typing import Any

from workers.close_codes import may_be_sent

TEXT, BINARY = "t", "b"


def packed(data: Any) -> tuple[bytes, str]:
    """Return the bytes of a message and its form: text for a string, binary for bytes.

    Raises TypeError for anything else, ValueError for a string with half a surrogate pair, which UTF-8 cannot hold.
    """
    if isinstance(data, str):
        try:
            return data.encode(), TEXT
        except UnicodeEncodeError as error:
            raise ValueError(f"a text cannot hold half a surrogate pair (character {error.start})") from None
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data), BINARY
    raise TypeError(f"a message is a string (text) or bytes (binary), not {type(data).__name__}; json.dumps makes one")


def close_reason(reason: Any) -> str:
    """Return the reason of a close frame, cut to the 123 bytes that RFC 6455 (5.5) leaves for it.

    Raises TypeError for anything but a string, ValueError for a string that UTF-8 cannot hold.
    """
    if not isinstance(reason, str):
        raise TypeError(f"a reason is a string, not {type(reason).__name__}")
    try:
        encoded = reason.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a reason cannot hold half a surrogate pair (character {error.start})") from None
    return reason if len(encoded) <= 123 else encoded[:123].decode(errors="ignore")


def close_code(code: Any) -> int:
    """Check and return a code that a server may close with; see `may_be_sent`.

    Raises TypeError, ValueError.
    """
    if isinstance(code, bool) or not isinstance(code, int):
        raise TypeError(f"a close code is a whole number, not {type(code).__name__}")
    if not may_be_sent(code):
        raise ValueError(f"{code} is not a valid close code: use 1000-1014 without 1004, 1005, 1006, or 3000-4999")
    return code
