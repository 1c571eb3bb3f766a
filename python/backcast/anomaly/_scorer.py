"""Errors of a model in windows, and the scores of rows that follow from them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast._engine.scale import Moments
from backcast._estimator.base import fitted_of
from backcast._training.progress import RowBar
from backcast.anomaly._scoring import Numbers, Score, Totals, nanmean
from backcast.data._recordings import Recordings
from backcast.data.series import Windows
from backcast.model import Model

# Numbers in the windows that are scored at a time; it bounds the memory.
_PIECE = 2**20
# Most windows from which mean and standard deviation of the errors are learnt.
_SAMPLE = 10_000
# Most windows in which a model is compared with simple ones.
_SAMPLE_TO_COMPARE = 1_000


class Centred(Windows):
    """Windows minus the mean of their past, column by column."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return np.promote_types(self.values.dtype, np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Copy all of them to an array: it takes as much memory as ``shape`` says."""
        frames = super().__array__(np.float64, copy)
        past = self.values[self.starts[:, np.newaxis] + np.arange(self.n_past)]
        level = nanmean(past.astype(np.float64, copy=False), 1)[:, np.newaxis]
        # Infinite numbers must stay infinite, so that they are refused.
        level[np.isinf(level)] = 0
        frames -= level
        # In a constant column only the rounding of the mean is left.
        frames[np.abs(frames) < 1e-12 * np.abs(level)] = 0
        return frames.astype(dtype or self.dtype, copy=False)


