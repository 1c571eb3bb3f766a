"""Forecasts come back on the times that they are of, with errors by step that are as counted."""

from __future__ import annotations

import sys
from typing import Any

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from backcast import forecast_errors, plot
from backcast.data import Windows, windows
from backcast.data._calendars import Week
from backcast.errors import (
    ArgumentError,
    DataError,
    DecoderError,
    MissingPackageError,
    NotFittedError,
    ShapeError,
)
from small import FUTURE, PAST, X, small_model


def after(index: Any, steps: int = 3, **options: Any) -> list[Any]:
    """Times after the last row of a table."""
    frame = pd.DataFrame({"x": np.arange(len(index), dtype=float)}, index=index)
    last = windows(frame, past=2, **options).last
    return last.after(steps).get_level_values(-1).tolist()


BERLIN = "Europe/Berlin"
SIX: dict[str, tuple[Any, list[Any]]] = {
    "hours": (
        pd.date_range("2026-01-01", periods=6, freq="h"),
        ["2026-01-01 06:00", "2026-01-01 07:00", "2026-01-01 08:00"],
    ),
    "months": (
        pd.date_range("2025-09-30", periods=6, freq="ME"),
        ["2026-03-31", "2026-04-30", "2026-05-31"],
    ),
    "weeks": (
        pd.date_range("2026-01-01", periods=6, freq="7D"),
        ["2026-02-12", "2026-02-19", "2026-02-26"],
    ),
    "two rows": (pd.to_datetime(["2026-01-01", "2026-01-03"]), ["2026-01-05", "2026-01-07"]),
    "irregular": (
        pd.to_datetime(["2026-01-01 00:00", "2026-01-01 00:59", "2026-01-01 02:00"]),
        ["2026-01-01 02:59", "2026-01-01 03:58"],
    ),
    "days, the clock goes on": (
        pd.date_range("2026-03-23", periods=6, freq="D", tz=BERLIN),
        ["2026-03-29 00:00+01:00", "2026-03-30 00:00+02:00", "2026-03-31 00:00+02:00"],
    ),
    "days, there is no such hour": (
        pd.date_range("2026-03-23 02:30", periods=6, freq="D", tz=BERLIN),
        ["2026-03-29 03:00+02:00", "2026-03-30 02:30+02:00"],
    ),
    "days, the hour is there twice": (
        pd.date_range("2026-10-19 02:30", periods=6, freq="D", tz=BERLIN),
        ["2026-10-25 02:30+02:00", "2026-10-26 02:30+01:00"],
    ),
    "hours, the clock goes on": (
        pd.date_range("2026-03-28 20:00", periods=6, freq="h", tz=BERLIN),
        ["2026-03-29 03:00+02:00", "2026-03-29 04:00+02:00"],
    ),
    "hours, the clock goes back": (
        pd.date_range("2026-10-24 21:00", periods=6, freq="h", tz=BERLIN),
        ["2026-10-25 02:00+01:00", "2026-10-25 03:00+01:00"],
    ),
    "noon and midnight": (
        pd.date_range("2026-03-28", periods=6, freq="12h").tz_localize(BERLIN),
        ["2026-03-31 00:00+02:00", "2026-03-31 12:00+02:00"],
    ),
}


@pytest.mark.parametrize("case", SIX)
def test_dates_continue_by_the_calendar_and_the_clock(case: str) -> None:
    index, expected = SIX[case]
    assert after(index, len(expected)) == [
        pd.Timestamp(day).tz_convert(index.tz) if index.tz else pd.Timestamp(day)
        for day in expected
    ]


def test_business_days_skip_the_weekend() -> None:
    days = pd.date_range("2026-01-05", periods=10, freq="B")
    assert after(days, 1, gap="4D") == [pd.Timestamp("2026-01-19")]


SIX_DAYS = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat")
OPEN = pd.date_range("2026-02-16", "2026-04-04", freq="30min")
OPEN = OPEN[(OPEN.hour >= 8) & (OPEN.hour < 18) & (OPEN.dayofweek < 6)]
# Saturdays are short.
OPEN = OPEN[(OPEN.dayofweek < 5) | (OPEN.hour < 13)]
FREQUENCIES: dict[str, Any] = {
    "six days": SIX_DAYS,
    "Sunday to Thursday": pd.offsets.CustomBusinessDay(weekmask="Sun Mon Tue Wed Thu"),
    "three days": pd.offsets.CustomBusinessDay(weekmask="Mon Wed Fri"),
    "business hours": "bh",
    "half months": "SMS",
    "ends of half months": "SME",
    "tenths and firsts": "SMS-10",
    "quarters": "QE-NOV",
    "third Fridays": "WOM-3FRI",
    "last Fridays": "LWOM-FRI",
}


