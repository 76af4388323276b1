"""Plain HTTP on the WebSocket's port: paths, methods, headers, and clients that misbehave."""

import re

import pytest

from workers.http.site import Site

PAGE = b"<!doctype html><title>chat</title><script src='/chat.js'></script>"


async def ask(served, path: str = "/", method: str = "GET", *, headers: str = "", body: bytes = b""):
    """Status, headers by lower-case name, and body."""
    peer = await served.connect()
    peer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode() + body)
    status, block = await peer.response()
    fields = dict(line.lower().split(": ", 1) for line in block.split("\r\n")[1:] if line)
    return status, fields, await peer.rest()


async def test_the_page(serve) -> None:
    status, headers, body = await ask(await serve(http=Site(page=PAGE)))
    assert (status, body) == (200, PAGE)
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["content-length"] == str(len(PAGE))
    assert headers["connection"] == "close"
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]


async def test_head_is_get_without_the_body(serve) -> None:
    status, headers, body = await ask(await serve(http=Site(page=PAGE)), method="HEAD")
    assert (status, headers["content-length"], body) == (200, str(len(PAGE)), b"")


async def test_the_script(serve) -> None:
    status, headers, body = await ask(await serve(http=Site(page=PAGE, script=b"let a")), "/chat.js?v=1")
    assert (status, body) == (200, b"let a")
    assert headers["content-type"] == "text/javascript; charset=utf-8"


async def test_other_sites_may_import_the_script_but_not_read_the_page(serve) -> None:
    served = await serve(http=Site(page=PAGE, script=b"let a"))
    assert (await ask(served, "/chat.js"))[1]["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in (await ask(served, "/"))[1]


async def test_parts_of_the_page_are_scripts_beside_it(serve) -> None:
    served = await serve(http=Site(page=PAGE, parts={"emoji.js": b"let b"}))
    status, headers, body = await ask(served, "/emoji.js")
    assert (status, body, headers["content-type"]) == (200, b"let b", "text/javascript; charset=utf-8")


@pytest.mark.parametrize("path", ["/nowhere", "/chat.js", "/metrics", "/ws", "/../etc/passwd", "//"])
async def test_what_is_not_there_is_404(serve, path: str) -> None:
    assert (await ask(await serve(http=Site(page=PAGE)), path))[0] == 404


async def test_without_a_page_there_is_none(serve) -> None:
    served = await serve(http=Site())
    assert (await ask(served, "/"))[0] == 404
    assert (await ask(served, "/health"))[0] == 200


async def test_health_and_readiness(serve) -> None:
    reason = "the store has not answered for 7 s"
    served = await serve(http=Site(ready=lambda: reason))
    assert (await ask(served, "/health"))[::2] == (200, b"ok\n")
    assert (await ask(served, "/ready"))[::2] == (503, reason.encode() + b"\n")
    assert (await ask(await serve(http=Site(ready=lambda: None)), "/ready"))[0] == 200


async def test_metrics(serve) -> None:
    status, headers, body = await ask(await serve(http=Site(metrics=lambda: "up 1\n")), "/metrics")
    assert (status, body) == (200, b"up 1\n")
    assert headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH"])
async def test_other_methods_are_refused(serve, method: str) -> None:
    status, headers, _ = await ask(await serve(http=Site(page=PAGE)), method=method)
    assert (status, headers["allow"]) == (405, "get, head")


async def test_a_post_with_a_large_body_gets_its_answer(serve) -> None:
    served = await serve(http=Site(page=PAGE))
    body = b"x" * 3_000_000
    status, _, _ = await ask(served, method="POST", headers=f"Content-Length: {len(body)}\r\n", body=body)
    assert status == 405


async def test_a_post_that_expects_to_go_on_gets_its_answer_at_once(serve) -> None:
    served = await serve(http=Site(page=PAGE))
    assert (await ask(served, method="POST", headers="Content-Length: 5\r\nExpect: 100-continue\r\n"))[0] == 405


async def test_a_bug_behind_a_path_is_500_and_says_nothing(serve, caplog) -> None:
    served = await serve(http=Site(metrics=lambda: str(1 / 0)))
    status, _, body = await ask(served, "/metrics")
    assert (status, b"division" in body) == (500, False)
    assert served.endpoint.shared.counts.callback_errors == 1
    assert len(caplog.records) == 1


async def test_a_request_of_http_1_0_is_answered(serve) -> None:
    served = await serve(http=Site(page=PAGE))
    peer = await served.connect()
    peer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert (await peer.response())[0] == 200
    assert await peer.rest() == PAGE


async def test_a_large_page_arrives_whole(serve) -> None:
    page = b"<p>" + b"x" * 5_000_000
    assert (await ask(await serve(http=Site(page=page))))[2] == page


async def test_the_reason_cannot_break_out_of_its_header(serve) -> None:
    served = await serve(http=Site(page=PAGE))
    peer = await served.connect()
    peer.write(b"GET /\r\nSet-Cookie: a=b HTTP/1.1\r\n\r\n")
    status, block = await peer.response()
    assert status == 400
    assert not re.search(r"(?mi)^set-cookie", block)
