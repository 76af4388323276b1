"""Addresses to listen on: what is understood, and what is shown to people."""

from __future__ import annotations

import pytest

from chatmaster.addresses import parse


@pytest.mark.parametrize(
    ("text", "host", "port", "page_url"),
    [
        ("ws://127.0.0.1:8000", "127.0.0.1", 8000, "http://127.0.0.1:8000/"),
        ("ws://0.0.0.0:8000/", "0.0.0.0", 8000, "http://127.0.0.1:8000/"),
        ("websocket://:80", "", 80, "http://127.0.0.1:80/"),
        ("ws://*:8000", "", 8000, "http://127.0.0.1:8000/"),
        ("wss://chat.example.org:443", "chat.example.org", 443, "https://chat.example.org:443/"),
        ("ws://[::]:8000", "::", 8000, "http://[::1]:8000/"),
        ("ws://[fe80::1%eth0]:8000", "fe80::1%eth0", 8000, "http://[fe80::1%eth0]:8000/"),
    ],
)
def test_tcp(text, host, port, page_url):
    address = parse(text)
    assert (address.host, address.port, address.page_url) == (host, port, page_url)
    assert address.client_url == page_url.replace("http", "ws", 1)
    assert address.tls == text.startswith("wss")


@pytest.mark.parametrize(("text", "path"), [("unix:/run/x.sock", "/run/x.sock"), ("unix:///run/x.sock", "/run/x.sock")])
def test_unix(text, path):
    assert parse(text).path == path


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("127.0.0.1:9101", "websocket://127.0.0.1:9101"),
        (":9101", "websocket://:9101"),
        ("9101", "websocket://127.0.0.1:9101"),
        ("[::1]:9101", "websocket://[::1]:9101"),
        ("http://0.0.0.0:80", "websocket://0.0.0.0:80"),
        ("https://chat.example.org:443/", "wss://chat.example.org:443/"),
        ("ws://localhost", "websocket://localhost:8000"),
        ("/run/chat.sock", "unix:/run/chat.sock"),
    ],
)
def test_an_error_names_the_address_that_was_probably_meant(text, meant):
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert str(caught.value) == (
        f"allowed: websocket://HOST:PORT (or ws://HOST:PORT), wss://HOST:PORT, unix:/PATH; did you mean {meant}?"
    )
    parse(meant)


@pytest.mark.parametrize(
    "text",
    ["", "8000", "ws://h", "ws://h:0", "ws://h:65536", "ws://h:1/path", "unix:x", "unix:/" + "x" * 107, "ws://::1:80"],
)
def test_what_is_refused_says_what_is_allowed(text):
    with pytest.raises(ValueError, match=r"allowed|may have"):
        parse(text)