@pytest.mark.parametrize("gap", [None, np.inf], ids=["", "any gap"])
@pytest.mark.parametrize("kind", FREQUENCIES)
def test_dates_follow_the_calendar_that_the_rows_show(kind: str, gap: Any) -> None:
    dates = pd.date_range("2026-01-08 10:00", periods=103, freq=FREQUENCIES[kind])
    index = pd.DatetimeIndex(dates.to_numpy())
    assert after(index[:-3], gap=gap) == dates[-3:].tolist()
    if gap is None:
        assert len(windows(pd.DataFrame({"x": 1.0}, index=index), past=30)) == 74


@pytest.mark.parametrize("zone", [None, BERLIN])
def test_hours_of_opening_are_learnt_on_the_local_clock(zone: str | None) -> None:
    index = OPEN.tz_localize(zone)
    # The next rows are after a night, a short Saturday and a Sunday with a change of the clocks.
    for end in (index.get_loc(f"2026-03-{hour}") for hour in ("26 17:30", "27 12:00", "28 12:30")):
        assert after(index[: end + 1], 40, gap=np.inf) == index[end + 1 : end + 41].tolist()
    frame = pd.DataFrame({"x": 1.0}, index=index)
    assert len(windows(frame, past=40)) == len(index) - 39
    # A row that is missing is a gap; the calendar stays.
    assert len(windows(frame.drop(index[200]), past=40)) == len(index) - 1 - 2 * 39
    some = index[: index.get_loc("2026-03-28 12:30") + 1].delete([200, 300])
    assert after(some, 1) == [pd.Timestamp("2026-03-30 08:00", tz=zone)]


@pytest.mark.parametrize("n", [2_000, 4_500, 7_000])
def test_rows_that_are_missing_are_no_calendar(n: int) -> None:
    rng = np.random.default_rng(n)
    every = pd.date_range("2026-01-01", periods=n + 300, freq="10min")
    index = every[:n]
    assert after(index.delete(1100), 300) == every[n:].tolist()
    outages = np.concatenate([np.arange(k, k + 18) for k in rng.integers(0, n - 99, 6)])
    for some in (outages, *(np.flatnonzero(rng.random(n) < part) for part in (0.01, 0.06))):
        assert Week.of(index.delete(some)) is None


@pytest.mark.parametrize("n_days", [13, 28])
def test_rows_that_are_missing_leave_hours_of_opening(n_days: int) -> None:
    hours = pd.date_range("2026-01-06 08:00", periods=24 * (n_days + 9), freq="h")
    late = (hours.hour == 18) & (hours.dayofweek == 2)
    opened = hours[(hours.hour >= 8) & (hours.hour < 18) & (hours.dayofweek < 5) | late]
    end = opened.searchsorted(hours[24 * n_days] + pd.Timedelta("1h"))
    kept = np.random.default_rng(0).random(end) > 0.03
    kept[-2:] = True
    assert after(opened[:end][kept], 50) == opened[end : end + 50].tolist()
    # Hours that are closed in each of four weeks are known, those of two may be missing.
    open_hours = hours[(hours.dayofweek < 6) | (hours.hour >= 2)][: 23 * n_days]
    week = Week.of(open_hours)
    assert (week is None) == (n_days == 13)
    assert week is None or len(week.times) == 24 * 7 - 2


def test_a_calendar_is_given_by_gap_or_by_the_index() -> None:
    holidays = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri", holidays=["2026-02-12"])
    index = pd.date_range("2026-01-05", periods=28, freq=holidays)
    assert index[-1] == pd.Timestamp("2026-02-11")
    assert after(index, 1) == [pd.Timestamp("2026-02-13")]
    plain = pd.DatetimeIndex(index.to_numpy())
    assert after(plain, 1) == [pd.Timestamp("2026-02-12")]
    assert after(plain, 1, gap=holidays) == [pd.Timestamp("2026-02-13")]
    # Two rows do not show it; a row on a day off does not end it.
    assert after(plain[3:5], 1, gap=SIX_DAYS) == [pd.Timestamp("2026-01-10")]
    six = pd.date_range("2026-01-05", "2026-01-31", freq=SIX_DAYS)
    sunday = six.append(pd.DatetimeIndex(["2026-02-01"]))
    for gap in (None, SIX_DAYS):
        assert after(sunday, 1, gap=gap) == [pd.Timestamp("2026-02-02")]
    # A calendar may be a mere bound of the steps.
    hours = pd.date_range("2026-01-05", periods=30, freq="h")
    assert after(hours, 1, gap=pd.offsets.BDay()) == [pd.Timestamp("2026-01-06 06:00")]


def test_times_that_are_a_guess_are_a_warning() -> None:
    steps = np.random.default_rng(0).integers(1, 9, 40)
    index = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.cumsum(steps), "D")
    with pytest.warns(UserWarning, match=r"the times after 2026-.* are a guess: .* gap=... gives"):
        after(index, gap=np.inf)
    with pytest.warns(UserWarning, match="are a guess"):
        after(pd.Index(np.cumsum(steps), name="t"), time="t", gap=np.inf)
    # Jitter and a few gaps are none.
    jitter = index[0] + pd.to_timedelta(np.arange(40) * 60 + steps, "s")
    after(jitter.delete([10, 20]), gap=np.inf)


