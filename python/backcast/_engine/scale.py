"""Numbers scaled for the engine, column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast._engine.columns import Lazy, Sequences, floats

# Offset and factor, (D) each: the model sees (x - offset) / factor.
Scale = tuple[NDArray[np.float64], NDArray[np.float64]]

# A deviation of less than this part of the mean may be the rounding of a constant.
_ROUNDING = 1e-7
# Numbers in one piece.
_CHUNK = 2**22


def learn(
    scale: str,
    size: int,
    sides: Iterable[Sequences | None],
    gather: Callable[[Any], list[Any]] = lambda found: [found],
) -> Scale:
    """Learn how to scale each number of a frame, over all windows and steps; ignore NaN.

    Parameters
    ----------
    scale : {"standard", "minmax"}
        The kind of scaling.
    size : int
        Numbers in a frame.
    sides : iterable of Sequences or None
        Pasts and futures, whole or batch by batch.
    gather : callable, default=None
        Returns what all processes found, given what this one found; by default there is one.

    Returns
    -------
    tuple of ndarray of shape (size,)
        Offset and factor, float64.
    """
    moments = Moments((size,))
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    for frames in _chunks(sides, size):
        known = moments.add(frames)
        low = np.minimum(low, np.where(known, frames, np.inf).min(0))
        high = np.maximum(high, np.where(known, frames, -np.inf).max(0))
    (moments, low, high), *others = gather((moments, low, high))
    for found, lowest, highest in others:
        moments.merge(found)
        low, high = np.minimum(low, lowest), np.maximum(high, highest)
    if scale == "standard":
        offset, factor = moments.mean, moments.std
    else:
        known_once = moments.count > 0
        offset, factor = np.where(known_once, low, 0.0), np.where(known_once, high - low, 0.0)
    size_of_mean = np.maximum(np.abs(low), np.abs(high)) if scale == "minmax" else np.abs(offset)
    size_of_mean = np.where(moments.count > 0, size_of_mean, 0.0)
    # A column that never changes is only moved. What is left of a constant that is no binary
    # fraction is its rounding, in single precision where it was stored so.
    constant = factor <= _ROUNDING * size_of_mean
    return offset, np.where(constant, np.maximum(factor, 1.0), factor)


class Moments:
    """Mean and standard deviation of rows given in pieces; numbers that are not finite are ignored.

    Chan, Golub and LeVeque 1979: combines the sums of squares about the mean of each piece.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count, self.mean, self._squares = np.zeros(shape), np.zeros(shape), np.zeros(shape)

    def add(self, rows: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Add rows, (n, *shape); return which of their numbers count."""
        known, piece = np.isfinite(rows), Moments(self.count.shape)
        piece.count = known.sum(0)
        piece.mean = np.where(known, rows, 0.0).sum(0) / np.maximum(piece.count, 1)
        piece._squares = (np.where(known, rows - piece.mean, 0.0) ** 2).sum(0)
        self.merge(piece)
        return known

    def merge(self, other: Moments) -> None:
        """Add the rows of another."""
        n, apart = other.count, other.mean - self.mean
        both = np.maximum(self.count + n, 1)
        self._squares += other._squares
        self._squares += apart**2 * self.count * n / both
        self.mean += apart * n / both
        self.count += n

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation, 0 where no number was added."""
        deviation: NDArray[np.float64] = np.sqrt(self._squares / np.maximum(self.count, 1))
        return deviation


def scale_of(saved: Any) -> Scale | None:
    """Return the scale that a file holds."""
    if saved is None:
        return None
    offset, factor = (np.asarray(part, dtype=np.float64) for part in saved)
    return offset, factor


def undo(
    frames: NDArray[np.float32], scale: Scale | None, *, single: bool
) -> NDArray[np.floating[Any]]:
    """Return frames (..., D) of the model in the user's units, in single or double precision.

    In single precision the changes of a number with a large mean are lost.
    """
    if scale is None:
        return frames
    offset, factor = scale
    unscaled: NDArray[np.float64] = frames * factor + offset
    return unscaled.astype(np.float32) if single else unscaled


def _chunks(sides: Iterable[Sequences | None], size: int) -> Iterator[NDArray[np.float64]]:
    """Yield all frames (n, D), piece by piece, bytes as 0..1."""
    for side in sides:
        if side is None:
            continue
        frames = side.frames
        if isinstance(frames, list):
            pieces: Iterator[NDArray[Any]] = iter(frames)
        else:
            step = max(1, _CHUNK // max(1, size * frames.shape[1]))
            starts = range(0, len(side), step)
            if isinstance(frames, Lazy):
                ends = ((first, min(first + step, len(side))) for first in starts)
                pieces = (frames.read(np.arange(*end)) for end in ends)
            else:
                pieces = (frames[first : first + step] for first in starts)
        for piece in pieces:
            if len(piece):
                yield floats(piece).reshape(-1, size)
