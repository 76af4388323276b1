"""Messages that only the browser can read (RFC 8291), and the server's proof of who sends them (VAPID, RFC 8292).

Importing `cryptography` takes 0.1 s: the rest of the worker imports this module when push is set up.
"""

from __future__ import annotations

import os
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

RECORD_SIZE: Final = 4096  # bytes, of the one record
TAG_AND_DELIMITER: Final = 17
PROOF_LASTS: Final = 12 * 3600  # seconds; the standard allows 24 hours
_RENEWED_BEFORE: Final = 3600


def encrypted(payload: bytes, key: bytes, auth: bytes) -> bytes:
    """The body of a push message for the browser with this public key and secret. Raises ValueError for a bad key."""
    receiver = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key)
    own = ec.generate_private_key(ec.SECP256R1())
    own_key = _point(own.public_key())
    salt = os.urandom(16)
    shared = own.exchange(ec.ECDH(), receiver)
    secret = _hkdf(auth, shared, b"WebPush: info\0" + key + own_key, 32)
    content_key = _hkdf(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _hkdf(salt, secret, b"Content-Encoding: nonce\0", 12)
    sealed = AESGCM(content_key).encrypt(nonce, payload + b"\x02", None)
    return salt + RECORD_SIZE.to_bytes(4, "big") + bytes([len(own_key)]) + own_key + sealed


def _hkdf(salt: bytes, material: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(material)


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


class ServerKey:
    """The key of this server, which push services know it by; `contact` is a mailto: or https: address."""

    def __init__(self, pem: bytes, contact: str) -> None:
        key = load_pem_private_key(pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("this is no private key of P-256")
        self._key = key
        self._contact = contact
        self._proofs: dict[str, tuple[float, str]] = {}  # by push service
        self.public = urlsafe_b64encode(_point(key.public_key())).decode().rstrip("=")

    def authorization(self, endpoint: str, now: float) -> str:
        """The Authorization header for an endpoint."""
        parts = urlsplit(endpoint)
        audience = f"{parts.scheme}://{parts.netloc}"
        until, proof = self._proofs.get(audience, (0.0, ""))
        if until - _RENEWED_BEFORE < now:
            until = now + PROOF_LASTS
            claims = {"aud": audience, "exp": int(until), "sub": self._contact}
            proof = jwt.encode(claims, self._key, algorithm="ES256")
            self._proofs[audience] = (until, proof)
        return f"vapid t={proof}, k={self.public}"


def server_key(path: Path, contact: str) -> ServerKey:
    """The key in a file, which is made for its owner alone where there is none. Raises OSError, ValueError.

    Of several workers that begin at once, the file of the first is everybody's.
    """
    try:
        return ServerKey(path.read_bytes(), contact)
    except FileNotFoundError:
        pass
    key = ec.generate_private_key(ec.SECP256R1())
    draft = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return ServerKey(path.read_bytes(), contact)
