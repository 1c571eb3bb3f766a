"""The forecaster: normalisation, segments, intervals, known columns, files, errors."""

from __future__ import annotations

import base64
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from backcast import Forecaster, Model, forecast_errors, plot
from backcast.data import windows
from backcast.data._recordings import of_series
from backcast.errors import (
    ArgumentError,
    DataError,
    FileFormatError,
    NotFittedError,
    ShapeError,
    TrainingWarning,
)
from backcast.forecast._calendar import features, periods_of
from backcast.forecast._intervals import Intervals
from backcast.forecast._layout import Layout, auto_segment
from backcast.forecast._learning import Judge, auto_updates
from backcast.forecast._linear import Linear, fit_linear
from backcast.forecast._normalization import Normalization
from backcast.forecast._prepared import Parts
from backcast.forecast._scale import Scale, _least_change, misfit

SMALL = {
    "hidden_size": 8,
    "max_iter": 30,
    "batch_size": 32,
    "random_state": 0,
    "device": "cpu",
    "num_threads": 1,
    "verbose": 0,
}


def forecaster(past: int = 24, future: int = 12, model: Any = None, **params: Any) -> Forecaster:
    return Forecaster(past, future, SMALL | (model or {}), **params)


def hourly(n: int = 480, seed: int = 0, start: str = "2026-03-01") -> pd.DataFrame:
    """Two columns with a daily wave, of unequal size and level, and noise."""
    noise = np.random.default_rng(seed).normal(size=(n, 2))
    day = 2 * np.pi * np.arange(n) / 24
    index = pd.date_range(start, periods=n, freq="h", name="time")
    load = 50 + 10 * np.sin(day) + noise[:, 0]
    price = 3 + np.cos(day) + 0.1 * noise[:, 1]
    return pd.DataFrame({"load": load, "price": price}, index=index)


TABLE = hourly()
TRUTH = hourly(480 + 12).iloc[480:]


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return forecaster().fit(TABLE)


# -- what comes back -------------------------------------------------------------------------------


def test_a_forecast_has_the_times_and_columns_of_the_table(fitted: Forecaster) -> None:
    found = fitted.predict(TABLE)
    pd.testing.assert_index_equal(found.index, TRUTH.index, exact="equiv")
    assert list(found.columns) == ["load", "price"]
    naive = np.abs(TABLE.iloc[-1] - TRUTH).mean()
    assert (np.abs(found - TRUTH).mean() < 0.5 * naive).all()
    # Only the last rows of the past count.
    pd.testing.assert_frame_equal(fitted.predict(TABLE.iloc[-24:]), found)


def test_intervals_are_named_by_their_levels(fitted: Forecaster) -> None:
    found = fitted.predict(TABLE, interval=[0.8, 0.9])
    ends = ["", "-lo-80", "-hi-80", "-lo-90", "-hi-90"]
    assert list(found.columns) == [f"{name}{end}" for name in ("load", "price") for end in ends]
    for name in ("load", "price"):
        assert found[f"{name}-lo-90"].le(found[f"{name}-lo-80"]).all()
        np.testing.assert_allclose(
            found[f"{name}-hi-80"] - found[name], found[name] - found[f"{name}-lo-80"]
        )
    pd.testing.assert_series_equal(found["load"], fitted.predict(TABLE)["load"])
    assert "load-lo-97.5" in fitted.predict(TABLE, interval=0.975)


def test_intervals_are_named_beside_the_names_of_the_table() -> None:
    table = TABLE.rename(columns={"price": "load-lo-90"})
    found = forecaster(model={"max_iter": 2}).fit(table).predict(table, interval=0.9)
    assert found.columns.is_unique
    assert [*found.columns[:3]] == ["load", "load-lo-90_", "load-hi-90_"]
    plot.forecast(table, found)


def test_an_array_gives_an_array(fitted: Forecaster) -> None:
    array = TABLE.to_numpy()
    other = forecaster().fit(array)
    np.testing.assert_array_equal(other.predict(array), fitted.predict(TABLE).to_numpy())
    ends = other.predict(array, interval=[0.5, 0.9])
    assert ends.shape == (12, 2, 5)
    table = fitted.predict(TABLE, interval=[0.5, 0.9])
    np.testing.assert_array_equal(ends.reshape(12, 10), table.to_numpy())
    assert forecaster().fit(array[:, 0]).predict(array[:, 0]).shape == (12, 1)


def test_every_recording_has_a_forecast_of_its_own() -> None:
    late = hourly(300, seed=1, start="2026-07-01")
    table = pd.concat([TABLE.assign(site="b"), late.assign(site="a")]).reset_index()
    model = forecaster(group="site", time="time").fit(table)
    found = model.predict(table, interval=0.9)
    assert found.index.names == ["site", "time"]
    alone = model.predict(late.assign(site="a").reset_index(), interval=0.9)
    pd.testing.assert_frame_equal(found.loc[["a"]], alone)
    assert found.loc["b"].index[0] == TABLE.index[-1] + pd.Timedelta("1h")
    assert found.loc["a"].index[0] == late.index[-1] + pd.Timedelta("1h")


# -- preparation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, "last", "mean", "standard"])
def test_normalisation_is_undone(kind: str | None) -> None:
    """A forecast follows shift and size of the numbers as far as the normalisation says."""
    model = forecaster(normalize=kind).fit(TABLE)
    assert model.normalize_ == kind
    plain = model.predict(TABLE)
    moved = model.predict(TABLE + 1000)
    if kind is None:
        assert np.abs(moved - plain - 1000).max(axis=None) > 1
    else:
        np.testing.assert_allclose(moved, plain + 1000, atol=1e-3)
    larger = model.predict(1000 * TABLE)
    assert (np.abs(larger - 1000 * plain).max(axis=None) < 1) == (kind == "standard")
    # A model of the moved table is the same model.
    np.testing.assert_allclose(
        forecaster(normalize=kind).fit(TABLE + 1000).predict(TABLE + 1000), plain + 1000, atol=2e-3
    )


