"""Anomaly scores, computed from the errors of all windows that cover a row.

A new score is a class with the members of `Score` and a line in `SCORES`. The detector's parameter
`scoring` takes the names in that table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from backcast.errors import ArgumentError

# The sum of inverses of at least this stays finite.
_LEAST = 1e-100

Numbers = NDArray[np.float64]
Known = NDArray[np.bool_]


class Part(NamedTuple):
    """One part of a score, for windows of `n_columns` columns.

    Attributes
    ----------
    frames : range
        Frames of the window that have this part.
    values : ndarray of shape (n_windows, len(frames) or 1, n_columns)
        The part of each number of these frames, or one for all frames.
    """

    frames: range
    values: Numbers


class Score(Protocol):
    """One way to score rows.

    Each window gives one or more numbers, the parts, to each number of a row that it covers. Parts
    are averaged over all windows that cover a row, and the score is computed from the means: no
    score needs all windows at once.

    Attributes
    ----------
    parts : tuple of str
        Names of the parts.
    """

    parts: ClassVar[tuple[str, ...]]

    def of_windows(self, squares: Numbers, known: Known, n_past: int) -> Mapping[str, Part]:
        """Compute the parts.

        Parameters
        ----------
        squares : ndarray of shape (n_windows, n_frames, n_columns)
            Squared errors, standardised by column and step; 0 where they are not known.
        known : ndarray of bool, of the same shape
            False where a number is missing or no decoder made one. The means leave it out.
        n_past : int
            Number of past frames in a window; those are reconstructed, the others predicted.

        Returns
        -------
        mapping of str to Part
            Every part.
        """

    def of_rows(self, means: Mapping[str, Numbers]) -> Numbers:
        """Compute the scores.

        Parameters
        ----------
        means : mapping of str to ndarray of shape (n_rows, n_columns)
            Mean of every part over the windows that cover a row; NaN where there is none.

        Returns
        -------
        ndarray of shape (n_rows, n_columns)
            One score for each number: about 1 in ordinary rows, higher in others, NaN if unknown.
        """

    def of_rows_alone(self, means: Mapping[str, Numbers]) -> Numbers:
        """Compute what a row adds to its score that it does not share with its neighbours.

        Events begin and end with it. By default the score itself.

        Parameters
        ----------
        means : mapping of str to ndarray of shape (n_rows, n_columns)
            As for `of_rows`.

        Returns
        -------
        ndarray of shape (n_rows, n_columns)
            At most the score of each number.
        """
        return self.of_rows(means)


class Sharp(Score):
    """Scores that stay on the anomalous rows and do not spread over their neighbours.

    The score is the geometric mean of two errors. The row's own squared error is averaged over
    the windows, for each decoder apart; then the geometric mean of both decoders is taken. The
    windows' error is averaged over their steps, then harmonically over the windows: it is large
    only if all windows that cover the row are anomalous.
    """

    parts: ClassVar[tuple[str, ...]] = ("reconstruct", "predict", "inverse")

    def of_windows(self, squares: Numbers, known: Known, n_past: int) -> Mapping[str, Part]:
        """Return the squares by decoder, and the inverse of each window's mean square."""
        frames = range(squares.shape[1])
        mean = squares.sum(1) / np.maximum(known.sum(1), 1)
        inverse = 1 / np.maximum(mean, _LEAST)
        return {
            "reconstruct": Part(frames[:n_past], squares[:, :n_past]),
            "predict": Part(frames[n_past:], squares[:, n_past:]),
            "inverse": Part(frames, inverse[:, np.newaxis]),
        }

    def of_rows(self, means: Mapping[str, Numbers]) -> Numbers:
        """Return the geometric mean of the row's own and the windows' error."""
        with np.errstate(all="ignore"):
            own = nanmean(np.log([means["reconstruct"], means["predict"]]), 0)
            inverse = np.log(means["inverse"])
            scores: Numbers = np.exp((own - inverse) / 2)
        return scores


class Wide(Sharp):
    """Scores that find long anomalies over their whole length and keep short ones on top.

    The score is the root of the larger of two squared errors. The windows' error is averaged
    over their steps and over all windows that cover the row: it ranks long anomalies as a whole,
    and spreads a short one over the rows within a window. Half of the "sharp" score, a square too,
    is larger only in the rows of a short anomaly, which thereby rank above their neighbours.
    """

    parts: ClassVar[tuple[str, ...]] = (*Sharp.parts, "mean")

    def of_windows(self, squares: Numbers, known: Known, n_past: int) -> Mapping[str, Part]:
        """Return the parts of the sharp score, and each window's mean square."""
        mean = squares.sum(1, keepdims=True) / np.maximum(known.sum(1, keepdims=True), 1)
        parts = super().of_windows(squares, known, n_past)
        return {**parts, "mean": Part(range(squares.shape[1]), mean)}

    def of_rows(self, means: Mapping[str, Numbers]) -> Numbers:
        """Return the larger of both errors."""
        with np.errstate(all="ignore"):
            scores: Numbers = np.fmax(np.sqrt(means["mean"]), self.of_rows_alone(means))
        return scores

    def of_rows_alone(self, means: Mapping[str, Numbers]) -> Numbers:
        """Return the part that is sharp."""
        with np.errstate(all="ignore"):
            scores: Numbers = np.sqrt(super().of_rows(means) / 2)
        return scores


