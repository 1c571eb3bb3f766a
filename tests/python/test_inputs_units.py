"""A number's unit and meaning do not depend on the type that stores it, nor on the unit's zero."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backcast import AnomalyDetector, forecast_errors
from backcast.data import windows
from backcast.errors import DataError
from small import small_model

T = np.arange(160)
# Whole numbers that every type but int8 holds.
COUNTS = (60 + 50 * np.sin(T / 4)).round()
ODD = np.where((T > 120) & (T < 124), 200 - COUNTS, COUNTS)


def detector(**params: Any) -> AnomalyDetector:
    model = {
        "hidden_size": 6,
        "max_iter": 20,
        "batch_size": 32,
        "random_state": 0,
        "device": "cpu",
        "num_threads": 1,
        "verbose": 0,
    }
    return AnomalyDetector(model, **({"past": 6, "future": 2} | params))


ARRAYS = [
    *("uint8", "uint16", "uint32", "uint64", "int16", "int32", "int64"),
    *("float16", "float32", "float64", "longdouble", ">f4", ">i2", ">u4"),
]
TABLES = [*ARRAYS[:11], "UInt8", "Int16", "UInt64", "Float32", "Float64"]


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("kind", ARRAYS)
def test_equal_numbers_have_equal_scores(kind: str, center: bool) -> None:
    expected = detector(center=center).fit(COUNTS).scores(ODD)
    found = detector(center=center).fit(COUNTS.astype(kind)).scores(ODD.astype(kind))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    # Scores are roots of squares.
    assert np.nanmax(found[118:126]) ** 2 > 3 * np.nanmedian(found) ** 2


@pytest.mark.parametrize("kind", TABLES)
def test_equal_numbers_of_tables_give_equal_forecasts(kind: str) -> None:
    plain = pd.DataFrame({"x": COUNTS, "y": COUNTS[::-1].copy()})
    expected = small_model(scale="standard").fit(windows(plain, 6, 2))
    given = plain.astype(kind)
    found = small_model(scale="standard").fit(windows(given, 6, 2))
    pd.testing.assert_frame_equal(
        found.predict(windows(given, 6)).astype(float),
        expected.predict(windows(plain, 6)).astype(float),
        rtol=1e-4,
    )
    pd.testing.assert_frame_equal(
        forecast_errors(found, windows(given, 6, 2)),
        forecast_errors(expected, windows(plain, 6, 2)),
        rtol=1e-3,
    )


@pytest.mark.parametrize("make", [Decimal, Fraction, int, float, np.float32, np.uint8])
def test_python_numbers_in_a_table_or_a_list_are_numbers(make: Callable[[Any], Any]) -> None:
    numbers = [make(int(x)) for x in COUNTS]
    table = pd.DataFrame({"x": pd.Series(numbers, dtype=object)})
    np.testing.assert_array_equal(np.asarray(windows(table, 6)), windows(COUNTS, 6))
    np.testing.assert_array_equal(windows(numbers, 6), windows(COUNTS, 6))
    np.testing.assert_allclose(
        detector().fit(table).scores(table)["x"], detector().fit(COUNTS).scores(COUNTS)[:, 0]
    )


def test_bytes_are_pixels_only_in_arrays_of_frames() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 3)).astype(np.uint8)
    assert small_model().fit(pixels)._fitted.scaled
    assert not small_model().fit([pd.DataFrame(w) for w in pixels])._fitted.scaled
    assert windows(pd.DataFrame(pixels[0]), 2).dtype == np.int16


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("zero", [273.15, -5e4, 5.5e6])
def test_scores_do_not_depend_on_the_zero_of_the_unit(zero: float, center: bool) -> None:
    waves = np.stack([np.sin(T / 5), np.cos(T / 7)], axis=1)
    odd = waves.copy()
    odd[100:110, 0] += 1.5
    moved = np.array([zero, 0.0])
    expected = detector(center=center).fit(waves)
    found = detector(center=center).fit(waves + moved)
    np.testing.assert_allclose(found.scores(odd + moved), expected.scores(odd), rtol=5e-3)
    np.testing.assert_array_equal(found.predict(odd + moved), expected.predict(odd))


@pytest.mark.parametrize("scale", ["standard", "minmax"])
@pytest.mark.parametrize("zero", [1e7, 1e9, 1e12])
def test_outputs_are_as_fine_as_the_numbers_that_went_in(zero: float, scale: str) -> None:
    w = windows(np.sin(T / 5) + zero, 8)
    model = small_model(scale=scale, horizon=2).fit(w)
    made = model.reconstruct(w)
    assert made.dtype == np.float64
    assert len(np.unique(made)) > 100
    assert model.predict(w).dtype == np.float64


@pytest.mark.parametrize("constant", [14.62, 0.1, -1013.25, 1 / 3, 1e-7, 3e8])
def test_a_constant_stays_a_constant_after_a_trip_through_float32(constant: float) -> None:
    table = pd.DataFrame({"a": np.sin(T / 3), "k": constant})
    found = detector().fit(table)
    assert found.model_._fitted.scale[1][1] == 1.0
    stored = table.astype("float32").astype("float64")
    assert (found.predict(stored) == -1).sum() <= (found.predict(table) == -1).sum() + 2


def test_overflow_of_a_column_that_never_changes_is_harmless() -> None:
    table = pd.DataFrame({"a": np.zeros(160), "b": 0.0})
    changed = table.copy()
    changed.loc[80:, "a"] = 1e200
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        found = detector(center=True).fit(table)
        found.predict(table)


def test_an_array_of_objects_is_refused_with_what_converts_it() -> None:
    objects = np.array([[Decimal(1)], [None], [Decimal(2)]], object)
    with pytest.raises(DataError, match=r"numpy\.where\(pandas\.isna\(x\), numpy\.nan, x\)"):
        windows(objects, 2)
    with pytest.raises(DataError, match=r"x\.astype\(float\)"):
        windows(objects[::2], 2)
