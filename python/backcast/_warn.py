"""Warnings at the line that called the package."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from backcast.errors import ArgumentError, TrainingWarning

_PACKAGE = str(Path(__file__).parent)


def warn(message: str, category: type[Warning] = TrainingWarning) -> None:
    """Warn the user, at the line that called the package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def renamed(old: str, given: Any, new: str, value: Any, default: Any = None) -> Any:
    """Return the value of an argument that may come under its old name, which is a warning."""
    if given is None:
        return value
    if value is not default and not (isinstance(value, float) and value == default):
        raise ArgumentError(f"{old} must be None, as it is the old name of {new}, got both")
    warn(f"{old} is called {new} now: {new}=...", FutureWarning)
    return given