SCORES: dict[str, Score] = {"wide": Wide(), "sharp": Sharp()}
"""The scores by name: the words of the parameter `scoring`."""


def score_of(scoring: object) -> Score:
    """Return the score of that name."""
    if not isinstance(scoring, str) or scoring not in SCORES:
        words = " or ".join(f'"{name}"' for name in SCORES)
        raise ArgumentError(f"scoring must be {words}, got {scoring!r}")
    return SCORES[scoring]


class Totals:
    """Sums of a score's parts over windows, for each number of consecutive rows.

    Parameters
    ----------
    score : Score
        The score.
    sums, counts : ndarray of shape (n_rows, n_parts, n_columns)
        Sum of each part over the windows so far, and the number of windows in it.
    """

    def __init__(self, score: Score, sums: Numbers, counts: Numbers) -> None:
        self.score, self.sums, self.counts = score, sums, counts

    @classmethod
    def zeros(cls, score: Score, n_rows: int, n_columns: int) -> Totals:
        """Return the totals of rows that no window covers yet."""
        shape = (n_rows, len(score.parts), n_columns)
        return cls(score, np.zeros(shape), np.zeros(shape))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.sums)

    def add(self, squares: Numbers, n_past: int, rows: NDArray[np.intp]) -> None:
        """Add windows, whose first frames are in these rows; NaN squares are not known."""
        known = ~np.isnan(squares)
        squares[~known] = 0
        parts = self.score.of_windows(squares, known, n_past)
        n, _, width = squares.shape
        # A slice takes a fraction of the time that an array of row numbers takes.
        consecutive = n > 0 and rows[-1] - rows[0] == n - 1
        for i, name in enumerate(self.score.parts):
            frames, values = parts[name]
            values = np.broadcast_to(values, (n, len(frames), width))
            for step, value in zip(frames, values.swapaxes(0, 1), strict=True):
                # No two windows start in one row, so that no row occurs twice.
                first = rows[0] + step if consecutive else 0
                covered = slice(first, first + n) if consecutive else rows + step
                self.sums[covered, i] += np.where(known[:, step], value, 0)
                self.counts[covered, i] += known[:, step]

    def grow(self, n_rows: int) -> None:
        """Append rows that no window covers yet."""
        more = self.zeros(self.score, n_rows, self.sums.shape[2])
        self.sums = np.concatenate([self.sums, more.sums])
        self.counts = np.concatenate([self.counts, more.counts])

    def drop(self, n_rows: int) -> None:
        """Remove the first rows."""
        self.sums, self.counts = self.sums[n_rows:], self.counts[n_rows:]

    def means(self, n_rows: int | None = None) -> dict[str, Numbers]:
        """Return the mean of each part for the first rows, for all by default."""
        sums, counts = self.sums[:n_rows], self.counts[:n_rows]
        means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
        return {name: means[:, i] for i, name in enumerate(self.score.parts)}

    def scores(self, n_rows: int | None = None) -> Numbers:
        """Return the scores of the first rows, of all by default."""
        return self.score.of_rows(self.means(n_rows))


def row_scores(scores: Numbers) -> Numbers:
    """Return the score of each row: the root mean square of the scores of its numbers."""
    with np.errstate(all="ignore"):
        return np.sqrt(nanmean(scores**2, 1))


def ranked(scores: Numbers) -> tuple[NDArray[np.intp], Numbers]:
    """Return the columns of scores (n_rows, n_columns), and the highest score of each.

    Columns with the highest score come first: those that drive an event, or are drawn of many.
    """
    highest: Numbers = np.nan_to_num(scores).max(0)
    return np.argsort(-highest, kind="stable"), highest


def nanmean(numbers: Numbers, axis: int) -> Numbers:
    """Return the mean without NaN; NaN, without a warning, if there is nothing else."""
    known = ~np.isnan(numbers)
    total, n = np.where(known, numbers, 0).sum(axis), known.sum(axis)
    means: Numbers = np.divide(total, n, np.full(total.shape, np.nan), where=n > 0)
    return means
