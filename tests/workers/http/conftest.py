"""Fixtures of the HTTP tests: those of the transport, which carries HTTP."""

from tests.workers.transport.conftest import pytest_asyncio_loop_factories, serve

__all__ = ["pytest_asyncio_loop_factories", "serve"]