def test_periods_durations_and_numbers_continue() -> None:
    months = pd.period_range("2026-01", periods=4, freq="M")
    assert after(months, 2) == [pd.Period("2026-05"), pd.Period("2026-06")]
    ticks = pd.timedelta_range("0s", periods=4, freq="10ms")
    assert after(ticks, 2) == [pd.Timedelta("40ms"), pd.Timedelta("50ms")]
    assert after(pd.RangeIndex(5), 2) == [5, 6]
    np.testing.assert_allclose(after(pd.Index([0, 0.5, 1.0, 1.5]), 2), [2, 2.5])
    for words in (list("abcd"), [3, 1, 2, 4], [7, 7, 7]):
        assert after(pd.Index(words), 2) == [1, 2]


@pytest.mark.parametrize("index", [case[0] for case in SIX.values()], ids=[*SIX])
def test_what_comes_back_is_of_the_kind_that_came(index: Any) -> None:
    frame = pd.DataFrame({"x": 1.0}, index=index.rename("when"))
    found = windows(frame, past=1).after(4)
    assert found.names == ["window", "when"]
    assert found.get_level_values("when").dtype == index.dtype


def test_the_tables_own_times_come_first() -> None:
    day = pd.date_range("2026-01-01", periods=20, freq="D").delete([10, 11])
    w = windows(pd.DataFrame({"x": np.arange(18.0)}, index=day), past=4)
    found = w.after(3).get_level_values("time").to_numpy().reshape(-1, 3)
    np.testing.assert_array_equal(found, w.times[:, -1:] + np.arange(1, 4) * np.timedelta64(1, "D"))
    labels = pd.Index(list("abcdefgh"))
    w = windows(pd.DataFrame({"x": np.arange(8.0)}, index=labels), past=2)
    assert w[:2].after(2).tolist() == [(0, "c"), (0, "d"), (1, "d"), (1, "e")]
    assert w[-2:].after(2).tolist() == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert w[-2:].after(2).names == ["window", "step"]
    # Whole windows: what comes after their future.
    w = windows(pd.DataFrame({"x": np.arange(8.0)}), past=2, future=2)
    assert w[:1].after(1).tolist() == [(0, 4)]
    assert w[:1].past.after(1).tolist() == [(0, 2)]
    with pytest.raises(ArgumentError, match="steps must be at least 1, got 0"):
        w.after(0)


def grouped() -> Windows:
    hours = pd.date_range("2026-01-01", periods=9, freq="h")
    days = pd.date_range("2026-01-01", periods=7, freq="D")
    table = pd.DataFrame(
        {"site": ["b"] * 9 + ["a"] * 7, "t": [*hours, *days], "x": np.arange(16.0), "y": 1.0}
    )
    return windows(table, past=5, group="site", time="t", gap="1D")


def test_each_recording_continues_by_its_own_step() -> None:
    w = grouped()
    assert w.last.groups.tolist() == ["a", "b"]
    assert w[::-1].last.index.equals(w.last.index)
    assert w.last.after(2).tolist() == [
        ("a", 0, pd.Timestamp("2026-01-08")),
        ("a", 0, pd.Timestamp("2026-01-09")),
        ("b", 1, pd.Timestamp("2026-01-01 09:00")),
        ("b", 1, pd.Timestamp("2026-01-01 10:00")),
    ]
    # A short run continues by the step of the longest run of its recording.
    month = pd.date_range("2026-01-01", periods=9, freq="MS").delete(6)
    assert after(month, 2) == [pd.Timestamp("2026-10-01"), pd.Timestamp("2026-11-01")]
    # Another day of the week than that run's is kept.
    week = pd.date_range("2026-01-04", periods=5, freq="7D")
    assert after(week.append(week[:3] + pd.Timedelta("60D")), 1) == [pd.Timestamp("2026-03-26")]
    # Row numbers of several recordings are not times.
    table = pd.DataFrame({"site": ["b"] * 4 + ["a"] * 4, "x": 1.0})
    assert windows(table, past=2, group="site").last.after(1).tolist() == [("a", 0, 1), ("b", 1, 1)]


def test_a_model_puts_its_frames_on_those_times() -> None:
    w = grouped()
    model = small_model(horizon=2).fit(w)
    found = model.predict(w.last, steps=4)
    pd.testing.assert_index_equal(found.index, w.last.after(4))
    assert list(found.columns) == ["x", "y"]
    plain = model.predict(np.asarray(w.last), steps=4)
    assert isinstance(plain, np.ndarray)
    np.testing.assert_array_equal(found.to_numpy().reshape(plain.shape), plain)
    pasts = model.reconstruct(w.last)
    assert len(pasts) == 2 * 5
    assert pasts.index[-1] == ("b", 1, pd.Timestamp("2026-01-01 08:00"))
    with pytest.raises(ShapeError, match=r"values must be of shape \(2, steps, n\), got \(1, 3, 2"):
        w.last.table(np.zeros((1, 3, 2)), after=True)


