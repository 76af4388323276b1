"""Documents: validators, codings, and how long they may be kept."""

import gzip

import brotli
import pytest

from tests.workers.http.test_site import ask
from workers.http.documents import digest_of
from workers.http.site import Site

SCRIPT = b"export const a = 1;\n" * 200


@pytest.mark.parametrize(
    ("accepts", "coding", "decode"),
    [
        ("gzip, br", "br", brotli.decompress),
        ("gzip;q=1.0, br;q=0", "gzip", gzip.decompress),
        ("*", "br", brotli.decompress),
        ("identity", None, bytes),
        ("", None, bytes),
    ],
)
async def test_a_document_comes_in_the_coding_that_the_client_takes(serve, accepts, coding, decode) -> None:
    served = await serve(http=Site(script=SCRIPT))
    status, headers, body = await ask(served, "/chat.js", headers=f"Accept-Encoding: {accepts}\r\n" if accepts else "")
    assert (status, headers.get("content-encoding"), decode(body)) == (200, coding, SCRIPT)
    assert (headers["vary"], headers["content-length"]) == ("accept-encoding", str(len(body)))


async def test_who_has_a_document_gets_it_once(serve) -> None:
    served = await serve(http=Site(script=SCRIPT))
    for accepts in ("br", "identity"):
        accept = f"Accept-Encoding: {accepts}\r\n"
        tag = (await ask(served, "/chat.js", headers=accept))[1]["etag"]
        for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            status, headers, body = await ask(served, "/chat.js", headers=f"{accept}If-None-Match: {known}\r\n")
            assert (status, headers["etag"], body) == (304, tag, b"")
        assert (await ask(served, "/chat.js", headers=f'{accept}If-None-Match: "x"\r\n'))[0] == 200


async def test_only_the_name_of_its_own_bytes_may_be_kept(serve) -> None:
    served = await serve(http=Site(script=SCRIPT))
    for digest, cached in ((digest_of(SCRIPT), "public, max-age=31536000, immutable"), ("0" * 16, "no-cache")):
        status, headers, body = await ask(served, f"/assets/chat-{digest}.js")
        assert (status, headers["cache-control"], body) == (200, cached, SCRIPT)
    assert (await ask(served, "/assets/other.js"))[0] == 404
