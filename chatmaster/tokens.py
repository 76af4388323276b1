"""Signs JSON Web Tokens (RFC 7519) that a chatmaster with the same `auth.secret` accepts.

For a web application: ``tokens.sign("u1", secret=SECRET, name="Ada", rooms=["team-*"])`` in the view that gives
a page its token.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable
from typing import Any

ROLES = ("user", "moderator", "admin")


def sign(
    user: str,
    *,
    secret: str,
    ttl: float = 3600.0,
    name: str = "",
    role: str = "user",
    rooms: Iterable[str] | None = None,
    issuer: str = "",
    audience: str = "",
    algorithm: str = "HS256",
    kid: str = "",
) -> str:
    """A token for `user` (`sub`), valid for `ttl` seconds.

    `rooms` are patterns of the rooms that the user may enter (None: all that the settings allow); `issuer` and
    `audience` are `auth.issuer` and `auth.audience` of the server, where these are set; `kid` names the secret where
    the server has several, in a file of `auth.jwks`. Raises ValueError.
    """
    if not user:
        raise ValueError("a token is for a user: the user id is empty")
    if not secret:
        raise ValueError("a token is signed with auth.secret, which is empty")
    if role not in ROLES:
        raise ValueError(f"{role!r} is no role: {', '.join(ROLES)}")
    if not (math.isfinite(ttl) and ttl > 0):
        raise ValueError(f"ttl is a positive number of seconds, not {ttl!r}")
    if isinstance(rooms, str):
        raise ValueError(f"rooms is a list of patterns, not a string: [{rooms!r}]")
    import jwt  # takes 0.1 s

    now = int(time.time())
    claims: dict[str, Any] = {"sub": user, "iat": now, "exp": now + round(ttl)}
    claims |= {"name": name} if name else {}
    claims |= {"role": role} if role != "user" else {}
    claims |= {"rooms": list(rooms)} if rooms is not None else {}
    claims |= {"iss": issuer} if issuer else {}
    claims |= {"aud": audience} if audience else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)  # `doctor` warns of a short secret
        return jwt.encode(claims, secret, algorithm=algorithm, headers={"kid": kid} if kid else None)
