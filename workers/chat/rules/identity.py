"""Identities: guests with a signed identity of their own, and users with a JSON Web Token (RFC 7519).

A guest's token is ``guest.<user>.<signature>``; who presents it again is the same guest, so a retry after a lost
connection is recognised and nobody can take another's inbox. User ids that begin with ``guest:``, ``operator:`` or
``bot:`` are no token's: a `sub` that begins so is encoded.

Pure but for PyJWT's arithmetic: the time, the secret and new ids are given.
"""

from __future__ import annotations

import hmac
import re
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from enum import IntEnum
from hashlib import blake2b
from typing import Any, Final

from msgspec import Struct

from chatmaster.settings import Auth
from workers import addressing
from workers.addressing import MAX_CHARACTERS, normalized, user_id
from workers.chat.rules import names
from workers.chat.rules.token_verifier import TokenVerifier

GUEST_PREFIX: Final = addressing.GUEST
OPERATOR: Final = "operator:chatctl"

_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_GUEST_TOKEN: Final = re.compile(r"guest\.(guest:[0-9a-f]{16})\.([A-Za-z0-9_-]{22})\Z")

_LOGIN_CLAIMS: Final = {"name", "role", "rooms"}
_RESERVED: Final = (GUEST_PREFIX, "operator:", "bot:")
LAST_TIME: Final = 1e16  # seconds since 1970: three hundred million years


class Role(IntEnum):
    """What a user may do to others; a higher role may do all that a lower one may."""

    USER = 0
    MODERATOR = 1
    ADMIN = 2


ROLE_NAMES: Final = tuple(role.name.lower() for role in Role)  # by role, as clients know them


class Identity(Struct, frozen=True, gc=False):
    """A user, as a session has it."""

    user: str
    name: str
    role: Role = Role.USER
    patterns: tuple[str, ...] | None = None  # the token's rooms
    expires: float = 0.0  # Unix time; 0: never
    guest: bool = False


class Presented(Identity, frozen=True, gc=False):
    """A user, as a hello presents it, with what is of that hello alone."""

    token: str = ""  # a guest's, for the next hello
    fresh: bool = False  # a guest who is new
    chosen: bool = False  # the hello asked for the name; it is not the token's

    def settled(self) -> Identity:
        """What the session keeps."""
        return Identity(self.user, self.name, self.role, self.patterns, self.expires, self.guest)

    @classmethod
    def again(cls, kept: Identity) -> Presented:
        """The identity that a session keeps, as another worker receives it."""
        return cls(kept.user, kept.name, kept.role, kept.patterns, kept.expires, kept.guest)


class Refusal(Struct, frozen=True):
    """Why a hello is refused."""

    reason: str  # for the client
    note: str = ""  # for the log; never the token


class Untimely(ValueError):
    """A token that has expired, or is not valid yet; the text is for the log."""

    def __init__(self, reason: str, note: str) -> None:
        super().__init__(note)
        self.reason = reason  # for the client