# forecast_errors


class Fixed:
    """A model whose forecast is known."""

    horizon_ = 2

    def __init__(self, forecast: Any) -> None:
        self.forecast = np.asarray(forecast, np.float32)
        self.fitted = small_model(horizon=2).fit(np.zeros((2, 6, self.forecast.shape[-1])))

    def predict(self, past: Any, *, steps: int) -> Any:
        return np.tile(self.forecast, (len(past), 1, 1))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fitted, name)


def test_errors_are_as_counted_by_hand() -> None:
    past = [[1.0, 3, 2, 4], [4.0, 4, 6, 5]]
    future = [[5.0, 3], [4.0, 9]]
    x = np.concatenate([past, future], axis=1)[..., None]
    model: Any = Fixed([[[4.0], [6.0]]])
    found = forecast_errors(model, x, season=2)
    # Off by 1, 0 and 3, 3; naive (4; 5) by 1, 1 and 1, 4; seasonal (2, 4; 6, 5) by 3, 2 and 1, 4.
    mae = {"model": [0.5, 3], "naive": [1, 2.5], "seasonal": [2.5, 2.5]}
    rmse = {
        "model": np.sqrt([0.5, 9]),
        "naive": np.sqrt([1, 8.5]),
        "seasonal": np.sqrt([6.5, 8.5]),
    }
    change = (2 + 1 + 2 + 0 + 2 + 1) / 6
    for name in mae:
        np.testing.assert_allclose(found["MAE"][name], mae[name])
        np.testing.assert_allclose(found["RMSE"][name], rmse[name])
        np.testing.assert_allclose(found["MASE"][name], np.array(mae[name]) / change)
    assert found.index.tolist() == [1, 2] and found.index.name == "step"
    assert forecast_errors(model, x).columns.tolist() == [
        (measure, name)
        for measure in ("MAE", "RMSE", "MASE", "sMAPE")
        for name in ("model", "naive")
    ]


def test_recordings_named_as_our_own_levels_keep_their_name() -> None:
    table = pd.DataFrame({"x": np.sin(np.arange(40.0)), "step": np.repeat([1, 2], 20)})
    for group, names in (("step", ["column", "step_"]), ("column", ["column_", "step"])):
        w = windows(table.rename(columns={"step": group}), past=5, future=3, group=group)
        model = small_model().fit(w)
        assert forecast_errors(model, w, per=["group", "column"]).index.names == [group, *names]
        assert forecast_errors(model, w, per="group").index.names == [group, names[1]]
        assert forecast_errors(model, w).index.names == ["step"]


def test_recordings_have_errors_of_their_own() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(60, 2)).cumsum(axis=0), columns=["x", "y"])
    table["site"], table["city"] = np.repeat(["b", "a", "c"], 20), "here"
    w = windows(table, past=5, future=3, group="site")
    model = small_model(horizon=3).fit(w)
    found = forecast_errors(model, w, per="group", season=2)
    assert found.index.names == ["site", "step"]
    assert found.index[:4].tolist() == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    both = forecast_errors(model, w, per=["group", "column"])
    assert both.index.names == ["site", "column", "step"]
    for name in "abc":
        own = w[w.groups == name]
        pd.testing.assert_frame_equal(found.loc[name], forecast_errors(model, own, season=2))
        each = forecast_errors(model, own, per="column")
        pd.testing.assert_frame_equal(both.loc[name], each)
    # The order of windows does not matter, and several columns are several levels.
    pd.testing.assert_frame_equal(
        forecast_errors(model, w[::-1], per="group", season=2).loc["b"], found.loc["b"]
    )
    two = windows(table, past=5, future=3, group=["city", "site"])
    assert forecast_errors(model, two, per="group").index.names == ["city", "site", "step"]
    with pytest.raises(ArgumentError, match='per must not be "group" without several recordings'):
        forecast_errors(model, windows(table[["x", "y"]], past=5, future=3), per="group")


def test_all_forecasts_ignore_the_same_missing_numbers() -> None:
    nan = np.nan
    x = np.array([[1.0, 3, 2, nan, 5, 3], [nan, 4, 6, 5, nan, 9], [nan, 1, nan, 3, 1, 1]])[
        ..., None
    ]
    found = forecast_errors(Fixed([[[4.0], [6.0]]]), x, season=2)  # type: ignore[arg-type]
    # The last known: 2, 5, 3. A season before: 2, 3 (of two before); 6, 5; unknown, 3.
    np.testing.assert_allclose(found["MAE"]["model"], [1, (3 + 3 + 5) / 3])
    np.testing.assert_allclose(found["MAE"]["naive"], [3, (1 + 4 + 2) / 3])
    np.testing.assert_allclose(found["MAE"]["seasonal"], [3, (0 + 4 + 2) / 3])
    scale = (2 + 1 + 2 + 1) / 4
    np.testing.assert_allclose(found["MASE"], found["MAE"] / scale)
    nothing = forecast_errors(Fixed([[[4.0], [6.0]]]), x * nan)  # type: ignore[arg-type]
    assert nothing.isna().all(axis=None)


