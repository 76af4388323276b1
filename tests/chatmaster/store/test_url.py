"""Addresses of stores: what is understood, by the master and by a worker alike, and what is refused."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from chatmaster.store import client as store_client
from chatmaster.store.binary import find_program
from chatmaster.store.url import KEYS, complaint, parse, unix_url
from tests.support import processes
from tests.support.wait import until
from workers.bus.port import Unavailable
from workers.bus.store_url import Opener


@pytest.mark.parametrize(
    ("text", "hosts", "database", "user", "password"),
    [
        ("redis://h", [("h", 6379)], 0, "", ""),
        ("redis://h:1/", [("h", 1)], 0, "", ""),
        ("redis://h:1/7/", [("h", 1)], 7, "", ""),
        ("redis://h?db=3", [("h", 6379)], 3, "", ""),
        ("redis://:secret@[::1]:6380/1", [("::1", 6380)], 1, "", "secret"),
        ("redis://[fe80::1%25eth0]", [("fe80::1%eth0", 6379)], 0, "", ""),
        ("rediss://me:a%2Fb%3F%23%40%3A%25@h", [("h", 6379)], 0, "me", "a/b?#@:%"),
        ("redis://me:a@b+c:d@h", [("h", 6379)], 0, "me", "a@b+c:d"),
        ("redis://h?username=me&password=a+b", [("h", 6379)], 0, "me", "a+b"),
        ("redis+sentinel://[::1]:26379/main", [("::1", 26379)], 0, "", ""),
        ("redis+sentinel://[::1]/main", [("::1", 26379)], 0, "", ""),
        ("redis+sentinel://u:p@a:1,[::2]:3,c/main/4", [("a", 1), ("::2", 3), ("c", 26379)], 4, "u", "p"),
    ],
)
def test_hosts_are_understood_alike_by_both_callers(text, hosts, database, user, password):
    url = parse(text)
    assert (list(url.hosts), url.database, url.user, url.password) == (hosts, database, user, password)
    opener: Any = Opener(text, timeout=1, name="x")
    client = store_client.connect(url, 1)
    pool: Any = client.connection_pool
    for options in (opener._options, pool.connection_kwargs):
        assert options["db"] == database
        assert options.get("username", "") == user and options.get("password", "") == password
    if url.service:
        asked = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
        asked_by_worker = [one.connection_pool.connection_kwargs for one in opener._sentinel.sentinels]
        assert [(one["host"], one["port"]) for one in asked] == hosts
        assert [(one["host"], one["port"]) for one in asked_by_worker] == hosts
    else:
        assert [(opener._options["host"], opener._options["port"])] == hosts
        assert [(pool.connection_kwargs["host"], pool.connection_kwargs["port"])] == hosts


@pytest.mark.parametrize(
    ("text", "hosts", "user", "password", "encrypted"),
    [
        ("redis+cluster://u:p@a:1,[::2]:3,c", (("a", 1), ("::2", 3), ("c", 6379)), "u", "p", False),
        ("rediss+cluster://a/?ssl_cert_reqs=none", (("a", 6379),), "", "", True),
    ],
)
def test_a_cluster_is_understood_alike_by_both_callers(text, hosts, user, password, encrypted):
    url, opener = parse(text), Opener(text, timeout=1, name="x")
    assert url.hosts == opener.hosts == hosts and url.is_cluster and url.database == 0
    node: Any = store_client.connect_node(url, ("n", 7), 1).connection_pool
    for options in (opener.at(("n", 7))._options, node.connection_kwargs):
        assert (options["host"], options["port"]) == ("n", 7)
        assert options.get("username", "") == user and options.get("password", "") == password
        assert ("ssl_cert_reqs" in options) == encrypted and "db" not in options
    for kind in (node.connection_class, opener._class):
        assert kind.__name__ == ("SSLConnection" if encrypted else "Connection")
    store_client.connect(url, 1).close()  # connects only at the first command


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hunter2", "allowed: embedded"),
        ("redis:/h", "allowed: embedded"),
        ("http://me:hunter2@h", "allowed: embedded"),
        ("redis+cluster://h/3", "no database but 0"),
        ("redis+cluster://", "without a host"),
        ("redis+cluster://h?db=0", "unknown key"),
        ("redis://", "without a host"),
        ("redis://:hunter2@", "without a host"),
        ("redis://h:port", "a port is a number"),
        ("redis://h:0", "a port is a number"),
        ("redis://h:", "a port is a number"),
        ("redis://::1:6379", "in brackets"),
        ("redis://a,b", "redis+cluster:// only"),
        ("redis://h/abc", "a database is a number"),
        ("redis://h/-1", "a database is a number"),
        ("redis://h/1/2", "a database is a number"),
        ("redis://h/1?db=2", "two databases"),
        ("redis+sentinel://h/main/abc", "a database is a number"),
        ("redis+sentinel://h", "the service is missing"),
        ("redis://h?max_connections=3", "unknown key 'max_connections'"),
        ("redis://h?ssl_ca_certs=/x", "allowed keys with redis://: db, username, password"),
        ("rediss://h?ssl_ca_cert=/x", "did you mean ssl_ca_certs?"),
        ("unix:///s?ssl_ca_certs=/x", "unknown key"),
        ("redis+sentinel://h/main?sentinel_pasword=hunter2", "did you mean sentinel_password?"),
        ("redis://h?db=1&db=2", "twice"),
        ("rediss://h?ssl_cert_reqs=maybe", "none, optional or required"),
        ("rediss://h?ssl_check_hostname=maybe", "true or false"),
        ("redis://:hunter2/x@h", "percent-encoded"),
        ("redis://:hunter2?x@h", "percent-encoded"),
        ("redis://:hunter2#x@h", "percent-encoded"),
        ("redis://:hunter2%x@h", "percent-encoded"),
        ("redis://:hunter2@[h", "[IPV6]:PORT"), ("redis://:[hunter2@h", "percent-encoded"),
        ("unix://run/s", "absolute path"),
        ("unix://", "absolute path"),
        ("unix:///run/50%", "%25"),
        ("unix:///run/a?b", "%3F"),
        ("unix:///run/a#b", "%23"),
        ("unix:///" + "x" * 107, "107 bytes"),
        ("unix:///a%00b", "107 bytes"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why_without_a_password_and_by_both_callers(text, said):
    assert said in complaint(text) and "hunter2" not in complaint(text)
    for caller in (parse, lambda text: Opener(text, timeout=1, name="x")):
        with pytest.raises(ValueError, match=re.escape(complaint(text))):
            caller(text)


@pytest.mark.parametrize("scheme", KEYS)
def test_every_key_that_is_named_as_allowed_is(scheme):
    where = {"unix": "/s", "redis+sentinel": "h/main"}.get(scheme, "h")
    for key in KEYS[scheme]:
        value = {"db": "1", "ssl_cert_reqs": "none", "ssl_check_hostname": "no"}.get(key, "x")
        assert complaint(f"{scheme}://{where}?{key}={value}") == ""


@pytest.fixture
def sentinel_on_ipv6(tmp_path: Path) -> Iterator[str]:
    """The URL of a service of a real sentinel and a real store, both on ::1 alone."""
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 loopback here")
    program, (store, port) = str(find_program().path), (processes.free_port(), processes.free_port())
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind ::1\ndir {tmp_path}\nsentinel monitor main ::1 {store} 1\nrequirepass p%+:/?\n"
    )
    commands = (
        [program, "--port", str(store), "--bind", "::1", "--save", "", "--dir", str(tmp_path)],
        [program, str(configuration), "--sentinel"],
    )
    started = [subprocess.Popen(one, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for one in commands]
    try:
        for place in (store, port):
            until(partial(_answers, "::1", place), what="it listens on ::1")
        yield f"redis+sentinel://[::1]:{port}/main/2?sentinel_password=p%25+:%2F%3F"
    finally:
        for one in started:
            one.terminate()
            one.wait(10)


def _answers(host: str, port: int) -> bool:
    try:
        with redis.Redis(host, port, protocol=2) as client:
            return bool(client.ping())
    except redis.AuthenticationError:
        return True
    except redis.RedisError:
        return False


async def test_a_sentinel_on_ipv6_is_reached_by_both_callers(sentinel_on_ipv6: str) -> None:
    with store_client.connect(parse(sentinel_on_ipv6), 5) as client:
        assert client.client_info()["db"] == 2
    opener = Opener(sentinel_on_ipv6, timeout=5, name="x")
    link = await opener.open()
    link.abort()
    await link.closed
    await opener.close()


@pytest.mark.parametrize("name", ["a b", "a#b", "a?b=c", "50%", "a%20b", "a@b:c", "käse", "+"])
async def test_a_socket_of_any_name_is_reached_by_both_callers(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    command = [str(find_program().path), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(path.exists, what="the store listens")
        with store_client.connect(parse(unix_url(path)), 5) as client:
            assert client.ping()
        link = await Opener(unix_url(path), timeout=5, name="x").open()
        link.abort()
        await link.closed
    finally:
        process.terminate()
        process.wait(10)


async def test_who_has_no_store_there_is_told_the_address() -> None:
    with pytest.raises(Unavailable, match="6399"):
        await Opener("redis://[::1]:6399", timeout=2, name="x").open()


@pytest.mark.parametrize("text", ["redis://host\n", "redis://:pw@host:6379/0\r\n", "unix:///run/s\n", "redis://a b/0"])
def test_what_a_secret_file_leaves_at_its_end_is_no_part_of_a_host(text):
    """The name could not be resolved, and the log showed a line that was torn in two."""
    with pytest.raises(ValueError, match=r"line break|host has no space"):
        parse(text)
