"""Key sets: which keys count, which key a token means, and what a wrong token is told, never the token itself."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from chatmaster import tokens
from chatmaster.settings import Auth
from workers.chat.rules.identity import Identities, Identity, Refusal
from workers.chat.rules.token_keys import MOST_KEYS, parse

NOW = 1_700_000_000.0
URL = "https://login.example.org/keys"
SECRET = "a secret that is long enough for HS256"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OLD_KEY = ed25519.Ed25519PrivateKey.generate()
NEW_KEY = ed25519.Ed25519PrivateKey.generate()


def public(key: Any, kid: str | None = None, **more: Any) -> dict[str, Any]:
    """The key as an entry of a set."""
    algorithm = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    kind: Any = next((made for of, made in algorithm.items() if isinstance(key, of)), OKPAlgorithm)
    found = json.loads(kind.to_jwk(key.public_key()))
    found.pop("key_ops", None)
    return {**found, **({} if kid is None else {"kid": kid}), **more}


def secret(kid: str | None = None, **more: Any) -> dict[str, Any]:
    value = urlsafe_b64encode(SECRET.encode()).decode().rstrip("=")
    return {"kty": "oct", "k": value, **({} if kid is None else {"kid": kid}), **more}


def by_url(*keys: dict[str, Any], **auth: Any) -> Identities:
    made = Identities(Auth(jwks=URL, **auth), guest_secret=b"s", new_guest=lambda: "")
    if keys:
        made.verifier.replace_keys(json.dumps({"keys": keys}).encode())
        made.verifier.is_current = True
    return made


def token(key: Any, algorithm: str, kid: str | None = None, **claims: Any) -> str:
    return jwt.encode({"sub": "ada", **claims}, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def note(identities: Identities, given: str) -> str:
    found = identities.identify(given, NOW)
    assert isinstance(found, Refusal), found
    assert given not in found.note and given.split(".")[-1] not in found.note
    return found.note


def test_each_key_verifies_the_tokens_of_its_kid() -> None:
    known = by_url(public(RSA_KEY, "r"), public(EC_KEY, "e"), public(OLD_KEY, "o"))
    for key, algorithm, kid in ((RSA_KEY, "RS256", "r"), (EC_KEY, "ES256", "e"), (OLD_KEY, "EdDSA", "o")):
        assert isinstance(known.identify(token(key, algorithm, kid), NOW), Identity)
    assert note(known, token(NEW_KEY, "EdDSA", "o")).startswith("signature: ")
    assert note(known, token(RSA_KEY, "RS256", "e")) == "alg: 'RS256' is not allowed, but ES256"
    assert note(known, token(OLD_KEY, "EdDSA", "x")) == "kid: there is no key 'x'"
    assert note(known, token(OLD_KEY, "EdDSA")) == "kid is missing, and there are 3 keys"


def test_the_only_key_needs_no_kid() -> None:
    assert isinstance(by_url(public(OLD_KEY, "o")).identify(token(OLD_KEY, "EdDSA"), NOW), Identity)
    assert isinstance(by_url(public(OLD_KEY)).identify(token(OLD_KEY, "EdDSA", "any"), NOW), Identity)
    assert note(by_url(public(OLD_KEY, "o")), token(OLD_KEY, "EdDSA", "p")) == "kid: there is no key 'p'"


def test_two_keys_of_one_kid_are_told_apart_by_their_algorithm() -> None:
    known = by_url(public(RSA_KEY, "k"), public(OLD_KEY, "k"))
    for key, algorithm in ((RSA_KEY, "RS256"), (OLD_KEY, "EdDSA")):
        assert isinstance(known.identify(token(key, algorithm, "k"), NOW), Identity)


def test_a_public_key_is_no_secret() -> None:
    """The classic: a token signed by HS256 with the text of the public key."""
    known = by_url(public(RSA_KEY, "r"))
    entry = json.dumps(public(RSA_KEY, "r"))
    header, body = (
        urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256","kid":"r"}', b'{"sub":"a"}')
    )
    signature = hmac.digest(entry.encode(), f"{header}.{body}".encode(), "sha256")
    signed = f"{header}.{body}.{urlsafe_b64encode(signature).decode().rstrip('=')}"
    assert note(known, signed) == "alg: 'HS256' is not allowed, but RS256"
    forged = public(RSA_KEY, "r", alg="HS256")
    with pytest.raises(ValueError, match="no algorithm that is allowed"):
        parse(json.dumps({"keys": [forged]}), (), secrets=False)


def test_algorithms_are_those_of_the_key_and_of_the_settings() -> None:
    both = by_url(public(RSA_KEY, "r"), algorithms=("RS512", "PS256", "ES256"))
    assert isinstance(both.identify(token(RSA_KEY, "PS256", "r"), NOW), Identity)
    assert "RS512, PS256" in note(both, token(RSA_KEY, "RS256", "r"))
    only = by_url(public(RSA_KEY, "r", alg="PS256"))
    assert isinstance(only.identify(token(RSA_KEY, "PS256", "r"), NOW), Identity)
    assert isinstance(only.identify(token(RSA_KEY, "RS256", "r"), NOW), Refusal)
    with pytest.raises(ValueError, match="no key that verifies"):
        parse(json.dumps({"keys": [public(RSA_KEY, alg="RS256")]}), ("ES256",), secrets=False)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("text", "is no object"), ({"kty": "RSA", "kid": 5}, "kid that is no string"),
        (public(RSA_KEY, use="enc"), "not for signatures"),
        (public(RSA_KEY, key_ops=["encrypt"]), "not for signatures"),
        (secret(), "is a secret"), ({**public(OLD_KEY), "d": "x"}, "is a private key"),
        ({"kty": "RSA"}, "is broken"), ({"kty": "EC", "crv": "P-256", "x": "!", "y": "!"}, "is broken"),
        ({"kty": "EC", "crv": "secp256k1"}, "no algorithm"), ({"kty": "OKP", "crv": ["X25519"]}, "no algorithm"),
        ({"kty": ["RSA"]}, "no algorithm"), (public(RSA_KEY, alg=7), "no algorithm"),
        (public(RSA_KEY, key_ops=3), "key_ops"),
        (public(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "1024 bits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_key_that_verifies_nothing_is_passed_over_and_alone_is_an_error(entry: Any, why: str) -> None:
    assert len(parse(json.dumps({"keys": [entry, public(OLD_KEY, "o")]}), (), secrets=False)) == 1
    with pytest.raises(ValueError, match=why):
        parse(json.dumps({"keys": [entry]}), (), secrets=False)


@pytest.mark.parametrize(
    "text",
    [
        "", "<html>", "[]", "{}", '{"keys": {}}', '{"keys": []}', "[" * 100_000,
        json.dumps({"keys": [0] * (MOST_KEYS + 1)}),
    ],
    ids=range(8),
)  # fmt: skip
def test_what_is_no_key_set_is_an_error_and_leaves_the_last_keys(text: str) -> None:
    known = by_url(public(OLD_KEY, "o"))
    with pytest.raises(ValueError):
        known.verifier.replace_keys(text.encode())
    assert isinstance(known.identify(token(OLD_KEY, "EdDSA", "o"), NOW), Identity)


def test_a_new_set_replaces_the_last_one() -> None:
    known = by_url(public(OLD_KEY, "o"))
    assert known.lacks_key(token(NEW_KEY, "EdDSA", "n")) and not known.lacks_key(token(OLD_KEY, "EdDSA", "o"))
    known.verifier.replace_keys(json.dumps({"keys": [public(NEW_KEY, "n")]}).encode())
    assert isinstance(known.identify(token(NEW_KEY, "EdDSA", "n"), NOW), Identity)
    assert note(known, token(OLD_KEY, "EdDSA", "o")) == "kid: there is no key 'o'"


def test_only_a_users_token_with_an_unknown_key_needs_a_fetch() -> None:
    known = by_url()
    assert known.lacks_key(token(OLD_KEY, "EdDSA", "o"))
    for given in ("", "guest.guest:0.x", "no token", "a.b.c"):
        assert not known.lacks_key(given)
    fixed = Identities(Auth(secret=SECRET), guest_secret=b"s", new_guest=lambda: "")
    assert not fixed.lacks_key(token(SECRET, "HS256", "any"))
    assert isinstance(fixed.identify(token(SECRET, "HS256", "any"), NOW), Identity)


def test_what_cannot_be_known_is_not_refused_for_good() -> None:
    known = by_url()
    assert known.missing_for(token(OLD_KEY, "EdDSA", "o")) == "the keys of tokens cannot be fetched"
    known = by_url(public(OLD_KEY, "o"))
    known.verifier.is_current = False  # the last fetch failed
    assert known.missing_for(token(OLD_KEY, "EdDSA", "o")) == ""
    assert known.missing_for(token(NEW_KEY, "EdDSA", "n")) == "the keys of tokens cannot be fetched"


def test_a_set_in_a_file_may_have_secrets_by_kid() -> None:
    text = json.dumps({"keys": [secret("a"), public(EC_KEY, "e")]})
    known = Identities(Auth(jwks=text), guest_secret=b"s", new_guest=lambda: "")
    assert isinstance(known.identify(tokens.sign("ada", secret=SECRET, kid="a"), NOW), Identity)
    assert note(known, tokens.sign("ada", secret=SECRET, kid="b")) == "kid: there is no key 'b'"
    assert isinstance(known.identify(token(EC_KEY, "ES256", "e"), NOW), Identity)
    assert not known.lacks_key(token(EC_KEY, "ES256", "x"))


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": NOW - 70}, "exp has passed, 70 s ago"), ({"nbf": NOW + 60}, "nbf is to come, in 60 s"),
        ({"exp": "soon"}, "exp is no number of seconds since 1970"), ({"nbf": True}, "nbf is no number"),
        ({"exp": 1e300}, "exp is no time"), ({"nbf": float("nan")}, "nbf is no time"),
        ({"iss": "them"}, "iss: 'them' is not auth.issuer, 'us'"), ({"iss": None}, "iss: None is not"),
        ({"aud": "x" * 100}, "aud: 'xxx"), ({"aud": ["a", "b"]}, "aud: ['a', 'b'] is not auth.audience, 'chat'"),
        ({"role": "root"}, "role is none of user"), ({"rooms": "all"}, "rooms is not a list"),
        ({"sub": "x" * 65}, "sub has 65 characters"), ({"sub": ""}, "sub becomes a user id of 0 characters"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_the_wrong_claim_is_named_in_the_log_and_to_a_developer_only(claims: dict[str, Any], said: str) -> None:
    given = {"sub": "ada", "iss": "us", "aud": "chat", **claims}
    signed = _signed(given)
    for is_dev in (False, True):
        auth = Auth(secret=SECRET, issuer="us", audience="chat")
        found = Identities(auth, guest_secret=b"s", new_guest=lambda: "", is_dev=is_dev).identify(signed, NOW)
        assert isinstance(found, Refusal) and found.note.startswith(said) and len(found.note) < 200
        assert (found.note in found.reason) is is_dev
        assert signed.split(".")[1] not in found.note


@pytest.mark.parametrize("missing", ["sub", "iss", "aud"])
def test_a_missing_claim_is_named(missing: str) -> None:
    given = {name: value for name, value in {"sub": "ada", "iss": "us", "aud": "chat"}.items() if name != missing}
    known = Identities(Auth(secret=SECRET, issuer="us", audience="chat"), guest_secret=b"s", new_guest=lambda: "")
    assert note(known, _signed(given)).startswith(f"{missing} is missing")


def _signed(claims: dict[str, Any]) -> str:
    """Claims that PyJWT itself would refuse to sign, signed all the same."""
    from jwt.api_jws import encode

    return encode(json.dumps(claims).encode(), SECRET, algorithm="HS256")