def test_a_column_has_its_own_errors_and_scale() -> None:
    rows = np.arange(40.0)
    table = pd.DataFrame({"flat": 7.0, "up": rows, "up in cm": 100 * rows})
    w = windows(table, past=4, future=2)
    model: Any = Fixed([[[7.0, 0, 0]] * 2])
    found = forecast_errors(model, w, season=4, per="column")
    assert found.index.names == ["column", "step"]
    up, cm, flat = (found.loc[name] for name in ("up", "up in cm", "flat"))
    np.testing.assert_allclose(up["MASE"]["naive"], [1, 2])
    np.testing.assert_allclose(up["MASE"]["seasonal"], [4, 4])
    np.testing.assert_allclose(cm["MASE"], up["MASE"])
    np.testing.assert_allclose(cm["MAE"], 100 * up["MAE"])
    assert (flat["MAE"] == 0).all(axis=None) and flat["MASE"].isna().all(axis=None)
    mean = forecast_errors(model, w, season=4)
    np.testing.assert_allclose(mean["MAE"], (up["MAE"] + cm["MAE"] + flat["MAE"]) / 3)
    np.testing.assert_allclose(mean["MASE"]["naive"], [1, 2])


def test_arrays_files_and_bytes_give_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    model = small_model().fit(PAST, FUTURE)
    found = forecast_errors(model, X, season=3)
    made = model.predict(PAST)
    np.testing.assert_allclose(
        found["RMSE"]["model"], np.sqrt(((made - FUTURE) ** 2).mean(0)).mean(1), rtol=1e-5
    )
    pd.testing.assert_frame_equal(forecast_errors(model, PAST, FUTURE, season=3), found)
    monkeypatch.setattr("backcast.forecast.errors._PIECE", 5)
    pd.testing.assert_frame_equal(forecast_errors(model, X, season=3), found)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        data = file.create_dataset("x", data=X)
        pd.testing.assert_frame_equal(forecast_errors(model, data, season=3), found)
    images = (X * 255).astype(np.uint8).reshape(12, 8, 3, 1, 1)
    seen = small_model(horizon=3).fit(images)
    as_floats = small_model(horizon=3).fit(images / np.float32(255))
    pd.testing.assert_frame_equal(
        forecast_errors(seen, images), forecast_errors(as_floats, images / 255), rtol=1e-4
    )
    longer = forecast_errors(model, X[:, :4], X[:, 4:])
    assert longer.index.tolist() == [1, 2, 3, 4]


def test_what_has_no_errors_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model().fit(PAST, FUTURE)
    with pytest.raises(ArgumentError, match="season must be at most the 5 frames of past, got 6"):
        forecast_errors(model, X, season=6)
    with pytest.raises(ArgumentError, match="season must be at least 1, got 0"):
        forecast_errors(model, X, season=0)
    with pytest.raises(ArgumentError, match='per must be "step", "column" or .* got .row'):
        forecast_errors(model, X, per="row")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="past must be windows of one length, got a list"):
        forecast_errors(model, list(X))
    with pytest.raises(ShapeError, match="must have frames of shape"):
        forecast_errors(model, X[..., :2])
    with pytest.raises(NotFittedError):
        forecast_errors(small_model(), X)
    with pytest.raises(DecoderError, match="the model has no predict decoder"):
        forecast_errors(small_model(decoders="reconstruct").fit(X), X)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackageError, match="forecast_errors needs pandas: pip install"):
        forecast_errors(model, X)


# plot.forecast


def lines(ax: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in ax.get_lines()}


def hourly(zone: str | None = BERLIN) -> pd.DataFrame:
    hours = pd.date_range("2026-03-27", periods=60, freq="h", tz=zone, name="when")
    wave = np.sin(np.arange(60) / 4)
    return pd.DataFrame({"x": wave, "y": 10 * wave, "z": -wave}, index=hours)


def errors_of(names: list[str], steps: int) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([names, range(1, steps + 1)], names=["column", "step"])
    rmse = np.arange(1.0, len(index) + 1)[:, None]
    return pd.DataFrame(rmse, index, pd.MultiIndex.from_tuples([("RMSE", "model")]))


