"""Each example of etc/proxy with the real proxy: pages open WebSockets, and who the client is cannot be made up."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import websockets

from tests.support import processes, wait
from tests.support.server import ROOT, Chatmaster

pytestmark = pytest.mark.timeout(120)

WHOAMI = str(Path(__file__).parent / "programs" / "whoami.py")
EXAMPLES = ROOT / "etc" / "proxy"
CLIENT = "127.0.0.9"  # not trusted, so that it is told from the proxy, which is 127.0.0.1
MADE_UP = {
    "Forwarded": "for=6.6.6.6",
    "X-Forwarded-For": "6.6.6.6",
    "X-Real-IP": "6.6.6.6",
    "CF-Connecting-IP": "6.6.6.6",
}
APACHE_MODULES = Path("/usr/lib/apache2/modules")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with cert.pem, key.pem, and both of them in both.pem."""
    made = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, cwd=made, check=True, capture_output=True)
    (made / "both.pem").write_text((made / "cert.pem").read_text() + (made / "key.pem").read_text())
    return made


@pytest.fixture(scope="module")
def server() -> Iterator[Chatmaster]:
    with Chatmaster(WHOAMI, workers=1, settings={"server.trusted_proxies": ["127.0.0.1"]}) as running:
        yield running


class Example:
    """An example with this test's ports and certificate put in, and how the proxy is run with it."""

    def __init__(self, name: str, upstream: int, certificate: Path, place: Path) -> None:
        self.text = (EXAMPLES / name).read_text()
        self.port = processes.free_port()
        self.certificate = certificate
        self.place = place
        self.put("127.0.0.1:8000", f"127.0.0.1:{upstream}")

    def put(self, old: str, new: str) -> None:
        """Replace what the test must have otherwise; what is not in the example fails."""
        assert old in self.text, f"the example has no {old!r}"
        self.text = self.text.replace(old, new)

    def write(self, name: str, before: str = "", after: str = "") -> str:
        path = self.place / name
        path.write_text(f"{before}{self.text}{after}")
        return str(path)


