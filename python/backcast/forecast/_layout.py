"""Frames of the model: segments of several rows, with the known columns of past and future."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backcast.forecast._normalization import Numbers

Frames = NDArray[np.float32]

# The longest segment that is chosen, and the shortest that is worth it.
_LONGEST, _SHORTEST = 24, 4


@dataclass(frozen=True)
class Layout:
    """Frames of `segment` rows each.

    A frame holds the rows of the columns to forecast, and then, where some columns are known in the
    future, the known columns of the same rows and those of the rows `future` later. The past
    thereby shows the encoder the known columns of all rows of the past and of the future. The known
    columns of a future frame are missing numbers, which losses ignore.

    Attributes
    ----------
    past, future : int
        Rows of past and future in a window.
    segment : int
        Rows of a frame. Where it does not divide `past`, the first frame begins with missing
        numbers; where it does not divide `future`, the last frame ends with some.
    n_known : int
        Number of known columns.
    """

    past: int
    future: int
    segment: int
    n_known: int

    @property
    def lengths(self) -> tuple[int, int]:
        """Frames of past and future in a window."""
        return -(-self.past // self.segment), -(-self.future // self.segment)

    def width(self, n_columns: int) -> int:
        """Numbers in a frame."""
        return self.segment * (n_columns + 2 * self.n_known)

    def pasts(self, rows: Numbers, known: Numbers) -> Frames:
        """Make frames of pasts (n, past, C) and known columns (n, past + future, n_known)."""
        parts = [rows]
        if self.n_known:
            parts += [known[:, : self.past], known[:, self.future : self.future + self.past]]
        return np.concatenate([self._segments(part, first=True) for part in parts], axis=2)

    def futures(self, rows: Numbers) -> Frames:
        """Make frames of futures (n, future, C)."""
        n, _, width = rows.shape
        frames = np.full((n, self.lengths[1], self.width(width)), np.nan, np.float32)
        frames[..., : self.segment * width] = self._segments(rows, first=False)
        return frames

    def rows(self, frames: Frames) -> Numbers:
        """Return the rows (n, future, C) in frames that a model predicted."""
        n, length, width = frames.shape
        width = width // self.segment - 2 * self.n_known
        rows = frames[..., : self.segment * width].reshape(n, length * self.segment, width)
        return rows[:, : self.future].astype(np.float64)

    def _segments(self, rows: Numbers, *, first: bool) -> Frames:
        n, length, width = rows.shape
        missing = -length % self.segment
        around = (missing, 0) if first else (0, missing)
        whole = np.pad(rows, ((0, 0), around, (0, 0)), constant_values=np.nan)
        return whole.reshape(n, -1, self.segment * width).astype(np.float32)


def auto_segment(past: int, future: int) -> tuple[int, str]:
    """Choose the rows of a frame from the lengths alone; say why."""
    lengths = range(min(_LONGEST, past), _SHORTEST - 1, -1)
    for k in lengths:
        if past % k == 0 and future % k == 0:
            return k, f"the longest of at most {_LONGEST} rows that divides past and future"
    for k in lengths:
        if past % k == 0:
            return k, f"the longest of at most {_LONGEST} rows that divides past"
    k = min(past, _LONGEST // 2)
    return k, f"no length from {_SHORTEST} to {_LONGEST} divides past"
