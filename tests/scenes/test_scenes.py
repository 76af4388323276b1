"""Both clients in the same scenes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.scenes.drivers import BrowserDriver, Driver, PythonDriver, Result
from tests.scenes.scenes import SCENES
from tests.scenes.stage import Stage, playing
from tests.scenes.steps import Expect, Fields, Scene
from tests.support import wait


@pytest.fixture(params=["python", "browser"])
def driver(request: pytest.FixtureRequest) -> Driver:
    return PythonDriver() if request.param == "python" else BrowserDriver(request.getfixturevalue("browser"))


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name.replace(" ", "-"))
def test_scene(scene: Scene, driver: Driver) -> None:
    """The client does what the scene says, and shows what it says."""
    stage = Stage(scene.connections)
    with playing(stage) as url:
        driver.start(url, scene)
        try:
            wait.until(lambda: stage.faults or (stage.over and is_as(scene.expect, driver)))
        except wait.WaitedTooLong:
            found = (driver.results(), driver.told(), driver.state(), stage.played)
            pytest.fail(f"results {found[0]}, told {found[1]}, {found[2]}, {found[3]} connections; {scene.expect}")
        finally:
            driver.close()
    assert not stage.faults


def is_as(expect: Expect, driver: Driver) -> bool:
    if driver.state() != expect.state or driver.told() != list(expect.told):
        return False
    return are_as(expect.results, driver.results())


def are_as(expected: Sequence[Fields], results: Sequence[Result]) -> bool:
    """Each result has the expected fields, and may have others."""
    return len(expected) == len(results) and all(
        result.get(name) == value
        for fields, result in zip(expected, results, strict=True)
        for name, value in fields.items()
    )
