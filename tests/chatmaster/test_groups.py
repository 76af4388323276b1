"""What runs where, and which settings a reload can change."""

from __future__ import annotations

import msgspec
import pytest

from chatmaster.changes import reloaded
from chatmaster.contract import Declared
from chatmaster.groups import Group, cores, declarations, groups
from chatmaster.settings import Limits, Master, Server, Settings, Store

SETTINGS = Settings(server=Server(listen=("ws://127.0.0.1:8000",), workers=3))


def test_a_lone_worker_has_the_settings_address_and_count():
    declared = [Declared("web", ("ws://127.0.0.1:9000",), 2)]
    assert declarations(declared) == {"server.listen": ["ws://127.0.0.1:9000"], "server.workers": 2}
    assert groups(declared, SETTINGS, {}) == (Group("web", ("ws://127.0.0.1:8000",), 3),)


def test_a_lone_worker_that_says_nothing_gets_the_defaults():
    assert declarations([Declared("web")]) == {}
    assert groups([Declared("web")], Settings(), {}) == (Group("web", ("ws://127.0.0.1:8000",), cores()),)


def test_of_several_each_has_its_own():
    declared = [Declared("web", ("ws://127.0.0.1:9000",), 2), Declared("feed", ("ws://127.0.0.1:9001",)), Declared("x")]
    assert declarations(declared) == {}
    assert groups(declared, SETTINGS, {"server.listen": "default", "server.workers": "program x"}) == (
        Group("web", ("ws://127.0.0.1:9000",), 2),
        Group("feed", ("ws://127.0.0.1:9001",), cores()),
        Group("x", (), cores()),
    )


def test_what_the_operator_says_is_for_the_first_of_several():
    declared = [Declared("web", ("ws://127.0.0.1:9000",), 2), Declared("feed", (), 1)]
    origins = {"server.listen": "flag -b", "server.workers": "environment CHATMASTER_SERVER_WORKERS"}
    assert groups(declared, SETTINGS, origins) == (Group("web", ("ws://127.0.0.1:8000",), 3), Group("feed", (), 1))


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
    assert reloaded(Settings(), changed) == (Settings(), (key,))


def test_the_rest_is_as_the_new_configuration_says():
    changed = Settings(limits=Limits(rate=1.0), store=Store(url="redis://elsewhere", timeout=1.0))
    settings, stay = reloaded(Settings(), changed)
    assert stay == ("store.url",)
    assert settings == msgspec.structs.replace(Settings(), limits=Limits(rate=1.0), store=Store(timeout=1.0))
