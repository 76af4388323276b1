"""What runs where, and which settings a reload can change."""

from __future__ import annotations

import msgspec
import pytest

from chatmaster.config.diff import after_reload, moved_addresses
from chatmaster.config.groups import Group, cores, crowded, declarations, groups
from chatmaster.contract import Declared, ExitCode
from chatmaster.errors import ConfigError
from chatmaster.plural import counted
from chatmaster.runtime.cores import Cores
from chatmaster.settings import Api, Limits, Master, Server, Settings, Store

SETTINGS = Settings(server=Server(listen=("ws://127.0.0.1:8000",), workers=3))


def test_a_lone_worker_has_the_settings_address_and_count():
    declared = [Declared("web", ("ws://127.0.0.1:9000",), 2, chat=True)]
    assert declarations(declared) == {"server.listen": ["ws://127.0.0.1:9000"], "server.workers": 2}
    assert groups(declared, SETTINGS, {}) == (Group("web", ("ws://127.0.0.1:8000",), 3, chat=True),)


def test_a_lone_worker_that_says_nothing_gets_the_defaults():
    assert declarations([Declared("web", chat=True)]) == {}
    assert declarations([Declared("web")]) == {"limits.rate": 0.0}  # made for people who chat
    assert groups([Declared("web")], Settings(), {}) == (Group("web", ("ws://127.0.0.1:8000",), cores()),)


def test_of_several_each_has_its_own():
    declared = [Declared("web", ("ws://127.0.0.1:9000",), 2), Declared("feed", ("ws://127.0.0.1:9001",)), Declared("x")]
    assert declarations(declared) == {"limits.rate": 0.0}
    assert declarations([*declared, Declared("talk", chat=True)]) == {}  # which needs one
    assert groups(declared, SETTINGS, {"server.listen": "default", "server.workers": "program x"}) == (
        Group("web", ("ws://127.0.0.1:9000",), 2),
        Group("feed", ("ws://127.0.0.1:9001",), cores()),
        Group("x", (), cores()),
    )


def test_the_verbs_have_an_address_of_their_own_at_the_chat_or_the_first():
    settings = Settings(api=Api(listen="http://127.0.0.1:8001/"))
    (alone,) = groups([Declared("web")], settings, {})
    assert (alone.api, alone.bound) == ("ws://127.0.0.1:8001", ("ws://127.0.0.1:8000", "ws://127.0.0.1:8001"))
    declared = [Declared("web", ("ws://127.0.0.1:9000",), 1), Declared("talk", ("ws://127.0.0.1:9001",), 1, chat=True)]
    assert [group.api for group in groups(declared, settings, {})] == ["", "ws://127.0.0.1:8001"]
    with pytest.raises(ConfigError, match="has the same address"):
        groups([Declared("web", ("ws://127.0.0.1:8001",), 1), declared[1]], settings, {})


def test_what_the_operator_says_is_for_the_first_of_several():
    declared = [Declared("web", ("ws://127.0.0.1:9000",), 2), Declared("feed", (), 1)]
    origins = {"server.listen": "flag -b", "server.workers": "environment CHATMASTER_SERVER_WORKERS"}
    assert groups(declared, SETTINGS, origins) == (Group("web", ("ws://127.0.0.1:8000",), 3), Group("feed", (), 1))


@pytest.mark.parametrize(
    ("declared", "fault"),
    [
        (Declared("two", ("wss://127.0.0.1:9000",)), "\"wss://127.0.0.1:9000\": wss needs server.tls_cert"),
        (Declared("two", ("ws://localhost",)), "\"ws://localhost\": allowed: websocket://HOST:PORT"),
        (Declared("two", ("ws://127.0.0.1:8001",)), "\"ws://127.0.0.1:8001\": the Worker 'one' has the same address"),
        (Declared("two", (), 511), "the program: 512 workers; allowed: 511"),
    ],
)  # fmt: skip
def test_what_one_of_several_declares_is_checked(declared, fault):
    with pytest.raises(ConfigError) as raised:
        groups([Declared("one", ("ws://127.0.0.1:8001",), 1), declared], SETTINGS, {})
    assert fault in str(raised.value) and (raised.value.exit_code, len(raised.value.faults)) == (ExitCode.USAGE, 1)


def test_an_address_of_one_of_several_needs_a_restart_to_change():
    old = [Group("one", ("ws://h:1",), 1, inherited=True), Group("two", ("ws://h:2",), 1), Group("x", ("ws://h:3",), 1)]
    new = [Group("one", ("ws://h:7",), 1), Group("two", ("ws://h:8",), 2), Group("x", ("ws://h:3",), 2)]
    assert moved_addresses(old, new) == ("the address of the Worker two",)
    assert moved_addresses(old[1:2], new[1:2]) == ()  # a lone one: that is server.listen


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        (Settings(master=Master(name="other")), "master.name"),
        (Settings(master=Master(state_dir="/elsewhere")), "master.state_dir"),
        (Settings(master=Master(user="nobody")), "master.user"),
        (Settings(server=Server(listen=("ws://127.0.0.1:9000",))), "server.listen"),
        (Settings(store=Store(url="redis://elsewhere")), "store.url"),
    ],
)
def test_what_a_reload_cannot_change_is_named_and_stays(changed, key):
    assert after_reload(Settings(), changed) == (Settings(), (key,))


def test_the_rest_is_as_the_new_configuration_says():
    changed = Settings(limits=Limits(rate=1.0), store=Store(url="redis://elsewhere", timeout=1.0))
    settings, stay = after_reload(Settings(), changed)
    assert stay == ("store.url",)
    assert settings == msgspec.structs.replace(Settings(), limits=Limits(rate=1.0), store=Store(timeout=1.0))


@pytest.mark.parametrize(("pinned", "quota", "most"), [(1, None, 2), (2, None, 4), (8, 1.5, 4), (4, 0.5, 2)])
def test_more_than_two_workers_a_core_are_warned_of(pinned, quota, most):
    able = Cores(pinned, quota)
    assert crowded(most, able) == ""
    assert crowded(most + 1, able).startswith(f"{most + 1} workers on {counted(able.count, 'core')} (")
