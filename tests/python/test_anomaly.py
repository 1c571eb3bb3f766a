"""Anomalies: a row's score is that of the windows that cover it, in batches and in streams."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from backcast import AnomalyDetector, Forecaster, Model
from backcast.anomaly import SCORES, _rules, _scorer, _scoring
from backcast.anomaly._events import events_of
from backcast.data._recordings import Recordings
from backcast.errors import (
    ArgumentError,
    DataError,
    FileFormatError,
    NotFittedError,
    ShapeError,
    TrainingWarning,
)

QUICK: dict[str, Any] = {
    "hidden_size": 6,
    "max_iter": 5,
    "batch_size": 32,
    "device": "cpu",
    "random_state": 0,
    "num_threads": 1,
    "verbose": 0,
}
PAST, FUTURE = 6, 3
LENGTH = PAST + FUTURE


def detector(model: Any = QUICK, **params: Any) -> AnomalyDetector:
    return AnomalyDetector(model, **({"past": PAST, "future": FUTURE} | params))


def waves(n: int = 200, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    t = np.arange(n)[:, None]
    return np.sin(t / 3 + np.array([0, 1.0])) * [1, 100] + rng.normal(size=(n, 2)) * [0.05, 5]


def table(n: int = 60, groups: int = 2) -> pd.DataFrame:
    """Sensors in long format, a column first that is none of numbers."""
    parts = []
    for g in range(groups):
        t = pd.date_range("2026-03-01", periods=n, freq="min")
        x, y = waves(n, g).T
        parts.append(pd.DataFrame({"sensor": f"s{g}", "t": t, "x": x, "y": y}))
    return pd.concat(parts, ignore_index=True)


def of_table(**params: Any) -> AnomalyDetector:
    return detector(group="sensor", time="t", **params)


# -- scores ----------------------------------------------------------------------------------------


def by_hand(found: AnomalyDetector, series: NDArray[Any]) -> NDArray[np.float64]:
    """Scores as they are described, one window and one row after another."""
    starts = range(len(series) - LENGTH + 1)
    squares: dict[tuple[int, bool], list[Any]] = {}
    inverse: dict[int, list[Any]] = {}
    whole: dict[int, list[Any]] = {}
    for start in starts:
        window = series[start : start + LENGTH]
        if found.center_:
            window = window - window[:PAST].mean(0)
        past = window[None, :PAST]
        made = np.concatenate([found.model_.reconstruct(past)[0], found.model_.predict(past)[0]])
        z = (window - made - found._mean) / found._std * found.column_weights_
        for step in range(LENGTH):
            squares.setdefault((start + step, step >= PAST), []).append(z[step] ** 2)
            inverse.setdefault(start + step, []).append(1 / (z**2).mean(0))
            whole.setdefault(start + step, []).append((z**2).mean(0))
    scores = []
    for row in range(len(series)):
        each = [np.mean(squares[row, d], 0) for d in (False, True) if (row, d) in squares]
        own = each[0] if len(each) == 1 else np.sqrt(each[0] * each[1])
        sharp = np.sqrt(own / np.mean(inverse[row], 0))
        wide = np.sqrt(np.maximum(np.mean(whole[row], 0), sharp / 2))
        scores.append({"sharp": sharp, "wide": wide}[found.scoring])
    return np.array(scores)


@pytest.mark.parametrize("scoring", ["wide", "sharp"])
@pytest.mark.parametrize("center", [False, True])
def test_a_score_is_computed_from_the_windows_that_cover_the_row(
    center: bool, scoring: str
) -> None:
    found = detector(center=center, scoring=scoring).fit(waves())
    series = waves(12, seed=1)
    scores = found.scores(series)
    np.testing.assert_allclose(scores, by_hand(found, series), rtol=1e-4)
    rows = np.sqrt((scores**2).mean(1))
    np.testing.assert_allclose(found.score_samples(series), -rows)


def drifting(n: int = 1500) -> NDArray[np.float64]:
    """Two waves and a column that wanders off."""
    rng = np.random.default_rng(0)
    rows = np.sin(np.arange(n)[:, None] / [3, 5, 4]) + rng.normal(0, 0.1, (n, 3))
    rows[:, 2] += (np.arange(n) / 300) ** 2
    return rows


@pytest.mark.filterwarnings("ignore:on validation rows the model is no better")
def test_a_column_that_drifts_counts_little_and_does_not_hide_the_others() -> None:
    series = drifting()
    series[1350:1360, 0] += 3
    auto = detector(QUICK | {"max_iter": 100, "learning_rate": 0.01}, center=False).fit(
        series[:900]
    )
    np.testing.assert_allclose(auto.column_weights_ / auto.column_weights_[0], [1, 1, 0.2])
    assert np.mean(auto.column_weights_**2) == pytest.approx(1)
    assert "2 (" in auto.decisions_["column_weights"]
    equal = detector(auto.model_, center=False, column_weights="equal").fit(series[:900])
    assert (equal.column_weights_ == 1).all()
    # The anomaly stands out of the rows before it only where the drift does not.
    height = [
        found.score_samples(series)[1350:1360].min() / found.score_samples(series)[1200:1300].min()
        for found in (auto, equal)
    ]
    assert height[0] > 1.2 * height[1]


def test_columns_that_do_not_drift_count_the_same() -> None:
    rows = np.concatenate([waves(600), waves(600, 1)[:, :1]], axis=1)
    found = detector(QUICK | {"max_iter": 30}).fit(rows)
    assert (found.column_weights_ == 1).all()
    assert found.decisions_["column_weights"].startswith("equal")


def test_columns_without_errors_or_with_endless_growth_have_a_weight() -> None:
    trained, held_out = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.5])
    weights, why = _rules.column_weights(trained, held_out, list("abcd"))
    np.testing.assert_allclose(weights / weights[0], [1, 0.2, 1, 1])
    assert "b (inf times)" in why


def test_columns_are_compared_with_the_median_and_not_with_the_luckiest() -> None:
    trained, held_out = np.ones(3), np.array([2.0, 1.0, 2.0])
    assert (_rules.column_weights(trained, held_out, list("abc"))[0] == 1).all()
    assert (_rules.column_weights(trained[:2], held_out[:2], list("ab"))[0] == 1).all()


@pytest.mark.parametrize("wrong", ["even", None, 1])
def test_column_weights_are_one_of_two_words(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match=r'column_weights must be "auto" or "equal"'):
        detector(column_weights=wrong).fit(waves())


def test_errors_are_standardised_on_the_training_data() -> None:
    series = waves(400)
    found = detector().fit(series)
    windows = np.lib.stride_tricks.sliding_window_view(series, LENGTH, axis=0).transpose(0, 2, 1)
    past = windows[:, :PAST]
    made = np.concatenate([found.model_.reconstruct(past), found.model_.predict(past)], axis=1)
    np.testing.assert_allclose(found._mean, (windows - made).mean(0), atol=1e-4)
    np.testing.assert_allclose(found._std, (windows - made).std(0), rtol=1e-4)
    assert 0.5 < found.scores(series).mean() < 1.5


def test_centred_windows_know_no_level() -> None:
    series = waves()
    found = detector(center=True).fit(series)
    scores = found.scores(series)
    np.testing.assert_allclose(found.scores(series + [50, -1e4]), scores, rtol=2e-3)
    series[100] += 1e6
    assert 100 in np.argsort(found.score_samples(series))[:2]
    level = found.scores(np.where(np.arange(200)[:, None] < 100, waves(), waves() + 9))
    assert (level[95:105, 0] ** 2 > 10 * scores.max() ** 2).any()
    np.testing.assert_allclose(level[120:180, 0], scores[120:180, 0], rtol=2e-3)


def test_centred_windows_of_missing_and_of_constant_numbers() -> None:
    series = np.column_stack([waves(), np.full(200, 0.1)])
    series[60:80, 0] = np.nan
    found = detector(center=True).fit(series)
    scores = found.scores(series)
    assert np.isfinite(scores[:, 1:]).all()
    assert np.isnan(scores[60:80, 0]).all()
    assert np.isfinite(scores[:60, 0]).all()
    assert np.isfinite(scores[80:, 0]).all()
    with pytest.raises(DataError, match="inf"):
        found.scores(np.full((50, 3), np.inf))
    whole = detector(center=True).fit(np.arange(300) % 7)
    assert np.isfinite(whole.scores(np.arange(50) % 7)).all()


def test_a_score_does_not_depend_on_how_much_else_was_passed() -> None:
    found = detector().fit(waves())
    series = waves(300, seed=1)
    whole = found.scores(series)
    for first, last in ((0, 100), (57, 200), (200, 300)):
        part = found.scores(series[first:last])
        # But for the rows that fewer windows cover.
        inside = slice(LENGTH - 1, last - first - LENGTH + 1)
        np.testing.assert_allclose(part[inside], whole[first:last][inside], rtol=1e-5)
    loud = series.copy()
    loud[250:] *= 1000
    np.testing.assert_allclose(found.scores(loud)[:200], whole[:200], rtol=1e-5)


def test_pieces_give_the_scores_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    found = of_table().fit(table())
    rows = table(70, 3).drop(index=[30, 31, 95])
    whole = found.scores(rows)
    for numbers in (1, 5 * LENGTH * 2, 40 * LENGTH * 2):
        monkeypatch.setattr(_scorer, "_PIECE", numbers)
        pd.testing.assert_frame_equal(found.scores(rows), whole, rtol=1e-5)


def test_long_series_are_scored_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_scorer, "_PIECE", 2**14)
    found = detector().fit(waves())
    n = 100_000
    series = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (n, 2))
    series[:] = waves(n)
    tracemalloc.start()
    found.score_samples(series)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The windows alone are nine times the series' 1.6 MB as float64.
    assert peak < 5 * n * 2 * 8


def test_missing_numbers_have_no_score_and_do_no_harm() -> None:
    found = detector().fit(waves())
    series = waves(100, seed=1)
    series[40, 0] = np.nan
    series[60:80] = np.nan
    scores = found.scores(series)
    np.testing.assert_array_equal(np.isnan(scores), np.isnan(series))
    assert (found.predict(series)[60:80] == 1).all()
    np.testing.assert_array_equal(np.isnan(found.score_samples(series)), np.isnan(series).all(1))
    assert np.isfinite(detector().fit(series).offset_)


def test_a_column_that_never_changes_is_scored() -> None:
    series = np.column_stack([waves(200)[:, 0], np.full(200, 7.0)])
    found = detector().fit(series)
    assert np.isfinite(found.scores(series)).all()
    series[100, 1] = 8
    assert np.argmax(found.scores(series)[:, 1]) == 100


@pytest.mark.parametrize("decoders", ["both", "reconstruct", "predict"])
@pytest.mark.parametrize("future", [0, 3])
def test_either_decoder_will_do(decoders: str, future: int) -> None:
    model = Model(**QUICK, decoders=decoders)
    found = detector(model, future=future)
    if decoders == "predict" and not future:
        with pytest.raises(ArgumentError, match="future must be at least 1"):
            found.fit(waves())
        return
    scores = found.fit(waves()).scores(waves())
    assert np.isnan(scores[:PAST]).all() == (decoders == "predict")
    assert np.isfinite(scores[PAST:]).all()
    assert not hasattr(model, "_core")


class Largest(_scoring.Score):
    """The largest squared error of the windows that cover a number, by its mean."""

    parts = ("largest",)

    def of_windows(self, squares: Any, known: Any, n_past: int) -> dict[str, _scoring.Part]:
        return {"largest": _scoring.Part(range(LENGTH), squares.max(1, keepdims=True))}

    def of_rows(self, means: Any) -> NDArray[Any]:
        return np.sqrt(means["largest"])


def test_a_new_score_is_one_class(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(_scoring.SCORES, "largest", Largest())
    found = detector(scoring="largest").fit(waves())
    series = waves(60, seed=1)
    scores = found.scores(series)
    windows = np.lib.stride_tricks.sliding_window_view(series, LENGTH, axis=0).transpose(0, 2, 1)
    past = windows[:, :PAST]
    made = np.concatenate([found.model_.reconstruct(past), found.model_.predict(past)], axis=1)
    largest = (((windows - made - found._mean) / found._std) ** 2).max(1)
    np.testing.assert_allclose(
        scores[30], np.sqrt(largest[30 - LENGTH + 1 : 31].mean(0)), rtol=1e-4
    )
    last, _ = streamed(found, [series[:20], series[20:]])
    np.testing.assert_allclose(last[[0, 1]], scores, rtol=1e-5)
    found.save(tmp_path / "d.safetensors")
    again = AnomalyDetector.load(tmp_path / "d.safetensors", device="cpu")
    again.set_params(scoring="sharp")  # until the next fit, this is nothing to the detector
    np.testing.assert_array_equal(again.scores(series), scores)


def test_all_scores_are_public_and_documented() -> None:
    assert SCORES is _scoring.SCORES
    assert "`backcast.anomaly.SCORES`" in (AnomalyDetector.__doc__ or "")
    for score in _scoring.SCORES.values():
        assert len(type(score).__doc__ or "") > 100


# -- tables ----------------------------------------------------------------------------------------


def test_scores_of_a_table_are_on_its_index_and_in_its_order() -> None:
    rows = table()
    found = of_table().fit(rows)
    scores = found.scores(rows)
    pd.testing.assert_index_equal(scores.index, rows.index)
    assert list(scores.columns) == found.columns_ == ["x", "y"]
    shuffled = rows.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(found.scores(shuffled).sort_index(), scores, rtol=1e-5)
    np.testing.assert_allclose(
        found.score_samples(shuffled), found.score_samples(rows)[shuffled.index], rtol=1e-5
    )
    one = rows[rows.sensor == "s1"]
    pd.testing.assert_frame_equal(found.scores(one), scores.loc[one.index], rtol=1e-5)


def test_no_window_bridges_a_gap_and_short_runs_have_no_score() -> None:
    rows = table(groups=1)
    found = of_table().fit(rows)
    holed = rows.drop(index=[20, *range(26, 30)])
    told = (
        "5 of 55 rows have no score .* 5 rows from 2026-03-01 00:21:00 to 2026-03-01 00:25:00 of "
        "'s0': between gaps, steps of more than 00:01:30, they are fewer than a window, past_ "
        r"\+ future_ = 9. Rows of NaN for those that are missing, as table.set_index\('t'\)."
        r"groupby\('sensor'\)\[\['x', 'y'\]\].apply\(lambda each: each.asfreq\('min'\)\) makes"
    )
    with pytest.warns(TrainingWarning, match=told):
        scores = found.scores(holed)
    filled = holed.set_index("t").groupby("sensor")[["x", "y"]]
    filled = filled.apply(lambda each: each.asfreq("min"))
    assert found.scores(filled).notna().all(axis=1).sum() == 55
    assert scores.loc[21:25].isna().all(axis=None)
    with pytest.warns(TrainingWarning, match="9 rows of each .* and series has 5. Give the 8"):
        assert (found.predict(holed[20:25]) == 1).all()
    pd.testing.assert_frame_equal(scores.loc[:19], found.scores(rows[:20]), rtol=1e-5)
    pd.testing.assert_frame_equal(scores.loc[30:], found.scores(rows[30:]), rtol=1e-5)


def test_rows_without_a_score_are_named_with_the_reason() -> None:
    rows = table(groups=3)
    found = of_table().fit(rows)
    short = pd.concat([rows[:100], rows[120:124]])
    told = r"4 of 104 .* 4 rows from .* of 's2': a recording has fewer rows than .* context=rows_"
    with pytest.warns(TrainingWarning, match=told):
        found.scores(short)
    missing = rows.copy()
    missing.loc[[*range(40, 58), *range(100, 119)], ["x", "y"]] = np.nan
    told = (
        "3 of 180 .* 3 rows, in 2 stretches of 2 recordings, the first from 2026-03-01 00:58:00 "
        "to 2026-03-01 00:59:00 of 's0': the past_ = 6 rows before them hold no number$"
    )
    with pytest.warns(TrainingWarning, match=told):
        found.events(missing)


def test_what_a_gap_is_was_learnt_in_training() -> None:
    rows = table(groups=1)
    found = of_table().fit(rows)
    assert found.gap_ == np.timedelta64(90, "s")
    with pytest.warns(TrainingWarning, match="no row of series has a score.*than 00:01:30"):
        assert found.scores(rows[::2]).isna().all(axis=None)
    wide = of_table(gap="5min").fit(rows)
    assert wide.scores(rows[::2]).notna().all(axis=None)


def test_an_index_of_time_and_a_series_of_pandas() -> None:
    index = pd.date_range("2026-01-01", periods=200, freq="h", tz="Asia/Seoul", name="when")
    series = pd.Series(waves()[:, 0], index=index, name="x")
    found = detector().fit(series)
    assert list(found.feature_names_in_) == ["x"]
    pd.testing.assert_index_equal(found.scores(series).index, index)
    np.testing.assert_allclose(
        found.scores(series)["x"], detector().fit(waves()[:, 0]).scores(waves()[:, 0])[:, 0]
    )


# -- thresholds ------------------------------------------------------------------------------------


def test_the_threshold_is_learnt_in_three_ways() -> None:
    series, calm = waves(300), waves(300, seed=1) * 0.1
    found = detector(contamination=0.1).fit(series)
    assert (found.predict(series) == -1).sum() == 30
    found = detector(quantile=0.98).fit(series)
    held_out = -found.score_samples(series[240:])
    margin = 1 + 0.5 / (60 / LENGTH)
    np.testing.assert_allclose(found.threshold_, margin * np.quantile(held_out, 0.98))
    found = detector(found.model_, quantile=0.98, future=FUTURE).fit(series)
    np.testing.assert_allclose(found.threshold_, np.quantile(-found.score_samples(series), 0.98))
    assert (found.predict(series) == -1).sum() == 6
    found = detector(quantile=0.98).fit(series, validation=calm)
    assert (found.predict(calm) == -1).sum() == 6
    np.testing.assert_allclose(found.threshold_, np.quantile(-found.score_samples(calm), 0.98))
    np.testing.assert_allclose(
        found.decision_function(series), found.score_samples(series) - found.offset_
    )


def test_a_threshold_may_be_set(tmp_path: Path) -> None:
    series = pd.DataFrame(waves(300), columns=["a", "b"])
    found = detector().fit(series)
    scores = -found.score_samples(series)
    found.threshold_ = scores.quantile(0.7)
    assert found.decisions_["threshold"] == f"{found.threshold_:.4g}: set by hand"
    found.save(tmp_path / "d.safetensors")
    loaded = AnomalyDetector.load(tmp_path / "d.safetensors", device="cpu")
    for each in (found, loaded, pickle.loads(pickle.dumps(found))):
        assert (each.threshold_, each.offset_) == (found.threshold_, -found.threshold_)
        assert (each.predict(series) == -1).sum() == 90
        assert ((each.decision_function(series) < 0) == (scores > found.threshold_)).all()
        assert (each.events(series).score > found.threshold_).all()
        told = each.update(series)
        assert (told["outlier"] == (told["score"] > found.threshold_)).all()
    found.offset_ = -1.5
    assert found.threshold_ == 1.5
    # Who sets a threshold wants no advice on it, whatever the words of the decision.
    found.threshold_, found.decisions_ = 1e-9, {}
    assert (found.predict(series) == -1).all()
    with pytest.warns(TrainingWarning, match="100% of 300 rows are outliers"):
        found.fit(series).predict(series + 99)
    found.threshold_ = 1.5
    for bad in (0, -3, np.nan, np.inf, "high"):
        with pytest.raises(ArgumentError, match="threshold_ must be a"):
            found.threshold_ = bad
    assert found.threshold_ == 1.5
    for wrong in ("threshold", "treshold_", "threshhold_"):
        with pytest.raises(AttributeError, match=f"no attribute '{wrong}' to set; threshold_ is"):
            setattr(found, wrong, 3)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        detector().threshold_ = 3
    old = dict(found.__getstate__())
    old["offset_"] = -old.pop("_threshold")
    again = detector()
    again.__setstate__(old)
    assert again.threshold_ == 1.5


def test_validation_is_a_part_of_the_rows_or_rows_of_its_own() -> None:
    series = waves(300)
    found = detector().fit(series, validation=0.5)
    assert found.decisions_["validation"].startswith("the last 150 rows: 0.5 of each")
    assert "validation_loss" in found.model_.history_[-1]
    assert "validation_loss" not in detector().fit(series).model_.history_[-1]
    few = of_table().fit(table(30, groups=4), validation=0.5)
    assert few.decisions_["validation"].startswith("60 rows: one of every 2 runs")
    with pytest.warns(FutureWarning, match="held_out is called validation now"):
        old = detector().fit(series, held_out=waves(99))
    assert old.threshold_ == detector().fit(series, validation=waves(99)).threshold_
    with pytest.raises(ArgumentError, match="held_out must be None, as it is the old name"):
        detector().fit(series, held_out=series, validation=series)
    for bad in (1.0, 0, -0.2, True, "all"):
        with pytest.raises(ArgumentError, match="validation must be a fraction between 0 and 1"):
            detector().fit(series, validation=bad)
    with pytest.raises(ShapeError, match="validation must have 2 columns, as in fit, got 3"):
        detector().fit(series, validation=np.zeros((50, 3)))


# -- the rows before -------------------------------------------------------------------------------


def test_a_few_new_rows_are_scored_with_the_rows_before_them() -> None:
    series = waves(200)
    found = detector().fit(series)
    new, before = series[150:155], series[:150]
    so_far = found.scores(series[:155])[150:]
    np.testing.assert_allclose(found.scores(new, context=before), so_far, rtol=1e-5)
    np.testing.assert_allclose(found.scores(new, context=before[-8:]), so_far, rtol=1e-5)
    np.testing.assert_allclose(found.scores(new, context=before.tolist()), so_far, rtol=1e-5)
    expected = found.score_samples(series[:155])[150:]
    np.testing.assert_allclose(found.score_samples(new, context=before), expected, rtol=1e-5)
    decided = found.decision_function(new, context=before)
    np.testing.assert_allclose(decided, expected + found.threshold_, rtol=1e-5)
    found.threshold_ = float(np.median(-expected))
    outliers = np.flatnonzero(found.predict(new, context=before) == -1)
    events = found.events(new, context=before, join=0)
    assert sum(events.end - events.start + 1) == len(outliers) == 2
    np.testing.assert_array_equal(found.scores(series, context=series[:0]), found.scores(series))
    assert found.scores(series[:0], context=series).shape == (0, 2)
    with pytest.warns(TrainingWarning, match="series has 2 and context 3. Give the 8 rows"):
        assert np.isnan(found.scores(new[:2], context=before[-3:])).all()


def test_rows_before_those_of_a_table_are_found_by_group_and_time() -> None:
    rows = table()
    found = of_table().fit(rows)
    late = rows.t >= rows.t[50]
    so_far = found.scores(rows)[late]
    new, before = rows[late], rows[~late]
    given = found.scores(new.sample(frac=1, random_state=0), context=before)
    pd.testing.assert_frame_equal(given.sort_index(), so_far, rtol=1e-5)
    found.threshold_ = 0.1
    events = found.events(new, context=before)
    assert events.start.tolist() == [rows.t[50]] * 2
    index = pd.date_range("2026-01-01", periods=200, freq="h", name="when")
    series = pd.DataFrame(waves(), index=index, columns=["a", "b"])
    found_on_index = detector().fit(series)
    given = found_on_index.scores(series[150:155], context=series[:150])
    pd.testing.assert_frame_equal(given, found_on_index.scores(series[:155])[150:], rtol=1e-5)
    utc = series.tz_localize("UTC")
    for context, error, message in (
        (series[:151], DataError, "context must end before series begins, got rows up to"),
        (series[160:], DataError, "context must end before series begins"),
        (series[:140], DataError, "context must reach to series without a gap, got rows up to"),
        (series[["a"]][:150], ArgumentError, "context must have the columns of fit, .*'b' missing"),
        (series[:150].to_numpy(), ArgumentError, "context must be a table, as series, got an arr"),
        (utc[:150], DataError, "series must have dates with a zone as times or labels, as those"),
        (series[:150].reset_index(drop=True), DataError, "series must have numbers as times"),
        (series[1:150:2], DataError, "context must have rows at the steps of fit"),
    ):
        with pytest.raises(error, match=message):
            found_on_index.scores(series[150:155], context=context)
    with pytest.raises(DataError, match="rows of 's1' up to"):
        found.scores(new, context=rows[rows.t <= rows.t[50]])
    with pytest.raises(DataError, match="the recordings of series, such as 's0', got 's1'"):
        found.scores(new[new.sensor == "s0"], context=before[before.sensor == "s1"])
    plain = detector().fit(rows[["x", "y"]][:60])
    with pytest.raises(DataError, match="context must end before series begins"):
        plain.scores(rows[["x", "y"]][40:60], context=rows[["x", "y"]][:41])


def test_the_last_fifth_is_not_trained_on() -> None:
    series = waves(300)
    found = detector().fit(series)
    assert found.decisions_["validation"].startswith("the last 60 rows")
    same = detector().fit(series[:240], validation=series[240:])
    changed = detector().fit(np.concatenate([series[:240], -series[240:]]))
    for name, weights in found.model_.state_dict().items():
        np.testing.assert_array_equal(weights, same.model_.state_dict()[name])
        np.testing.assert_array_equal(weights, changed.model_.state_dict()[name])
    assert changed.offset_ != found.offset_
    # A patience takes the same rows.
    stopped = detector(QUICK | {"patience": 2, "max_iter": 50}).fit(series)
    assert "validation_loss" in stopped.model_.history_[-1]


def test_recordings_give_their_last_fifth_or_every_fifth_is_held_out() -> None:
    rows = table(60, groups=2)
    assert "last 24 rows" in of_table().fit(rows).decisions_["validation"]
    told = of_table().fit(table(30, groups=5)).decisions_["validation"]
    assert told == "30 rows: one of every 5 runs, as recordings are short"
    few = of_table().fit(table(30, groups=2))
    assert few.decisions_["validation"] == "too few rows to hold some out"
    blank = waves(100)
    blank[75:] = np.nan
    assert detector().fit(blank).decisions_["validation"] == "too few rows to hold some out"
    assert np.isfinite(few.offset_)


def test_the_last_fifth_of_a_recording_with_gaps_is_held_out() -> None:
    def held_out(drop: list[int], part: float | None = None) -> tuple[set[int], set[int], str]:
        rows = of_table()._rows(table(200, groups=2).drop(index=drop), None, None)
        *parts, why = _rules.hold_out(rows, LENGTH, part)
        runs = [zip(each.begins, each.ends, strict=True) for each in parts if each]
        train, rest = ({int(i) for b, e in of for i in range(b, e)} for of in runs)
        assert not train & rest
        return train, rest, why

    fifths = {*range(160, 200), *range(360, 400)}
    train, rest, why = held_out([])
    assert train == {*range(400)} - fifths
    assert rest == fifths
    assert why == "the last 80 rows: a fifth of each recording, at least a window"
    # Runs of 29 rows: 38 of 193 rows, the last run and 10 rows of the one before it.
    gaps = [29, 59, 89, 119, 149, 179]
    train, rest, why = held_out(gaps)
    assert {*range(193)} & rest == {*range(155, 193)}
    assert len(rest) == 39 + 40 == len({*range(393)} - train) + 1
    # Short runs are not held out, and the reason gives the fraction that is.
    short = [*range(0, 200, 5), *range(205, 280, 5)]
    _, rest, why = held_out(short)
    assert len(rest) == round(0.2 * 124) == 25
    assert why.endswith("at least a window; 7% of all rows")
    # A run that the cut leaves no window to hold out is trained on.
    train, rest, _ = held_out([165])
    assert {*range(199)} & rest == {*range(165, 199)}
    assert {*range(199)} & train == {*range(165)}
    assert held_out([], 0.5)[2].startswith("the last 200 rows: 0.5 of each")


def test_many_rows_without_a_window_are_a_warning() -> None:
    rows = table(200, groups=2)
    of_table().fit(rows.drop(index=[50, 55]))
    holed = rows.drop(index=[*range(0, 80, 8)])
    told = (
        r"63 of 390 rows are in no window .* gaps, steps of more than 00:01:30, .* the 9 rows of a "
        r"window. Rows of NaN .*\['x', 'y'\]\].apply\(lambda each: each.asfreq\('min'\)\) makes"
    )
    with pytest.warns(UserWarning, match=told):
        of_table().fit(holed)
    filled = holed.set_index("t").groupby("sensor")[["x", "y"]]
    of_table().fit(filled.apply(lambda each: each.asfreq("min")))
    with pytest.warns(UserWarning, match="63 of 390 rows .* the 9 rows"):
        Forecaster(6, 3, QUICK, group="sensor", time="t").fit(holed)


# -- what is left to the rules ---------------------------------------------------------------------


def rows_of(values: NDArray[Any]) -> Recordings:
    return Recordings.of_array(values if values.ndim == 2 else values[:, None])


def noise(n: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=n)


def test_the_window_holds_whole_periods() -> None:
    t = np.arange(2000)
    for period, past in ((24, 48), (20, 40), (7, 49), (50, 50), (90, 50)):
        wave = np.sin(2 * np.pi * t / period) + 0.1 * noise(2000)
        assert _rules.past_of(rows_of(wave)).value == past
        assert f"{period} rows" in _rules.past_of(rows_of(wave)).why
    white = _rules.past_of(rows_of(noise(2000)))
    assert white.value == 50
    assert white.why.endswith("no period was found")
    assert _rules.past_of(rows_of(noise(200))).value == 25
    assert _rules.past_of(rows_of(np.sin(2 * np.pi * t / 24) + t / 100)).value == 48
    holed = np.where(noise(2000) < 1.5, np.sin(2 * np.pi * t / 20), np.nan)
    assert _rules.past_of(rows_of(holed)).value == 40


def test_noise_on_a_slow_curve_is_no_period() -> None:
    t, n = np.arange(4000), np.random.default_rng(0).normal(size=(2, 4000))
    load = np.sin(2 * np.pi * t / 144)
    falling = np.column_stack([-t / 144 * 0.4 + 0.2 * n[0], load + 0.15 * n[1]])
    assert abs((_rules.period_of(rows_of(falling)) or 0) - 144) < 6
    for seed in range(20):
        # The period is longer than half of the rows.
        slow = np.sin(2 * np.pi * t[:300] / 250) + 0.3 * noise(300, seed)
        assert _rules.period_of(rows_of(slow)) is None
        walk = np.cumsum(noise(300, seed)) + noise(300, seed + 50)
        assert (_rules.period_of(rows_of(walk)) or 99) > 9


def test_the_level_is_subtracted_where_it_drifts_or_columns_rest() -> None:
    t = np.arange(1000)
    still = np.sin(t / 5) + 0.1 * noise(1000)
    assert _rules.center_of(rows_of(still), 50).value is False
    drift = _rules.center_of(rows_of(still + t / 100), 50)
    assert drift.value is True
    assert drift.why.startswith("100% of the levels of the last fifth lie outside")
    # A drift of one column of four, or one that ended, is none of the table.
    one = _rules.center_of(rows_of(np.stack([np.ones(1000), still + t / 100, *[still] * 3], 1)), 50)
    assert (one.value, one.why) == (
        *(
            False,
            "26% of the levels of the last fifth lie outside those before, mostly in column 1",
        ),
    )
    most = _rules.center_of(rows_of(np.stack([still, *[still + t / 100] * 4], 1)), 50)
    assert most.why.endswith("before, mostly in columns 1, 2, 3 and 1 more")
    assert not _rules.center_of(rows_of(still + np.minimum(t, 500) / 100), 50).value
    resting = np.repeat(np.random.default_rng(0).integers(0, 3, (10, 3)), 100, axis=0)
    rest = _rules.center_of(rows_of(np.column_stack([resting, still])), 50)
    assert rest.value is True
    assert rest.why.startswith("75% of the columns rest")
    assert _rules.center_of(rows_of(np.full(100, 3.0)), 50).value is True
    few = _rules.center_of(rows_of(noise(30)), 25)
    assert (few.value, few.why[:13]) == (False, "the rows do n")
    with pytest.raises(ShapeError, match="series must have at least 1 row, got"):
        AnomalyDetector(QUICK).fit(np.empty((0, 2)))


def test_updates_follow_the_number_of_windows() -> None:
    assert _rules.updates_of(100, 32).value == 200
    assert _rules.updates_of(640, 32).value == 500
    assert _rules.updates_of(640, 64).value == 250
    assert _rules.updates_of(10_000, 32).value == 1000
    given = detector(QUICK | {"max_iter": 3}).fit(waves())
    assert given.model_.n_iter_ == 3
    assert "max_iter" not in given.decisions_
    left = {name: value for name, value in QUICK.items() if name != "max_iter"}
    found = detector(left).fit(waves())
    assert found.model_.n_iter_ == 200
    assert found.decisions_["max_iter"].startswith("200: 25 passes over 152 windows")


def test_choices_are_reported_and_can_be_made_by_hand(tmp_path: Path) -> None:
    t = np.arange(800)
    series = np.sin(2 * np.pi * t / 19) + t / 50
    found = AnomalyDetector(QUICK).fit(series)
    assert (found.past_, found.future_, found.center_) == (38, 7, True)
    assert set(found.decisions_) == {
        *("past", "future", "center", "validation", "threshold", "baselines")
    }
    assert found.decisions_["past"].startswith("38: ")
    found.save(tmp_path / "d.safetensors")
    again = AnomalyDetector.load(tmp_path / "d.safetensors", device="cpu")
    twin = pickle.loads(pickle.dumps(found))
    for other in (again, twin):
        assert (other.past_, other.future_, other.center_) == (38, 7, True)
        assert (other.decisions_, other.baselines_) == (found.decisions_, found.baselines_)
        assert other.past == other.center == "auto"
        np.testing.assert_array_equal(other.scores(series), found.scores(series))
    by_hand = AnomalyDetector(QUICK, past=38, future=7, center=True).fit(series)
    np.testing.assert_array_equal(by_hand.scores(series), found.scores(series))
    assert by_hand.decisions_["center"] == "True: given"
    reused = AnomalyDetector(found.model_, past=38).fit(series)
    assert (reused.future_, reused.center_) == (7, False)
    none = AnomalyDetector(QUICK, future=0).fit(series)
    assert none.future_ == 0


# -- simple models ---------------------------------------------------------------------------------


def test_the_model_is_compared_with_simple_ones() -> None:
    series = waves(300)
    found = detector().fit(series, validation=series[200:])
    windows = np.lib.stride_tricks.sliding_window_view(series[200:], LENGTH, axis=0)
    windows = windows.transpose(0, 2, 1)
    past = windows[:, :PAST]
    made = np.concatenate([found.model_.reconstruct(past), found.model_.predict(past)], axis=1)
    variance = windows.var((0, 1))
    expected = {
        "model": ((windows - made) ** 2 / variance).mean(),
        "mean": 1.0,
        "model, predicted": ((windows - made)[:, PAST:] ** 2 / variance).mean(),
        "last value": ((windows[:, PAST:] - past[:, -1:]) ** 2 / variance).mean(),
    }
    assert found.baselines_ == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("series", "simple"),
    [
        (np.concatenate([np.sin(np.arange(320)), noise(80)]), "the mean of the rows"),
        (np.sin(2 * np.pi * np.arange(1000) / 200), "the last value"),
        (np.sin(np.arange(400) / 3), ""),
    ],
)
def test_a_model_that_is_no_better_than_a_simple_one_warns(series: Any, simple: str) -> None:
    found = detector(QUICK | {"max_iter": 100, "learning_rate": 0.01}, center=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found.fit(series)
    told = [w for w in caught if "no better than" in str(w.message)]
    assert len(told) == bool(simple)
    if simple:
        assert f"the model is no better than {simple}" in str(told[0].message)
        assert issubclass(told[0].category, TrainingWarning)


def test_short_spikes_keep_the_highest_scores(trained: AnomalyDetector) -> None:
    series = waves(1000, seed=3)
    spikes = [150, 350, 500, 720, 860]
    series[spikes, 0] += [2.0, 2.5, -2.0, 3.0, -2.5]
    highest = np.argsort(trained.score_samples(series))[: len(spikes)]
    assert sorted(highest) == spikes


@pytest.fixture(scope="module")
def city() -> tuple[pd.Series, list[tuple[int, int]]]:
    """Hourly temperatures of a year whose level drifts, with six faults in the second half."""
    rng, t = np.random.default_rng(0), np.arange(24 * 365)
    weather = lfilter([0.35], [1, -0.98], rng.normal(size=len(t)))
    daily, yearly = 4 * np.sin(2 * np.pi * (t - 9) / 24), -10 * np.cos(2 * np.pi * t / 8766)
    x = 10 + yearly + daily + weather + 0.2 * rng.normal(size=len(t))
    x[4700] += 9  # a spike
    x[5200:5236] = x[5200]  # a sensor that hangs
    x[5800:5820] += 8  # a warm place
    x[6400:6424] += 3 * rng.normal(size=24)  # noise
    x[7100:7148] = 2 * x[7100:7148].mean() - x[7100:7148]  # day and night exchanged
    x[7900:7902] -= 9
    faults = [(4700, 4701), (5200, 5236), (5800, 5820), (6400, 6424), (7100, 7148), (7900, 7902)]
    index = pd.date_range("2025-01-01", periods=len(t), freq="h", name="time")
    return pd.Series(x, index, name="temperature"), faults


def test_the_default_finds_the_faults_of_a_year_whose_level_drifts(city: Any) -> None:
    series, faults = city
    half = len(series) // 2
    found = AnomalyDetector({"random_state": 0, "device": "cpu", "verbose": 0}).fit(series[:half])
    assert found.past_ == 48
    assert found.baselines_["model"] < 0.2 * found.baselines_["mean"]
    rows = series[half:]
    outliers = pd.Series(found.predict(rows) == -1, index=rows.index)
    hits = [series.index[[first, last - 1]] for first, last in faults]
    assert all(outliers[first:last].any() for first, last in hits)
    near = pd.Series(False, index=rows.index)
    reach = pd.Timedelta(hours=found.past_ + found.future_)
    for first, last in hits:
        near[first - reach : last + reach] = True
    assert outliers[~near].mean() < 0.05
    events = found.events(rows)
    for first, last in hits:
        assert ((events.start <= last) & (events.end >= first)).any()


# -- finding anomalies -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained() -> AnomalyDetector:
    model = QUICK | {"hidden_size": 32, "max_iter": 300, "learning_rate": 0.01}
    return detector(model, past=20, future=5).fit(waves(1000))


@pytest.fixture
def odd() -> pd.DataFrame:
    """A table of waves in which three things went wrong."""
    series = waves(1000, seed=1)
    series[300] += [2.0, 0]  # a spike
    series[500:520, 1] = 0  # a sensor that hangs
    series[700:715] += [2, 200]  # a jump of both
    index = pd.date_range("2026-05-01", periods=1000, freq="s", name="when")
    return pd.DataFrame(series, index=index, columns=["a", "b"])


def test_anomalies_in_waves_are_found(trained: AnomalyDetector, odd: pd.DataFrame) -> None:
    labels = np.zeros(1000, bool)
    labels[[300, *range(500, 520), *range(700, 715)]] = True
    scores = -trained.score_samples(odd.to_numpy())
    assert scores[labels].mean() > 10 * np.median(scores[~labels])
    outliers = trained.predict(odd.to_numpy()) == -1
    assert outliers[[300, 510, 705]].all()
    near = np.convolve(labels, np.ones(2 * 25 + 1), "same") > 0
    assert outliers[~near].mean() < 0.03


def test_events_tell_when_and_where(trained: AnomalyDetector, odd: pd.DataFrame) -> None:
    events = trained.events(odd.to_numpy())
    assert list(events.columns) == ["start", "end", "peak", "score", "columns"]
    for first, last, columns in ((300, 300, [0]), (500, 519, [1]), (700, 714, [0, 1])):
        hit = events[(events.start <= last) & (events.end >= first)]
        assert len(hit) == 1
        event = hit.iloc[0]
        assert first - 25 <= event.start <= event.peak <= event.end <= last + 25
        assert event["columns"][0] in columns
    # The rows around a short anomaly are outliers by their windows alone, and not of the event.
    assert ((events.start <= 300) & (events.end >= 300) & (events.end - events.start < 3)).any()
    assert (trained.predict(odd.to_numpy())[290:310] == -1).sum() > 10
    scores = -trained.score_samples(odd.to_numpy())
    np.testing.assert_allclose(scores[events.peak], events.score)
    assert (events.score > trained.threshold_).all()
    assert (events.start.to_numpy()[1:] > events.end.to_numpy()[:-1] + 6).all()
    sharp = AnomalyDetector(trained.model_, past=20, future=5, scoring="sharp").fit(waves(1000))
    events, apart = (sharp.events(odd.to_numpy(), join=join) for join in (None, 0))
    assert len(apart) > len(events)
    scores = -sharp.score_samples(odd.to_numpy())
    assert sum(apart.end - apart.start + 1) == (scores > sharp.threshold_).sum()


def test_an_event_keeps_rows_of_its_own_and_those_of_a_long_anomaly() -> None:
    rows, low = Recordings.of_array(np.zeros((100, 2))), np.full((100, 2), 0.1)
    scores, alone = low.copy(), low.copy()
    scores[20:60, 0], scores[38:43, 0] = 5, [9, 30, 40, 25, 9]
    alone[20:60, 0], alone[38:43, 0] = 1, [9, 30, 40, 25, 9]

    def bounds(scores: Any, alone: Any, length: int = 30) -> list[int]:
        (event,) = events_of(rows, scores, alone, 2.0, 3, length).itertuples()
        return [event.start, event.end, event.peak]

    assert bounds(scores, alone) == [38, 42, 40]
    alone[[38, 42], 0] = 8
    assert bounds(scores, alone) == [39, 41, 40]
    # Rows a window away have another cause, as have those of a long anomaly.
    assert bounds(scores, alone, length=10) == [20, 59, 40]
    assert bounds(scores, scores) == [20, 59, 40]
    assert bounds(scores + [1, 0], alone) == [20, 59, 40]
    alone[55, 0] = 20
    assert bounds(scores, alone) == [39, 55, 40]


def test_events_have_the_users_times_and_groups() -> None:
    rows = table()
    rows.loc[80, "y"] += 5000
    found = of_table(contamination=0.02).fit(rows)
    events = found.events(rows.sample(frac=1, random_state=0))
    assert list(events.columns) == ["sensor", "start", "end", "peak", "score", "columns"]
    worst = events.loc[events.score.idxmax()]
    assert worst.sensor == "s1"
    assert worst.start <= rows.t[80] <= worst.end
    assert worst["columns"] == ["y"]
    none = of_table(quantile=1.0).fit(rows, validation=rows).events(rows)
    assert len(none) == 0
    assert list(none.columns) == list(events.columns)


# -- streams ---------------------------------------------------------------------------------------


def streamed(found: AnomalyDetector, parts: list[Any]) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """The last result for each row, and all results."""
    told = [found.update(part) for part in parts]
    every = pd.concat(told)
    return every[~every.index.duplicated(keep="last")].sort_index(), told


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("size", [1, 4, 50])
def test_a_stream_gives_the_scores_of_the_batch(size: int, center: bool) -> None:
    found = detector(center=center).fit(waves())
    series = waves(60, seed=1)
    parts = [series[i : i + size] for i in range(0, 60, size)]
    last, told = streamed(found, parts)
    np.testing.assert_allclose(last[[0, 1]], found.scores(series), rtol=1e-5)
    np.testing.assert_allclose(last["score"], -found.score_samples(series), rtol=1e-5)
    np.testing.assert_array_equal(last["outlier"], found.predict(series) == -1)
    np.testing.assert_array_equal(last["final"], np.arange(60) <= 60 - LENGTH)
    for i, part in enumerate(told):
        # Every result is that of the rows so far, and final results come once.
        rows = np.concatenate(parts[: i + 1])
        so_far = found.scores(rows)[part.index] if len(rows) >= LENGTH else np.nan
        np.testing.assert_allclose(part[[0, 1]], so_far, rtol=1e-5)
    final = pd.concat(told).query("final")
    assert final.index.is_unique


def test_a_stream_of_groups_with_gaps() -> None:
    rows = table(40).drop(index=[12, 13, 60]).sort_values(["t", "sensor"])
    found = of_table().fit(table())
    last, _ = streamed(found, [rows[i : i + 7] for i in range(0, len(rows), 7)])
    pd.testing.assert_frame_equal(
        last[["x", "y"]], found.scores(rows).sort_index(), rtol=1e-5, check_names=False
    )
    newest = pd.concat([rows[rows.sensor == s].tail(LENGTH - 1) for s in ("s0", "s1")])
    np.testing.assert_array_equal(last.index[~last["final"]], newest.index.sort_values())


def test_the_state_of_a_stream_is_bounded_and_pickled() -> None:
    found = detector().fit(waves())
    for seed in range(5):
        found.update(waves(50, seed))
        assert found._stream is not None
        assert [len(part) for part in found._stream[1:]] == [LENGTH - 1] * 3
    twin = pickle.loads(pickle.dumps(found))
    pd.testing.assert_frame_equal(found.update(waves(9)), twin.update(waves(9)))


def test_a_detector_of_tables_takes_a_stream_of_arrays() -> None:
    index = pd.date_range("2026-01-01", periods=200, freq="h")
    found = detector().fit(pd.DataFrame(waves(), index=index, columns=["a", "b"]))
    told = found.update(waves(30, seed=1))
    np.testing.assert_allclose(told[["a", "b"]], found.scores(waves(30, seed=1)), rtol=1e-5)
    found.set_params(past=3)  # until the next fit, this is nothing to the detector
    np.testing.assert_allclose(told[["a", "b"]], found.scores(waves(30, seed=1)), rtol=1e-5)


def test_a_row_of_a_stream_comes_in_any_form() -> None:
    index = pd.date_range("2026-01-01", periods=200, freq="h", name="when")
    rows = pd.DataFrame(waves(), index=index, columns=["a", "b"])
    found = detector().fit(rows)
    expected = [found.update(rows[i : i + 1]) for i in range(12)]
    numbered = [e.reset_index(drop=True) for e in expected]
    for form in (
        lambda i: rows.iloc[i],
        lambda i: rows.iloc[i].to_dict() | {"when": index[i]},
        lambda i: [rows.iloc[i].to_dict() | {"when": index[i], "note": "x"}],
        lambda i: rows.iloc[[i]].reset_index().to_dict("list"),
    ):
        found.reset()
        for i in range(12):
            told = found.update(form(i))
            pd.testing.assert_frame_equal(told, expected[i], check_freq=False, check_names=False)
    for form in (
        lambda i: rows.iloc[i].to_dict(),
        lambda i: rows.iloc[i].to_numpy(),
        lambda i: rows.iloc[i].tolist(),
        lambda i: rows.iloc[[i]].to_numpy(),
    ):
        found.reset()
        for i in range(12):
            told = found.update(form(i))
            assert told.index[-1] == i
            pd.testing.assert_frame_equal(told.reset_index(drop=True), numbered[i])
    for row, message in (
        ({"a": 1.0}, "rows must have the columns of fit, .* 'b' missing"),
        ([1.0, 2.0, 3.0], "rows must have 2 columns, as in fit, got 3"),
    ):
        with pytest.raises((ArgumentError, ShapeError), match=message):
            found.update(row)
    one = detector().fit(waves()[:, 0])
    assert one.update(0.5).index.tolist() == [0]
    assert one.update([0.5, 0.6]).index.tolist() == [1, 2]
    grouped = of_table().fit(table())
    told = grouped.update({"sensor": "s1", "t": pd.Timestamp("2026-03-01"), "x": 0.1, "y": 3})
    assert told[["sensor", "t"]].values.tolist() == [["s1", pd.Timestamp("2026-03-01")]]
    assert told.index.tolist() == [0]


def test_another_stream_begins_after_reset_and_fit() -> None:
    found = detector().fit(waves())
    first = found.update(waves(30, seed=1))
    assert found.update(waves(3)).index[-1] == 32
    pd.testing.assert_frame_equal(found.reset().update(waves(30, seed=1)), first)
    pd.testing.assert_frame_equal(found.fit(waves()).update(waves(30, seed=1)), first)


def test_nothing_to_score_gives_nothing() -> None:
    found = detector().fit(waves())
    nothing = np.empty((0, 2))
    assert found.scores(nothing).shape == (0, 2)
    assert found.predict(nothing).shape == (0,)
    assert len(found.events(nothing)) == len(found.update(nothing)) == 0
    assert len(found.update(waves(3))) == 3
    assert len(found.update(nothing)) == 0
    rows = table()
    assert len(of_table().fit(rows).scores(rows[:0])) == 0


def test_rows_that_come_late_are_refused_and_change_nothing() -> None:
    rows = table(groups=1)
    found = of_table().fit(rows)
    twin = copy.deepcopy(found)
    found.update(rows[:20])
    twin.update(rows[:20])
    for late in (rows[15:18], rows[2:3], rows[18:25]):
        with pytest.raises(DataError, match="rows must come later|time must differ"):
            found.update(late)
    pd.testing.assert_frame_equal(found.update(rows[20:40]), twin.update(rows[20:40]))


# -- scikit-learn ----------------------------------------------------------------------------------

ROWS_HAVE_NEIGHBOURS = "a row's score depends on the rows about it"
OWN_WORDS = "it is refused with a ValueError, but in our words"
NOT_APPLICABLE = {
    "check_methods_subset_invariance": ROWS_HAVE_NEIGHBOURS,
    "check_methods_sample_order_invariance": ROWS_HAVE_NEIGHBOURS,
    "check_fit1d": "a series of one column may have one dimension",
    "check_dtype_object": "objects are refused",
    "check_n_features_in_after_fitting": OWN_WORDS,
    "check_complex_data": OWN_WORDS,
    "check_estimators_empty_data_messages": OWN_WORDS,
    "check_fit2d_1sample": OWN_WORDS,
    "check_fit2d_predict1d": OWN_WORDS,
}


@parametrize_with_checks(
    [AnomalyDetector(QUICK, past=2, future=1)],
    expected_failed_checks=lambda _: NOT_APPLICABLE,
)
def test_checks_of_scikit_learn_pass(
    estimator: AnomalyDetector, check: Callable[[AnomalyDetector], None]
) -> None:
    check(estimator)


def test_a_clone_has_the_parameters_and_a_fitted_model() -> None:
    found = detector(Model(**QUICK), quantile=0.9).fit(waves())
    twin = clone(found)
    assert twin.model is not found.model
    assert twin.get_params(deep=False).keys() == found.get_params(deep=False).keys()
    assert twin.quantile == 0.9
    with pytest.raises(NotFittedError, match="call fit or load first"):
        twin.scores(waves())
    np.testing.assert_array_equal(twin.fit(waves()).scores(waves()), found.scores(waves()))
    np.testing.assert_array_equal(found.fit_predict(waves()), found.predict(waves()))
    reuse = detector(found.model_)
    assert clone(reuse).model is found.model_


def test_a_fitted_model_is_used_as_it_is() -> None:
    windows = np.lib.stride_tricks.sliding_window_view(waves(), LENGTH, axis=0).transpose(0, 2, 1)
    model = Model(**QUICK, horizon=FUTURE).fit(windows)
    found = detector(model).fit(waves())
    assert found.model_ is model
    assert model.n_iter_ == 5
    np.testing.assert_allclose(
        found.scores(waves(12, seed=1)), by_hand(found, waves(12, seed=1)), rtol=1e-4
    )


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("center", [False, True])
def test_a_saved_detector_is_the_same(tmp_path: Path, center: bool) -> None:
    rows = table()
    found = of_table(quantile=0.9, center=center).fit(rows)
    found.save(tmp_path / "d.safetensors")
    again = AnomalyDetector.load(tmp_path / "d.safetensors", device="cpu")
    pd.testing.assert_frame_equal(again.scores(rows), found.scores(rows))
    pd.testing.assert_frame_equal(again.events(rows), found.events(rows))
    assert (again.offset_, again.columns_) == (found.offset_, found.columns_)
    assert list(again.feature_names_in_) == ["x", "y"]
    assert again.get_params(deep=False) | {"model": 0} == found.get_params(deep=False) | {
        "model": 0
    }
    # A gap, once learnt, is not learnt anew from what is scored.
    with pytest.warns(TrainingWarning, match="is a gap, as in fit"):
        assert again.scores(rows[::2]).isna().all(axis=None)
    alone = Model.load(tmp_path / "d.safetensors", device="cpu")
    alone.save(tmp_path / "m.safetensors")
    wide = of_table(gap="5min").fit(rows)
    wide.save(tmp_path / "w.safetensors")
    again = AnomalyDetector.load(tmp_path / "w.safetensors", device="cpu")
    assert pd.Timedelta(again.get_params()["gap"]) == pd.Timedelta("5min")
    pd.testing.assert_frame_equal(again.scores(rows[::2]), wide.scores(rows[::2]))
    with pytest.raises(
        FileFormatError, match="must be a backcast AnomalyDetector, got a backcast Model"
    ):
        AnomalyDetector.load(tmp_path / "m.safetensors")


# -- errors ----------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"model": 3}, ArgumentError, "model must be a backcast.Model, its parameters or None, got a"),
    ({"past": 0}, ArgumentError, "past must be at least 1, got 0"),
    ({"future": -1}, ArgumentError, "future must be at least 0, got -1"),
    ({"contamination": 0.7}, ArgumentError, r"contamination must be in \(0, 0.5\], got 0.7"),
    ({"quantile": 2}, ArgumentError, "quantile must be in 0..1, got 2"),
    ({"scoring": "loud"}, ArgumentError, 'scoring must be "wide" or "sharp", got \'loud\''),
    ({"center": "no"}, ArgumentError, "center must be True, False or \"auto\", got 'no'"),
    ({"past": "auto", "future": 400}, ShapeError, "at least past \\+ future = 425 frames"),
    ({"past": "long"}, ArgumentError, "past must be a whole number, got 'long'"),
    ({"past": 500}, ShapeError, "series must have at least past \\+ future = 503 frames"),
    ({"group": "sensor"}, ArgumentError, "series must be a DataFrame, which has a group"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED, ids=str)
def test_what_cannot_be_used_is_refused(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        detector(**change).fit(waves())


def test_a_refused_fit_leaves_the_detector_as_it_was() -> None:
    found = detector().fit(waves())
    offset = found.offset_
    with pytest.raises(ShapeError, match="series must be of shape"):
        found.fit(np.zeros((4, 4, 4)))
    with pytest.raises(DataError, match="series must hold real numbers"):
        found.fit(np.array(["a"]))
    with pytest.raises(ShapeError, match="validation must have at least past"):
        found.fit(waves(), validation=waves(5))
    assert found.offset_ == offset
    with pytest.raises(ShapeError, match="series must have 2 columns, as in fit, got 1"):
        found.scores(waves()[:, 0])
    with pytest.raises(DataError, match="series must hold numbers, got only NaN"):
        found.fit(np.full((50, 2), np.nan))
    with pytest.raises(DataError, match="inf"):
        found.scores(np.full((50, 2), np.inf))
    with pytest.raises(ArgumentError, match="must have other names to be scored live, got 'final'"):
        detector().fit(pd.DataFrame(waves(), columns=["x", "final"])).update(waves(9))


def test_the_training_of_a_detector_has_the_hooks_of_a_model(tmp_path: Path) -> None:
    t = np.arange(300)
    series, seen = np.stack([np.sin(t / 3), np.cos(t / 5)], axis=1), []
    parameters = {"hidden_size": 6, "max_iter": 20, "random_state": 0, "verbose": 0}
    parameters |= {"device": "cpu", "batch_size": 32}

    def stop(_: Model, record: dict[str, float]) -> None:
        seen.append(record["step"])
        if len(seen) == 11:
            raise KeyboardInterrupt

    detector = AnomalyDetector(parameters, past=8, future=2)
    options: dict[str, Any] = {"validation": series[:60], "checkpoint": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        detector.fit(series[60:], callback=stop, **options)
    assert not hasattr(detector, "offset_")
    resumed = AnomalyDetector(parameters, past=8, future=2).fit(series[60:], **options)
    assert "validation_loss" in resumed.model_.history_[-1]
    plain = AnomalyDetector(parameters, past=8, future=2)
    plain.fit(series[60:], validation=series[:60])
    np.testing.assert_array_equal(resumed.scores(series), plain.scores(series))
    part = AnomalyDetector(parameters, past=8, future=2).fit(series, validation=0.2)
    assert "validation_loss" in part.model_.history_[-1]
    for refused, words in (
        ({"checkpoint": tmp_path / "x"}, "checkpoint must be None"),
        ({"validation": 0.2}, "validation must be rows"),
    ):
        with pytest.raises(ArgumentError, match=f"{words} with a fitted model"):
            AnomalyDetector(plain.model_, past=8, future=2).fit(series, **refused)


def test_a_few_rows_of_several_recordings_ask_for_the_rows_of_each_before() -> None:
    rows = table().drop(columns="t")
    found = detector(group="sensor").fit(rows)
    last = rows.groupby("sensor").tail(2)
    before = rows.drop(last.index)
    with pytest.warns(TrainingWarning, match="Give the 8 rows of each recording before it too"):
        found.scores(last, context=before[:0])
    both = before.groupby("sensor").tail(8)
    assert found.scores(last, context=both).notna().all(axis=None)


def test_rows_unlike_those_of_fit_are_said_to_be_unlike() -> None:
    found, rows = detector().fit(waves()), waves(seed=1)
    found.predict(rows)
    for call in (found.predict, found.events):
        with pytest.warns(TrainingWarning, match="% of 200 rows are outliers: .* differ .* fit"):
            call(rows + 10 * rows.std(axis=0))


def test_few_rows_are_said_to_be_too_few() -> None:
    rows = waves()[:40]
    with pytest.warns(TrainingWarning, match="series of 40 rows gives 2. windows .* too few"):
        detector(QUICK | {"max_iter": 120}).fit(rows)


@pytest.mark.parametrize("estimator", [AnomalyDetector(), Forecaster(4, 2)])
def test_frames_of_several_dimensions_come_with_the_call_that_makes_rows(estimator: Any) -> None:
    with pytest.raises(ShapeError, match=r"; numpy.reshape\(series, \(9, -1\)\) makes rows of fr"):
        estimator.fit(np.zeros((9, 4, 4, 1)))
    with pytest.raises(ShapeError, match=r"got \(\)$"):
        estimator.fit(np.float64(3))


def test_a_misspelt_parameter_of_the_model_is_named() -> None:
    with pytest.raises(ArgumentError, match="backcast.Model, got 'max_itr'; 'max_iter"):
        AnomalyDetector({"max_itr": 5}).fit(waves())
    for parameters, message in (
        ({"random_state": 5}, r"inside, AnomalyDetector\({'random_state': 5, ...}\)"),
        ({"quantiles": 0.9}, "has no parameter 'quantiles'; 'quantile' is one"),
    ):
        with pytest.raises(TypeError, match=message):
            AnomalyDetector(**parameters)  # type: ignore[arg-type]


def test_rows_in_dicts_are_numbered_on_from_the_table_before() -> None:
    rows = table(groups=1)
    found = detector(time="t").fit(rows)
    found.update(rows[10:20])
    assert found.update(rows.iloc[20].to_dict()).index.max() == 20
