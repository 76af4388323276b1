"""Verifies JSON Web Tokens (RFC 7519): signature, issuer and audience, and says what is wrong, never with the token.

Pure but for PyJWT's arithmetic. The claims that need a clock, and those that make an identity, are `identity.py`'s.
"""

from __future__ import annotations

from typing import Any, Final

from chatmaster.settings import Auth
from workers.chat.rules import token_keys
from workers.chat.rules.token_keys import KeySet

URL_SCHEMES: Final = ("https://", "http://")
_SHOWN: Final = 60  # characters of a value in a note
_OPTIONS: Final[dict[str, Any]] = {
    "verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False, "verify_iss": False,
    "verify_sub": False, "verify_jti": False,
}  # fmt: skip

# What PyJWT raises for tokens that are wrong in ways of their own.
_BROKEN: Final = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


class WrongToken(ValueError):
    """Why a token is refused: a sentence that names the part, for the log and the developer."""


class TokenVerifier:
    """Verifies tokens by the keys of the settings, or by those that `replace_keys` brings from `auth.jwks`.

    Raises ValueError for a key that is none.
    """

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self.url = auth.jwks if auth.jwks.startswith(URL_SCHEMES) else ""
        self._is_configured = bool(auth.secret or auth.public_key or auth.jwks)
        self._keys: KeySet | None = None
        self.is_current = not self.url  # the last fetch of the keys succeeded
        if not self._is_configured:
            return
        import jwt  # noqa: F401  # 0.1 s with its cryptography: now, and not with the first token

        if auth.secret or auth.public_key:
            self._keys = token_keys.key_of_settings(auth)
        elif not self.url:
            self._keys = token_keys.parse(auth.jwks, auth.algorithms, secrets=True)

    @property
    def is_configured(self) -> bool:
        """Whether the settings name a key or a key set: a server of guests has none."""
        return self._is_configured

    def replace_keys(self, text: bytes) -> int:
        """Take the key set that the URL gave; returns the number of its keys. Raises ValueError, and keeps the last."""
        keys = token_keys.parse(text, self._auth.algorithms, secrets=False)
        self._keys = keys
        return len(keys)

    @property
    def has_keys(self) -> bool:
        """Whether any key is there."""
        return self._keys is not None

    def lacks_key(self, token: str) -> bool:
        """Whether the keys have to be fetched to judge a token; False where that cannot help."""
        if not self.url:
            return False
        try:
            self._find(_header(token))
        except token_keys.UnknownKey:
            return True
        except WrongToken:
            return False
        return False

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token whose signature, `iss` and `aud` are right. Raises WrongToken."""
        import jwt

        header = _header(token)
        try:
            key = self._find(header)
        except token_keys.UnknownKey as error:
            raise WrongToken(str(error)) from None
        if header.get("alg") not in key.algorithms:
            raise WrongToken(f"alg: {_shown(header.get('alg'))} is not allowed, but {', '.join(key.algorithms)}")
        try:
            claims = jwt.decode(token, key.key, algorithms=list(key.algorithms), options=_OPTIONS)  # type: ignore[arg-type]
        except jwt.InvalidSignatureError:
            raise WrongToken("signature: another key has signed the token, or it was changed") from None
        except (jwt.PyJWTError, *_BROKEN) as error:
            raise WrongToken(f"the token is broken: {type(error).__name__}: {error}"[:100]) from None
        self._check_issuer(claims)
        self._check_audience(claims)
        return claims

    def _find(self, header: dict[str, Any]) -> token_keys.TokenKey:
        if self._keys is None:
            raise token_keys.UnknownKey("no keys are there yet")
        return self._keys.find(header.get("kid"), header.get("alg"))

    def _check_issuer(self, claims: dict[str, Any]) -> None:
        wanted = self._auth.issuer
        if not wanted:
            return
        if "iss" not in claims:
            raise WrongToken("iss is missing; auth.issuer asks for it")
        if claims["iss"] != wanted:
            raise WrongToken(f"iss: {_shown(claims['iss'])} is not auth.issuer, {_shown(wanted)}")

    def _check_audience(self, claims: dict[str, Any]) -> None:
        wanted = self._auth.audience
        if not wanted:
            return
        if "aud" not in claims:
            raise WrongToken("aud is missing; auth.audience asks for it")
        given = claims["aud"]
        if given != wanted and not (isinstance(given, list) and wanted in given):
            raise WrongToken(f"aud: {_shown(given)} is not auth.audience, {_shown(wanted)}")


def _header(token: str) -> dict[str, Any]:
    """The header of a token, of which nothing is verified. Raises WrongToken."""
    import jwt

    try:
        return jwt.get_unverified_header(token)
    except (jwt.PyJWTError, *_BROKEN) as error:
        raise WrongToken(f"it is no JSON Web Token: {type(error).__name__}: {error}"[:100]) from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
