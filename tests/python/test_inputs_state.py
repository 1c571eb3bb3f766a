"""State is looked at before it changes, and what is left out is said once."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backcast import AnomalyDetector, Classifier, Model
from backcast.data import windows
from backcast.data._calendars import Week
from backcast.data._clock import restored_gap, saved_gap
from backcast.errors import ArgumentError, BackcastError, DataError, ShapeError, TrainingWarning
from small import X, small_model


def table(n: int = 100, freq: str = "h", start: str = "2026-01-01", **options: Any) -> pd.DataFrame:
    t = np.arange(n)
    index = pd.date_range(start, periods=n, freq=freq, name="time", **options)
    return pd.DataFrame({"a": np.sin(t / 3), "b": 5 + np.cos(t / 4)}, index=index)


def detector(**params: Any) -> AnomalyDetector:
    model = {"hidden_size": 4, "max_iter": 3, "random_state": 0, "device": "cpu", "verbose": 0}
    return AnomalyDetector(model, **({"past": 6, "future": 2} | params))


ROWS = table()
NEXT = ROWS[20:22]
REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "fewer columns": (NEXT[["a"]], ArgumentError, "columns of fit.*'b' missing"),
    "other names": (NEXT.rename(columns={"b": "B"}), ArgumentError, "columns of fit.*'b' missing"),
    "words in a column": (NEXT.assign(b="x"), DataError, "'b' must hold real numbers"),
    "a zone": (NEXT.tz_localize("UTC"), DataError, "dates without a zone.*dates with a zone"),
    "words as times": (NEXT.set_axis(["x", "y"]), DataError, "got words"),
    "numbers as times": (NEXT.reset_index(drop=True), DataError, "got numbers"),
    "durations": (NEXT.set_axis(pd.to_timedelta([1, 2], "h")), DataError, "got durations"),
    "periods": (NEXT.to_period("h"), DataError, "got periods"),
    "an array": (NEXT.to_numpy(), DataError, "got numbers"),
    "an array of one column": (
        np.zeros(3),
        ShapeError,
        "rows must have 2 columns, as in fit, got 3",
    ),
    "a column": (NEXT["a"], ArgumentError, "columns of fit.*'b' missing"),
    "an earlier row": (ROWS[3:4], DataError, "rows must come later|time must differ"),
    "a row twice": (pd.concat([NEXT, NEXT]), DataError, "time must differ"),
    "no time": (NEXT.set_axis([NEXT.index[0], pd.NaT]), DataError, "time must be known"),
    "infinite": (NEXT.assign(a=np.inf), DataError, "finite numbers or NaN"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_rows_that_do_not_fit_leave_a_stream_as_it_was(kind: str) -> None:
    found = detector().fit(ROWS)
    found.update(ROWS[:20])
    same, before = copy.deepcopy(found), found._stream
    rows, error, message = REFUSED[kind]
    with pytest.raises(error, match=message):
        found.update(rows)
    assert found._stream is before
    pd.testing.assert_frame_equal(found.update(NEXT), same.update(NEXT))


def test_a_row_of_iterrows_is_one_row() -> None:
    one, other = detector().fit(ROWS), detector().fit(ROWS)
    one.update(ROWS[:20])
    other.update(ROWS[:20])
    for i, (_, row) in enumerate(ROWS[20:24].iterrows()):
        pd.testing.assert_frame_equal(
            one.update(row),
            other.update(ROWS[20 + i : 21 + i]),
            check_freq=False,
            check_names=False,
        )


def test_times_of_a_stream_are_in_its_own_zone() -> None:
    rows = ROWS.tz_localize("UTC")
    one, other = detector().fit(rows), detector().fit(rows)
    one.update(rows[:20])
    other.update(rows[:20])
    changed = one.update(rows[20:30].tz_convert("Europe/Berlin"))
    pd.testing.assert_frame_equal(changed, other.update(rows[20:30]), check_freq=False)
    late = rows[60:70].tz_convert("Europe/Berlin")
    pd.testing.assert_frame_equal(one.update(late), other.update(rows[60:70]), check_freq=False)
    with pytest.raises(DataError, match="dates without a zone"):
        one.update(ROWS[80:82])
    columns = rows.reset_index()
    found = detector(time="time").fit(columns)
    found.update(columns[:20])
    there = columns[20:30].assign(time=columns["time"][20:30].dt.tz_convert("Asia/Tokyo"))
    assert len(found.update(there)) >= 10
    with pytest.raises(DataError, match="dates with a zone"):
        found.update(columns[30:32].assign(time=columns["time"][30:32].dt.tz_localize(None)))


# -- what is left out is said ----------------------------------------------------------------------


def test_columns_of_numbers_and_words_are_left_out_with_a_warning() -> None:
    rows = ROWS.assign(flow=["1.5"] * 99 + ["-"], note="ok", when=ROWS.index)
    with pytest.warns(UserWarning, match="columns left out, .*: 'flow'") as said:
        assert windows(rows, 5).columns == ["a", "b"]
    assert len(said) == 1
    assert said[0].filename == __file__
    with pytest.raises(DataError, match="'flow' must hold real numbers, .*to_numeric"):
        windows(rows, 5, columns=["flow"])
    assert windows(ROWS.assign(t=pd.Timedelta("1h")), 5).columns == ["a", "b"]
    with pytest.raises(DataError, match="'z' must hold real numbers, got dtype complex128"):
        windows(ROWS.assign(z=1j), 5)


def two_rates() -> pd.DataFrame:
    rows = [table(200, "s").assign(s="fast"), table(60, "min").assign(s="slow")]
    return pd.concat(rows).reset_index()


def test_each_recording_has_its_own_step(tmp_path: Path) -> None:
    rows = two_rates()
    w = windows(rows, 10, group="s", time="time")
    assert pd.Series(w.groups).value_counts().to_dict() == {"fast": 191, "slow": 51}
    found = detector(group="s", time="time").fit(rows)
    assert found.scores(rows).notna().all(axis=None)
    found.save(tmp_path / "d")
    again = AnomalyDetector.load(tmp_path / "d", device="cpu")
    holed = rows.drop(index=range(100, 103))
    pd.testing.assert_frame_equal(again.scores(holed), found.scores(holed))
    assert set(found.gap_) == {"fast", "slow"}


def test_a_recording_without_a_window_is_told_of() -> None:
    rows = pd.concat([ROWS.assign(s="long"), ROWS[:4].assign(s="short")])
    with pytest.warns(UserWarning, match="1 of 2 recordings have no window .* left out: 'short'"):
        assert set(windows(rows, 5, group="s").groups) == {"long"}
    with pytest.warns(UserWarning, match="left out: 'short'"):
        detector(group="s").fit(rows)


def test_rows_of_another_rate_are_told_of() -> None:
    found = detector().fit(ROWS)
    for use in (found.predict, found.events, found.score_samples):
        with pytest.warns(TrainingWarning, match="no row of series has a score.*step of more than"):
            use(table(100, "2h"))
    with pytest.warns(TrainingWarning, match="scores of series of another rate mean little"):
        found.scores(table(100, "30min"))


def test_a_future_beyond_the_horizon_is_told_of() -> None:
    model = small_model(horizon=1).fit(windows(ROWS, 6, 1))
    with pytest.warns(TrainingWarning, match="future=3 is beyond the 1 frames"):
        AnomalyDetector(model, past=6, future=3).fit(ROWS)


# -- parameters ------------------------------------------------------------------------------------

GAPS: dict[str, tuple[Any, int]] = {
    "infinite": (np.inf, 21),
    "NumPy's infinity": (np.float64("inf"), 21),
    "words": ("6h", 21),
    "a duration": (pd.Timedelta("6h"), 21),
    "NumPy's duration": (np.timedelta64(6, "h"), 21),
    "Python's duration": (pd.Timedelta("6h").to_pytimedelta(), 21),
    "an offset": (pd.offsets.Hour(6), 21),
    "too short for it": (pd.Timedelta("5h"), 17),
    "a business day": (pd.offsets.BDay(1), 21),
}
HOLED = table(30).drop(index=table(30).index[10:15])


@pytest.mark.parametrize("kind", GAPS)
def test_a_gap_is_any_duration_and_is_saved(kind: str, tmp_path: Path) -> None:
    gap, count = GAPS[kind]
    assert len(windows(HOLED, 5, gap=gap)) == count
    found = detector(gap=gap, past=3, future=2).fit(HOLED)
    found.save(tmp_path / "d")
    again = AnomalyDetector.load(tmp_path / "d", device="cpu")
    pd.testing.assert_frame_equal(again.scores(HOLED), found.scores(HOLED))
    assert again.gap is not None


@pytest.mark.parametrize(
    "gap", [pd.NaT, np.nan, 3, 3.5, np.int64(3), True, "soon", [], "NaT"], ids=str
)
def test_a_gap_without_a_unit_is_refused(gap: Any) -> None:
    with pytest.raises(ArgumentError, match='gap must be a duration, such as "3h"'):
        windows(HOLED, 5, gap=gap)


VALIDATIONS: dict[str, tuple[Any, str]] = {
    "a flag": (True, "got True"),
    "words": ("0.2", "got '0.2'"),
    "a table": (ROWS, "windows of a table are made by"),
    "one window": (X[0], "at least 3 dimensions"),
    "other frames": (X[..., :2], "must have frames of shape"),
    "a short pair": ((X[:, :5], X[:3, 5:]), "as many windows"),
}


@pytest.mark.parametrize("kind", VALIDATIONS)
def test_messages_on_validation_name_it(kind: str) -> None:
    given, message = VALIDATIONS[kind]
    with pytest.raises(BackcastError, match=message) as said:
        small_model(horizon=3).fit(X, validation=given)
    assert "validation" in str(said.value)


def test_a_list_of_two_is_a_pair_as_a_loader_gives_it() -> None:
    fits: list[Callable[[], Any]] = [
        lambda: small_model(horizon=3).fit(X, validation=X),
        lambda: small_model(horizon=3).fit(X, validation=(X[:, :5], X[:, 5:])),
        lambda: small_model(horizon=3).fit(X, validation=[X[:, :5], X[:, 5:]]),
    ]
    losses = [fit().history_[-1]["validation_loss"] for fit in fits]
    assert losses[0] == losses[1] == losses[2]


def test_windows_of_a_table_know_where_their_past_ends() -> None:
    assert small_model().fit(windows(ROWS, 8, 2)).horizon_ == 2
    with pytest.warns(TrainingWarning, match="8 frames that are all past are cut in half, 4 "):
        assert small_model().fit(windows(ROWS, 8)).horizon_ == 4


def test_classes_of_dates_are_saved(tmp_path: Path) -> None:
    dates = pd.to_datetime(["2026-01-01", "2026-01-02"] * 6)
    classifier = Classifier(hidden_size=4, max_iter=2, device="cpu", verbose=0).fit(X, dates)
    classifier.save(tmp_path / "c")
    loaded = Classifier.load(str(tmp_path / "c"), device="cpu")
    np.testing.assert_array_equal(loaded.predict(X), classifier.predict(X))
    assert loaded.classes_.dtype == classifier.classes_.dtype


def test_weights_are_a_mapping() -> None:
    with pytest.raises(ArgumentError, match="arrays must be a mapping of names to arrays"):
        Model.from_state_dict([X])  # type: ignore[arg-type]


# -- times that are not taken as such --------------------------------------------------------------


def test_an_index_that_looks_like_seconds_is_said_not_to_be_times() -> None:
    rows = table(30).set_index(np.r_[np.arange(10), 20 + np.arange(20)] * 0.5)
    with pytest.warns(UserWarning, match="the index holds numbers and is not taken as times"):
        assert len(windows(rows, 5)) == 26
    assert len(windows(rows.rename_axis("seconds"), 5, time="seconds")) == 22
    with pytest.warns(UserWarning, match="is not taken as times"):
        windows(rows.iloc[::-1], 5)


def test_an_index_of_numbers_that_changes_nothing_as_times_is_no_warning() -> None:
    for index in (np.arange(30) * 0.1, np.arange(30), np.arange(30)[::-1], np.full(30, np.nan)):
        assert len(windows(table(30).set_index(index), 5)) == 26


# -- calendars -------------------------------------------------------------------------------------


def test_holidays_are_gaps_unless_the_calendar_knows_them() -> None:
    days = pd.offsets.CustomBusinessDay(holidays=["2026-01-06"])
    index = pd.date_range("2026-01-01", periods=60, freq=days)
    rows = pd.DataFrame({"a": np.sin(np.arange(60))}, index=index)
    # An index may know them by itself.
    assert len(windows(rows, 10)) == 51
    rows.index = pd.DatetimeIndex(index.to_numpy())
    assert len(windows(rows, 10)) == 48
    assert len(windows(rows, 10, gap=days)) == 51
    assert len(windows(rows, 10, gap="4D")) == 51


def test_a_calendar_is_saved_with_all_it_knows(tmp_path: Path) -> None:
    days = pd.offsets.CustomBusinessDay(holidays=["2026-01-06"])
    index = pd.date_range("2026-01-01", periods=60, freq="B")
    rows = pd.DataFrame({"a": np.sin(np.arange(60))}, index=index)
    detector(gap=days).fit(rows).save(tmp_path / "detector")
    assert AnomalyDetector.load(tmp_path / "detector", device="cpu").gap_ == days
    hours = pd.date_range("2026-01-05", periods=24 * 21, freq="h")
    week = Week.of(hours[hours.hour < 9])
    six = pd.offsets.CustomBusinessDay(2, weekmask="Mon Tue Wed Thu Fri Sat")
    late = pd.offsets.BusinessHour(start=["10:00", "13:00"], end=["12:00", "19:30"])
    short = pd.offsets.CustomBusinessHour(weekmask="Mon Tue", holidays=["2026-01-06"], end="12:00")
    bounds = {"a": week, "b": "B", "c": np.inf}
    for calendar in (week, six, late, short, pd.offsets.BDay(), bounds):
        again = restored_gap(json.loads(json.dumps(saved_gap(calendar))))
        assert again == calendar
    with pytest.raises(ArgumentError, match="gap must be a duration or a word to be saved"):
        saved_gap(pd.DateOffset(months=1, days=2))
    for damaged in (
        {"week": []},
        {"week": [5, 4]},
        {"week": [-1]},
        {"week": [7 * 86400 * 10**9]},
        {"week": ["5"]},
        {"kind": "CustomBusinessDay", "n": 1, "weekmask": 5, "holidays": []},
        {"kind": "CustomBusinessDay", "n": 1, "weekmask": "Mon", "holidays": ["soon"]},
        {"kind": "CustomBusinessDay", "n": 1, "weekmask": "Moon", "holidays": []},
        {"kind": "CustomBusinessDay", "n": 0, "weekmask": "Mon", "holidays": []},
        {"kind": "BusinessHour", "n": 1, "start": ["soon"]},
        {"kind": "BusinessHour", "n": 1, "offset": 5},
        {"kind": "Timedelta", "n": 1},
    ):
        with pytest.raises(ValueError):  # noqa: PT011
            restored_gap(damaged)
