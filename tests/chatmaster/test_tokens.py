"""Tokens that a web application signs, as the server reads them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from chatmaster import tokens
from chatmaster.settings import Auth
from workers.chat.rules.identity import ROLE_NAMES, Identities, Identity, Refusal, Role

SECRET = "0123456789abcdef0123456789abcdef"


def identified(token: str, **auth: Any) -> Identity | Refusal:
    identities = Identities(Auth(secret=SECRET, **auth), guest_secret=b"x" * 16, new_guest=lambda: "0" * 16)
    return identities.identify(token, time.time())


def test_the_server_takes_all_that_was_signed() -> None:
    token = tokens.sign(
        "u1", secret=SECRET, name="Ada", role="admin", rooms=("team-*",), ttl=60, issuer="shop", audience="chat"
    )
    found = identified(token, issuer="shop", audience="chat")
    assert isinstance(found, Identity)
    assert (found.user, found.name, found.role, found.patterns) == ("u1", "Ada", Role.ADMIN, ("team-*",))
    assert found.expires == pytest.approx(time.time() + 70, abs=5)
    assert isinstance(identified(token, issuer="other"), Refusal)


def test_roles_are_those_of_the_chat() -> None:
    assert tokens.ROLES == ROLE_NAMES


@pytest.mark.parametrize(
    "wrong",
    [{"role": "mod"}, {"ttl": 0}, {"ttl": float("nan")}, {"rooms": "lobby"}, {"user": ""}, {"secret": ""}],
)
def test_what_no_server_accepts_is_not_signed(wrong: dict[str, Any]) -> None:
    given = {"user": "u1", "secret": SECRET, **wrong}
    with pytest.raises(ValueError, match=r"role|ttl|rooms|user|secret"):
        tokens.sign(given.pop("user"), **given)