def test_level_and_spread_are_those_of_the_known_numbers() -> None:
    nan = np.nan
    pasts = np.array([[[1.0], [3.0], [nan]], [[2.0], [nan], [6.0]], [[nan], [nan], [nan]]])
    rows = np.array([[1.0], [5.0], [nan]])
    columns = np.zeros((3, 1), np.intp)
    expected = {
        None: ([3, 3, nan], [2, 2, 2]),
        "last": ([3, 6, nan], [2, 2, 2]),
        "mean": ([2, 4, nan], [2, 2, 2]),
        "standard": ([2, 4, nan], [1.01, 2, nan]),
    }
    for kind, (levels, spreads) in expected.items():
        level, spread = Normalization.learn(kind, rows, pasts).of(pasts, columns)
        np.testing.assert_allclose(level[:, 0, 0], levels)
        np.testing.assert_allclose(spread[:, 0, 0], spreads)


def test_a_learnt_calendar_is_left_where_rows_leave_it() -> None:
    days = pd.date_range("2025-01-01", periods=400, name="day")
    x = pd.DataFrame({"x": np.sin(np.arange(400.0))}, index=days)
    found = Forecaster(14, 7, SMALL).fit(x[x.index.dayofweek < 5])
    assert found.step_ == "B"
    made = found.predict(x[-60:])
    assert made.index.tolist() == pd.date_range(days[-1], periods=8)[1:].tolist()


def test_rows_of_another_month_are_no_future() -> None:
    days = pd.bdate_range("2025-01-01", periods=280, name="day")
    rows = pd.DataFrame({"x": np.sin(np.arange(280.0)), "p": np.arange(280.0) % 3}, index=days)
    found = Forecaster(14, 5, SMALL, future_columns=["p"]).fit(rows[:240])
    with pytest.warns(UserWarning, match="skips them as days off"):
        found.predict(rows[:240], future=rows[["p"]].drop(index=days[241]))
    with pytest.raises(DataError, match="future must have the 5 rows after the series"):
        found.predict(rows[:240], future=rows[260:][["p"]])


def test_segments_are_what_a_model_gets_by_hand() -> None:
    """Without the linear part: windows less the last value, by the deviation, cut in segments."""
    more = {"max_iter": 150, "learning_rate": 0.02}
    model = forecaster(36, 12, more, segment=12, normalize="last", linear=False)
    model.fit(TABLE[["load"]])
    x = TABLE["load"].to_numpy()
    cut = len(x) - 96  # a fifth is held out
    w = np.asarray(windows(x[:cut], 36, 12))
    frames = ((w - w[:, 35:36]) / x[:cut].std()).astype(np.float32)
    by_hand = Model(**(SMALL | more), decoders="predict", feedback="none")
    by_hand.set_params(forget_bias=None)
    by_hand.fit(frames[:, :36].reshape(-1, 3, 12), frames[:, 36:].reshape(-1, 1, 12))
    past = ((x[-36:] - x[-1]) / x[:cut].std()).astype(np.float32).reshape(1, 3, 12)
    network = by_hand.predict(past).reshape(12) * x[:cut].std() + x[-1]
    share = model.weights_[1]
    assert share > 0
    expected = x[-1] + share * (network - x[-1])
    np.testing.assert_allclose(model.predict(TABLE[["load"]])["load"], expected, rtol=1e-5)


def test_a_segment_that_does_not_divide_is_filled_with_missing_numbers() -> None:
    layout = Layout(past=5, future=3, segment=2, n_known=0)
    rows = np.arange(8.0).reshape(1, 8, 1)
    pasts, futures = layout.pasts(rows[:, :5], rows[:, :0]), layout.futures(rows[:, 5:])
    np.testing.assert_array_equal(pasts[0], [[np.nan, 0], [1, 2], [3, 4]])
    np.testing.assert_array_equal(futures[0], [[5, 6], [7, np.nan]])
    np.testing.assert_array_equal(layout.rows(futures)[0, :, 0], [5, 6, 7])
    found = forecaster(25, 7, segment=4).fit(TABLE).predict(TABLE)
    assert found.shape == (7, 2)
    assert np.isfinite(found).all(axis=None)


@pytest.mark.parametrize(
    ("past", "future", "segment"),
    [(96, 96, 24), (168, 48, 24), (64, 16, 16), (50, 10, 10), (96, 1, 24), (30, 7, 15), (3, 1, 3)],
)
def test_the_segment_follows_from_the_lengths(past: int, future: int, segment: int) -> None:
    assert auto_segment(past, future)[0] == segment


def test_columns_are_samples_of_one_model_or_one_sample(fitted: Forecaster) -> None:
    assert fitted.model_.frame_shape_ == (12,)
    together = forecaster(together=True).fit(TABLE)
    assert together.model_.frame_shape_ == (24,)
    # As columns of their own, the others do not matter.
    changed = TABLE.assign(price=TABLE["price"][::-1].to_numpy())
    np.testing.assert_array_equal(fitted.predict(changed)["load"], fitted.predict(TABLE)["load"])
    past, nothing = np.stack([TABLE[-24:], changed[-24:]]), np.empty((2, 36, 0))
    of_network = together._parts(past, nothing).network[..., 0]
    assert np.abs(of_network[1] - of_network[0]).max() > 1e-4


def test_a_linear_forecast_is_a_ridge_regression() -> None:
    random = np.random.default_rng(0)
    past, known = random.normal(size=(200, 6, 1)), random.normal(size=(200, 9, 2))
    future = random.normal(size=(200, 3, 1))
    columns = np.zeros((200, 1), np.intp)

    def error(linear: Linear) -> float:
        return float(((linear(past, known, columns) - future) ** 2).mean())

    fitted = fit_linear(
        [(past[:90], known[:90], future[:90], columns[:90])]
        + [(past[90:], known[90:], future[90:], columns[90:])],
        1,
        error,
    )
    assert fitted is not None and fitted[0] == error(fitted[1])
    found = fitted[1](past, known, columns)
    for step in range(3):
        x = np.concatenate(
            [np.ones((200, 1)), past[..., 0], known[:, 5], known[:, 6 + step]], axis=1
        )
        expected = x @ np.linalg.lstsq(x, future[:, step, 0], rcond=None)[0]
        np.testing.assert_allclose(found[:, step, 0], expected, atol=2e-3)