def nginx(example: Example) -> list[str]:
    example.put("listen 443 ssl", f"listen 127.0.0.1:{example.port} ssl")
    example.put("/etc/ssl/chat.example.org.pem", str(example.certificate / "cert.pem"))
    example.put("/etc/ssl/private/chat.example.org.key", str(example.certificate / "key.pem"))
    temporary = "".join(
        f"{kind}_temp_path {example.place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    before = f"daemon off; pid {example.place}/pid; events {{}} http {{ access_log off; {temporary}\n"
    return ["nginx", "-e", "stderr", "-p", str(example.place), "-c", example.write("nginx.conf", before, "}")]


def haproxy(example: Example) -> list[str]:
    example.put("bind :443", f"bind 127.0.0.1:{example.port}")
    example.put("/etc/ssl/chat.example.org.pem", str(example.certificate / "both.pem"))
    return ["haproxy", "-db", "-f", example.write("haproxy.cfg")]


def caddy(example: Example) -> list[str]:
    pair = f"{example.certificate / 'cert.pem'} {example.certificate / 'key.pem'}"
    example.put("chat.example.org {", f"https://localhost:{example.port} {{\n\tbind 127.0.0.1\n\ttls {pair}")
    path = example.write("Caddyfile", "{\n\tadmin off\n\tauto_https off\n}\n")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", path]


def apache(example: Example) -> list[str]:
    example.put("<VirtualHost *:443>", f"<VirtualHost 127.0.0.1:{example.port}>")
    example.put("/etc/ssl/chat.example.org.pem", str(example.certificate / "cert.pem"))
    example.put("/etc/ssl/private/chat.example.org.key", str(example.certificate / "key.pem"))
    modules = ("mpm_event", "authz_core", "headers", "proxy", "proxy_http", "ssl")
    before = "".join(f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n" for name in modules)
    before += f"ServerRoot {example.place}\nPidFile {example.place}/pid\nErrorLog {example.place}/errors\n"
    before += f"ServerName localhost\nListen 127.0.0.1:{example.port}\n"
    return ["apache2", "-X", "-f", example.write("apache.conf", before)]


PROXIES: dict[str, tuple[str, Callable[[Example], list[str]]]] = {
    "nginx": ("nginx.conf", nginx),
    "haproxy": ("haproxy.cfg", haproxy),
    "caddy": ("Caddyfile", caddy),
    "apache2": ("apache.conf", apache),
}


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def run(program: str, upstream: int, certificate: Path, tmp_path: Path) -> Iterator[Example]:
    """The proxy at work in front of that port."""
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program} on this machine")
    file, prepare = PROXIES[program]
    example = Example(file, upstream, certificate, tmp_path)
    with (tmp_path / "output").open("wb") as output:
        running = subprocess.Popen(
            prepare(example),
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        wait.until(lambda: running.poll() is not None or listens(example.port), 20, f"{program} listens")
        assert running.poll() is None, (tmp_path / "output").read_text()
        yield example
    finally:
        running.terminate()
        running.wait(20)


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest, server: Chatmaster, certificate: Path, tmp_path: Path) -> Iterator[Example]:
    """The proxy at work in front of the server."""
    with run(request.param, server.port, certificate, tmp_path) as example:
        yield example


@asynccontextmanager
async def visit(example: Example, **headers: str) -> AsyncIterator[tuple[websockets.ClientConnection, str]]:
    """A page of the proxy's own origin, and the address that it is told to come from."""
    trusting = ssl.create_default_context(cafile=str(example.certificate / "cert.pem"))
    async with websockets.connect(
        f"wss://localhost:{example.port}/",
        host="127.0.0.1",
        ssl=trusting,
        server_hostname="localhost",
        origin=websockets.Origin(f"https://localhost:{example.port}"),
        additional_headers=headers,
        local_addr=(CLIENT, 0),
        proxy=None,
    ) as connection:
        yield connection, str(await asyncio.wait_for(connection.recv(), 10))


async def status_of(example: Example, path: str, more: str = "") -> int:
    trusting = ssl.create_default_context(cafile=str(example.certificate / "cert.pem"))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", example.port, ssl=trusting, server_hostname="localhost", local_addr=(CLIENT, 0)
    )
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{example.port}\r\nConnection: close\r\n{more}\r\n".encode())
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.transport.abort()
    return int(line.split()[1])


async def test_a_websocket_opens_on_any_port_and_its_address_is_right(proxy: Example) -> None:
    async with visit(proxy) as (connection, address):
        assert address == CLIENT
        await connection.send("who serves me?")
        assert str(await asyncio.wait_for(connection.recv(), 10)).isdigit()


@pytest.mark.parametrize("name", MADE_UP)
async def test_a_client_cannot_make_its_address_up(proxy: Example, name: str) -> None:
    async with visit(proxy, **{name: MADE_UP[name]}) as (_, address):
        assert address == CLIENT


async def test_plain_requests_pass_but_for_the_figures(proxy: Example) -> None:
    assert await status_of(proxy, "/health") == 200
    assert await status_of(proxy, "/metrics") == 403


async def test_a_reload_of_ours_drops_nobody(proxy: Example, server: Chatmaster) -> None:
    async with visit(proxy) as (connection, _):
        await connection.send("before")
        before = await asyncio.wait_for(connection.recv(), 10)
        assert (await asyncio.to_thread(server.ctl, "reload")).returncode == 0
        await connection.send("after")
        after = await asyncio.wait_for(connection.recv(), 10)
        assert str(after).isdigit() and after != before


@pytest.mark.parametrize("program", PROXIES)
async def test_what_a_client_says_of_its_address_is_not_passed_on(
    program: str, certificate: Path, tmp_path: Path
) -> None:
    """Whatever `server.forwarded_header` is: seen by a server that writes down what comes."""
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    upstream = await asyncio.start_server(answer, "127.0.0.1", 0)
    claims = "".join(f"{name}: {value}\r\n" for name, value in MADE_UP.items() if not name.startswith("CF-"))
    running = run(program, upstream.sockets[0].getsockname()[1], certificate, tmp_path)
    example = await asyncio.to_thread(running.__enter__)
    try:
        assert await status_of(example, "/looked-at", claims) == 200
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)
        upstream.close()
    (passed,) = [block for block in seen if "/looked-at" in block]
    assert "6.6.6.6" not in passed
    assert f"x-forwarded-for: {CLIENT}\r\n" in passed.lower()
    assert f"host: localhost:{example.port}\r\n" in passed.lower()
