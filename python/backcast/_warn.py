"""Warnings at the line that called the package."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from backcast.errors import TrainingWarning

_PACKAGE = str(Path(__file__).parent)


def warn(message: str, category: type[Warning] = TrainingWarning) -> None:
    """Warn the user, at the line that called the package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
