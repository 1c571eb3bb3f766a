"""Who scores the rows of a series: `fit` on rows (n, D), then `score` of others, one number each.

All are given rows standardised by the training rows, and windows of the length that backcast takes.
A detector whose package is not installed raises ImportError when it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from labelled import Array

PAST, FUTURE = 50, 10
LENGTH = PAST + FUTURE


class Detector(Protocol):
    def fit(self, rows: Array) -> Any: ...
    def score(self, rows: Array) -> Array: ...


class Backcast:
    """backcast's detector with its defaults, or with windows less their level."""

    def __init__(self, seed: int, center: bool | str = "auto") -> None:
        from backcast import AnomalyDetector

        quiet = {"device": "cpu", "num_threads": 1, "verbose": 0}
        self.detector = AnomalyDetector({"random_state": seed} | quiet, center=center)

    def fit(self, rows: Array) -> None:
        self.detector.fit(rows)

    def score(self, rows: Array) -> Array:
        return -self.detector.score_samples(rows)


class Pyod:
    """A detector of pyod that takes rows in the order of time."""

    def __init__(self, seed: int) -> None:
        import torch

        # Not all of them take a seed.
        torch.manual_seed(seed)
        np.random.seed(seed)
        self.detector = self.make(seed)

    def make(self, seed: int) -> Any:
        raise NotImplementedError

    def fit(self, rows: Array) -> None:
        self.detector.fit(rows)

    def score(self, rows: Array) -> Array:
        return self.detector.decision_function(rows)


class LSTM(Pyod):
    def make(self, seed: int) -> Any:
        from pyod.models.ts_lstm import LSTMAD

        return LSTMAD(window_size=PAST, epochs=10)


class Windowed(Pyod):
    """A detector of single rows, by its name or made from a seed, that is given windows."""

    def __init__(self, seed: int, inner: str | Callable[[int], Any]) -> None:
        self.inner = inner
        super().__init__(seed)

    def make(self, seed: int) -> Any:
        from pyod.models.ts_od import TimeSeriesOD

        inner = self.inner if isinstance(self.inner, str) else self.inner(seed)
        return TimeSeriesOD(inner, window_size=LENGTH, score_aggregation="mean")


def autoencoder(seed: int) -> Any:
    from pyod.models.auto_encoder import AutoEncoder

    # Its own dropout and batch normalisation leave average precision at 0.03 on KDD 135.
    plain = {"epoch_num": 50, "dropout_rate": 0, "batch_norm": False}
    return AutoEncoder(**plain, device="cpu", random_state=seed, verbose=0)


class CentredNeighbours(Pyod):
    """Nearest neighbours of windows less their mean."""

    def make(self, seed: int) -> Any:
        from pyod.models.knn import KNN

        return KNN()

    def fit(self, rows: Array) -> None:
        self.detector.fit(levelled(cut(rows)))

    def score(self, rows: Array) -> Array:
        distances = self.detector.decision_function(levelled(cut(rows)))
        return covering(np.repeat(distances[:, np.newaxis], LENGTH, axis=1))


class SpectralResidual(Pyod):
    def make(self, seed: int) -> Any:
        from pyod.models.ts_spectral_residual import SpectralResidual

        return SpectralResidual()


class MatrixProfile(Pyod):
    """Scores only what it is fitted on: training rows and those to score together."""

    def make(self, seed: int) -> Any:
        from pyod.models.ts_matrix_profile import MatrixProfile

        return MatrixProfile(window_size=LENGTH)

    def fit(self, rows: Array) -> None:
        self.train = rows

    def score(self, rows: Array) -> Array:
        both = np.concatenate([self.train, rows])
        return self.detector.fit(both).decision_scores_[len(self.train) :]


class KMeans:
    """aeon's detector: distances of windows to the nearest centre."""

    def __init__(self, seed: int) -> None:
        from aeon.anomaly_detection.series.distance_based import KMeansAD

        self.detector = KMeansAD(window_size=LENGTH, random_state=seed)

    def fit(self, rows: Array) -> None:
        self.detector.fit(rows, axis=0)

    def score(self, rows: Array) -> Array:
        return self.detector.predict(rows, axis=0)


class PCA:
    """A row's squared error, rebuilt from 10 components; the mean of all windows that cover it."""

    def __init__(self, seed: int) -> None:
        from sklearn.decomposition import PCA

        self.pca = PCA(10)

    def fit(self, rows: Array) -> None:
        self.pca.fit(cut(rows))

    def score(self, rows: Array) -> Array:
        windows = cut(rows)
        rebuilt = self.pca.inverse_transform(self.pca.transform(windows))
        return covering(((rebuilt - windows) ** 2).reshape(len(windows), -1, LENGTH).sum(axis=1))


class Differences:
    """How far a row is from the one before it, or from a straight line through its neighbours."""

    def __init__(self, order: int) -> None:
        self.order = order

    def fit(self, rows: Array) -> None:
        pass

    def score(self, rows: Array) -> Array:
        before = rows[:1]
        after = rows[-1:] if self.order == 2 else None
        ends = {"prepend": before} | ({} if after is None else {"append": after})
        return np.abs(np.diff(rows, self.order, axis=0, **ends)).sum(axis=1)


def cut(rows: Array) -> Array:
    """All windows, flat: (n - LENGTH + 1, D * LENGTH)."""
    return sliding_window_view(rows, LENGTH, axis=0).reshape(len(rows) - LENGTH + 1, -1)


def levelled(windows: Array) -> Array:
    """Flat windows, each column less its mean."""
    columns = windows.reshape(len(windows), -1, LENGTH)
    return (columns - columns.mean(axis=2, keepdims=True)).reshape(windows.shape)


def covering(errors: Array) -> Array:
    """Mean over the windows that cover a row of what they say of it, (n, LENGTH)."""
    rows = len(errors) + LENGTH - 1
    sums, counts = np.zeros(rows), np.zeros(rows)
    for step in range(LENGTH):
        sums[step : step + len(errors)] += errors[:, step]
        counts[step : step + len(errors)] += 1
    return sums / counts


@dataclass(frozen=True)
class Contestant:
    """A detector by seed, and whether seeds make a difference to it."""

    name: str
    make: Callable[[int], Detector]
    random: bool = False


CONTESTANTS = [
    Contestant("backcast `AnomalyDetector()`", Backcast, random=True),
    Contestant("the same, `center=True`", partial(Backcast, center=True), random=True),
    Contestant("pyod `LSTMAD`", LSTM, random=True),
    Contestant("pyod `AutoEncoder`, windows", partial(Windowed, inner=autoencoder), random=True),
    Contestant("pyod `KNN`, windows", partial(Windowed, inner="KNN")),
    Contestant("the same, less their mean", CentredNeighbours),
    Contestant("pyod `LOF`, windows", partial(Windowed, inner="LOF")),
    Contestant("pyod `MatrixProfile`", MatrixProfile),
    Contestant("pyod `SpectralResidual`", SpectralResidual),
    Contestant("aeon `KMeansAD`", KMeans, random=True),
    Contestant("PCA of windows, rebuilt", PCA),
    Contestant("last value's error", lambda seed: Differences(1)),
    Contestant("second difference", lambda seed: Differences(2)),
]
