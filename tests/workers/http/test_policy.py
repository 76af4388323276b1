"""The page's Content-Security-Policy names exactly what is inline in it."""

import hashlib
from base64 import b64encode

from workers.http.documents import content_security_policy
from workers.http.page import SiteLinks, build


def source(content: bytes) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(content).digest()).decode()}'"


def test_inline_scripts_and_styles_are_allowed_by_their_hash() -> None:
    page = b"<style>p{}</style><script>let a\n</script><SCRIPT type=module>b()</SCRIPT >"
    policy = content_security_policy(page)
    assert f"style-src 'self' {source(b'p{}')};" in policy
    expected = f"script-src 'self' {source(b'let a' + bytes([10]))} {source(b'b()')};"
    assert expected in policy


def test_a_script_with_a_source_adds_no_hash() -> None:
    policy = content_security_policy(b'<script defer src="/chat.js"></script>')
    assert "script-src 'self';" in policy


def test_line_ends_are_hashed_as_the_browser_sees_them() -> None:
    assert source(b"a\nb") in content_security_policy(b"<script>a\r\nb</script>")


def test_nothing_else_is_allowed() -> None:
    policy = content_security_policy(b"<p>")
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_the_site_that_gives_tokens_may_be_asked() -> None:
    page = build(SiteLinks("https://a.example/in", "/out", 'https://b.example:8443/t?a="&b')).html
    assert b'<meta name="login-url" content="https://a.example/in">' in page
    assert "connect-src 'self' https://b.example:8443;" in content_security_policy(page)
    assert "connect-src 'self';" in content_security_policy(build(SiteLinks(token="/token")).html)
