"""Signs what chatmaster asks a web application, and verifies it there: the scheme of Standard Webhooks.

In the view that `[hooks]` names: ``signatures.verify(request.headers, request.body, secret=SECRET)``. The signature is
an HMAC-SHA256 over id, timestamp and body; https://www.standardwebhooks.com has libraries for other languages.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import time
from collections.abc import Mapping
from typing import Final

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
TOLERANCE: Final = 300.0  # seconds by which the clocks may differ; an older request may be one that somebody recorded
_SECONDS: Final = re.compile(r"[0-9]{1,15}").fullmatch
_PREFIX: Final = "whsec_"  # of a secret that is written in base64


class WrongSignature(ValueError):
    """A request that the holder of the secret has not signed, or not now."""


def sign(body: bytes, *, secret: str, message_id: str, now: float) -> dict[str, str]:
    """The three headers for a body at `now` (Unix time). Raises ValueError for a secret that is none."""
    timestamp = str(int(now))
    return {ID: message_id, TIMESTAMP: timestamp, SIGNATURE: f"v1,{_signature(secret, message_id, timestamp, body)}"}


def verify(
    headers: Mapping[str, str], body: bytes, *, secret: str, tolerance: float = TOLERANCE, now: float | None = None
) -> None:
    """Return if a request is signed with `secret`, within `tolerance` seconds. Raises WrongSignature.

    `headers` may have any case, as those of Django and Starlette; `body` is the body as it came, before JSON.
    """
    found = {name.lower(): value for name, value in headers.items()}
    if missing := [name for name in (ID, TIMESTAMP, SIGNATURE) if name not in found]:
        raise WrongSignature(f"the request has no {', '.join(missing)}")
    if not _SECONDS(found[TIMESTAMP]):
        raise WrongSignature(f"{TIMESTAMP} is no number of seconds")
    if not abs((time.time() if now is None else now) - int(found[TIMESTAMP])) <= tolerance:
        raise WrongSignature(f"{TIMESTAMP} is more than {tolerance:g} s away from now")
    wanted = f"v1,{_signature(secret, found[ID], found[TIMESTAMP], body)}".encode()
    if not any(hmac.compare_digest(given.encode(), wanted) for given in found[SIGNATURE].split(" ")):
        raise WrongSignature("the signature is of another secret, or of another request")


def secret_bytes(secret: str) -> bytes:
    """The key: after `whsec_` base64, else the text itself. Raises ValueError."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"the secret is no base64 after {_PREFIX}: {error}") from None


def _signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(secret_bytes(secret), signed, "sha256")).decode()
