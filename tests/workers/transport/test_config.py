"""An endpoint's configuration is that of the settings, default by default and setting by setting."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from chatmaster.settings import Settings
from workers.transport.config import EndpointConfig

NAMES = {field.name for field in dataclasses.fields(EndpointConfig)}
SETTINGS = [
    (section, name)
    for section in ("limits", "server", "http")
    for name in getattr(Settings(), section).__struct_fields__
    if name in NAMES
]


def _another(value: Any) -> Any:
    if isinstance(value, tuple):
        return (*value, "10.0.0.0/8")
    return f"{value}/other" if isinstance(value, str) else value + 1


def test_the_defaults_equal_those_of_the_settings() -> None:
    assert EndpointConfig.of(Settings()) == EndpointConfig()


@pytest.mark.parametrize(("section", "name"), SETTINGS)
def test_a_setting_reaches_the_endpoint(section: str, name: str) -> None:
    settings = Settings()
    value = _another(getattr(getattr(settings, section), name))
    changed = msgspec.structs.replace(getattr(settings, section), **{name: value})
    config = EndpointConfig.of(msgspec.structs.replace(settings, **{section: changed}))
    assert getattr(config, name) == value


def test_a_slash_at_the_end_of_the_root_path_does_not_count() -> None:
    settings = Settings()
    http = msgspec.structs.replace(settings.http, root_path="/chat/")
    assert EndpointConfig.of(msgspec.structs.replace(settings, http=http)).root_path == "/chat"
