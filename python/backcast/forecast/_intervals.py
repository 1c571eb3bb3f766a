"""Prediction intervals: split-conformal, for each step and column."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast._parameters import number
from backcast.errors import ArgumentError
from backcast.forecast._normalization import Numbers
from backcast.forecast._prepared import Parts


@dataclass(frozen=True)
class Intervals:
    """Absolute errors on held-out windows, in units of their windows.

    Attributes
    ----------
    errors : ndarray of shape (n_windows, future, n_columns)
        Each column and step in rising order, NaN at the end where a number was missing.
    """

    errors: NDArray[np.float32]

    @classmethod
    def learn(cls, errors: Numbers) -> Intervals:
        """Learn from errors (n, future, n_columns) of forecasts in units of their windows."""
        return cls(np.sort(np.abs(errors), axis=0).astype(np.float32))

    def half_width(self, level: float) -> Numbers:
        """Return half the width (future, n_columns) of intervals, in units of the window.

        Of n errors that are exchangeable with a new one, the new one is at most the k-th smallest
        with probability k / (n + 1).
        """
        n = (~np.isnan(self.errors)).sum(axis=0)
        place = np.ceil((n + 1) * level - 1e-9).astype(np.intp)
        if (place > n).any():
            most = int(n.min())
            raise ArgumentError(
                f"interval must be at most {most / (most + 1):.4g}, as there are errors "
                f"of {most} held-out windows, got {level}; hold out more rows in fit"
            )
        found: Numbers = np.take_along_axis(self.errors.astype(float), place[np.newaxis] - 1, 0)[0]
        return found


def levels_of(interval: Any) -> tuple[float, ...]:
    """Return the levels that a user asks for."""
    if interval is None:
        return ()
    given = interval if isinstance(interval, list | tuple | np.ndarray) else [interval]
    levels = tuple(number("interval", level) for level in given)
    for level in levels:
        if not 0 < level < 1 or math.isnan(level):
            raise ArgumentError(f"interval must be between 0 and 1, such as 0.9, got {level:g}")
    return levels


def ends_of(levels: tuple[float, ...]) -> list[str]:
    """Return what the names of a column's forecast and of the ends of its intervals end in."""
    return ["", *(f"-{end}-{100 * level:.10g}" for level in levels for end in ("lo", "hi"))]


def check_levels(intervals: Intervals | None, levels: tuple[float, ...]) -> None:
    """Raise `ArgumentError` if no intervals of these levels were learnt."""
    if levels and intervals is None:
        raise ArgumentError(
            "interval must be None, as no window was held out in fit; give it more rows"
        )
    for level in levels:
        assert intervals is not None
        intervals.half_width(level)


def with_intervals(
    intervals: Intervals | None,
    parts: Parts,
    weights: tuple[float, float],
    levels: tuple[float, ...],
) -> Numbers:
    """Return forecasts and the ends of their intervals, (n, future, n_columns, 1 + 2 n_levels)."""
    middle = parts.blend(weights)
    made = [middle]
    check_levels(intervals, levels)
    for level in levels:
        assert intervals is not None
        half = intervals.half_width(level) * parts.unit
        made += [middle - half, middle + half]
    return np.stack(made, axis=-1)
