"""OutgoingHttp: requests of a worker to other servers, each within a deadline and a size, on the worker's loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import httpx

_SHOWN: Final = 200  # characters of an error of httpx


class OutgoingError(Exception):
    """A request got no answer that counts; the text is a sentence without its subject, as "answers with 500"."""


class HttpAnswer(NamedTuple):
    """The status and the whole body of an answer."""

    status: int
    body: bytes


class OutgoingHttp:
    """A client of httpx, made with its first request.

    Without `keep` each request has a connection of its own, so nothing but the answer to this request can be read as
    one. HTTP/1.1 answers have no name: a second answer to a request, sent by mistake, lies in a kept connection (in
    h11's buffer, in the transport's, or still on its way) and is read as the answer to the next request, which httpx
    cannot tell. The price is a TCP handshake, and with https a TLS handshake, for each request. With `keep`
    connections wait for the next request: for answers that decide about nobody's rights.

    TLS certificates are those that OpenSSL trusts (`SSL_CERT_FILE`), and proxies those of the environment
    (`HTTPS_PROXY`, `NO_PROXY`). Redirects are answers like any other.
    """

    def __init__(self, *, max_connections: int, keep: bool) -> None:
        self._max_connections = max_connections
        self._keep = keep
        self._client: httpx.AsyncClient | None = None
        self._making: asyncio.Future[httpx.AsyncClient] | None = None

    async def request(
        self, method: str, url: str, *, timeout: float, max_size: int, headers: Mapping[str, str], content: bytes = b""
    ) -> HttpAnswer:
        """Send a request and read the answer, all in `timeout` seconds and `max_size` bytes. Raises OutgoingError."""
        try:
            async with asyncio.timeout(timeout):
                return await self._exchange(method, url, headers, content, max_size)
        except TimeoutError:
            raise OutgoingError(f"does not answer within {timeout:g} s") from None

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes, max_size: int
    ) -> HttpAnswer:
        client = await self._made()
        import httpx

        try:
            return await _read(client, method, url, headers, content, max_size)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            pass  # mostly a kept connection that the other side was just closing, or a server that restarts
        except httpx.HTTPError as error:
            raise OutgoingError(_described(error)) from None
        try:
            return await _read(client, method, url, headers, content, max_size)
        except httpx.HTTPError as error:
            raise OutgoingError(_described(error)) from None

    async def prepare(self) -> None:
        """Make the client before the first request, whose deadline would include that."""
        await self._made()

    async def _made(self) -> httpx.AsyncClient:
        """The client; httpx is imported, and the certificates are read, in a thread, since both take 0.1 s."""
        if self._client is None:
            if self._making is None:
                self._making = asyncio.get_running_loop().run_in_executor(
                    None, _make, self._max_connections, self._keep
                )
            self._client = await asyncio.shield(self._making)
        return self._client

    async def close(self) -> None:
        """Close the connections."""
        client, self._client, self._making = self._client, None, None
        if client is not None:
            await client.aclose()


def _make(max_connections: int, keep: bool) -> httpx.AsyncClient:
    import httpx

    kept = max_connections if keep else 0
    limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=kept)
    headers = {"user-agent": "chatmaster", "accept": "application/json", "accept-encoding": "identity"}
    if not keep:
        headers["connection"] = "close"  # the server does not wait for another request either
    return httpx.AsyncClient(
        verify=ssl.create_default_context(),
        limits=limits,
        timeout=None,  # `request` has one deadline for the whole
        headers=headers,
    )


async def _read(
    client: httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str], content: bytes, max_size: int
) -> HttpAnswer:
    async with client.stream(method, url, headers=headers, content=content) as response:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise OutgoingError("answers with a compressed body, which was not asked for")
        body = b""
        async for part in response.aiter_raw():
            body += part
            if len(body) > max_size:
                raise OutgoingError(f"answers with more than {max_size} bytes")
        return HttpAnswer(response.status_code, body)


def _described(error: Exception) -> str:
    return f"cannot be asked: {type(error).__name__}: {error}"[:_SHOWN].rstrip(": ")
