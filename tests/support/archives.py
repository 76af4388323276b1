"""Archives that a test unpacks: its own or a package's, by the rules for data where the interpreter has them."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import IO


def unpack(archive: IO[bytes], place: Path) -> None:
    """Unpack a tar archive into a folder. Python 3.11.4 brought the filter for data (PEP 706); Debian 12 has 3.11.2."""
    with tarfile.open(fileobj=archive) as packed:
        if hasattr(tarfile, "data_filter"):
            packed.extractall(place, filter="data")
        else:
            packed.extractall(place)
