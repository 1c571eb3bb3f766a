"""Normalisation of each window by a level and a spread of its own past."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

NORMALIZE = (None, "last", "mean", "standard")
"""The kinds of normalisation."""

# Windows whose deviation is below that of this part of the training windows count as having that
# deviation: in a nearly constant past, every change would otherwise be large without bound.
_LEAST = 0.01
# A deviation of less than this part of the level is rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Normalization:
    """Levels and spreads of windows: the model sees ``(x - level) / spread``.

    Attributes
    ----------
    kind : {None, "last", "mean", "standard"}
        Level and spread. None: mean and deviation of the column in training. "last": the last known
        number of the past, and the deviation in training. "mean": the mean of the past, and the
        deviation in training. "standard": mean and deviation of the past.
    mean, deviation : ndarray of shape (n_columns,)
        Of the training rows.
    least : ndarray of shape (n_columns,)
        The least deviation of a past.
    """

    kind: str | None
    mean: Numbers
    deviation: Numbers
    least: Numbers

    @classmethod
    def learn(cls, kind: str | None, rows: Numbers, pasts: Numbers) -> Normalization:
        """Learn from training rows (n, D) and from pasts (m, P, D) of training windows."""
        mean, deviation = moments(rows, 0)
        known = np.where(np.isnan(mean), 0.0, mean)
        constant = ~(deviation > _ROUNDING * np.abs(known))
        deviation = np.where(constant, 1.0, deviation)
        level, spread = moments(pasts, 1)
        spread = np.where(spread > _ROUNDING * np.abs(level), spread, np.nan)
        least = [np.nanquantile(s, _LEAST) if np.isfinite(s).any() else np.nan for s in spread.T]
        return cls(kind, known, deviation, np.where(np.isnan(least), deviation, least))

    def of(self, past: Numbers, columns: NDArray[np.intp]) -> tuple[Numbers, Numbers]:
        """Return level and spread (n, 1, C) of pasts (n, P, C) of these columns (n, C).

        Both are NaN where a past has no known number.
        """
        mean, spread = self.mean[columns], self.deviation[columns]
        level = last_known(past)
        if self.kind == "standard":
            level, spread = moments(past, 1)[0], self._own(past, columns)
        elif self.kind == "mean":
            level = moments(past, 1)[0]
        elif self.kind is None:
            level = np.where(np.isnan(level), np.nan, mean)
        return level[:, np.newaxis], spread[:, np.newaxis]

    def _own(self, past: Numbers, columns: NDArray[np.intp]) -> Numbers:
        """Return the deviation (n, C) of each past, or the least one."""
        return np.maximum(moments(past, 1)[1], self.least[columns])


def moments(rows: Numbers, axis: int) -> tuple[Numbers, Numbers]:
    """Return mean and deviation along an axis, without NaN; NaN where nothing is known."""
    known = ~np.isnan(rows)
    n = known.sum(axis, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, rows, 0.0).sum(axis, keepdims=True) / n
        squares = (np.where(known, rows - mean, 0.0) ** 2).sum(axis, keepdims=True) / n
    return np.squeeze(mean, axis), np.sqrt(np.squeeze(squares, axis))


def last_known(past: Numbers) -> Numbers:
    """Return the last known number (n, C) of each past (n, P, C); NaN where there is none."""
    known = ~np.isnan(past[:, ::-1])
    place = past.shape[1] - 1 - known.argmax(1)
    last: Numbers = np.take_along_axis(past, place[:, np.newaxis], axis=1)[:, 0]
    return last


def filled(past: Numbers) -> Numbers:
    """Replace missing numbers (n, P, C) by the last known one, or zero before the first."""
    known = ~np.isnan(past)
    if known.all():
        return past
    rows = np.arange(past.shape[1])[:, np.newaxis]
    place = np.maximum.accumulate(np.where(known, rows, 0), axis=1)
    found: Numbers = np.take_along_axis(past, place, axis=1)
    return np.where(np.isnan(found), 0.0, found)
