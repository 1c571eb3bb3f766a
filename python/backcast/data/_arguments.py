"""Checks of arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from backcast._parameters import integer
from backcast.errors import ArgumentError


def pair(name: str, value: Any) -> tuple[int, int]:
    """Return (height, width); one number is both."""
    if isinstance(value, tuple | list) and len(value) == 2:
        return integer(name, value[0], 1), integer(name, value[1], 1)
    return (integer(name, value, 1),) * 2


def generator(random_state: Any) -> np.random.Generator:
    """Return a generator: the given one, or a new one from a seed."""
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"random_state must be None, an integer of at least 0 or a Generator, "
            f"got {random_state!r}"
        ) from None


def times(size: Any) -> str:
    """Format a size: 28x28."""
    return "x".join(str(side) for side in size)