class Identities:
    """Decides which user a hello is of.

    `guest_secret` signs guests' tokens and is the same on every worker and machine; it may be set later, since it
    comes from the store. `new_guest` gives 16 random hexadecimal digits. With `is_dev` the client is told, too, what
    is wrong with a token. Raises ValueError for a public key that is none.
    """

    def __init__(
        self, auth: Auth, *, guest_secret: bytes | None, new_guest: Callable[[], str], is_dev: bool = False
    ) -> None:
        self._auth = auth
        self.guests_allowed = auth.mode == "guest"
        self.guest_secret: bytes | None = None
        self._signers: tuple[Signer, ...] = ()  # the present one, and the one before the store lost its secret
        self._new_guest = new_guest
        if guest_secret is not None:
            self.signs_with(guest_secret)
        self._is_dev = is_dev
        self.verifier = TokenVerifier(auth)

    def signs_with(self, secret: bytes) -> None:
        """Sign guests' tokens with `secret` from now on; tokens of the secret before stay valid."""
        if self.guest_secret != secret:
            self._signers = (Signer(secret), *self._signers[:1])
            self.guest_secret = secret

    def lacks_key(self, token: str) -> bool:
        """Whether the keys have to be fetched first to decide who presents this."""
        return is_users(token) and self.verifier.lacks_key(token)

    def missing_for(self, token: str | None) -> str:
        """What is away that is needed to decide who presents this; "" where it can be decided."""
        if token is None or not is_users(token):
            return "the store does not answer" if self.guests_allowed and self.guest_secret is None else ""
        if not self.verifier.is_current and self.verifier.lacks_key(token):
            return "the keys of tokens cannot be fetched"
        return ""

    def identify(self, token: str | None, now: float) -> Presented | Refusal:
        """Who presents this token at `now` (Unix time); without one a new guest, where guests are allowed."""
        if token and is_users(token):
            return self._by_token(token, now)
        if not self.guests_allowed:
            return Refusal("a token is needed")
        if not token:
            return self._guest(GUEST_PREFIX + self._new_guest(), fresh=True)
        found = _GUEST_TOKEN.match(token)
        if found is None or not self._is_signed(found[1], found[2]):
            return Refusal("this guest token is not valid", note="a guest token with a wrong signature")
        return self._guest(found[1], fresh=False)

    def _guest(self, user: str, *, fresh: bool) -> Presented:
        number = int(user[len(GUEST_PREFIX) :], 16)
        token = f"guest.{user}.{self._signers[0].sign(user)}"  # there is one, see `ready_for`
        return Presented(user, names.generated(number), guest=True, token=token, fresh=fresh)

    def _is_signed(self, user: str, signature: str) -> bool:
        return any(hmac.compare_digest(signature, signer.sign(user)) for signer in self._signers)

    def _by_token(self, token: str, now: float) -> Presented | Refusal:
        if not self.verifier.is_configured:
            return self._refusal("tokens are not accepted here", "a token came, but neither secret nor key is set")
        try:
            return _identity_of(self.verifier.verify(token), now, self._auth.leeway)
        except Untimely as error:
            return self._refusal(error.reason, str(error))
        except ValueError as error:
            return self._refusal("this token is not valid", str(error))

    def _refusal(self, reason: str, note: str) -> Refusal:
        return Refusal(f"{reason}: {note}" if self._is_dev else reason, note)


class Signer:
    """Signs with one secret: 128 bits of BLAKE2b with a key (RFC 7693), a tenth of what HMAC costs.

    Each hello of a guest needs it, so what does not depend on the guest is done once.
    """

    __slots__ = ("_begun",)

    def __init__(self, secret: bytes) -> None:
        self._begun = blake2b(key=secret, digest_size=16, person=b"guest")

    def sign(self, user: str) -> str:
        """The signature in URL-safe base64, without padding."""
        state = self._begun.copy()
        state.update(user.encode())
        return b2a_base64(state.digest(), newline=False)[:-2].translate(_URL_SAFE).decode()


def identity_of_login(user: str, claims: Mapping[str, Any]) -> Presented:
    """The user whom the program's `on_handshake` named; the claims `name`, `role` and `rooms` mean what a token's do.

    Raises ValueError for another claim, or one of which the value is wrong.
    """
    if wrong := claims.keys() - _LOGIN_CLAIMS:
        raise ValueError(f"the session of a chat's Accept has name, role and rooms, not {', '.join(sorted(wrong))}")
    return _identity_of({**claims, "sub": user}, 0.0, 0.0)


def is_users(token: str | None) -> bool:
    """Whether this is a user's token, not a guest's and not none."""
    return bool(token) and not str(token).startswith("guest.")


