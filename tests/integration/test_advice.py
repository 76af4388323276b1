"""What the log of the real server says where a setting keeps somebody out, or lets everybody in."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from tests.support import processes, wait
from tests.support.server import Chatmaster
from tests.support.ws import RawSocket, Refused

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: rebound.example\r\nOrigin: http://rebound.example\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def test_a_foreign_origin_is_in_the_log_with_what_lets_it_in() -> None:
    with Chatmaster(workers=1) as server:
        for _ in range(3):
            with pytest.raises(Refused) as refused:
                await RawSocket.open(server.url, headers={"Origin": "https://app.example.org"})
            assert refused.value.status == 403
        wait.until(lambda: "http.origins" in server.log(), what="it is logged")
        assert server.log().count('http.origins = ["https://app.example.org"]') == 1


async def test_hosts_that_are_not_listed_are_refused_before_anything_is_served() -> None:
    with Chatmaster(workers=1, settings={"http.hosts": ["chat.example.org"]}) as server:
        for host, status in (("chat.example.org", 200), ("rebound.example", 421)):
            request = urllib.request.Request(server.http + "/", headers={"Host": host})
            try:
                found = urllib.request.urlopen(request, timeout=10).status
            except urllib.error.HTTPError as error:
                found = error.code
                error.close()
            assert found == status
        async with await RawSocket.dial(server.url) as rebound:
            rebound.send_bytes(HANDSHAKE)
            assert (await rebound.read_head())[0] == 421


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.2", False)])
def test_guests_from_other_machines_are_warned_of_at_the_start(host: str, warned: bool) -> None:
    listen = f"ws://{host}:{processes.free_port()}"
    with Chatmaster(workers=1, arguments=("-b", listen)) as server:
        assert (f"{listen} can be reached from other machines" in server.log()) is warned
