"""What a program sees of a connection."""

from __future__ import annotations

import inspect
import re

import pytest

from tests.support.server import ROOT
from workers import Connection
from workers.node.client_connection import ClientConnection

# What the server keeps of a connection, and no program may rely on.
INTERNAL = {
    "app", "become", "changing", "cut", "deflate", "inside", "named", "on_close", "on_message", "on_write_paused",
    "on_write_resumed", "opened_at", "ordered", "paused", "present", "sent", "ws",
}  # fmt: skip


def test_a_program_sees_of_a_connection_what_is_documented_and_nothing_else() -> None:
    public = {name for name in dir(Connection) if not name.startswith("_")}
    page = (ROOT / "etc/doc/program.md").read_text().split("- **A connection** has ")[1].split("It takes None")[0]
    assert public == {name.partition("(")[0] for name in re.findall(r"`([\w()]+)`", page)}
    assert {name for name in dir(ClientConnection) if not name.startswith("_")} == public | INTERNAL
    assert {
        name for name in ClientConnection.__dir__(object.__new__(ClientConnection)) if not name.startswith("_")
    } == public
    for name in public:  # the same words and signatures in both
        ours, theirs = getattr(ClientConnection, name), getattr(Connection, name)
        assert theirs.__doc__
        if not isinstance(theirs, property):
            assert inspect.signature(ours) == inspect.signature(theirs)


def test_nobody_becomes_a_user_by_an_assignment() -> None:
    """That would neither bind it nor count it; `bind` does."""
    connection = object.__new__(ClientConnection)
    for name in ("user", "id", "session", "rooms", "remote_ip", "query", "buffered"):
        with pytest.raises(AttributeError, match=r"has no setter|await connection\.bind"):
            setattr(connection, name, "bob")
