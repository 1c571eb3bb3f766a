"""Windows of long series."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from backcast.data._arguments import whole
from backcast.errors import DataError, ShapeError


def windows(series: ArrayLike, past: int, future: int = 0, stride: int = 1) -> NDArray[Any]:
    """Cut a long series into windows, without copying it.

    Parameters
    ----------
    series : array_like of shape (n_frames, *frame_shape) or (n_frames,)
        One recording; a memory-mapped array stays on disk. A one-dimensional series is one number
        a frame.
    past, future : int
        Frames of past (at least 1) and of future (default 0) in a window.
    stride : int, default 1
        Frames from the start of a window to the start of the next.

    Returns
    -------
    ndarray of shape (n_windows, past + future, *frame_shape)
        A read-only view of `series`. Window i starts at frame ``i * stride``; the frames behind
        the last whole window are in none.

    Raises
    ------
    ArgumentError
        If `past` or `stride` is less than 1, or `future` less than 0.
    ShapeError
        If the series is shorter than one window, or a single number.
    DataError
        If the series does not hold numbers.

    Notes
    -----
    One array, not a pair, so that windows can be shuffled, split and indexed as one.
    ``Model(horizon=future).fit(w)`` takes them whole, and ``model.fit(w[:, :past], w[:, past:])``
    in their two parts, which are views too; ``model.encode`` wants the pasts alone. A copy of them
    takes ``(past + future) / stride`` times the memory of the series.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.data import windows
    >>> w = windows(np.arange(6.0), past=3, future=1, stride=2)
    >>> w.shape
    (2, 4, 1)
    >>> w[1, :3, 0], w[1, 3:, 0]
    (array([2., 3., 4.]), array([5.]))
    """
    past, future = whole("past", past, 1), whole("future", future, 0)
    stride = whole("stride", stride, 1)
    frames = np.asarray(series)
    if frames.dtype.kind not in "buif":
        raise DataError(f"series must hold real numbers, got dtype {frames.dtype}")
    if frames.ndim == 0:
        raise ShapeError("series must have at least 1 dimension, got a single number")
    if frames.ndim == 1:
        frames = frames[:, np.newaxis]
    if len(frames) < past + future:
        raise ShapeError(
            f"series must be at least past + future = {past + future} frames long, "
            f"got {len(frames)}"
        )
    return np.moveaxis(sliding_window_view(frames, past + future, axis=0), -1, 1)[::stride]
