"""Scaling is learnt in `fit`, undone in what comes back, and kept with the model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backcast import AnomalyDetector, Classifier, Embedder, Forecaster, Model
from backcast.data import windows
from backcast.errors import ArgumentError, DataError
from small import X, small_model

FACTOR, OFFSET = np.array([100.0, 0.01, 3.0]), np.array([5000.0, -2.0, 0.0])
RAW = X * FACTOR + OFFSET  # three columns of their own units


def learnt(scale: str, x: Any = RAW) -> tuple[Any, Any]:
    flat = np.concatenate([w.reshape(-1, 3) for w in x]).astype(np.float64)
    if scale == "standard":
        return np.nanmean(flat, 0), np.nanstd(flat, 0)
    return np.nanmin(flat, 0), np.nanmax(flat, 0) - np.nanmin(flat, 0)


@pytest.mark.parametrize("scale", ["standard", "minmax"])
def test_it_is_as_if_the_user_had_scaled_each_column(scale: str) -> None:
    offset, factor = learnt(scale)
    by_hand = ((RAW - offset) / factor).astype(np.float32)
    model, plain = small_model(scale=scale).fit(RAW), small_model().fit(by_hand)
    for name, array in plain.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], array, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(model.encode(RAW), plain.encode(by_hand), atol=1e-5)
    assert model.losses(RAW) == pytest.approx(plain.losses(by_hand), rel=1e-4)
    for method in ("reconstruct", "predict"):
        expected = getattr(plain, method)(by_hand) * factor + offset
        found = getattr(model, method)(RAW)
        # In the units of the user: single precision where the numbers given had no more.
        assert found.dtype == np.float64
        assert getattr(model, method)(RAW.astype(np.float32)).dtype == np.float32
        np.testing.assert_allclose(
            (found - offset) / factor, (expected - offset) / factor, atol=2e-3
        )
    state = model.encode(RAW, state="full")
    np.testing.assert_allclose(model.decode(state), model.predict(RAW), rtol=1e-6)


@pytest.mark.parametrize("scale", ["standard", "minmax"])
def test_missing_numbers_and_unequal_windows_and_futures_are_learnt_from(scale: str) -> None:
    gaps = np.where(np.random.default_rng(0).random(RAW.shape) < 0.2, np.nan, RAW)
    windows = [w[: 5 + i % 4] for i, w in enumerate(gaps)]
    model = small_model(scale=scale, horizon=2).fit(windows)
    offset, factor = learnt(scale, windows)
    np.testing.assert_allclose(model._fitted.scale[0], offset, rtol=1e-12)
    np.testing.assert_allclose(model._fitted.scale[1], factor, rtol=1e-9)
    past, future = gaps[:, :5], gaps[:, 5:]
    model = small_model(scale=scale).fit(past, future)
    np.testing.assert_allclose(model._fitted.scale[1], learnt(scale, gaps)[1], rtol=1e-9)


def test_a_column_that_never_changes_stays_finite() -> None:
    raw = RAW.copy()
    raw[..., 1] = 7.0
    model = small_model(scale="standard").fit(raw)
    assert np.isfinite(model.predict(raw)).all()
    assert model._fitted.scale[1][1] == 1.0


def test_bytes_are_first_0_to_1() -> None:
    as_bytes = (X * 255).astype(np.uint8)
    model = small_model(scale="standard").fit(as_bytes)
    np.testing.assert_allclose(
        model._fitted.scale[0], learnt("standard", as_bytes / 255)[0], rtol=1e-12
    )
    np.testing.assert_allclose(
        model.encode(as_bytes), model.encode(as_bytes / np.float64(255)), atol=1e-6
    )


def test_cross_entropy_takes_numbers_scaled_to_0_to_1() -> None:
    model = small_model(scale="minmax", loss="bce", max_iter=20).fit(RAW)
    predicted = model.predict(RAW)
    low, factor = learnt("minmax")
    assert (predicted >= low - 1e-3 * factor).all()
    assert (predicted <= low + 1.001 * factor).all()
    with pytest.raises(DataError, match='of the range that scale="minmax" was learnt on'):
        model.losses(RAW + 50)
    with pytest.raises(ArgumentError, match='scale must be None or "minmax" with loss="bce"'):
        small_model(scale="standard", loss="bce").fit(RAW)


def test_scaling_is_saved_and_copied_and_forgotten_with_the_model(tmp_path: Path) -> None:
    model = small_model(scale="standard").fit(RAW)
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.predict(RAW), model.predict(RAW))
    before = model._fitted.scale
    model.partial_fit(RAW * 2)
    assert model._fitted.scale is before  # as the weights, which are used to it
    model.fit(RAW * 2)
    np.testing.assert_allclose(model._fitted.scale[1], before[1] * 2)


def test_a_classifier_takes_the_models_scaling_or_learns_its_own() -> None:
    y = np.arange(12) % 2
    model = small_model(scale="standard").fit(RAW)
    options: dict[str, Any] = {"max_iter": 3, "device": "cpu", "random_state": 0, "verbose": 0}
    assert Classifier(model, **options).fit(RAW, y)._fitted.scale is model._fitted.scale
    own = Classifier(hidden_size=6, scale="standard", **options).fit(RAW, y)
    offset, factor = learnt("standard")
    plain = Classifier(hidden_size=6, **options).fit((RAW - offset) / factor, y)
    expected = plain.predict_proba((RAW - offset) / factor)
    np.testing.assert_allclose(own.predict_proba(RAW), expected, atol=1e-5)


@pytest.mark.parametrize("kind", [Model, AnomalyDetector, Forecaster, Embedder])
def test_a_column_that_hardly_changes_is_named(kind: Any) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "wave": np.sin(np.arange(300) / 5),
            "constant": 0.1 + rng.integers(0, 2, 300) * 1e-17 + 0.2,
            "rounding": np.float32(0.3) * (1 + 6e-8 * rng.integers(0, 2, 300)),
            "still": 50 + 1e-5 * rng.normal(size=300),
            "rare": np.isin(np.arange(300), (20, 21, 220)),
            "hz": 50 + 0.01 * rng.normal(size=300),
            "small": 1e-12 * rng.normal(size=300),
        }
    ).astype(float)
    quick = {"hidden_size": 4, "max_iter": 100, "device": "cpu", "random_state": 0, "verbose": 0}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if kind is Model:
            Model(**quick, scale="standard").fit(windows(table, 8, stride=4))
        elif kind is Forecaster:
            Forecaster(8, 2, quick).fit(table)
        elif kind is Embedder:
            Embedder(quick, group="part").fit(table.assign(part=np.arange(300) // 30))
        else:
            AnomalyDetector(quick, past=8, future=2).fit(table)
    about = [str(each.message) for each in told if "too little" in str(each.message)]
    assert len(about) == 1
    # A model takes what may be rounding in single precision for a constant.
    of_rounding = "'rounding', " if kind in (Forecaster, Embedder) else ""
    assert about[0].startswith(f"{of_rounding}'still' changed too little in training to be scaled")


def test_a_column_that_is_far_off_in_held_out_rows_is_named() -> None:
    table = pd.DataFrame({"wave": np.sin(np.arange(300) / 5), "valve": 20.0})
    table.loc[100:102, "valve"] += 0.1
    table.loc[250:, "valve"] = 25
    quick = {"hidden_size": 4, "max_iter": 100, "device": "cpu", "random_state": 0, "verbose": 0}
    w = windows(table, 8, stride=4)[:, :8]
    for fit in (
        lambda: Model(**quick, scale="standard").fit(w[:60], validation=w[62:]),
        lambda: AnomalyDetector(quick, past=8, future=2, center=False).fit(table),
    ):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            fit()
        about = [str(each.message) for each in told if "too little" in str(each.message)]
        assert len(about) == 1
        assert about[0].startswith(
            "'valve' changed too little in training to be scaled by it (by 0."
        )
        assert "times that in held-out rows" in about[0]
