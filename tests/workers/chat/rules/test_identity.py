"""Who somebody is: guests, tokens of every algorithm, and everything that is wrong with a token."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chatmaster.settings import Auth
from workers.chat.rules.identity import Identities, Presented, Refusal, Role, encoded_user

NOW = 1_700_000_000.0
SECRET = "a secret that is long enough for HS256"


def identities(**auth: Any) -> Identities:
    return Identities(Auth(**auth), guest_secret=b"secret", new_guest=lambda: "0123456789abcdef")


def by_token(claims: dict[str, Any], **auth: Any) -> Presented | Refusal:
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    return identities(secret=SECRET, **auth).identify(token, NOW)


def test_a_new_guest_has_a_name_and_a_token():
    guest = identities().identify(None, NOW)
    assert isinstance(guest, Presented)
    assert guest.user == "guest:0123456789abcdef" and guest.guest and guest.fresh and guest.name
    again = identities().identify(guest.token, NOW)
    assert isinstance(again, Presented)
    assert (again.user, again.name, again.fresh) == (guest.user, guest.name, False)


def test_a_guest_token_of_another_server_is_refused():
    token = identities().identify(None, NOW).token  # type: ignore[union-attr]
    other = Identities(Auth(), guest_secret=b"other", new_guest=lambda: "")
    assert isinstance(other.identify(token, NOW), Refusal)


def test_where_a_token_is_demanded_a_guests_is_none():
    token = identities().identify(None, NOW).token  # type: ignore[union-attr]
    demanding = identities(mode="token", secret=SECRET)
    assert isinstance(demanding.identify(token, NOW), Refusal) and isinstance(demanding.identify(None, NOW), Refusal)


def test_claims_become_an_identity():
    claims = {"sub": "alice", "name": "Alice", "role": "moderator", "rooms": ["a", "b-*"], "exp": NOW + 60}
    assert by_token(claims) == Presented("alice", "Alice", Role.MODERATOR, ("a", "b-*"), NOW + 70)
    assert by_token(claims, leeway=0) == Presented("alice", "Alice", Role.MODERATOR, ("a", "b-*"), NOW + 60)


@pytest.mark.parametrize("claims", [{"nbf": NOW + 5}, {"exp": NOW - 2}, {"nbf": NOW + 10, "exp": NOW - 9}])
def test_clocks_may_differ_by_the_leeway(claims: dict[str, Any]):
    assert isinstance(by_token({"sub": "a", **claims}), Presented)
    assert isinstance(by_token({"sub": "a", **claims}, leeway=1.5), Refusal)


@pytest.mark.parametrize("claims", [{"nbf": NOW + 11}, {"exp": NOW - 10}, {"exp": NOW - 60}])
def test_beyond_the_leeway_a_token_is_refused(claims: dict[str, Any]):
    assert isinstance(by_token({"sub": "a", **claims}), Refusal)


def test_only_sub_is_needed():
    assert by_token({"sub": "alice"}) == Presented("alice", "alice")


@pytest.mark.parametrize(
    ("sub", "user"),
    [
        ("alice", "alice"), ("a@b.c", "a%40b.c"), ("ä", "ä"), ("a\u0308", "a%CC%88"), ("会議", "会議"),
        ("\u01c3a", "%C7%83a"), ("\u00ae\u0301", "%C2%AE%CC%81"), ("a\u034f", "a%CD%8F"),
        ("operat\u043er:x", "operat\u043er%3Ax"),
        ("a b", "a%20b"), ("50%", "50%25"), ("~", "%7E"),
        ("guest:1", "guest%3A1"), ("operator:x", "operator%3Ax"), ("a:b", "a:b"), ("@x", "%40x"), ("a\n", "a%0A"),
    ],
)  # fmt: skip
def test_a_sub_becomes_a_user_id_that_no_other_sub_becomes(sub: str, user: str):
    assert encoded_user(sub) == user


@pytest.mark.parametrize("sub", ["", "x" * 65, "€" * 8])
def test_a_sub_that_is_too_long_or_empty_is_refused(sub: str):
    with pytest.raises(ValueError):
        encoded_user(sub)


@pytest.mark.parametrize("name", ["", " ", "x" * 40, "a\u202eb", 5, None, ["a"]])
def test_a_name_that_breaks_the_rules_gives_way_to_the_sub(name: Any):
    found = by_token({"sub": "a@b", "name": name})
    assert isinstance(found, Presented) and found.name == "a@b"


@pytest.mark.parametrize(
    "claims",
    [
        {}, {"sub": 5}, {"sub": ""}, {"sub": None}, {"sub": "x" * 65}, {"sub": "a", "exp": NOW - 10},
        {"sub": "a", "exp": NOW - 11},
        {"sub": "a", "exp": "soon"}, {"sub": "a", "exp": None}, {"sub": "a", "exp": []}, {"sub": "a", "nbf": NOW + 60},
        {"sub": "a", "nbf": {}}, {"sub": "a", "role": "root"}, {"sub": "a", "role": 1}, {"sub": "a", "rooms": "x"},
        {"sub": "a", "rooms": [1]}, {"sub": "a", "rooms": ["x"] * 101}, {"sub": "a", "exp": float("nan")},
    ],
)  # fmt: skip
def test_wrong_claims_are_refused(claims: dict[str, Any]):
    token = _signed(claims)
    found = identities(secret=SECRET).identify(token, NOW)
    assert isinstance(found, Refusal) and found.note and token not in found.note


def test_a_huge_exp_never_comes():
    assert isinstance(identities(secret=SECRET).identify(_signed({"sub": "a", "exp": 10**400}), NOW), Refusal)
    assert isinstance(by_token({"sub": "a", "exp": 10**15}), Presented)


def test_a_token_of_another_key_issuer_or_audience_is_refused():
    other = jwt.encode({"sub": "a"}, "another secret that is long enough, too", algorithm="HS256")
    assert isinstance(identities(secret=SECRET).identify(other, NOW), Refusal)
    assert isinstance(by_token({"sub": "a", "iss": "x"}, issuer="y"), Refusal)
    assert isinstance(by_token({"sub": "a"}, issuer="y"), Refusal)
    assert isinstance(by_token({"sub": "a", "aud": "x"}, audience="y"), Refusal)
    assert isinstance(by_token({"sub": "a"}, audience="y"), Refusal)
    assert isinstance(by_token({"sub": "a", "iss": "y", "aud": ["x", "y"]}, issuer="y", audience="y"), Presented)
    assert isinstance(by_token({"sub": "a", "aud": "x"}), Presented)


def test_an_unsigned_token_is_refused():
    for alg in ("none", "None", "NONE", ""):
        token = f"{_part({'alg': alg, 'typ': 'JWT'})}.{_part({'sub': 'a'})}."
        assert isinstance(identities(secret=SECRET).identify(token, NOW), Refusal), alg


def _keys() -> list[tuple[str, Any]]:
    return [
        ("RS256", rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ]


@pytest.mark.parametrize(("algorithm", "key"), _keys(), ids=["RS256", "ES256", "EdDSA"])
def test_a_public_key_verifies_its_own_algorithm_only(algorithm: str, key: Any):
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    verifying = identities(public_key=pem)
    assert isinstance(verifying.identify(jwt.encode({"sub": "a"}, key, algorithm=algorithm), NOW), Presented)
    # The classic: the public key used as an HMAC secret.
    assert isinstance(verifying.identify(_signed({"sub": "a"}, secret=pem), NOW), Refusal)
    for other, other_key in _keys():
        token = jwt.encode({"sub": "a"}, other_key, algorithm=other)
        assert isinstance(verifying.identify(token, NOW), Refusal)


def test_a_key_that_is_none_is_an_error_at_start():
    with pytest.raises(ValueError):
        identities(public_key="-----BEGIN PUBLIC KEY-----\nno\n-----END PUBLIC KEY-----")


def test_without_a_key_tokens_are_not_accepted():
    assert isinstance(identities().identify("a.b.c", NOW), Refusal)


def _part(value: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _signed(claims: dict[str, Any], *, secret: str = SECRET) -> str:
    """Claims that PyJWT itself would refuse to sign, signed all the same."""
    import hmac

    body = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    signature = hmac.digest(secret.encode(), body.encode(), "sha256")
    return f"{body}.{urlsafe_b64encode(signature).decode().rstrip('=')}"


def test_a_guest_stays_the_same_when_the_store_lost_the_secret() -> None:
    identities = Identities(Auth(), guest_secret=b"one", new_guest=lambda: "0" * 16)
    guest = identities.identify(None, 0.0)
    assert isinstance(guest, Presented)
    identities.signs_with(b"two")
    again = identities.identify(guest.token, 0.0)
    assert isinstance(again, Presented) and again.user == guest.user and again.token != guest.token
    identities.signs_with(b"two")
    assert isinstance(identities.identify(guest.token, 0.0), Presented)
    identities.signs_with(b"three")
    assert not isinstance(identities.identify(guest.token, 0.0), Presented)