@dataclass(frozen=True)
class Errors:
    """Errors of a model in windows of series.

    Attributes
    ----------
    model : Model
        The fitted model.
    n_past, n_future : int
        Frames of past and future in a window.
    center : bool
        Whether the model gets windows minus the mean of their past.
    """

    model: Model
    n_past: int
    n_future: int
    center: bool

    def windows(self, rows: Recordings) -> Windows:
        """Cut all windows whose past holds a number."""
        kind = Centred if self.center else Windows
        windows = rows.cut(kind, self.n_past, self.n_future)
        known = np.append(0, np.cumsum(~np.isnan(rows.values).all(1)))
        usable: Windows = windows[known[windows.starts + self.n_past] > known[windows.starts]]
        return usable

    def of(self, windows: Windows) -> Numbers:
        """Return truth minus output; NaN where one of them is missing."""
        truth = np.asarray(windows, dtype=np.float64)
        made = np.full(truth.shape, np.nan)
        state = self.model.encode(windows.past, state="full")
        if self.model.decoders != "predict":
            made[:, : self.n_past] = self.model.decode(
                state, steps=self.n_past, decoder="reconstruct"
            )
        if self.n_future:
            made[:, self.n_past :] = self.model.decode(state, steps=self.n_future)
        errors: Numbers = truth - made
        return errors

    def learn(self, windows: Windows) -> tuple[Numbers, Numbers]:
        """Return mean and standard deviation of the errors, (n_frames, n_columns) each."""
        sample = windows[:: -(-len(windows) // _SAMPLE)]
        zero, unit = np.zeros(sample.shape[2]), np.zeros(sample.shape[2])
        fitted = fitted_of(self.model)
        if fitted.scale is not None:
            zero, unit = fitted.scale
        moments, largest = Moments(sample.shape[1:]), unit
        for piece, _ in pieces(sample, 0):
            moments.add(self.of(piece))
            # What the model sees, apart from the factor: the user's zero plays no part.
            seen = np.abs(np.asarray(piece, np.float64) - zero)
            largest = np.fmax(largest, seen.max((0, 1), initial=0, where=~np.isnan(seen)))
        # The model computes in single precision: smaller deviations are rounding.
        return moments.mean, np.maximum(moments.std, np.maximum(1e-6 * largest, 1e-30))

    def mean_squares(self, windows: Windows, mean: Numbers, std: Numbers) -> Numbers:
        """Return the mean squared error of each column (n_columns), standardised by step."""
        sample = windows[:: -(-len(windows) // _SAMPLE_TO_COMPARE)]
        squares = ((self.of(sample) - mean) / std) ** 2
        return nanmean(squares.reshape(-1, squares.shape[2]), 0)

    def compare(self, windows: Windows) -> dict[str, float]:
        """Return mean squared errors of the model and of simple ones, by name.

        They are in units of the variance of each column; columns that do not vary play no part.
        """
        sample = windows[:: -(-len(windows) // _SAMPLE_TO_COMPARE)]
        truth = np.asarray(sample, dtype=np.float64)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            mean, variance = np.nanmean(truth, (0, 1)), np.nanvar(truth, (0, 1))
            varies = variance > 1e-12 * mean**2

            def error(difference: Numbers) -> float:
                return float(np.nanmean((difference**2 / variance)[..., varies]))

            made = self.of(sample)
            found = {"model": error(made), "mean": error(truth - mean)}
            if self.n_future:
                last = truth[:, self.n_past - 1 : self.n_past]
                found["model, predicted"] = error(made[:, self.n_past :])
                found["last value"] = error(truth[:, self.n_past :] - last)
        return found


@dataclass(frozen=True)
class Scorer:
    """Scores of rows.

    Attributes
    ----------
    errors : Errors
        The errors of the model.
    mean, std : ndarray of shape (n_frames, n_columns)
        Mean and standard deviation of the errors in training.
    score : Score
        How rows are scored.
    """

    errors: Errors
    mean: Numbers
    std: Numbers
    score: Score

    def totals(self, n_rows: int) -> Totals:
        """Return the totals of rows that no window covers yet."""
        return Totals.zeros(self.score, n_rows, self.mean.shape[1])

    def add(self, windows: Windows, totals: Totals, first: int = 0) -> None:
        """Add windows to the totals of the rows from row `first` on."""
        # In a column that never changed, a change is large without bound.
        with np.errstate(all="ignore"):
            squares = ((self.errors.of(windows) - self.mean) / self.std) ** 2
            totals.add(squares, windows.n_past, windows.starts - first)

    def scores(self, rows: Recordings) -> Numbers:
        """Score each number of the rows."""
        return self._by_number(rows, self.score.of_rows)[0]

    def scores_and_alone(self, rows: Recordings) -> tuple[Numbers, Numbers]:
        """Score each number of the rows, also by what its row adds alone."""
        scores, alone = self._by_number(rows, self.score.of_rows, self.score.of_rows_alone)
        return scores, alone

    def _by_number(
        self, rows: Recordings, *ways: Callable[[Mapping[str, Numbers]], Numbers]
    ) -> list[Numbers]:
        """Compute scores from the means of the parts in one or more ways, piece by piece."""
        windows, totals = self.errors.windows(rows), self.totals(0)
        found = [np.full((len(rows.values), self.mean.shape[1]), np.nan) for _ in ways]
        first, bar, begun = 0, RowBar(self.errors.model.verbose), 0
        for piece, following in pieces(windows, len(rows.values)):
            bar(begun, len(windows))
            begun += len(piece)
            if not len(totals):
                first = int(piece.starts[0])
            end = int(piece.starts[-1]) + len(windows.frames)
            totals.grow(end - first - len(totals))
            self.add(piece, totals, first)
            # Rows before the next window are complete.
            done = min(following, end) - first
            means = totals.means(done)
            for scores, way in zip(found, ways, strict=True):
                scores[first : first + done] = way(means)
            totals.drop(done)
            first += done
        bar(len(windows), len(windows))
        return found


def pieces(windows: Windows, end: int) -> Iterator[tuple[Windows, int]]:
    """Yield windows in pieces of bounded size, each with the row where the next piece starts."""
    step = max(1, _PIECE // max(1, windows.shape[1] * windows.shape[2]))
    for first in range(0, len(windows), step):
        following = windows.starts[first + step : first + step + 1]
        yield windows[first : first + step], int(following[0]) if len(following) else end


def rows_of(windows: Windows) -> NDArray[np.intp]:
    """Return the row of each frame, (n_windows, n_frames)."""
    return windows.starts[:, np.newaxis] + np.arange(windows.frames.start, windows.frames.stop)
