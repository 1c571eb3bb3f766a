"""Numbers scaled for the engine, column by column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast._arrays import Lazy, Sequences
from backcast.errors import ArgumentError

# Offset and factor, (D) each: the model sees (x - offset) / factor.
Scale = tuple[NDArray[np.float64], NDArray[np.float64]]

# Numbers looked at in one go.
_CHUNK = 2**22


def learn(scale: Any, sides: list[Sequences]) -> Scale | None:
    """Learn how to scale each number of a frame, of all windows and steps; NaN is left out."""
    if scale is None:
        return None
    if scale not in ("standard", "minmax"):
        raise ArgumentError(f'scale must be None, "standard" or "minmax", got {scale!r}')
    size = int(np.prod(sides[0].frame_shape))
    count, total, squares = np.zeros(size), np.zeros(size), np.zeros(size)
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    for frames in _chunks(sides, size):
        known = np.isfinite(frames)
        filled = np.where(known, frames, 0.0)
        n = known.sum(0)
        # Chan, Golub and LeVeque 1979: sums of squares about a mean, put together.
        mean = np.divide(filled.sum(0), n, out=np.zeros(size), where=n > 0)
        before = np.divide(total, count, out=np.zeros(size), where=count > 0)
        both = np.maximum(count + n, 1)
        squares += (np.where(known, frames - mean, 0.0) ** 2).sum(0)
        squares += np.where(n > 0, (mean - before) ** 2 * count * n / both, 0.0)
        total += filled.sum(0)
        count += n
        low = np.minimum(low, np.where(known, frames, np.inf).min(0))
        high = np.maximum(high, np.where(known, frames, -np.inf).max(0))
    there = count > 0
    if scale == "standard":
        offset, factor = total / np.maximum(count, 1), np.sqrt(squares / np.maximum(count, 1))
    else:
        offset, factor = np.where(there, low, 0.0), np.where(there, high - low, 0.0)
    # A column that never changes is only moved.
    return offset, np.where(factor > 0, factor, 1.0)


def scale_of(saved: Any) -> Scale | None:
    """Take a scale out of a file."""
    if saved is None:
        return None
    offset, factor = (np.asarray(part, dtype=np.float64) for part in saved)
    return offset, factor


def undo(frames: NDArray[np.float32], scale: Scale | None) -> NDArray[np.float32]:
    """Bring frames (..., D) that the model gave back to the user's units."""
    if scale is None:
        return frames
    offset, factor = scale
    return (frames * factor + offset).astype(np.float32)


def _chunks(sides: list[Sequences], size: int) -> Iterator[NDArray[np.float64]]:
    """Give all frames (n, D), so many at a time, bytes as 0..1."""
    for side in sides:
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
            numbers = np.asarray(piece, dtype=np.float64).reshape(-1, size)
            if len(numbers):
                yield numbers / 255 if piece.dtype == np.uint8 else numbers
