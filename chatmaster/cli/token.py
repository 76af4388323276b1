"""`chatctl token`: a signed token for tests and scripts."""

from __future__ import annotations

import time
import warnings
from typing import Any

from chatmaster.errors import UsageError
from chatmaster.settings import Auth


def make(auth: Auth, user: str, *, ttl: float, moderator: bool) -> str:
    """A JSON Web Token for `user`, good for `ttl` seconds. Raises UsageError where there is no secret to sign with."""
    if not auth.secret:
        holder = (
            "whoever has the private key of auth.public_key" if auth.public_key else "auth.secret, which is not set"
        )
        raise UsageError(f"a token is signed with {holder}")
    import jwt

    now = int(time.time())
    claims: dict[str, Any] = {"sub": user, "iat": now, "exp": now + round(ttl)}
    claims |= {"role": "moderator"} if moderator else {}
    claims |= {"iss": auth.issuer} if auth.issuer else {}
    claims |= {"aud": auth.audience} if auth.audience else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)  # `doctor` says it
        return jwt.encode(claims, auth.secret, algorithm=auth.algorithms[0] if auth.algorithms else "HS256")
