"""The keys that verify tokens: the one of the settings, or those of a JSON Web Key Set (RFC 7517) by `kid`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from chatmaster.settings import Auth

MOST_KEYS: Final = 100  # of one set
RSA_BITS: Final = 2048  # RFC 7518, 3.3
_SHOWN: Final = 5  # keys that cannot be used, in a message
_WIDTH: Final = 60  # characters of a kid in a message

_SECRET_ALGORITHMS: Final = ("HS256", "HS384", "HS512")
_RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA", "Ed448": "EdDSA"}


class UnknownKey(ValueError):
    """No key fits a token; the text says why, and never shows the token."""


class TokenKey(Struct, frozen=True):
    """A key and the algorithms that it verifies."""

    key: Any
    algorithms: tuple[str, ...]


class KeySet:
    """Keys by `kid`. The only key of a set that has no `kid` verifies every token."""

    __slots__ = ("_any", "_by_kid")

    def __init__(self, keys: Sequence[tuple[str | None, TokenKey]]) -> None:
        self._by_kid: dict[str | None, list[TokenKey]] = {}
        for kid, key in keys:
            self._by_kid.setdefault(kid, []).append(key)
        self._any = keys[0][1] if len(keys) == 1 else None  # what a token without a kid may mean

    def __len__(self) -> int:
        return sum(map(len, self._by_kid.values()))

    def find(self, kid: Any, algorithm: Any) -> TokenKey:
        """The key for a token with these values in its header. Raises UnknownKey."""
        named = self._by_kid.get(kid) if isinstance(kid, str) else None
        if named is not None:
            return next((key for key in named if algorithm in key.algorithms), named[0])
        if self._any is not None and (kid is None or None in self._by_kid):
            return self._any
        if kid is None:
            raise UnknownKey(f"kid is missing, and there are {len(self)} keys")
        raise UnknownKey(f"kid: there is no key {str(kid)[:_WIDTH]!r}")


def key_of_settings(auth: Auth) -> KeySet:
    """The key of `auth.secret` or `auth.public_key`, whatever the `kid` of a token is. Raises ValueError."""
    if auth.secret:
        return KeySet([(None, TokenKey(auth.secret.encode(), auth.algorithms or ("HS256",)))])
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(auth.public_key.encode())
    if isinstance(key, rsa.RSAPublicKey):
        fitting = "RS256"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        fitting = "ES256"
    elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        fitting = "EdDSA"
    else:
        raise ValueError(f"auth.public_key: a key of type {type(key).__name__} cannot verify tokens")
    return KeySet([(None, TokenKey(key, auth.algorithms or (fitting,)))])


def parse(text: bytes | str, allowed: Sequence[str], *, secrets: bool) -> KeySet:
    """The keys of a JSON Web Key Set that can verify tokens; others, such as keys to encrypt, are passed over.

    `allowed` are the algorithms of the settings (none: any). Keys of type `oct`, which are secrets, only count with
    `secrets`: whoever can read the set could sign tokens. Raises ValueError where no key is left.
    """
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the key set is no JSON: {error}") from None
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ValueError("the key set is no JSON object with a list `keys`")
    if len(listed) > MOST_KEYS:
        raise ValueError(f"the key set has {len(listed)} keys; the most are {MOST_KEYS}")
    usable: list[tuple[str | None, TokenKey]] = []
    unusable: list[str] = []
    for place, one in enumerate(listed):
        try:
            usable.append(_parse_key(one, allowed, secrets=secrets))
        except ValueError as error:
            unusable.append(f"keys[{place}] {error}")
    if not usable:
        more = "" if len(unusable) <= _SHOWN else " …"
        raise ValueError(f"the key set has no key that verifies tokens: {'; '.join(unusable[:_SHOWN])}{more}")
    return KeySet(usable)


def _parse_key(given: Any, allowed: Sequence[str], *, secrets: bool) -> tuple[str | None, TokenKey]:
    """A key with its `kid`. Raises ValueError for a key that verifies no tokens; the text goes on after its place."""
    if not isinstance(given, dict):
        raise ValueError("is no object")
    kid, kind = given.get("kid"), given.get("kty")
    if not isinstance(kid, str | None):
        raise ValueError("has a kid that is no string")
    uses = given.get("key_ops", ["verify"])
    if given.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses:
        raise ValueError("is not for signatures (use, key_ops)")
    if kind == "oct" and not secrets:
        raise ValueError("is a secret, which a URL must not show")
    if kind != "oct" and "d" in given:
        raise ValueError("is a private key; list the public one")
    algorithms = _algorithms(given, allowed)
    if not algorithms:
        raise ValueError(f"verifies by no algorithm that is allowed (kty {kind!r}, alg {given.get('alg')!r})")
    return kid, TokenKey(_loaded(given, algorithms[0]), algorithms)


def _algorithms(given: dict[str, Any], allowed: Sequence[str]) -> tuple[str, ...]:
    """The algorithms that a key verifies: its own `alg`, or else those of the settings, or the usual one of its kind.

    An algorithm of another kind of key never counts, so a public key is no secret for HS256.
    """
    kind, curve = given.get("kty"), given.get("crv")
    fitting: tuple[str, ...]
    if kind == "RSA":
        fitting = _RSA_ALGORITHMS
    elif kind == "oct":
        fitting = _SECRET_ALGORITHMS
    elif kind in ("EC", "OKP") and isinstance(curve, str) and curve in _CURVES:
        fitting = (_CURVES[curve],)
    else:
        return ()
    chosen = (given["alg"],) if "alg" in given else allowed or fitting[:1]
    return tuple(one for one in chosen if one in fitting and (not allowed or one in allowed))


def _loaded(given: dict[str, Any], algorithm: str) -> Any:
    import jwt

    try:
        key = jwt.PyJWK.from_dict(given, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"is broken: {type(error).__name__}: {error}"[:120]) from None
    if given.get("kty") == "RSA" and key.key_size < RSA_BITS:
        raise ValueError(f"has {key.key_size} bits; {RSA_BITS} are needed")
    return key