def test_columns_have_linear_maps_of_their_own_where_held_out_windows_say_so() -> None:
    random = np.random.default_rng(0)

    def maps(slope: NDArray[Any]) -> int:
        """Number of maps, where the next row is the last one times a slope of the column."""
        past = random.normal(size=(300, 4, 3))
        future = past[:, -1:] * slope + 0.1 * random.normal(size=(300, 1, 3))
        known, columns = np.empty((300, 5, 0)), np.tile(np.arange(3), (300, 1))
        train, rest = slice(0, 150, 5), slice(150, 300)

        def error(linear: Linear) -> float:
            made = linear(past[rest], known[rest], columns[rest])
            return float(((made - future[rest]) ** 2).mean())

        # The last column has no number to learn from, and the map of all.
        future[train, :, 2] = np.nan
        fitted = fit_linear([(past[train], known[train], future[train], columns[train])], 3, error)
        assert fitted is not None
        return len(fitted[1].past)

    assert maps(np.array([0.5, -0.5, 0.0])) == 3
    assert maps(np.array([0.5, 0.5, 0.5])) == 1


# -- choices ---------------------------------------------------------------------------------------


def test_series_of_unequal_size_are_standardised() -> None:
    parts = [hourly(200, seed)[["load"]] * 10**seed for seed in range(5)]
    table = pd.concat(parts, keys=range(5), names=["site"])
    model = forecaster().fit(table)
    assert model.normalize_ == "standard"
    assert (
        "standard" in model.decisions_["normalize"] and "held-out" in model.decisions_["normalize"]
    )
    assert forecaster().fit(TABLE).normalize_ == "last"


def test_a_random_walk_is_forecast_as_the_last_value() -> None:
    steps = np.random.default_rng(0).normal(size=(700, 1))
    walk = steps.cumsum(axis=0)
    with pytest.warns(
        TrainingWarning, match="no better than repeating the last value, or less than 5"
    ):
        model = forecaster(model={"max_iter": 300, "learning_rate": 0.02}).fit(walk[:600])
    assert model.weights_ == (0.0, 0.0)
    np.testing.assert_array_equal(model.predict(walk), np.tile(walk[-1], (12, 1)))
    assert model.baselines_["forecaster"] == model.baselines_["naive"]


def test_weights_have_a_small_error_on_held_out_windows(fitted: Forecaster) -> None:
    told = fitted.baselines_
    assert told["forecaster"] < 1.02 * min(told["linear"], told["network"])
    assert told["forecaster"] < 0.5 * told["naive"]
    assert all(0 <= weight <= 1 for weight in fitted.weights_)
    assert f"naive {told['naive']:.4g}" in fitted.decisions_["weights"]


def test_weights_are_the_best_in_the_worse_half_of_the_windows() -> None:
    truth, zero = np.zeros((4, 1, 1)), np.zeros((4, 1, 1))
    naive = zero + 4
    judge = Judge(zero, zero, truth, np.zeros(4, np.intp), np.ones((1, 1)))
    # The linear forecast is right in the first half, and opposite in the second.
    linear = np.array([0.0, 0, 8, 8]).reshape(4, 1, 1)
    assert judge.best_weights(Parts(naive, linear, linear, zero + 1)) == (0.0, 0.0)
    small = Parts(naive, naive * 0.96, naive * 0.96, zero + 1)
    assert judge.best_weights(small) == (0.0, 0.0)
    # Half of the way is right in both halves, or all of it.
    assert judge.best_weights(Parts(naive, zero - 4, zero - 4, zero + 1)) == (0.5, 1.0)
    assert judge.best_weights(Parts(naive, zero, zero, zero + 1)) == (1.0, 1.0)
    assert judge.best_weights(Parts(naive, zero + 2, zero - 2, zero + 1)) == (1.0, 0.5)


def test_old_names_still_work_and_say_the_new_ones(fitted: Forecaster) -> None:
    with pytest.warns(FutureWarning, match="held_out is called validation now"):
        old = forecaster().fit(TABLE, held_out=0.3)
    assert old.baselines_ == forecaster().fit(TABLE, validation=0.3).baselines_
    with pytest.raises(ArgumentError, match="held_out must be None, as it is the old name of"):
        forecaster().fit(TABLE, held_out=0.3, validation=TABLE)
    with pytest.warns(FutureWarning, match="why_ is called decisions_ now"):
        assert fitted.why_ is fitted.decisions_
    with pytest.warns(FutureWarning, match="held_out_ is called baselines_ now"):
        assert fitted.held_out_ is fitted.baselines_
    pickled = dict(fitted.__getstate__())
    pickled["why_"] = pickled.pop("decisions_")
    again = Forecaster(1, 1)
    again.__setstate__(pickled)
    assert again.decisions_ == fitted.decisions_


def test_held_out_rows_may_be_a_table_of_their_own() -> None:
    one, other = (
        forecaster(model={"max_iter": 150, "learning_rate": 0.02}, linear=False) for _ in range(2)
    )
    model = one.fit(TABLE[:400], validation=TABLE[350:])
    alone = other.fit(TABLE[:400], validation=hourly(200, seed=5))
    for name, weights in model.model_.state_dict().items():
        np.testing.assert_array_equal(weights, alone.model_.state_dict()[name])
    assert model.baselines_ != alone.baselines_


def test_a_short_series_is_trained_on_but_not_compared() -> None:
    with pytest.warns(TrainingWarning, match="no window was held out"):
        model = forecaster().fit(TABLE[:40])
    assert model.weights_ == (1.0, 1.0)
    assert np.isfinite(model.predict(TABLE)).all(axis=None)
    with pytest.raises(ArgumentError, match="no window was held out in fit"):
        model.predict(TABLE, interval=0.9)


def test_updates_follow_from_the_number_of_samples() -> None:
    found = [auto_updates(samples, 128) for samples in (100, 64_000, 80_000, 10**6)]
    assert found == [1000, 1000, 1250, 1500]
    silent = {"hidden_size": 2, "device": "cpu", "num_threads": 1, "verbose": 0, "random_state": 0}
    assert Forecaster(24, 12, silent).fit(TABLE).model_.n_iter_ == 1000
    assert Forecaster(24, 12, silent | {"max_iter": 3}).fit(TABLE).model_.n_iter_ == 3


def test_patience_stops_by_the_held_out_windows() -> None:
    model = forecaster(model={"patience": 2, "max_iter": 400, "learning_rate": 0.03}).fit(TABLE)
    assert "validation_loss" in model.model_.history_[0]
    assert model.model_.n_iter_ < 400


# -- intervals -------------------------------------------------------------------------------------


