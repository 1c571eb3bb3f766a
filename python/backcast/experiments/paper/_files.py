"""Files of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backcast.errors import FileFormatError


def write(file: Path, content: Mapping[str, Any]) -> None:
    """Write a file, completely or not at all."""
    beside = file.with_suffix(".part")
    beside.write_text(json.dumps(content, indent=2) + "\n")
    beside.replace(file)


def read(file: Path) -> dict[str, Any]:
    """Read a file that `write` has written."""
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise FileFormatError(f"{file} must be as backcast wrote it, got: {error}") from error
    if not isinstance(content, dict):
        raise FileFormatError(f"{file} must be as backcast wrote it, got {content!r}")
    return content