def encoded_user(sub: str) -> str:
    """A token's `sub` as a user id: what is not allowed in one is percent-encoded. Raises ValueError.

    No two become one: a `sub` that is not in NFC, which others would be kept in, has all but ASCII encoded.
    """
    if len(sub) > MAX_CHARACTERS:  # it only gets longer
        raise ValueError(f"sub has {len(sub)} characters; a user id has 1 to {MAX_CHARACTERS}")
    user = "".join([one if addressing.is_allowed(one) else _encoded(one) for one in sub])
    if not addressing.is_kept(user):
        user = "".join([one if one.isascii() else _encoded(one) for one in user])
    if _seems_reserved(user):
        user = user.replace(":", "%3A", 1)
    if not 1 <= len(user) <= MAX_CHARACTERS:
        raise ValueError(f"sub becomes a user id of {len(user)} characters; 1 to {MAX_CHARACTERS} are allowed")
    return user_id(user)


def _encoded(characters: str) -> str:
    return "".join([f"%{byte:02X}" for byte in characters.encode()])


def _seems_reserved(user: str) -> bool:
    """Whether an id begins as those of guests, operators and bots do, or looks so."""
    if user.isascii():
        return user.startswith(_RESERVED)
    head, colon, _ = user.partition(":")
    keys = names.keys_of(head + colon)
    return any(not keys.isdisjoint(names.keys_of(prefix)) for prefix in _RESERVED)


def _identity_of(claims: dict[str, Any], now: float, leeway: float) -> Presented:
    """`leeway` seconds by which the clocks may differ (RFC 7519, 4.1.4 and 4.1.5). Raises ValueError."""
    expires = _time_of(claims, "exp") + leeway if "exp" in claims else 0.0
    if "exp" in claims and not expires > now:
        raise Untimely("this token has expired", f"exp has passed, {now - expires + leeway:.0f} s ago")
    if "nbf" in claims and (early := _time_of(claims, "nbf") - now) > leeway:
        raise Untimely("this token is not valid yet", f"nbf is to come, in {early:.0f} s")
    user = _user_of(claims)
    return Presented(user, _name_of(claims, user), _role_of(claims), _patterns_of(claims), expires)


def _time_of(claims: dict[str, Any], claim: str) -> float:
    """Seconds since 1970. Raises ValueError for what is no number, and for one that is no time."""
    value = claims[claim]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{claim} is no number of seconds since 1970")
    if not abs(value) < LAST_TIME:  # neither is NaN
        raise ValueError(f"{claim} is no time")
    return float(value)


def _user_of(claims: dict[str, Any]) -> str:
    if "sub" not in claims:
        raise ValueError("sub is missing: the user id")
    if not isinstance(claims["sub"], str):
        raise ValueError("sub is no string")
    return encoded_user(claims["sub"])


def _name_of(claims: dict[str, Any], user: str) -> str:
    """The issuer vouches for the name, so that one that breaks our rules only gives way to the user id.

    Nobody is called as the operator is: not whom an issuer calls so, nor whose id it is.
    """
    for name in (claims.get("name"), claims.get("sub"), user[: names.MAX_LENGTH], f"user {user}"[: names.MAX_LENGTH]):
        try:
            if isinstance(name, str) and not names.is_the_operators(kept := names.cleaned(name)):
                return kept
        except names.NameRefused:
            pass
    return user[: names.MAX_LENGTH]


def _role_of(claims: dict[str, Any]) -> Role:
    role = claims.get("role", "user")
    if not isinstance(role, str) or role.upper() not in Role.__members__:
        raise ValueError("role is none of user, moderator, admin")
    return Role[role.upper()]


def _patterns_of(claims: dict[str, Any]) -> tuple[str, ...] | None:
    rooms = claims.get("rooms")
    if rooms is None:
        return None
    if not isinstance(rooms, list) or not all(isinstance(one, str) for one in rooms) or len(rooms) > 100:
        raise ValueError("rooms is not a list of at most 100 patterns")
    return tuple(map(normalized, rooms))