def test_a_forecast_is_drawn_on_its_times_with_the_truth_and_a_band() -> None:
    table = hourly()
    w = windows(table, past=20, future=4)
    model = small_model(horizon=4).fit(w)
    found = model.predict(w.past)
    figure = plot.forecast(w.past, found, errors_of(["x", "y", "z"], 4), window=7, frames=6)
    assert [ax.get_ylabel() for ax in figure.axes] == ["x", "y", "z"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "when (Europe/Berlin)"]
    drawn = lines(figure.axes[1])
    own = table["y"].iloc[7:31]
    np.testing.assert_array_equal(drawn["past"].get_ydata(), own.iloc[14:20])
    np.testing.assert_array_equal(drawn["truth"].get_ydata(), own.iloc[20:])
    np.testing.assert_array_equal(drawn["forecast"].get_ydata(), found.xs(7, level="window")["y"])
    days = own.index.tz_convert("UTC").tz_localize(None).to_numpy()
    expected = (days - np.datetime64(0, "D")) / np.timedelta64(1, "D")
    np.testing.assert_allclose(drawn["past"].get_xdata(), expected[14:20])
    np.testing.assert_allclose(drawn["forecast"].get_xdata(), expected[20:])
    (band,) = figure.axes[1].collections
    edges = band.get_paths()[0].vertices
    middle = found.xs(7, level="window")["y"].to_numpy()
    off = np.arange(5, 9)
    np.testing.assert_allclose(edges[1:5, 1], middle - off, rtol=1e-6)
    assert edges[:, 1].max() == pytest.approx((middle + off).max())
    told = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert told == ["past", "truth", "forecast", "forecast ± RMSE at its step"]
    figure.canvas.draw()
    zone = figure.axes[2].xaxis.get_major_formatter()._tz  # type: ignore[attr-defined]
    assert str(zone) == BERLIN


def test_intervals_of_a_table_are_drawn() -> None:
    table, later = hourly()[:50], hourly()[50:54]
    made = pd.DataFrame(
        {"y": 1.0, "y-lo-80": 0.5, "y-hi-80": 2, "y-lo-50": 0.9, "y-hi-50": 1.5}, later.index
    )
    figure = plot.forecast(table, made, future=later, frames=6)
    (ax,) = figure.axes
    assert ax.get_ylabel() == "y"
    drawn = lines(ax)
    np.testing.assert_array_equal(drawn["past"].get_ydata(), table["y"].iloc[-6:])
    np.testing.assert_array_equal(drawn["truth"].get_ydata(), later["y"])
    np.testing.assert_array_equal(drawn["forecast"].get_ydata(), [1] * 4)
    edges = [set(band.get_paths()[0].vertices[:, 1]) for band in ax.collections]
    assert edges == [{0.9, 1.5}, {0.5, 2}]
    told = [text.get_text() for text in ax.get_legend().get_texts()]
    assert told == ["past", "truth", "forecast", "50 % interval", "80 % interval"]
    with pytest.raises(ShapeError, match="past and prediction must be tables of the same"):
        plot.forecast(table, pd.concat({"a": made}))
    assert len(plot.forecast(table["y"], made[["y"]]).axes) == 1


