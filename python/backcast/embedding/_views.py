"""Views of a sequence, their windows, and statistics of its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from backcast.embedding._sequences import Numbers

VIEWS: dict[str, Callable[[Numbers], Numbers]] = {
    "series": lambda run: run,
    "differences": lambda run: np.diff(run, axis=0),
}
"""What the encoder sees of a run (T, D), by name."""

PARTS = ("mean", "deviation", "least", "most")
"""Statistics of the parts of a sequence."""

UNITS = ("mean", "log_deviation")
"""Statistics of a whole sequence, where each has units of its own."""

# Windows of a sequence, and windows that are encoded at a time, at most.
_WINDOWS, _PIECE = 1000, 4096


def windows_of(runs: list[Numbers], length: int) -> NDArray[np.float32]:
    """Return windows (n, length, D) of a sequence's runs: at most 1,000, evenly; at least one.

    Where all runs are shorter than a window, the longest is filled up with its first row. Windows
    without a number are left out; where all are, zeros take their place.
    """
    long = [run for run in runs if len(run) >= length]
    if not long:
        run = max(runs, key=len)
        first = run[:1] if len(run) else np.zeros((1, run.shape[1]))
        long = [np.concatenate([np.repeat(first, length - len(run), axis=0), run])]
    cuts = [sliding_window_view(run, length, axis=0).swapaxes(1, 2) for run in long]
    every = -(-sum(map(len, cuts)) // _WINDOWS)
    windows = np.concatenate([cut[::every] for cut in cuts]).astype(np.float32)
    known = ~np.isnan(windows).all((1, 2))
    return windows[known] if known.any() else np.zeros_like(windows[:1])


def thinning(sequences: list[list[Numbers]], most: int) -> int:
    """Return n, so that every n-th window of each sequence makes about `most` of them at most."""
    numbers = (min(sum(map(len, runs)), _WINDOWS) for runs in sequences)
    return max(1, -(-sum(numbers) // most))


def in_pieces(
    sequences: list[list[Numbers]], length: int
) -> Iterator[tuple[NDArray[np.float32], list[int]]]:
    """Yield the windows of some sequences together, and how many windows each of them has."""
    piece: list[NDArray[np.float32]] = []
    for runs in sequences:
        piece.append(windows_of(runs, length))
        if sum(map(len, piece)) >= _PIECE:
            yield np.concatenate(piece), [len(each) for each in piece]
            piece = []
    if piece:
        yield np.concatenate(piece), [len(each) for each in piece]


def statistics(runs: list[Numbers], n_parts: int) -> Numbers:
    """Return mean, deviation, least and most of each column in equal parts of a sequence.

    A part without a number takes those of the whole sequence, and a column without one zeros.
    """
    rows = np.concatenate(runs)
    whole = _moments(rows, 0.0)
    edges = np.linspace(0, len(rows), n_parts + 1).round().astype(int)
    parts = [_moments(rows[a:b], whole) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return np.concatenate([np.empty(0), *(part.ravel() for part in parts)])


def _moments(rows: Numbers, otherwise: Any) -> Numbers:
    """Return `PARTS` of each column, (4, D); `otherwise` where a column has no number."""
    known = ~np.isnan(rows)
    n = np.maximum(known.sum(0), 1)
    mean = np.where(known, rows, 0).sum(0) / n
    deviation = np.sqrt((np.where(known, rows - mean, 0) ** 2).sum(0) / n)
    least = np.where(known, rows, np.inf).min(0, initial=np.inf)
    most = np.where(known, rows, -np.inf).max(0, initial=-np.inf)
    return np.where(known.any(0), [mean, deviation, least, most], otherwise)
