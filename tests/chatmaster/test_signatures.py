"""Signatures of questions: what fits is accepted, and nothing else."""

from __future__ import annotations

import base64

import pytest

from chatmaster import signatures
from chatmaster.signatures import WrongSignature

NOW = 1_700_000_000.0
BODY = b'{"hook": "say"}'
SECRET = "a secret of thirty-two characters"


def signed(**given: object) -> dict[str, str]:
    return signatures.sign(BODY, **{"secret": SECRET, "message_id": "msg_1", "now": NOW, **given})  # type: ignore[arg-type]


def test_the_holder_of_the_secret_has_signed() -> None:
    for headers in (signed(), {name.title(): value for name, value in signed().items()}):
        for now in (NOW, NOW - 300, NOW + 300):
            signatures.verify(headers, BODY, secret=SECRET, now=now)


def test_the_vector_of_standard_webhooks() -> None:
    """From https://github.com/standard-webhooks/standard-webhooks, spec: the example of a signature."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    headers = signatures.sign(body, secret=secret, message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", now=1614265330)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_several_signatures_may_come_while_a_secret_changes() -> None:
    headers = signed()
    headers["webhook-signature"] = f"v1,AAAA v1a,ä {headers['webhook-signature']}"
    signatures.verify(headers, BODY, secret=SECRET, now=NOW)


@pytest.mark.parametrize("change", ["body", "secret", "webhook-id", "webhook-timestamp", "webhook-signature"])
def test_whatever_changes_is_noticed(change: str) -> None:
    headers, body, secret = signed(), BODY, SECRET
    if change == "body":
        body += b" "
    elif change == "secret":
        secret = SECRET[::-1]
    else:
        headers[change] = {"webhook-timestamp": "1700000001"}.get(change, "v1,x")
    with pytest.raises(WrongSignature, match="another"):
        signatures.verify(headers, body, secret=secret, now=NOW)


@pytest.mark.parametrize("now", [NOW - 301, NOW + 301, float("nan")])
def test_a_request_that_was_recorded_is_refused(now: float) -> None:
    with pytest.raises(WrongSignature, match="300 s"):
        signatures.verify(signed(), BODY, secret=SECRET, now=now)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(missing: str) -> None:
    headers = {name: value for name, value in signed().items() if name != missing}
    with pytest.raises(WrongSignature, match=missing):
        signatures.verify(headers, BODY, secret=SECRET, now=NOW)


@pytest.mark.parametrize("timestamp", ["", "soon", "-1", "1.5", "\u0661", "9" * 5000])
def test_a_timestamp_that_is_none(timestamp: str) -> None:
    with pytest.raises(WrongSignature):
        signatures.verify({**signed(), "webhook-timestamp": timestamp}, BODY, secret=SECRET, now=NOW)


def test_a_secret_in_base64_is_the_bytes_behind_it() -> None:
    encoded = "whsec_" + base64.b64encode(SECRET.encode()).decode()
    signatures.verify(signed(secret=encoded), BODY, secret=SECRET, now=NOW)
    with pytest.raises(ValueError, match="base64"):
        signatures.secret_bytes("whsec_!")
