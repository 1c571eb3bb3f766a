"""Embeddings of labelled sequences, learnt without labels, judged by one linear classifier.

The same for all: a ridge classifier on standardised features, its penalty by leave-one-out
cross-validation on the training labels; accuracy on the data set's own test part.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from labelled import Array

DATA = (
    "ArrowHead",
    "GunPoint",
    "ItalyPowerDemand",
    "JapaneseVowels",
    "OSULeaf",
    "PickupGestureWiimoteZ",
)
# The other sets of several classes that aeon or sktime (PLAID) contains, for a few contestants.
MORE = ("ACSF1", "BasicMotions", "PLAID")
SIZE = 64
Sequences = list[Array]
# Features of training and of test sequences, of a data set and a seed.
Features = Callable[[str, int], tuple[Array, Array]]


def measure(seeds: int, more: bool = False) -> dict[str, Any]:
    """Accuracies and seconds, by features and data set; without those that are missing."""
    rows: dict[str, Any] = {}
    for one in CONTESTANTS:
        if more and not one.more:
            continue
        number, names = seeds if one.random else 1, MORE if more else DATA
        try:
            rows[one.name] = {
                name: [once(one, name, seed) for seed in range(number)] for name in names
            }
        except ImportError:
            rows[one.name] = None
    return rows


def once(contestant: Contestant, name: str, seed: int) -> dict[str, float]:
    """Features, how many there are, and the accuracy on them."""
    _, labels, _, test_labels = load(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if contestant.compiled:
            contestant.features(name, seed)
        begun = time.process_time()
        known, new = contestant.features(name, seed)
        seconds = time.process_time() - begun
        accuracy = classifier().fit(known, labels).score(new, test_labels)
    return {"accuracy": float(accuracy), "features": known.shape[1], "seconds": seconds}


def classifier() -> Any:
    """The one that all are judged by."""
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-2, 5, 22)))


@lru_cache(len(DATA) + len(MORE))
def load(name: str) -> tuple[Sequences, Array, Sequences, Array]:
    """Sequences (T, D) for training and their labels, and for test; standardised by the former."""
    from aeon.datasets import load_classification

    folder = None
    if name == "PLAID":
        import sktime.datasets

        folder = str(Path(sktime.datasets.__file__).with_name("data"))
    (train, labels), (test, test_labels) = (
        load_classification(name, split=split, extract_path=folder) for split in ("train", "test")
    )
    frames = np.concatenate([x.T for x in train])
    mean, deviation = frames.mean(axis=0), frames.std(axis=0)
    known, new = ([(x.T - mean) / deviation for x in part] for part in (train, test))
    return known, labels, new, test_labels


def backcast(name: str, seed: int, updates: int = 400) -> tuple[Array, Array]:
    """`Embedder` with its defaults; with 0 updates its first weights."""
    return features(name, seed, updates)[1:]


@lru_cache
def features(name: str, seed: int, updates: int) -> tuple[Array, Array, Array]:
    """Names of the features of an `Embedder`, and both parts; kept, as several rows need them."""
    from backcast import Embedder

    train, _, test, _ = load(name)
    model = {"random_state": seed, "device": "cpu", "num_threads": 1, "verbose": 0}
    if not updates:
        model |= {"max_iter": 1, "learning_rate": 0.0}
    fitted = Embedder(model).fit(train)
    return fitted.get_feature_names_out(), fitted.transform(train), fitted.transform(test)


def some(name: str, seed: int, only: str, updates: int = 400) -> tuple[Array, Array]:
    """Features of an `Embedder` whose names match a pattern."""
    names, known, new = features(name, seed, updates)
    chosen = [bool(re.match(only, each)) for each in names]
    return known[:, chosen], new[:, chosen]


def pca(name: str, seed: int) -> tuple[Array, Array]:
    """Mean and deviation of principal components of windows of 20 rows."""
    train, _, test, _ = load(name)
    length = min(20, (min(map(len, train)) + 1) // 2)

    def windows(x: Array) -> Array:
        return sliding_window_view(x, length, axis=0).reshape(len(x) - length + 1, -1)

    fitted = sklearn_pca(np.concatenate([windows(x) for x in train]))
    known, new = (
        mean_and_deviation([fitted.transform(windows(x)) for x in part]) for part in (train, test)
    )
    return known, new


def minirocket(name: str, seed: int) -> tuple[Array, Array]:
    from aeon.transformations.collection.convolution_based import MiniRocket

    known, new = (x.swapaxes(1, 2) for x in padded(name))
    fitted = MiniRocket(random_state=seed).fit(known)
    return fitted.transform(known), fitted.transform(new)


def catch22(name: str, seed: int) -> tuple[Array, Array]:
    from aeon.transformations.collection.feature_based import Catch22

    train, _, test, _ = load(name)
    fitted = Catch22(replace_nans=True).fit([x.T for x in train])
    known, new = (np.asarray(fitted.transform([x.T for x in part])) for part in (train, test))
    return known, new


def of_numbers(name: str, seed: int) -> tuple[Array, Array]:
    train, _, test, _ = load(name)
    return mean_and_deviation(train), mean_and_deviation(test)


def sklearn_pca(rows: Array) -> Any:
    from sklearn.decomposition import PCA

    return PCA(min(SIZE, len(rows) - 1, rows.shape[1])).fit(rows)


def mean_and_deviation(sequences: Sequences) -> Array:
    return np.stack([np.concatenate([x.mean(axis=0), x.std(axis=0)]) for x in sequences])


def padded(name: str) -> tuple[Array, Array]:
    """Sequences as one array (n, T, D): zeros up to the longest in training, cut there."""
    train, _, test, _ = load(name)
    length = max(map(len, train))
    known, new = (
        np.stack([np.pad(x[:length], ((0, length - len(x[:length])), (0, 0))) for x in part])
        for part in (train, test)
    )
    return known, new


@dataclass(frozen=True)
class Contestant:
    """Features, whether seeds make a difference, whether a first call compiles code.

    `more` are those that are also measured on the other sets.
    """

    name: str
    features: Features
    random: bool = False
    compiled: bool = False
    more: bool = False


CONTESTANTS = [
    Contestant("`Embedder`", backcast, random=True, more=True),
    Contestant("`Embedder`, not trained", partial(backcast, updates=0), random=True, more=True),
    Contestant("`Embedder(parts=False)`", partial(some, only="series|diff"), random=True),
    Contestant(
        "`Embedder(parts=False)`, not trained",
        partial(some, only="series|diff", updates=0),
        random=True,
    ),
    Contestant(
        "`Embedder`, without prototypes", partial(some, only=r".*_positive|part|log"), random=True
    ),
    Contestant(
        "`Embedder`, series alone, without parts", partial(some, only="series"), random=True
    ),
    Contestant("`Embedder`, parts and length alone", partial(some, only="part|log", updates=0)),
    Contestant("PCA, windows", pca),
    Contestant("aeon `MiniRocket`", minirocket, random=True, compiled=True, more=True),
    Contestant("aeon `Catch22`", catch22, compiled=True),
    Contestant("mean and standard deviation", of_numbers, more=True),
]
