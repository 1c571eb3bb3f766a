"""Series with labelled anomalies that installed packages carry: rows to learn, and rows to score.

What is learnt on holds no label of an anomaly: a package's own training part, or the first rows of
a series that has none. Labels are for measuring alone.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Series:
    """Rows to learn from (n, D), rows to score (m, D), and which of those are anomalies (m)."""

    name: str
    train: Array
    test: Array
    labels: Array


def load() -> list[Series]:
    """The series whose packages are installed."""
    found = []
    for name, (package, train, test, first) in SOURCES.items():
        folder = _folder(package)
        if folder is None:
            continue
        rows, labels = _columns(folder / test)
        if train:
            learnt, _ = _columns(folder / train)
        else:
            learnt, rows, labels = rows[:first], rows[first:], labels[first:]
        found.append(Series(name, learnt, rows, labels > 0))
    return found


# Name: package, file to learn from, file to score, or how many of its first rows to learn from.
_KDD = "datasets/data/KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16"
_ECG = "datasets/data/UnitTest/ecg-diff-count-3"
SOURCES = {
    "KDD 135": ("aeon", f"{_KDD}_TRAIN.csv", f"{_KDD}_TEST.csv", 0),
    "MIT-BIH": ("sktime", "", "datasets/data/mitdb/mitdb.csv", 3750),
    "Yahoo": ("sktime", "", "datasets/data/yahoo/yahoo.csv", 400),
    "ECG 3": ("aeon", f"{_ECG}_TRAIN_NA.csv", f"{_ECG}_TEST.csv", 0),
}


def _folder(package: str) -> Path | None:
    """Where a package is, without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def _columns(path: Path) -> tuple[Array, Array]:
    """Numbers (n, D) and labels (n) of a file whose last column is the label."""
    with path.open() as file:
        header = file.readline().split(",")
        table = np.loadtxt(file, delimiter=",", ndmin=2)
    return table[:, int(header[0] == "timestamp") : -1], table[:, -1]
