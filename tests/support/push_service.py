"""A push service on this machine, over https, that reads what it is sent as a browser would (RFC 8188, RFC 8291)."""

from __future__ import annotations

import datetime
import json
import ssl
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

HOST = "localhost"


@dataclass
class Received:
    """A request to the service, and what the browser reads in it."""

    path: str
    headers: dict[str, str]
    size: int
    note: dict[str, Any]
    claims: dict[str, Any]


class Browser:
    """The keys of one subscription."""

    def __init__(self, service: PushService, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.auth = b"sixteen  letters"
        self.public = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.endpoint = f"https://{HOST}:{service.port}/{name}"

    def subscription(self) -> dict[str, Any]:
        """The fields of the request `subscribe`."""
        return {"endpoint": self.endpoint, "p256dh": coded(self.public), "auth": coded(self.auth)}

    def read(self, body: bytes) -> dict[str, Any]:
        """The note in an encrypted body."""
        salt, length = body[:16], body[20]
        sender, sealed = body[21 : 21 + length], body[21 + length :]
        shared = self._key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        secret = derived(self.auth, shared, b"WebPush: info\0" + self.public + sender, 32)
        key = derived(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
        nonce = derived(salt, secret, b"Content-Encoding: nonce\0", 12)
        plain = AESGCM(key).decrypt(nonce, sealed, None)
        assert plain.endswith(b"\x02"), "the last record"
        note: dict[str, Any] = json.loads(plain[:-1])
        return note


class PushService:
    """Answers with `status`, and remembers what it got. `directory` gets the certificate `ca.pem`."""

    def __init__(self, directory: Path) -> None:
        self.status = 201
        self.received: list[Received] = []
        self.browsers: dict[str, Browser] = {}
        self.ca = directory / "ca.pem"
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(service.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """The test's output is no access log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_port
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate(directory))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def browser(self, name: str) -> Browser:
        """A new subscription here."""
        self.browsers[f"/{name}"] = Browser(self, name)
        return self.browsers[f"/{name}"]

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Read a request, and verify who sent it."""
        token, key = headers["authorization"].removeprefix("vapid t=").split(", k=")
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), urlsafe_b64decode(key + "="))
        claims = jwt.decode(token, public, algorithms=["ES256"], audience=f"https://{HOST}:{self.port}")
        self.received.append(Received(path, headers, len(body), self.browsers[path].read(body), claims))

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def _certificate(self, directory: Path) -> Path:
        """Key and certificate of this machine's name, signed by itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        self.ca.write_bytes(certificate.public_bytes(Encoding.PEM))
        both = directory / "both.pem"
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        both.write_bytes(pem + certificate.public_bytes(Encoding.PEM))
        return both


def coded(data: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(data).decode().rstrip("=")


def derived(salt: bytes, material: bytes, info: bytes, length: int) -> bytes:
    """HKDF with SHA-256."""
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(material)