def test_a_half_width_is_the_quantile_of_split_conformal_prediction() -> None:
    errors = np.arange(1.0, 20)[:, np.newaxis, np.newaxis] * [[[1.0, -2.0]]]
    intervals = Intervals.learn(errors[::-1])
    np.testing.assert_allclose(intervals.half_width(0.9), [[18, 36]])
    np.testing.assert_allclose(intervals.half_width(0.5), [[10, 20]])
    np.testing.assert_allclose(intervals.half_width(0.95), [[19, 38]])
    with pytest.raises(ArgumentError, match=r"interval must be at most 0.95, .* got 0.96"):
        intervals.half_width(0.96)


def test_intervals_keep_their_level() -> None:
    table = hourly(4000, seed=3)
    model = forecaster().fit(table[:2400])
    found = forecast_errors(model, table[2400:], interval=[0.8, 0.95], season=24)
    coverage = found[[("coverage 80", "model"), ("coverage 95", "model")]].mean().to_numpy()
    np.testing.assert_allclose(coverage, [0.8, 0.95], atol=0.03)
    # The pinball loss of the right quantiles of normal numbers with deviation 1 and 0.1.
    assert found["pinball 80"]["model"].mean() == pytest.approx(0.175 * 0.55, rel=0.1)


def test_intervals_are_as_wide_as_the_level_and_what_is_known_say() -> None:
    """Noise that grows with the level, and is threefold on days that are announced."""
    random, n = np.random.default_rng(0), 3000
    level = np.exp(0.05 * random.normal(size=n).cumsum())[:, np.newaxis]
    level, promotion = np.clip(level, 0.1, 10), (random.random((n, 1)) < 0.2).astype(float)
    series = level * (10 + (1 + 2 * promotion) * random.normal(size=(n, 1)))
    starts = np.arange(n - 16)[:, np.newaxis]
    past, known = series[starts + np.arange(12)], promotion[starts + 12 + np.arange(4)]
    errors = series[starts + 12 + np.arange(4)] - 10 * level[starts + 12 + np.arange(4)]
    plain = Scale.plain(Normalization.learn("last", series, past), 1)
    normal = (known - promotion.mean()) / promotion.std()
    learnt = plain.learn(errors[::2], past[::2], normal[::2])
    before, after = (errors / each(past, normal) for each in (plain, learnt))
    assert misfit(errors, learnt(past, normal)) < misfit(errors, plain(past, normal)) - 0.1

    def by_group(units: NDArray[Any], groups: NDArray[Any]) -> float:
        sizes = [np.median(np.abs(units[groups == group])) for group in (0, 1)]
        return float(sizes[1] / sizes[0])

    high = np.broadcast_to(past.mean(1, keepdims=True) > np.median(past), errors.shape)
    assert by_group(before, high) > 1.4 and by_group(before, known) > 2.5
    assert by_group(after, high) == pytest.approx(1, abs=0.2)
    assert by_group(after, known) == pytest.approx(1, abs=0.2)


def test_the_least_change_is_that_of_the_season() -> None:
    random = np.random.default_rng(0)
    past = 9 + np.tile(random.normal(size=(3, 7, 2)), (1, 5, 1)) + 0.1 * random.normal(size=2)
    past += 0.1 * random.normal(size=past.shape)
    past[random.random(past.shape) < 0.1] = np.nan
    expected = np.sqrt(np.nanmean((past[:, 7:] - past[:, :-7]) ** 2, axis=1))
    others = np.sqrt(np.nanmean((past[:, 14:] - past[:, :-14]) ** 2, axis=1))
    np.testing.assert_allclose(_least_change(past), np.minimum(expected, others))
    assert np.isnan(_least_change(past[:, :1])).all()
    # What cannot be measured has the least unit.
    normalization = Normalization.learn("last", past[0], past)
    plain = Scale.plain(normalization, 0)
    learnt = plain.learn(np.full((3, 2, 2), np.nan), past, np.empty((3, 2, 0)))
    constant = np.stack([np.full((5, 2), 4.0), np.full((5, 2), np.nan)])
    for scale in (plain, learnt):
        unit = scale(constant, np.empty((2, 2, 0)))
        assert np.isfinite(unit).all() and (unit > 0).all()


def test_intervals_are_calibrated_on_other_rows(fitted: Forecaster) -> None:
    wave, noise = hourly(1800, seed=3), np.random.default_rng(4).normal(size=(1800, 2))
    louder = wave + 2 * noise * [1, 0.1]
    model = pickle.loads(pickle.dumps(fitted))
    expected = model.predict(louder)

    def coverage() -> float:
        found = forecast_errors(model, louder[900:], interval=0.8)
        return float(found["coverage 80"]["model"].mean())

    assert coverage() < 0.6
    assert model.calibrate(louder[:900]) is model
    assert coverage() == pytest.approx(0.8, abs=0.03)
    pd.testing.assert_frame_equal(model.predict(louder), expected)


# -- known columns ---------------------------------------------------------------------------------


def driven(n: int = 700) -> pd.DataFrame:
    """A load that follows a temperature of the same hour, which nothing else foretells."""
    random = np.random.default_rng(1)
    index = pd.date_range("2026-01-01", periods=n, freq="h", name="time")
    warm = random.normal(size=n)
    load = 5 + 2 * warm + 0.1 * random.normal(size=n)
    return pd.DataFrame({"load": load, "warm": warm}, index=index)


@pytest.mark.parametrize("linear", [True, False])
def test_columns_known_in_the_future_are_used(linear: bool) -> None:
    table = driven()
    model = forecaster(
        12,
        6,
        {"max_iter": 400, "hidden_size": 32, "learning_rate": 0.01},
        future_columns=["warm"],
        linear=linear,
    ).fit(table[:600])
    blind = forecaster(12, 6).fit(table[["load"]][:600])
    errors = forecast_errors(model, table[600:])["RMSE"]["model"]
    assert errors.max() < (0.2 if linear else 1.0)
    assert forecast_errors(blind, table[["load"]][600:])["RMSE"]["model"].min() > 1.8
    # Of the table to come only times, groups and these columns count.
    later = table[["warm"]][590:].iloc[::-1].assign(other="x")
    found = model.predict(table[:600], future=later)
    assert list(found.columns) == ["load"]
    assert np.abs(found["load"] - table["load"][600:606]).max() < (0.5 if linear else 2.5)
    changed = later.copy()
    changed.loc[table.index[605], "warm"] += 3
    moved = model.predict(table[:600], future=changed)["load"] - found["load"]
    assert moved.iloc[5] > (4 if linear else 1)


