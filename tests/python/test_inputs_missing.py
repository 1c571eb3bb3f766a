"""Missing is missing, in whatever way a container says so, in data and in labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backcast import AnomalyDetector, Classifier
from backcast.data import windows
from backcast.errors import DataError
from small import X, assert_same_weights, small_model

COUNTS = np.arange(1.0, 41.0) % 7
HOLES = np.zeros(40, bool)
HOLES[[4, 11, 12, 30]] = True
WANTED = np.where(HOLES, np.nan, COUNTS)


def with_holes(nothing: Any) -> list[Any]:
    return [nothing if hole else x for x, hole in zip(COUNTS, HOLES, strict=True)]


COLUMNS: dict[str, Callable[[], Any]] = {
    "NaN": lambda: pd.Series(WANTED),
    "NaN in single precision": lambda: pd.Series(WANTED, dtype="float32"),
    "None": lambda: pd.Series(with_holes(None), dtype=object),
    "NA": lambda: pd.Series(with_holes(pd.NA), dtype=object),
    "NaT": lambda: pd.Series(with_holes(pd.NaT), dtype=object),
    "NaN among objects": lambda: pd.Series(with_holes(np.nan), dtype=object),
    "nullable integers": lambda: pd.Series(with_holes(None), dtype="Int64"),
    "nullable bytes": lambda: pd.Series(with_holes(None), dtype="UInt8"),
    "nullable floats": lambda: pd.Series(with_holes(None), dtype="Float64"),
    "sparse": lambda: pd.Series(pd.arrays.SparseArray(WANTED)),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_missing_numbers_of_a_table_are_nan(kind: str) -> None:
    alone, beside = COLUMNS[kind]().to_frame("x"), COLUMNS[kind]().to_frame("x").assign(y=1)
    for rows in (alone, beside):
        w = windows(rows, 40)
        np.testing.assert_array_equal(np.asarray(w)[0, :, 0], WANTED)


SERIES: dict[str, Callable[[], Any]] = {
    "NaN": lambda: WANTED,
    "a mask": lambda: np.ma.array(COUNTS, mask=HOLES),
    "a mask of integers": lambda: np.ma.array(COUNTS.astype(int), mask=HOLES),
    "a mask of bytes": lambda: np.ma.array(COUNTS.astype(np.uint8), mask=HOLES),
    "a masked NaN": lambda: np.ma.masked_invalid(WANTED),
    "a mask over a fill value": lambda: np.ma.masked_equal(np.where(HOLES, -999, COUNTS), -999),
    "None in a list": lambda: with_holes(None),
    "NA in a list": lambda: with_holes(pd.NA),
    "pandas' integers": lambda: pd.array(with_holes(None), dtype="Int64"),
}


@pytest.mark.parametrize("kind", SERIES)
def test_missing_numbers_of_a_series_are_nan(kind: str) -> None:
    np.testing.assert_array_equal(windows(SERIES[kind](), 40)[0, :, 0], WANTED)
    model = {"hidden_size": 4, "max_iter": 2, "random_state": 0, "device": "cpu", "verbose": 0}
    options: dict[str, Any] = {"past": 5, "future": 2}
    expected = AnomalyDetector(model, **options).fit(WANTED).scores(WANTED)
    found = AnomalyDetector(model, **options).fit(SERIES[kind]()).scores(SERIES[kind]())
    np.testing.assert_allclose(found, expected)
    assert np.isnan(found[HOLES]).all()


def test_masks_of_windows_are_missing_numbers() -> None:
    mask = np.random.default_rng(0).random(X.shape) < 0.2
    holes = np.where(mask, np.nan, X).astype(np.float32)
    expected = small_model(horizon=3).fit(holes)
    masked = np.ma.array(X, mask=mask)
    assert_same_weights(small_model(horizon=3).fit(masked), expected)
    assert_same_weights(small_model(horizon=3).fit(list(masked)), expected)
    np.testing.assert_array_equal(expected.encode(masked), expected.encode(holes))
    pixels = (X * 255).astype(np.uint8)
    halves = np.where(mask, np.nan, pixels / np.float32(255))
    assert_same_weights(
        small_model(horizon=3).fit(np.ma.array(pixels, mask=mask)),
        small_model(horizon=3).fit(halves.astype(np.float32)),
    )


Y = np.arange(12) % 2
LABELS: dict[str, Any] = {
    "NaN": np.where(Y > 0, np.nan, 1.0),
    "None": [None, *Y[1:]],
    "None among words": np.array([None, *["a", "b"] * 5, "a"], dtype=object),
    "NA": pd.array([pd.NA, *Y[1:]], dtype="Int64"),
    "NA among words": pd.Series([pd.NA, *["a", "b"] * 5, "a"], dtype="string"),
    "NaN among words": pd.Series([np.nan, *["a", "b"] * 5, "a"]),
    "NaT": pd.Series([pd.NaT, *pd.date_range("2026", periods=11)]),
    "a mask": np.ma.array(Y, mask=Y > 0),
    "a category": pd.Categorical([None, *["a", "b"] * 5, "a"]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_a_missing_label_is_no_class(kind: str) -> None:
    options: dict[str, Any] = {"hidden_size": 4, "max_iter": 2, "device": "cpu", "verbose": 0}
    classifier = Classifier(**options)
    with pytest.raises(DataError, match="y must be known for every window, got"):
        classifier.fit(X, LABELS[kind])
    with pytest.raises(DataError, match="y must be known for every window, got"):
        classifier.fit(X, Y, validation=(X, LABELS[kind]))
