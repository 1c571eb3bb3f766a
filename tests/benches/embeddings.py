"""Embeddings of labelled sequences, learnt without labels, judged by one linear classifier.

The same for all: logistic regression on standardised features, its C by cross-validation on the
training labels; accuracy on the data set's own test part. Embeddings of windows are pooled: their
mean and standard deviation over a sequence.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from labelled import Array

DATA = ("BasicMotions", "JapaneseVowels", "GunPoint")
SIZE = 64
Sequences = list[Array]
# Features of training and of test sequences, from both and a seed.
Features = Callable[[Sequences, Sequences, int], tuple[Array, Array]]


def measure(seeds: int) -> dict[str, Any]:
    """Accuracies and seconds, by features and data set; without those that are missing."""
    for name in DATA:
        load(name)
    rows: dict[str, Any] = {}
    for one in CONTESTANTS:
        number = seeds if one.random else 1
        try:
            rows[one.name] = {
                name: [once(one, name, seed) for seed in range(number)] for name in DATA
            }
        except ImportError:
            rows[one.name] = None
    return rows


def once(contestant: Contestant, name: str, seed: int) -> dict[str, float]:
    """Features, how many there are, and the accuracy on them."""
    train, labels, test, test_labels = load(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if contestant.compiled:
            contestant.features(train[:2], test[:2], seed)
        begun = time.perf_counter()
        known, new = contestant.features(train, test, seed)
    seconds = time.perf_counter() - begun
    return {
        "accuracy": float(classifier().fit(known, labels).score(new, test_labels)),
        "features": known.shape[1],
        "seconds": seconds,
    }


def classifier() -> Any:
    """The one that all are judged by."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    grid = {"logisticregression__C": [1e-3, 1e-2, 0.1, 1, 10]}
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return GridSearchCV(pipeline, grid, cv=folds)


def load(name: str) -> tuple[Sequences, Array, Sequences, Array]:
    """Sequences (T, D) for training and their labels, and for test; standardised by the former."""
    from aeon.datasets import load_classification

    (train, labels), (test, test_labels) = (
        load_classification(name, split=split) for split in ("train", "test")
    )
    frames = np.concatenate([x.T for x in train])
    mean, deviation = frames.mean(axis=0), frames.std(axis=0)
    known, new = ([(x.T - mean) / deviation for x in part] for part in (train, test))
    return known, labels, new, test_labels


def model(seed: int, **parameters: Any) -> Any:
    """The composite model, at the detector's settings."""
    from backcast import Model

    return Model(
        SIZE,
        feedback="none",
        schedule="cosine",
        max_grad_norm=1.0,
        device="cpu",
        num_threads=1,
        random_state=seed,
        verbose=0,
        **{"horizon": 3, "learning_rate": 1e-2, "max_iter": 1000} | parameters,
    )


def backcast(train: Sequences, test: Sequences, seed: int) -> tuple[Array, Array]:
    past, future = lengths(train)
    fitted = model(seed, horizon=future).fit(cut(train, past + future))
    return pooled(fitted.encode, train, past), pooled(fitted.encode, test, past)


def untrained(train: Sequences, test: Sequences, seed: int) -> tuple[Array, Array]:
    past, _ = lengths(train)
    parameters = {"horizon": None, "decoders": "reconstruct", "learning_rate": 1e-9, "max_iter": 1}
    fitted = model(seed, **parameters).fit(cut(train, past))
    return pooled(fitted.encode, train, past), pooled(fitted.encode, test, past)


def of_wholes(
    train: Sequences, test: Sequences, seed: int, pooling: str = "last"
) -> tuple[Array, Array]:
    fitted = model(seed, pooling=pooling).fit(train)
    return fitted.encode(train), fitted.encode(test)


def pca(train: Sequences, test: Sequences, seed: int) -> tuple[Array, Array]:
    past, _ = lengths(train)
    known = flat(cut(train, past))
    fitted = sklearn_pca(known)

    def encode(windows: Array) -> Array:
        return fitted.transform(flat(windows))

    return pooled(encode, train, past), pooled(encode, test, past)


def pca_of_wholes(train: Sequences, test: Sequences, seed: int) -> tuple[Array, Array]:
    known, new = (flat(x) for x in padded(train, test))
    fitted = sklearn_pca(known)
    return fitted.transform(known), fitted.transform(new)


def minirocket(train: Sequences, test: Sequences, seed: int) -> tuple[Array, Array]:
    from aeon.transformations.collection.convolution_based import MiniRocket

    known, new = (x.swapaxes(1, 2) for x in padded(train, test))
    fitted = MiniRocket(random_state=seed).fit(known)
    return fitted.transform(known), fitted.transform(new)


def catch22(train: Sequences, test: Sequences, seed: int) -> tuple[Array, Array]:
    from aeon.transformations.collection.feature_based import Catch22

    fitted = Catch22(replace_nans=True).fit([x.T for x in train])
    return tuple(np.asarray(fitted.transform([x.T for x in part])) for part in (train, test))


def of_numbers(train: Sequences, test: Sequences, seed: int) -> tuple[Array, Array]:
    return mean_and_deviation(train), mean_and_deviation(test)


def sklearn_pca(rows: Array) -> Any:
    from sklearn.decomposition import PCA

    return PCA(min(SIZE, len(rows) - 1, rows.shape[1])).fit(rows)


def flat(windows: Array) -> Array:
    return windows.reshape(len(windows), -1)


def lengths(sequences: Sequences) -> tuple[int, int]:
    """Past and future of windows: 20 and 10 steps, fewer where sequences are short."""
    past = min(20, (min(map(len, sequences)) + 1) // 2)
    return past, past // 2


def cut(sequences: Sequences, length: int) -> Array:
    """All windows of that length of all sequences, (n, length, D)."""
    windows = [sliding_window_view(x, length, axis=0).swapaxes(1, 2) for x in sequences]
    return np.concatenate(windows)


def pooled(encode: Callable[[Array], Array], sequences: Sequences, length: int) -> Array:
    """Mean and standard deviation of the embeddings of each sequence's windows."""
    return mean_and_deviation([encode(cut([x], length)) for x in sequences])


def mean_and_deviation(sequences: Sequences) -> Array:
    return np.stack([np.concatenate([x.mean(axis=0), x.std(axis=0)]) for x in sequences])


def padded(train: Sequences, test: Sequences) -> tuple[Array, Array]:
    """Sequences as one array (n, T, D): zeros up to the longest in training, cut there."""
    length = max(map(len, train))
    known, new = (
        np.stack([np.pad(x[:length], ((0, length - len(x[:length])), (0, 0))) for x in part])
        for part in (train, test)
    )
    return known, new


@dataclass(frozen=True)
class Contestant:
    """Features, whether seeds make a difference, and whether a first call compiles code."""

    name: str
    features: Features
    random: bool = False
    compiled: bool = False


CONTESTANTS = [
    Contestant("backcast `Model`, windows", backcast, random=True),
    Contestant("the same, not trained", untrained, random=True),
    Contestant("backcast `Model`, whole sequences", of_wholes, random=True),
    Contestant('the same, `pooling="mean"`', partial(of_wholes, pooling="mean"), random=True),
    Contestant("PCA, windows", pca),
    Contestant("PCA, whole sequences", pca_of_wholes),
    Contestant("aeon `MiniRocket`", minirocket, random=True, compiled=True),
    Contestant("aeon `Catch22`", catch22, compiled=True),
    Contestant("mean and standard deviation", of_numbers),
]