def test_known_columns_of_arrays_are_numbers_of_columns() -> None:
    table = driven()
    model = forecaster(12, 6, future_columns=["warm"]).fit(table[:600])
    array = table[["warm", "load"]].to_numpy()
    other = forecaster(12, 6, future_columns=[0]).fit(array[:600])
    assert other.columns_ == [1]
    found = other.predict(array[:600], future=array[600:606, 0])
    expected = model.predict(table[:600], future=table[600:])
    np.testing.assert_array_equal(found, expected.to_numpy())


def test_known_columns_are_found_by_group() -> None:
    one, two = driven(), driven()[::-1].set_index(driven().index)
    table = pd.concat({"b": one, "a": two}, names=["site"])
    train = table[table.index.get_level_values("time") < one.index[600]]
    model = forecaster(12, 6, future_columns="warm").fit(train)
    found = model.predict(train, future=table)
    for name, part in (("a", two), ("b", one)):
        np.testing.assert_allclose(found.loc[name, "load"], part["load"][600:606], atol=0.5)
    with pytest.raises(DataError, match="future must have the 6 rows after the series, got none"):
        model.predict(train, future=table.loc[["a"]])


def test_the_calendar_is_known() -> None:
    table = hourly(24 * 60)
    weekend = table.index.dayofweek >= 5
    table = table[["load"]].assign(load=table["load"] + 40 * weekend)
    model = forecaster(24, 12, calendar=True).fit(table[: 24 * 50])
    plain = forecaster(24, 12).fit(table[: 24 * 50])
    errors = [
        forecast_errors(each, table[24 * 50 :])["RMSE"]["model"].mean() for each in (model, plain)
    ]
    assert errors[0] < 0.6 * errors[1]
    # Times beyond the table have a calendar too.
    assert np.isfinite(model.predict(table)).all(axis=None)
    assert periods_of(True, table.index) == ("day", "week")
    assert periods_of(True, pd.date_range("2020", periods=1000, freq="D")) == ("week", "year")
    with pytest.raises(ArgumentError, match="calendar must be False for a series without dates"):
        forecaster(calendar=True).fit(TABLE.reset_index(drop=True))
    with pytest.raises(ArgumentError, match=r"calendar must be True, False or some of .* got 'mon"):
        forecaster(calendar=["month"]).fit(TABLE)


def test_places_in_the_calendar_are_those_of_the_local_clock() -> None:
    index = pd.DatetimeIndex(["2026-06-01 06:00", "2026-06-07 18:00"]).tz_localize("Asia/Tokyo")
    day = features(index, ("day",))
    np.testing.assert_allclose(day, [[1, 0, 0, -1], [-1, 0, 0, -1]], atol=1e-12)
    np.testing.assert_array_equal(features(index, ("week",)).argmax(axis=1), [0, 6])


def test_what_is_known_must_be_given() -> None:
    table = driven()
    model = forecaster(12, 6, future_columns=["warm"]).fit(table[:600])
    with pytest.raises(ArgumentError, match=r"future must have the columns \['warm'\], which are"):
        model.predict(table[:600])
    with pytest.raises(
        ArgumentError, match=r"future must have the columns \['warm'\], got \['cold"
    ):
        model.predict(table[:600], future=table.rename(columns={"warm": "cold"})[["cold"]])
    with pytest.raises(DataError, match="got none at 2026-01-26 03:00:00"):
        model.predict(table[:600], future=table[600:603])
    with pytest.raises(DataError, match="future must hold finite numbers"):
        model.predict(table[:600], future=table[600:] * np.nan)
    with pytest.raises(ArgumentError, match="future must be None without future_columns"):
        forecaster(12, 6).fit(table).predict(table, future=table)
    with pytest.raises(
        ArgumentError, match="past must be at least future = 12 with future_columns"
    ):
        forecaster(6, 12, future_columns=["warm"]).fit(table)
    with pytest.raises(DataError, match=r"dtype .* of 'sky'; pandas.get_dummies\(table, columns"):
        forecaster(12, 6, future_columns=["sky"]).fit(table.assign(sky="clear"))
    with pytest.raises(ArgumentError, match="future_columns must be columns of the table, got 'x'"):
        forecaster(12, 6, future_columns=["x"]).fit(table)
    with pytest.raises(ArgumentError, match="must leave a column to forecast"):
        forecaster(12, 6, future_columns=[0, 1]).fit(table.to_numpy())
    with pytest.raises(ArgumentError, match="future_columns must be numbers of columns, 0 to 1"):
        forecaster(12, 6, future_columns=[2]).fit(table.to_numpy())


# -- calendars -------------------------------------------------------------------------------------

SIX_DAYS = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat")
OPEN = pd.date_range("2026-01-05", periods=140, freq=SIX_DAYS)
TO_COME = pd.date_range(OPEN[-1], periods=9, freq=SIX_DAYS)[1:]


def sales() -> pd.DataFrame:
    """Sales of two shops that are closed on Sundays, and a price that is known before."""
    rng = np.random.default_rng(0)
    parts = []
    for shop in "ab":
        price = rng.normal(size=len(OPEN))
        week = np.sin(np.arange(len(OPEN)) * 2 * np.pi / 6)
        parts.append(
            pd.DataFrame({"shop": shop, "day": OPEN, "price": price, "sold": week - price})
        )
    return pd.concat(parts, ignore_index=True)


SALES = sales()
PRICES = pd.concat([pd.DataFrame({"shop": s, "day": TO_COME, "price": 0.0}) for s in "ab"])


@pytest.fixture(scope="module")
def of_shops() -> Forecaster:
    options = {"group": "shop", "time": "day", "future_columns": ["price"]}
    return forecaster(12, 6, {"max_iter": 5}, **options).fit(SALES)


