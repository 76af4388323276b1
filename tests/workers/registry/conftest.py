"""The store and the workers of the tests of presence."""

from tests.workers.presence.conftest import start, store

__all__ = ["start", "store"]