def shops(n: int = 9) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A table of several recordings with columns for group and time, and forecasts of it."""
    days = pd.date_range("2026-01-01", periods=24, freq="D", name="day")
    names = [f"shop {i}" for i in range(n)]
    parts = [pd.DataFrame({"day": days, "x": np.arange(24.0) + i, "y": 1.0}) for i in range(n)]
    table = pd.concat(dict(zip(names, parts, strict=True)), names=["shop", None])
    table = table.reset_index("shop").reset_index(drop=True)
    made = table[table["day"] > days[19]].set_index(["shop", "day"])
    return table, made


def test_every_recording_has_a_panel() -> None:
    table, made = shops()
    past = table[table["day"] < "2026-01-21"]
    figure = plot.forecast(past, made[["x"]], future=table)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [f"shop {i}" for i in range(8)]
    assert figure.get_supxlabel() == "The first 8 of 9 recordings; groups=[...] for others."
    drawn = lines(figure.axes[3])
    np.testing.assert_array_equal(drawn["past"].get_ydata(), np.arange(4.0, 20) + 3)
    np.testing.assert_array_equal(drawn["truth"].get_ydata(), np.arange(20.0, 24) + 3)
    assert drawn["forecast"].get_xdata()[0] == drawn["past"].get_xdata()[-1] + 1
    errors = pd.concat({f"shop {i}": errors_of(["x", "y"], 4) * (i + 1) for i in range(9)})
    errors.index = errors.index.set_names("shop", level=0)
    figure = plot.forecast(past, made, errors, groups=["shop 8"], columns=["y"])
    (ax,) = figure.axes
    assert ax.get_title(loc="left") == "shop 8"
    edges = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert edges.max() == 1 + 8 * 9
    # Two columns of each; tables by name; axes of one's own.
    wide = plot.forecast(past.assign(z=1.0), made.assign(z=1.0))
    told = "4 of 9 recordings and 2 of 3 columns; groups=[...] and columns=[...]"
    assert wide.get_supxlabel() == f"The first {told} for others."
    assert len(plot.forecast(past, made).axes) == 8
    by_name = {name: part.set_index("day")[["x"]] for name, part in past.groupby("shop")}
    figure = plot.forecast(by_name, made[["x"]].rename_axis(["group", "day"]), groups=["shop 2"])
    assert figure.axes[0].get_xlabel() == "day"
    with pytest.raises(ArgumentError, match=r"groups must be some of \['shop 0'.*got \['mall'\]"):
        plot.forecast(past, made, groups=["mall"])
    with pytest.raises(ArgumentError, match="errors must be of group 'shop 0' too"):
        plot.forecast(past, made, errors.loc[["shop 8"]], columns=["x"])
    with pytest.raises(ShapeError, match="must be tables of the same recordings"):
        plot.forecast(past[past["shop"] != "shop 4"], made)


def test_a_column_of_dates_and_a_series_are_drawn() -> None:
    table, made = shops(1)
    one, prediction = table.drop(columns="shop")[:20], made.loc["shop 0"]
    figure = plot.forecast(one, prediction, future=table.drop(columns="shop"))
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "day"]
    np.testing.assert_array_equal(lines(figure.axes[0])["truth"].get_ydata(), np.arange(20, 24))
    series = one.set_index("day")["x"]
    expected = lines(figure.axes[0])["past"].get_xydata()
    for past, forecast in ((series, prediction["x"]), (series, prediction)):
        drawn = lines(plot.forecast(past, forecast).axes[0])["past"].get_xydata()
        np.testing.assert_array_equal(drawn, expected)
    # A series without a name has the column 0, in forecasts with intervals "0".
    ends = pd.DataFrame({"0": 1.0, "0-lo-90": 0.0, "0-hi-90": 2.0}, index=prediction.index)
    (ax,) = plot.forecast(series.rename(None), ends).axes
    assert len(ax.collections) == 1


def test_beyond_the_table_there_is_no_truth() -> None:
    w = grouped()
    model = small_model(horizon=3).fit(w)
    figure = plot.forecast(w.last, model.predict(w.last), window=0, columns=["y"])
    (ax,) = figure.axes
    assert ax.get_title(loc="left") == "a"
    assert [*lines(ax)] == ["past", "forecast"]
    assert len(lines(ax)["past"].get_xdata()) == 5
    # Six windows' forecasts, of the last by default, as an array too.
    figure = plot.forecast(w.last, model.predict(np.asarray(w.last)), future=[[1, 2]])
    assert figure.axes[0].get_title(loc="left") == "b"
    np.testing.assert_array_equal(lines(figure.axes[1])["truth"].get_ydata(), [2])


@pytest.mark.parametrize(
    ("index", "label", "x"),
    [
        (pd.timedelta_range("0h", periods=9, freq="6h", name="t"), "t (hours)", [42, 48, 54]),
        (pd.timedelta_range("0h", periods=9, freq="10us", name="t"), "t (ms)", [0.07, 0.08, 0.09]),
        (pd.Index(np.arange(9) * 0.5, name="s"), "s", [3.5, 4, 4.5]),
        (pd.Index(list("abcdefghi"), name="s"), "step", [0, 1, 2]),
        (pd.Index([3, 1, 2, 5, 4, 9, 8, 7, 6], name="s"), "step", [0, 1, 2]),
        (pd.period_range("1970-01-01", periods=9, freq="D", name="d"), "d", [7, 8, 9]),
    ],
    ids=["hours", "microseconds", "numbers", "words", "no order", "periods"],
)
def test_time_of_any_kind_is_on_x(index: Any, label: str, x: list[float]) -> None:
    w = windows(pd.DataFrame({"x": 1.0}, index=index), past=4, future=0)[:-1]
    figure = plot.forecast(w, np.zeros((len(w), 2, 1)))
    (ax,) = figure.axes
    assert ax.get_xlabel() == label
    drawn = lines(ax)
    found = [drawn["past"].get_xdata()[-1], *drawn["forecast"].get_xdata()]
    np.testing.assert_allclose(found, x)
    assert len(drawn["truth"].get_xdata()) == 1


def test_arrays_are_drawn_by_steps_also_on_axes_given() -> None:
    wave = np.sin(np.arange(12.0))
    figure = plot.forecast(wave[:8], wave[8:], errors_of(["x"], 3).droplevel(0))
    drawn = lines(figure.axes[0])
    np.testing.assert_array_equal(drawn["past"].get_xdata(), np.arange(-7, 1))
    np.testing.assert_array_equal(drawn["forecast"].get_xdata(), np.arange(1, 5))
    assert figure.axes[0].get_xlabel() == "step"
    mine, axes = plt.subplots(1, 2)
    both = np.stack([wave, -wave], axis=1)
    assert plot.forecast(both[:8], both[8:10], future=both[8:], ax=axes) is mine
    assert [ax.get_xlabel() for ax in axes] == ["step", "step"]
    assert [ax.get_ylabel() for ax in axes] == ["column 0", "column 1"]
    assert len(lines(axes[0])["truth"].get_xdata()) == 2
    plt.close(mine)


def test_the_old_name_of_the_axes_works_and_warns() -> None:
    mine, ax = plt.subplots()
    wave = np.sin(np.arange(12.0))
    with pytest.warns(FutureWarning, match="axes is called ax now"):
        assert plot.forecast(wave[:8], wave[8:], axes=[ax]) is mine
    plt.close(mine)


def test_what_is_no_forecast_is_not_drawn() -> None:
    w = windows(hourly(), past=20)
    frames = np.zeros((len(w), 4, 3))
    wave = np.zeros((8, 2))
    with pytest.raises(ShapeError, match="prediction must be what a model predicted for these 41"):
        plot.forecast(w, frames[1:])
    with pytest.raises(ArgumentError, match=r"window must be in -41\.\.40, got 41"):
        plot.forecast(w, frames, window=41)
    with pytest.raises(ArgumentError, match=r"columns must be some of \['x', 'y', 'z'\], got"):
        plot.forecast(w, frames, columns=["a"])
    with pytest.raises(ArgumentError, match="frames must be at least 1, got 0"):
        plot.forecast(w, frames, frames=0)
    with pytest.raises(ArgumentError, match=r"ax must be one .*\(x, y, z\), 3, got 0"):
        plot.forecast(w, frames, ax=[])
    with pytest.raises(ArgumentError, match=r'errors must be of each column, as .*per="column"'):
        plot.forecast(w, frames, errors_of(["x"], 4).droplevel(0))
    with pytest.raises(ArgumentError, match="errors must be of column 'y' too, got others"):
        plot.forecast(w, frames, errors_of(["x", "z"], 4))
    for future in (wave[:, :1], np.zeros((1, 2, 2))):
        with pytest.raises(ShapeError, match="future must be frames of one window"):
            plot.forecast(wave, wave, future=future)
    with pytest.raises(ShapeError, match="prediction must be frames of one window"):
        plot.forecast(wave, wave[:0])


# plot.embedding_map

ROWS = np.random.default_rng(0).normal(size=(60, 5)) * [9, 3, 1, 1, 1]


def test_embeddings_are_drawn_by_their_largest_components() -> None:
    ax = plot.embedding_map(pd.DataFrame(ROWS))
    (points,) = ax.collections
    at = np.asarray(points.get_offsets())
    centred = ROWS - ROWS.mean(0)
    _, size, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(at), np.abs(centred @ axes[:2].T))
    part = size[0] ** 2 / (size**2).sum()
    assert ax.get_xlabel() == f"component 1 ({part:.0%} of variance)"
    plane = plot.embedding_map(ROWS[:, :2])
    np.testing.assert_array_equal(plane.collections[0].get_offsets(), ROWS[:, :2])
    assert plane.get_xlabel() == "dimension 1"


@pytest.mark.parametrize(
    "labels",
    [
        np.where(np.arange(60) % 3 == 0, "a", "b"),
        np.arange(60) % 3 > 0,
        np.arange(60) % 15,
        pd.Series(["a", "b", None] * 20),
        pd.Series([1, 2, None] * 20, dtype="Int64"),
    ],
    ids=["words", "truths", "numbers", "missing", "nullable"],
)
def test_kinds_have_a_legend(labels: Any) -> None:
    ax = plot.embedding_map(ROWS, labels)
    kinds = pd.Series(labels).dropna().astype(str)
    told = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(set(told) - {"unknown"}) == sorted(set(kinds))
    assert ("unknown" in told) == (len(kinds) < 60)
    colours = [tuple(c) for points in ax.collections for c in np.asarray(points.get_facecolor())]
    assert len(set(colours)) == len(told)
    assert sum(len(points.get_offsets()) for points in ax.collections) == 60


@pytest.mark.parametrize(
    "labels",
    [
        np.arange(60),
        np.append(np.nan, np.linspace(0, 1, 59)),
        np.arange(60) + np.datetime64(0, "D"),
    ],
    ids=["many", "numbers", "dates"],
)
def test_numbers_and_dates_have_a_colour_bar(labels: Any) -> None:
    mine, ax = plt.subplots()
    assert plot.embedding_map(ROWS, labels, ax=ax) is ax
    assert len(mine.axes) == 2 and ax.get_legend() is None
    shown = ax.collections[-1].get_array()
    known = labels[labels == labels]
    np.testing.assert_allclose(shown, known.astype(float))
    mine.canvas.draw()
    plt.close(mine)


def test_what_is_no_map_is_not_drawn() -> None:
    for rows in (ROWS[0], ROWS[:, :1], ROWS[:1]):
        with pytest.raises(ShapeError, match=r"embeddings must be of shape \(n, D\)"):
            plot.embedding_map(rows)
    with pytest.raises(DataError, match="embeddings must be finite numbers"):
        plot.embedding_map(np.full((3, 3), np.nan))
    with pytest.raises(ShapeError, match="labels must be one for each of 60 embeddings"):
        plot.embedding_map(ROWS, [1, 2])
    with pytest.raises(DataError, match="labels must be numbers, or words of at most 20 kinds"):
        plot.embedding_map(ROWS, [f"word {i}" for i in range(60)])