def test_forecasts_have_the_dates_on_which_rows_come(of_shops: Forecaster, tmp_path: Path) -> None:
    assert of_shops.step_ == SIX_DAYS
    found = of_shops.predict(SALES, future=PRICES)
    assert found.loc["b"].index.tolist() == TO_COME[:6].tolist()
    # Twelve rows of the end suffice, as the step was learnt in fit; a file and a pickle keep it.
    of_shops.save(tmp_path / "forecaster")
    loaded = Forecaster.load(tmp_path / "forecaster", device="cpu")
    late = SALES.groupby("shop").tail(12)
    for each in (of_shops, loaded, pickle.loads(pickle.dumps(of_shops))):
        assert each.step_ == SIX_DAYS
        pd.testing.assert_frame_equal(each.predict(late, future=PRICES), found)
    # Recordings with steps of their own.
    days = pd.DataFrame({"x": np.arange(30.0)}, index=pd.date_range("2026-01-01", periods=30))
    rows = of_series({"d": days, "m": days.set_axis(days.index + pd.Timedelta("9h"))}, *[None] * 4)
    assert rows.steps() == pd.Timedelta("1D")
    months = days.set_axis(pd.date_range("2020-01-31", periods=30, freq="ME"))
    rows = of_series({"d": days, "m": months}, *[None] * 4)
    assert rows.steps() == {"d": pd.Timedelta("1D"), "m": "ME"}


def test_days_off_among_the_rows_to_come_are_skipped_and_said(of_shops: Forecaster) -> None:
    closed = PRICES[PRICES["day"] != TO_COME[2]]
    with pytest.warns(UserWarning, match=f"future has no row at {TO_COME[2]} of 'a', .*CustomBus"):
        found = of_shops.predict(SALES, future=closed)
    assert found.loc["a"].index.tolist() == TO_COME[[0, 1, 3, 4, 5, 6]].tolist()
    # Rows on Sundays too are further ones.
    every = pd.date_range(TO_COME[0], TO_COME[-1])
    daily = pd.concat([pd.DataFrame({"shop": s, "day": every, "price": 0.0}) for s in "ab"])
    found = of_shops.predict(SALES, future=daily)
    assert found.loc["a"].index.tolist() == TO_COME[:6].tolist()


def test_dates_that_cannot_be_known_are_those_of_the_rows_to_come() -> None:
    steps = np.random.default_rng(0).integers(1, 9, 146)
    index = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.cumsum(steps), "D")
    table = SALES[["price", "sold"]][:146].set_index(index)
    options = {"gap": np.inf, "future_columns": ["price"]}
    model = forecaster(12, 6, {"max_iter": 5}, **options).fit(table[:140])
    assert model.predict(table[:140], future=table).index.equals(index[140:])
    with pytest.raises(DataError, match="future must have 6 rows after .*, got 4"):
        model.predict(table[:140], future=table[:144])
    with pytest.warns(UserWarning, match="are a guess"):
        model.predict(table[:140], future=np.zeros(6))


FUTURES: dict[str, tuple[Callable[[pd.DataFrame], Any], str]] = {
    "no group": (
        lambda rows: rows.drop(columns="shop"),
        r"future must have the column 'shop', the groups of its rows, .*\['day', 'price'\]",
    ),
    "no time": (lambda rows: rows.drop(columns="day"), "must have the column 'day', the times of"),
    "NaN": (
        lambda rows: rows.assign(price=[0, 0, np.nan] + [0] * 10 + [np.nan] * 3),
        f"future must hold finite numbers, got nan in 'price' at {TO_COME[2]} of 'a'",
    ),
    "words": (
        lambda rows: rows.assign(price="12"),
        r"future must hold numbers, .* of 'price'; table\['price'\] = pandas.to_numeric\(table\[",
    ),
    "too few": (
        lambda rows: rows[rows["day"] < TO_COME[4]],
        f"got none at {TO_COME[4]} of 'a': it needs those from {TO_COME[0]} to {TO_COME[5]}, by "
        f"the calendar Mon Tue Wed Thu Fri Sat; it has rows from {TO_COME[0]} to {TO_COME[3]}",
    ),
    "one group": (lambda rows: rows[rows["shop"] == "a"], "got none at .* of 'b'"),
    "a zone": (
        lambda rows: rows.assign(day=rows["day"].dt.tz_localize("UTC")),
        "future must have dates as the series has, got dates with a time zone, such as 2026-",
    ),
    "an array": (lambda rows: np.zeros((6, 1)), "future must be a table with the groups"),
}


@pytest.mark.parametrize("kind", FUTURES)
def test_rows_to_come_that_do_not_fit_are_named(kind: str, of_shops: Forecaster) -> None:
    change, message = FUTURES[kind]
    with pytest.raises((ArgumentError, DataError), match=message):
        of_shops.predict(SALES, future=change(PRICES))


def test_numbers_that_are_stored_as_words_are_named() -> None:
    words = SALES.assign(price="12")
    remedy = r"table\['price'\] = pandas.to_numeric\(table\['price'\]\) makes numbers"
    with pytest.raises(DataError, match=f"future_columns must hold .* of 'price'; {remedy}"):
        forecaster(12, 6, group="shop", time="day", future_columns=["price"]).fit(words)
    with pytest.warns(UserWarning, match=f"as they store numbers as words: 'price'. {remedy}"):
        windows(words, 5, group="shop", time="day")
    with pytest.warns(UserWarning, match=r"hold words beside numbers: 'price'.*errors='coerce'"):
        windows(words.assign(price=["1,5"] * 280), 5, group="shop", time="day")


# -- missing numbers -------------------------------------------------------------------------------


def test_missing_numbers_are_allowed(fitted: Forecaster) -> None:
    table = TABLE.copy()
    table.iloc[50:70, 0] = np.nan
    table.iloc[::17, 1] = np.nan
    table.iloc[-1, 0] = np.nan
    found = forecaster().fit(table).predict(table, interval=0.9)
    assert np.isfinite(found).all(axis=None)
    unknown = fitted.predict(TABLE.assign(price=np.nan))
    assert unknown["price"].isna().all()
    pd.testing.assert_series_equal(unknown["load"], fitted.predict(TABLE)["load"])


def test_a_constant_column_stays_constant() -> None:
    table = TABLE.assign(price=7.0)
    for kind in ("auto", "standard", None):
        found = forecaster(normalize=kind).fit(table).predict(table, interval=0.9)
        np.testing.assert_allclose(found.filter(like="price"), 7, atol=0.2)
        assert np.isfinite(found).all(axis=None)
    with pytest.warns(TrainingWarning, match="no better than repeating the last value"):
        model = forecaster().fit(np.full((200, 1), 7.0))
    np.testing.assert_array_equal(model.predict(np.full((30, 1), 8.0), interval=0.9), 8)


# -- errors of forecasts ---------------------------------------------------------------------------


