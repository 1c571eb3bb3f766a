"""VUS-PR as TSB-AD computes it (`generate_curve(labels, scores, length, "opt", 250)`), faster.

Volume under the surface of precision and recall over buffers of 0 to `length` rows around the
anomalies (Paparrizos et al., VLDB 2022). aeon's version differs in details; the published tables
of TSB-AD need this one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_THRESHOLDS = 250


def buffer_of(rows: Array) -> int:
    """TSB-AD's buffer: the highest peak of the first column's autocorrelation, else 125."""
    column = np.asarray(rows, float)[:20_000, 0]
    column = column - column.mean()
    power = np.abs(np.fft.rfft(column, 2 * len(column))) ** 2
    lags = np.fft.irfft(power)[3:401]
    peaks = 1 + np.flatnonzero((lags[1:-1] > lags[:-2]) & (lags[1:-1] > lags[2:]))
    if not len(peaks):
        return 125
    best = int(peaks[np.argmax(lags[peaks])])
    return best + 3 if 3 <= best <= 300 else 125


def vus_pr(labels: Array, scores: Array, length: int) -> float:
    """Mean over buffers of the area under precision and recall; labels (n), scores (n)."""
    n = len(labels)
    edges = np.diff(np.r_[0, np.asarray(labels) > 0, 0].astype(int))
    events = [*zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1, strict=True)]
    anomalous = np.zeros(n, bool)
    for first, last in events:
        anomalous[first : last + 1] = True
    at = np.linspace(0, n - 1, _THRESHOLDS).astype(int)
    thresholds = np.sort(scores)[::-1][at]
    # The first threshold that each row reaches.
    reached = np.searchsorted(-thresholds, -np.asarray(scores, float), side="left")

    def count(rows: Array, weights: Array | None = None) -> Array:
        """Sum of the weights of the rows that reach each threshold."""
        found = np.bincount(reached[rows], weights, minlength=_THRESHOLDS + 1)
        return np.cumsum(found[:_THRESHOLDS])

    predicted, total = count(np.arange(n)), 0.0
    for width in range(length + 1):
        half, soft = width // 2, anomalous.astype(float)
        for first, last in events if width else []:
            after = np.arange(last + 1, min(last + half + 1, n))
            before = np.arange(max(first - half, 0), first)
            soft[after] += np.sqrt(1 - (after - last) / width)
            soft[before] += np.sqrt(1 - (first - before) / width)
        soft = np.minimum(soft, 1)
        near = np.zeros(n, bool)
        blocks = _joined(events, half, n)
        for first, last in blocks:
            near[first : last + 1] = True
        rows = np.flatnonzero(near)
        rim = rows[~anomalous[rows]]
        hits, on_rim = count(rows, soft[rows]), count(rim, soft[rim])
        positives = (2 * anomalous.sum() + on_rim) / 2
        first_hits = np.sort([reached[first : last + 1].min() for first, last in blocks])
        found = np.searchsorted(first_hits, np.arange(_THRESHOLDS), side="right") / len(blocks)
        recall = np.r_[0, np.minimum(hits / positives, 1) * found]
        total += float(np.diff(recall) @ (hits / predicted))
    return total / (length + 1)


def _joined(events: list[Any], half: int, n: int) -> list[tuple[int, int]]:
    """The events with their buffers; those whose buffers meet are one."""
    blocks, begin = [], max(events[0][0] - half, 0)
    for (_, last), (following, _) in pairwise(events):
        if last + half < following - half:
            blocks.append((begin, last + half))
            begin = following - half
    return [*blocks, (begin, min(events[-1][1] + half, n - 1))]
