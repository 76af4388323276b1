"""Why a server cannot be reached, in words, and whether waiting is of any use at the very first try. Pure."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final

import websockets

_NOWHERE: Final = (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENOENT, errno.EACCES)


def words(error: Exception) -> str:
    """What happened, in a few words."""
    if _is_refused(error):
        return "connection refused"
    if isinstance(error, socket.gaierror):
        return f"no such host ({error.strerror})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"it speaks no TLS there ({error.reason or error})"
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, websockets.InvalidMessage):
        return "who answers there speaks no HTTP" if not _was_cut(error) else "it closed the connection"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def hopeless(error: Exception) -> bool:
    """Whether the address is wrong, most likely: somebody who starts a client wants to hear it at once."""
    if isinstance(error, websockets.InvalidMessage):
        return not _was_cut(error)
    if isinstance(error, socket.gaierror):
        return error.errno != socket.EAI_AGAIN
    if isinstance(error, OSError):
        return _is_refused(error) or error.errno in _NOWHERE or isinstance(error, ssl.SSLError)
    return isinstance(error, websockets.InvalidURI)


def _is_refused(error: Exception) -> bool:
    # Of several addresses asyncio puts the errors into one text.
    return isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error)


def _was_cut(error: Exception) -> bool:
    """The connection ended before there was an answer: a server that goes away."""
    return isinstance(error.__cause__, EOFError | ConnectionError)