def test_a_backtest_forecasts_from_every_origin(fitted: Forecaster) -> None:
    table = hourly(200, seed=7)
    found = forecast_errors(fitted, table, season=24, stride=5, per="column", interval=0.9)
    origins = range(0, 200 - 36 + 1, 5)
    made = [fitted.predict(table[i : i + 24], interval=0.9) for i in origins]
    truth = np.stack([table[i + 24 : i + 36].to_numpy() for i in origins])
    forecast = np.stack([each[["load", "price"]].to_numpy() for each in made])
    off = np.abs(forecast - truth)
    load, price = found.loc["load"], found.loc["price"]
    np.testing.assert_allclose(load["MAE"]["model"], off[..., 0].mean(0))
    np.testing.assert_allclose(price["RMSE"]["model"], np.sqrt((off[..., 1] ** 2).mean(0)))
    smape = 200 * off / (np.abs(truth) + np.abs(forecast))
    np.testing.assert_allclose(load["sMAPE"]["model"], smape[..., 0].mean(0))
    low, high = (
        np.stack([each[f"load-{end}-90"].to_numpy() for each in made]) for end in ("lo", "hi")
    )
    inside = (low <= truth[..., 0]) & (truth[..., 0] <= high)
    np.testing.assert_allclose(load["coverage 90"]["model"], inside.mean(0))

    def pinball(q: float, quantile: Any) -> Any:
        e = truth[..., 0] - quantile
        return np.maximum(q * e, (q - 1) * e).mean(0)

    expected = (pinball(0.05, low) + pinball(0.95, high)) / 2
    np.testing.assert_allclose(load["pinball 90"]["model"], expected)
    assert list(found["MAE"].columns) == ["model", "naive", "seasonal", "linear"]
    one_step = np.stack([np.abs(np.diff(table[i : i + 24], axis=0)) for i in origins])
    np.testing.assert_allclose(
        price["MASE"]["model"], off[..., 1].mean(0) / one_step[..., 1].mean()
    )
    with pytest.raises(ArgumentError, match="future must be None for a forecaster"):
        forecast_errors(fitted, table, table)
    with pytest.raises(ArgumentError, match="stride must be left out for a Model"):
        forecast_errors(fitted.model_, np.zeros((2, 3, 12)), stride=2)
    with pytest.raises(ShapeError, match="past \\+ future = 36 frames"):
        forecast_errors(fitted, table[:30])


def test_a_training_has_callbacks_and_checkpoints(tmp_path: Path, fitted: Forecaster) -> None:
    seen: list[float] = []

    def stop(model: Model, record: dict[str, float]) -> bool:
        seen.append(record["step"])
        return record["step"] >= 10

    path = tmp_path / "training"
    model = forecaster().fit(TABLE, callback=stop, checkpoint=path)
    assert model.model_.n_iter_ == seen[-1] == 10
    again = forecaster().fit(TABLE, checkpoint=path)
    assert again.model_.n_iter_ == 10


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True])
def test_a_file_and_a_pickle_give_the_same_numbers(known: bool, tmp_path: Path) -> None:
    table = hourly(24 * 20)
    params: dict[str, Any] = {}
    if known:
        params = {"future_columns": ["price"], "calendar": True, "gap": pd.Timedelta("2h")}
    model = forecaster(**params).fit(table[:400])
    future = table[400:] if known else None
    expected = model.predict(table[:400], interval=0.9, future=future)
    path = tmp_path / "forecaster.safetensors"
    model.save(path)
    for other in (Forecaster.load(path, device="cpu"), pickle.loads(pickle.dumps(model))):
        pd.testing.assert_frame_equal(
            other.predict(table[:400], interval=0.9, future=future), expected
        )
        for name in ("weights_", "decisions_", "baselines_", "columns_", "segment_", "normalize_"):
            assert getattr(other, name) == getattr(model, name), name
        assert list(other.feature_names_in_) == list(model.feature_names_in_)
        # It can be fitted anew.
        again = clone(other).fit(table[:400]).predict(table[:400], interval=0.9, future=future)
        pd.testing.assert_frame_equal(again, expected)
    assert Model.load(path, device="cpu").n_iter_ == 30


def twice(part: dict[str, Any]) -> dict[str, Any]:
    """An array in a file, with all of its numbers twice."""
    bytes_ = base64.b64encode(2 * base64.b64decode(part["bytes"])).decode()
    return part | {"shape": [2 * part["shape"][0], *part["shape"][1:]], "bytes": bytes_}


DAMAGES: dict[str, Callable[[Any], Any]] = {
    r"mean must be of shape \(2,\), got \[4\]": lambda s: s["preparation"]["normalization"].update(
        mean=twice(s["preparation"]["normalization"]["mean"])
    ),
    r"past must be of shape \(any, 25, any\)": lambda s: s["preparation"]["linear"].update(
        past=twice(s["preparation"]["linear"]["step"])
    ),
    r"step must be of shape \(., 12, 0\)": lambda s: s["preparation"]["linear"].update(
        step=twice(s["preparation"]["linear"]["step"])
    ),
    r"powers must be of shape \(3,\), got \[6\]": lambda s: s["preparation"]["scale"].update(
        powers=twice(s["preparation"]["scale"]["powers"])
    ),
    "numbers above 0": lambda s: s["preparation"]["normalization"].update(
        least=s["preparation"]["normalization"]["mean"] | {"bytes": 22 * "A" + "=="}
    ),
    r"errors must be of shape \(any, 12, 2\)": lambda s: s["intervals"]["errors"].update(
        shape=[2, 12, 9]
    ),
    "segment must be at most 24, got 25": lambda s: s["preparation"]["layout"].update(segment=25),
    "not one of these frames": lambda s: s["preparation"]["layout"].update(segment=6),
    "not one of these known columns": lambda s: s.update(periods=["day"]),
    "calendar must be True, False or some of": lambda s: s.update(periods=["century"]),
    "columns must be words or numbers": lambda s: s.update(columns=[None, "price"]),
    "weights must be a number": lambda s: s.update(weights=["all", 0.0]),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_what_a_file_holds_must_fit_together(
    message: str, fitted: Forecaster, tmp_path: Path
) -> None:
    path = tmp_path / "forecaster.safetensors"
    fitted.save(path)
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    items = json.loads(header["__metadata__"]["fitted"])
    DAMAGES[message](items["forecaster"])
    header["__metadata__"]["fitted"] = json.dumps(items)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])
    with pytest.raises(FileFormatError, match=f"is a damaged backcast forecaster: .*{message}"):
        Forecaster.load(path)


