"""Puts the manual page, made from the commands, into the wheel: `man chatctl` of an environment finds it there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualPage(BuildHookInterface[Any]):
    """Renders the page before a wheel is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the page, and tell the wheel where it goes."""
        sys.path.insert(0, self.root)
        from chatmaster.cli.main import cli
        from chatmaster.cli.man_page import render

        page = Path(self.root) / "build/chatctl.1"
        page.parent.mkdir(exist_ok=True)
        page.write_text(render(cli))
        build_data["shared_data"][str(page)] = "share/man/man1/chatctl.1"
