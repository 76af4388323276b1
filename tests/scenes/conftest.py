"""The browser of the page's tests, for the client that runs in one."""

from tests.browser.conftest import browser

__all__ = ["browser"]