def test_other_files_are_refused(tmp_path: Path, fitted: Forecaster) -> None:
    path = tmp_path / "model.safetensors"
    fitted.model_.save(path)
    with pytest.raises(FileFormatError, match="must be a backcast Forecaster"):
        Forecaster.load(path)
    with pytest.raises(NotFittedError, match="this Forecaster is not fitted yet; call fit or load"):
        forecaster().save(path)
    with pytest.raises(FileNotFoundError):
        Forecaster.load(tmp_path / "none")
    odd = forecaster().fit(TABLE.rename(columns={"load": ("a", 1)}))
    with pytest.raises(ArgumentError, match="columns must be words or numbers to be saved"):
        odd.save(path)


# -- bad input -------------------------------------------------------------------------------------


def test_bad_parameters_are_refused_in_words() -> None:
    bad: dict[str, tuple[dict[str, Any], str]] = {
        "past": ({"past": 0}, "past must be at least 1, got 0"),
        "future": ({"future": 1.5}, "future must be a whole number, got 1.5"),
        "segment": ({"segment": 25}, "segment must be at most 24, got 25"),
        "normalize": ({"normalize": "first"}, 'normalize must be "auto", None, "last", "mean" or'),
        "model": ({"model": 3}, "model must be a backcast.Model, its parameters or None, got a i"),
        "decoders": ({"model": {"decoders": "reconstruct"}}, "decoders must be"),
        "scale": ({"model": {"scale": "standard"}}, "scale of the model must be None"),
        "max_iter": ({"model": {"max_iter": 0}}, "max_iter must be at least 1, got 0"),
    }
    for params, message in bad.values():
        with pytest.raises(ArgumentError, match=message):
            Forecaster(**({"past": 24, "future": 12} | params)).fit(TABLE)


def test_bad_data_is_refused_and_leaves_the_fitted_one_as_it_was(fitted: Forecaster) -> None:
    model = pickle.loads(pickle.dumps(fitted))
    expected = model.predict(TABLE)
    infinite = TABLE.copy()
    infinite.iloc[100, 0] = np.inf
    with pytest.raises(DataError, match="series must hold finite numbers or NaN"):
        model.fit(infinite)
    with pytest.raises(ShapeError, match="past \\+ future = 36 frames of one recording"):
        model.fit(TABLE[:30])
    with pytest.raises(DataError, match="got only NaN"):
        model.fit(TABLE * np.nan)
    with pytest.raises(ArgumentError, match="validation must be a fraction between 0 and 1"):
        model.fit(TABLE, validation=1.5)
    with pytest.raises(ShapeError, match="past \\+ future = 36 frames"):
        model.fit(TABLE, validation=TABLE[:20])
    with pytest.raises(
        ArgumentError, match="interval must be between 0 and 1, such as 0.9, got 90"
    ):
        model.predict(TABLE, interval=90)
    with pytest.raises(ArgumentError, match="must have the columns of fit, .*: 'load' missing"):
        model.predict(TABLE[["price"]])
    with pytest.raises(ShapeError, match="series must have 2 columns, as in fit, got 3"):
        model.predict(np.zeros((50, 3)))
    with pytest.raises(ShapeError, match="24 frames of one recording"):
        model.predict(TABLE[:20])
    with pytest.raises(NotFittedError):
        forecaster().predict(TABLE)
    pd.testing.assert_frame_equal(model.predict(TABLE), expected)
    # Columns in another order are found by their names.
    pd.testing.assert_frame_equal(model.predict(TABLE[["price", "load"]]), expected)


# -- scikit-learn's own checks ---------------------------------------------------------------------


class OfRows(Forecaster):
    """A forecaster of the arrays that the checks use: `predict` gives one row for each row."""

    def __init__(self, past: int = 2, future: int = 1, model: Any = None) -> None:
        super().__init__(past, future, model)

    def fit(self, X: Any, y: object = None) -> OfRows:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TrainingWarning)
            return super().fit(X, y)

    def predict(self, X: Any) -> NDArray[np.float64]:
        found = super().predict(X)
        return np.repeat(found[:, 0], len(np.asarray(X)))


OWN_WORDS = "it is refused with a ValueError, but in our words"
NOT_APPLICABLE = {
    "check_complex_data": OWN_WORDS,
    "check_estimators_empty_data_messages": OWN_WORDS,
    "check_fit2d_1sample": OWN_WORDS,
    "check_fit2d_predict1d": OWN_WORDS,
    "check_n_features_in_after_fitting": OWN_WORDS,
    "check_dtype_object": "objects are refused",
    "check_fit1d": "a series of one column may have one dimension",
    "check_methods_sample_order_invariance": "a forecast depends on the order of rows",
    "check_methods_subset_invariance": "a forecast depends on the last rows",
}


@parametrize_with_checks(
    [OfRows(model=SMALL | {"max_iter": 3})], expected_failed_checks=lambda _: NOT_APPLICABLE
)
def test_checks_of_scikit_learn_pass(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_a_clone_has_the_parameters_and_nothing_that_was_learnt(fitted: Forecaster) -> None:
    twin = clone(fitted)
    assert twin.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        twin.predict(TABLE)
    pd.testing.assert_frame_equal(twin.fit(TABLE).predict(TABLE), fitted.predict(TABLE))
    given = Forecaster(24, 12, Model(**SMALL, decoders="predict")).fit(TABLE)
    assert given.model is not given.model_


def test_rows_after_a_late_gap_are_named() -> None:
    days = pd.date_range("2026-01-01", periods=120)
    table = pd.DataFrame({"x": np.sin(np.arange(120) * 2 * np.pi / 7)}, index=days)
    fitted = Forecaster(14, 7, SMALL).fit(table)
    gappy = table.drop(days[115])
    with pytest.warns(UserWarning, match="after 2026-04-25.* fewer than past = 14. Give rows of N"):
        assert fitted.predict(gappy).index[0] == days[115]
    assert fitted.predict(gappy.asfreq("D")).index[0] == days[-1] + pd.Timedelta("1D")
    two = pd.concat([table[:10].assign(shop=name) for name in "ab"])
    with pytest.raises(ShapeError, match="must have at least past = 14 frames"):
        Forecaster(14, 7, SMALL, group="shop").fit(
            pd.concat([table.assign(shop=name) for name in "ab"])
        ).predict(two)
