"""Windows of tables: no gap is bridged, and every result comes back on the user's own index."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline

from backcast import Classifier
from backcast.data import Windows, windows
from backcast.errors import ArgumentError, DataError, ShapeError, TrainingWarning
from small import assert_same_weights, small_model


def table(n: int = 40, groups: int = 3, start: str = "2026-03-01") -> pd.DataFrame:
    """Sensors in long format: minutes, two numbers, a word."""
    rng = np.random.default_rng(0)
    parts = []
    for g in range(groups):
        t = pd.date_range(start, periods=n, freq="min")
        x = np.sin(np.arange(n) / 3 + g) + 0.1 * rng.normal(size=n)
        y = np.cos(np.arange(n) / 3 + g)
        parts.append(pd.DataFrame({"sensor": f"s{g}", "t": t, "x": x, "y": y, "note": "-"}))
    return pd.concat(parts, ignore_index=True)


def test_windows_are_the_rows_of_one_group_in_the_order_of_time() -> None:
    rows = table()
    w = windows(rows, past=5, future=3, group="sensor", time="t", stride=2)
    assert isinstance(w, Windows)
    assert w.shape == (3 * 17, 8, 2)
    assert w.columns == ["x", "y"]
    whole = np.asarray(w)
    for i in (0, 20, 50):
        own = rows.iloc[w.positions[i]]
        assert own["sensor"].nunique() == 1
        assert (own["t"].diff().dropna() == pd.Timedelta("1min")).all()
        np.testing.assert_array_equal(whole[i], own[["x", "y"]])
        np.testing.assert_array_equal(w[i], whole[i])
        np.testing.assert_array_equal(w.times[i], own["t"].to_numpy())
        assert w.groups[i] == own["sensor"].iloc[0]
    assert w.index.names == ["sensor", "t"]
    assert w.index[0] == ("s0", rows["t"][7])
    assert w.past.index[0] == ("s0", rows["t"][4])


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = table()
    shuffled = rows.sample(frac=1, random_state=0)
    options: dict[str, Any] = {"past": 5, "future": 3, "group": "sensor", "time": "t"}
    one, other = windows(rows, **options), windows(shuffled, **options)
    np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    pd.testing.assert_index_equal(one.index, other.index)
    i = 17
    np.testing.assert_array_equal(shuffled.iloc[other.positions[i]][["x", "y"]], other[i])


def test_no_window_bridges_a_gap_or_two_recordings() -> None:
    rows = table(groups=2)
    holed = rows.drop(index=[10, 11, 12, 55])
    w = windows(holed, past=4, future=2, group="sensor", time="t")
    steps = np.diff(w.times, axis=1)
    assert (steps == np.timedelta64(1, "m")).all()
    runs = [10, 27, 15, 24]
    assert len(w) == sum(n - 5 for n in runs)
    wide = windows(holed, past=4, future=2, group="sensor", time="t", gap="5min")
    assert len(wide) == (37 - 5) + (39 - 5)
    with pytest.raises(ShapeError, match="series must have at least past \\+ future = 28 frames"):
        windows(holed, past=20, future=8, group="sensor", time="t")


@pytest.mark.parametrize("kind", ["dates", "zoned", "durations", "periods"])
def test_an_index_of_time_is_taken_and_comes_back_as_it_is(kind: str) -> None:
    n = 30
    index: Any = {
        "dates": pd.date_range("2026-01-01", periods=n, freq="h"),
        "zoned": pd.date_range("2026-01-01", periods=n, freq="h", tz="Asia/Seoul"),
        "durations": pd.timedelta_range("0s", periods=n, freq="10ms"),
        "periods": pd.period_range("2026-01-01", periods=n, freq="D"),
    }[kind]
    frame = pd.DataFrame({"x": np.arange(n, dtype=float)}, index=index.rename("when"))
    w = windows(frame.drop(index=frame.index[12]), past=3, future=1)
    assert len(w) == (12 - 3) + (17 - 3)
    pd.testing.assert_index_equal(w[:2].index, index[[3, 4]].rename("when"), exact=False)
    assert w.index.dtype == index.dtype


def test_a_table_without_time_keeps_its_own_labels() -> None:
    frame = pd.DataFrame({"x": np.arange(6.0)}, index=list("abcdef"))
    w = windows(frame, past=2, future=1)
    assert list(w.index) == list("cdef")
    assert list(windows(frame["x"], past=2).index) == list("bcdef")
    assert windows(frame, past=2).names == ("group", "time")


def test_numbers_as_time_and_floats_with_a_gap() -> None:
    seconds = np.concatenate([np.arange(10) * 0.5, 20 + np.arange(10) * 0.5])
    frame = pd.DataFrame({"s": seconds, "x": 1.0})
    assert len(windows(frame, past=4, time="s")) == 14
    assert len(windows(frame, past=4, time="s", gap=100)) == 17


def test_columns_of_any_numbers_and_missing_ones() -> None:
    frame = pd.DataFrame(
        {
            "a": pd.array([1, None, 3, 4], dtype="Int64"),
            "b": [True, False, True, True],
            "c": np.arange(4, dtype=np.float32),
        }
    )
    w = windows(frame, past=2)
    assert w.dtype == np.float64
    np.testing.assert_array_equal(w[0], [[1, 1, 0], [np.nan, 0, 1]])
    assert windows(frame, past=2, columns=["c"]).dtype == np.float32
    model = small_model(horizon=1).fit(windows(frame, past=2, future=1))
    assert np.isfinite(model.encode(w)).all(axis=None)


def test_windows_are_chosen_as_arrays_are() -> None:
    w = windows(table(), past=5, future=3, group="sensor", time="t")
    whole = np.asarray(w)
    mask = np.arange(len(w)) % 3 == 0
    for rows in (slice(4, 9), [3, 1, 2], mask, np.array([7, 7])):
        np.testing.assert_array_equal(np.asarray(w[rows]), whole[rows])
        np.testing.assert_array_equal(np.asarray(w[rows, :5]), whole[rows][:, :5])
    np.testing.assert_array_equal(np.asarray(w[:, 5:]), np.asarray(w.future))
    np.testing.assert_array_equal(np.asarray(w[..., 2:4]), whole[:, 2:4])
    np.testing.assert_array_equal(w[-1], whole[-1])
    assert w[:5].past.shape == (5, 5, 2)
    assert repr(w).startswith("<99 windows of 8 frames of 2 columns, 2026-03-01 00:00:00 to 2026-")
    for key in ((0, 0, 0), (slice(None), 3), (slice(None), slice(None, None, 2))):
        with pytest.raises(IndexError):
            w[key]


def test_training_on_windows_of_a_table_is_training_on_the_array() -> None:
    w = windows(table(), past=5, future=3, group="sensor", time="t")
    model = small_model(horizon=3).fit(w)
    same = small_model(horizon=3).fit(np.asarray(w))
    assert_same_weights(model, same)
    np.testing.assert_array_equal(model.encode(w.past), same.encode(np.asarray(w.past)))
    assert_same_weights(small_model().fit(w.past, w.future), same)


@pytest.mark.parametrize("part", [0.1, 0.3, 0.45])
def test_windows_that_are_held_out_share_nothing_with_the_others(part: float) -> None:
    grouped = windows(table(), past=5, future=3, group="sensor", time="t")
    single = windows(table(groups=1).drop(columns="sensor"), past=5, future=3, time="t")
    for w in (grouped, single):
        model = small_model(horizon=3, scale="standard").fit(w, validation=part)
        if w is grouped:
            # The last of three recordings, of 33 windows each.
            cut = rest = 66
        else:
            cut = len(w) - round(part * len(w))
            rest = cut - 7
            assert set(w[:rest].positions.flat).isdisjoint(w[cut:].positions.flat)
            assert not set(w[: rest + 1].positions.flat).isdisjoint(w[cut:].positions.flat)
        same = small_model(horizon=3, scale="standard").fit(np.asarray(w)[:rest])
        assert_same_weights(model, same)
        loss = model.history_[-1]["validation_loss"]
        assert loss == pytest.approx(sum(model.losses(w[cut:]).values()), rel=1e-5)
        pair = small_model(scale="standard").fit(w.past, w.future, validation=part)
        assert_same_weights(model, pair)
    shuffled = grouped[np.random.default_rng(0).permutation(len(grouped))]
    model = small_model(horizon=3).fit(shuffled, validation=part)
    cut = len(grouped) - round(part * len(grouped))
    assert_same_weights(model, small_model(horizon=3).fit(np.asarray(shuffled)[:cut]))


def test_windows_of_a_table_that_have_a_future_are_a_pair() -> None:
    w = windows(table(groups=1), past=6, future=3, time="t", columns=["x", "y"])
    pair = small_model().fit(w.past, w.future)
    assert_same_weights(small_model().fit(w), pair)
    # A slice of frames leaves the future what it was.
    later = small_model().fit(w[:, 2:])
    assert later.horizon_ == 3
    assert_same_weights(later, small_model().fit(w.past[:, 2:], w.future))
    longer = windows(table(groups=1), past=6, future=4, time="t", columns=["x", "y"])
    assert pair.losses(longer) == pair.losses(longer.past, longer.future)
    with pytest.raises(ShapeError, match="future must have horizon=2 frames, got 3"):
        small_model(horizon=2).fit(w)
    with pytest.raises(ShapeError, match="past must end where future begins, at frame 6, got .* 9"):
        small_model().fit(w, w.future)


def test_windows_of_a_table_without_a_future_get_advice_on_their_halves() -> None:
    w = windows(table(groups=1), past=6, future=3, time="t", columns=["x", "y"])
    for past in (w.past, w[:, :5]):
        with pytest.warns(TrainingWarning, match="all past are cut in half") as given:
            small_model().fit(past)
        assert len(given) == 1
    assert small_model(horizon=2).fit(w.past).horizon_ == 2
    assert small_model(decoders="reconstruct").fit(w.past).horizon_ == 0


def test_results_come_back_on_the_users_index() -> None:
    rows = table()
    w = windows(rows, past=5, future=3, group="sensor", time="t")
    model = small_model(horizon=3).fit(w)
    predicted = model.predict(w.past)
    assert list(predicted.columns) == ["x", "y"]
    assert predicted.index.names == ["sensor", "window", "t"]
    one = predicted.xs(4, level="window")
    np.testing.assert_array_equal(one, model.predict(np.asarray(w.past))[4])
    np.testing.assert_array_equal(
        one.index.get_level_values("t"), rows["t"].iloc[w.future.positions[4]]
    )
    rebuilt = model.reconstruct(w.past)
    pd.testing.assert_frame_equal(rebuilt, w.past.table(model.reconstruct(np.asarray(w.past))))
    np.testing.assert_array_equal(rebuilt.index.get_level_values("t"), w.past.times.reshape(-1))
    embeddings = w.past.table(model.encode(w.past), columns=model.get_feature_names_out())
    pd.testing.assert_index_equal(embeddings.index, w.past.index)
    with pytest.raises(ShapeError, match="values must be of shape"):
        w.table(np.zeros((2, 2)))


def test_set_output_gives_frames_on_the_index_of_the_windows() -> None:
    w = windows(table(), past=8, group="sensor", time="t")
    model = small_model(horizon=3).set_output(transform="pandas")
    frame = model.fit_transform(w)
    assert isinstance(frame, pd.DataFrame)
    pd.testing.assert_index_equal(frame.index, w.index)
    assert list(frame.columns) == [f"h{i}" for i in range(6)]
    np.testing.assert_array_equal(frame, model.encode(w))
    plain = model.transform(np.asarray(w))
    assert isinstance(plain, pd.DataFrame)
    assert list(plain.index) == list(range(len(w)))
    assert isinstance(small_model(horizon=3).fit(w).transform(w), np.ndarray)


def test_windows_go_through_pipelines_splits_and_searches() -> None:
    w = windows(table(), past=8, group="sensor", time="t", stride=3)
    y = (w.groups == "s1").astype(int)
    model = small_model(horizon=3)
    assert make_pipeline(model, PCA(2)).fit_transform(w).shape == (len(w), 2)
    assert set(make_pipeline(model, KMeans(2, n_init=1)).fit_predict(w)) == {0, 1}
    pipeline = make_pipeline(model, LogisticRegression())
    assert cross_val_score(pipeline, w, y, cv=3).shape == (3,)
    search = GridSearchCV(pipeline, {"model__hidden_size": [3, 5]}, cv=2)
    assert search.fit(w, y).best_score_ > 0
    train, test, y_train, y_test = train_test_split(w, y, random_state=0, stratify=y)
    assert isinstance(train, Windows)
    assert len(train) + len(test) == len(w)
    classifier = Classifier(model.fit(train), max_iter=3, verbose=0).fit(train, y_train)
    assert 0 <= classifier.score(test, y_test) <= 1


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"group": "device"}, ArgumentError, "group must be a column of the table, got 'device'"),
    ({"time": "when"}, ArgumentError, "time must be a column of the table, got 'when'"),
    ({"columns": ["z"]}, ArgumentError, "columns must be in the table, got 'z'"),
    ({"columns": ["note"]}, DataError, "'note' must hold real numbers"),
    ({"time": "note"}, DataError, "time must hold numbers, dates or durations"),
    ({"time": "t"}, DataError, "time must differ within a recording, got .* twice; .* group="),
    ({"group": "sensor", "time": "t", "gap": "soon"}, ArgumentError, "gap must be a duration"),
    ({"group": "sensor", "time": "t", "gap": -1}, ArgumentError, "gap must be greater than 0"),
    ({"gap": 3}, ArgumentError, "gap must be None without a time"),
    ({"past": 0}, ArgumentError, "past must be at least 1, got 0"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED, ids=str)
def test_what_makes_no_windows_is_refused(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        windows(table(), **({"past": 4, "future": 2} | change))


def test_a_label_that_is_unknown_is_answered_with_those_there_are() -> None:
    rows = table().rename_axis("row")
    labels = r"'sensor', 't', 'x', 'y', 'note'"
    with pytest.raises(ArgumentError, match=rf"'when', which is not among \[{labels}, 'row'\]"):
        windows(rows, 5, time="when")
    with pytest.raises(ArgumentError, match=rf"'z', which is not among \[{labels}\]"):
        windows(rows, 5, columns=["z"])
    wide = pd.DataFrame(np.zeros((9, 40)), columns=[f"c{i}" for i in range(40)])
    with pytest.raises(ArgumentError, match=r"'c10', 'c11', ... 28 more\]$"):
        windows(wide, 5, group="device")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_table_read_with_another_separator_gets_advice(separator: str) -> None:
    rows = pd.DataFrame({f"day{separator}load": ["2026-01-01;3"] * 9})
    how = repr(separator).replace("\\", r"\\")
    with pytest.raises(ArgumentError, match=rf"read_csv\(..., sep={how}\) divides it into columns"):
        windows(rows, 5, time="day")


def test_more_that_makes_no_windows() -> None:
    rows = table()
    rows.loc[3, "t"] = pd.NaT
    with pytest.raises(DataError, match="time must be known in every row, got NaN"):
        windows(rows, past=4, group="sensor", time="t")
    rows = table()
    rows.loc[3, "sensor"] = None
    with pytest.raises(DataError, match="group must be known in every row"):
        windows(rows, past=4, group="sensor", time="t")
    with pytest.raises(DataError, match="series must have a column of numbers"):
        windows(table()[["note"]], past=4)
    with pytest.raises(ArgumentError, match="group must be None for an array"):
        windows(np.zeros(9), past=4, group="sensor")  # type: ignore[call-overload]
    with pytest.raises(ShapeError, match=r"windows of a table are made by backcast\.data\.windows"):
        small_model().fit(table()[["x", "y"]])


def test_embeddings_and_classes_of_windows_of_a_table_are_on_their_index() -> None:
    w = windows(table(), past=6, group="sensor", time="t").past
    model = small_model(decoders="reconstruct").fit(w)
    embeddings = model.encode(w)
    pd.testing.assert_index_equal(embeddings.index, w.index)
    assert embeddings.columns.tolist() == [f"h{i}" for i in range(6)]
    np.testing.assert_array_equal(embeddings, model.encode(np.asarray(w)))
    assert isinstance(model.encode(w, state="full"), np.ndarray)
    kinds = np.asarray(w.groups) == "s0"
    classifier = Classifier(model, max_iter=3, verbose=0, device="cpu").fit(w, kinds)
    found = classifier.predict(w)
    pd.testing.assert_index_equal(found.index, w.index)
    np.testing.assert_array_equal(found, classifier.predict(np.asarray(w)))
    assert isinstance(classifier.predict_proba(w), np.ndarray)
    assert 0 <= classifier.score(w, kinds) <= 1


def test_a_list_of_tables_gives_tables() -> None:
    day = pd.date_range("2026-01-01", periods=9, freq="D", name="day")
    one = pd.DataFrame({"x": np.sin(np.arange(9.0)), "y": 0.5}, index=day)
    other = one[:7].reset_index(drop=True)
    model = small_model(horizon=2).fit([one, other])
    made = model.reconstruct([one[:5], other[:4]])
    assert [each.columns.tolist() for each in made] == [["x", "y"]] * 2
    pd.testing.assert_index_equal(made[0].index, day[:5])
    pd.testing.assert_index_equal(made[1].index, other.index[:4])
    arrays = [one[:5].to_numpy(), other[:4].to_numpy()]
    np.testing.assert_array_equal(made[1], model.reconstruct(arrays)[1])
    made = model.predict([one[:5], other[:4]], steps=2)
    assert made[0].index.tolist() == day[5:7].tolist()
    assert made[1].index.tolist() == [4, 5]
    np.testing.assert_array_equal(made[0], model.predict(arrays, steps=2)[0])
    alone = model.predict([one[:5].set_axis([*"abcde"])], steps=2)
    assert alone[0].index.tolist() == [1, 2]


def test_dates_in_a_column_beside_numbered_rows_get_advice() -> None:
    days = pd.date_range("2026-01-01", periods=30, name="day")
    table = pd.DataFrame({"day": days, "x": np.arange(30.0)})
    with pytest.warns(UserWarning, match="column 'day' holds dates and is left out. With time='d"):
        assert windows(table, past=5).columns == ["x"]
    for given, time in ((table, "day"), (table.set_index("day"), None)):
        assert windows(given, past=5, time=time).columns == ["x"]


def test_words_that_may_name_recordings_get_advice_and_remarks_none() -> None:
    shops = pd.DataFrame({"shop": ["a"] * 20 + ["b"] * 20, "x": np.arange(40.0), "source": "csv"})
    shops["note"] = [f"number {i}" for i in range(40)]
    for given in (shops, shops.astype({"shop": "category"}), shops.astype({"shop": "string"})):
        with pytest.warns(UserWarning, match="'shop' holds words .* group='shop' keeps") as said:
            assert windows(given, past=5).columns == ["x"]
        assert len(said) == 1
        assert len(windows(given, past=5, columns=["x"])) == 36
        assert len(windows(given, past=5, group="shop")) == 32


@pytest.mark.parametrize(
    ("labels", "how"),
    [
        (["2026-01-05", "2026-01-06"], r"to_datetime\(...\) makes dates of 'day'"),
        (["13.01.2026 10:00", "14.01.2026 10:00"], "dayfirst=True.*'day', such as '13.01.2026"),
        (["1/13/26", "1/14/26"], "dayfirst=False"),
        (["1/2/2026", "1/3/2026"], "dayfirst=True.*with dayfirst=False months first"),
    ],
)
def test_dates_in_words_get_advice_on_their_order(labels: list[str], how: str) -> None:
    table = pd.DataFrame({"day": labels, "x": [1.0, 2.0]})
    with pytest.raises(DataError, match=f"time must hold .*{how}"):
        windows(table, past=2, time="day")
    with pytest.warns(UserWarning, match=f"the index is not taken as times.*{how}"):
        windows(table.set_index("day"), past=2)
    with pytest.warns(UserWarning, match=f"'day' holds dates and is left out.*{how}"):
        windows(table, past=2)


@pytest.mark.parametrize(
    ("dates", "written", "first"),
    [
        ("h", "%d.%m.%Y %H:%M", "True"),
        ("h", "%m/%d/%Y %H:%M", "False"),
        ("MS", "%d/%m/%Y", "True"),
        ("MS", "%m-%d-%y", "False"),
        # A day above 12 comes late, or never: both readings go on by one step.
        ("4h", "%m/%d/%Y", "False"),
        ("D", "%d.%m.%Y", "True"),
        ("D", "%d/%m/%Y", "True.*; with dayfirst=False months first"),
        ("D", "%d-%m-%Y", "True.*; with dayfirst=False months first"),
    ],
)
def test_regular_steps_and_dots_say_which_number_is_the_day(
    dates: str, written: str, first: str
) -> None:
    n = {"h": 200, "MS": 40, "4h": 150, "D": 9}[dates]
    words = pd.date_range("2025-04-01", periods=n, freq=dates).strftime(written)
    table = pd.DataFrame({"day": words, "x": 1.0})
    with pytest.raises(DataError, match=f"dayfirst={first}") as refused:
        windows(table, past=2, time="day")
    assert ("months first" in str(refused.value)) == ("months first" in first)


@pytest.mark.parametrize("dates", ["h", "MS"])
def test_dates_whose_day_and_month_were_swapped_get_advice(dates: str) -> None:
    right = pd.date_range("2025-04-01", periods={"h": 250, "MS": 40}[dates], freq=dates)
    words = pd.Series(right.strftime("%d.%m.%Y %H:%M"))
    wrong = pd.DataFrame({"day": pd.to_datetime(words), "x": 1.0})
    with pytest.warns(UserWarning, match="month of 'day' seem to be swapped: .* there are .* 0. "):
        windows(wrong, past=2, time="day")
    # Right ones, of which some rows are missing, get none.
    some = wrong.assign(day=pd.to_datetime(words, dayfirst=True)).drop(range(20, 23))
    assert len(windows(some, past=2, time="day")) == len(right) - 5


def test_a_column_of_dates_may_lack_most_of_them() -> None:
    table = pd.DataFrame({"x": np.arange(20_002.0), "day": [None, "01.02.2026"] * 10_001})
    assert len(windows(table, past=5)) == 19_998


def test_words_that_describe_rows_get_no_advice_on_recordings() -> None:
    hours = pd.date_range("2026-01-01", periods=40, freq="h")
    rows = pd.DataFrame({"x": np.arange(40.0)}, index=hours)
    rows["status"] = ["ok", "fail"] * 20
    rows["comment"] = [None] * 30 + ["filter changed", "restart"] * 5
    rows["parts"] = [["a"]] * 39 + ["b"]
    assert windows(rows, past=5).columns == ["x"]
    hosts = pd.DataFrame({"host": ["10.0.10.5"] * 20 + ["10.0.10.6"] * 20, "x": np.arange(40.0)})
    with pytest.warns(UserWarning, match="'host' holds words .* group='host'"):
        windows(hosts, past=5)


def test_tables_by_name_must_be_alike() -> None:
    one = pd.DataFrame({"x": np.arange(9.0)})
    others = (one.rename(columns={"x": "y"}), one.set_index(np.arange(9), append=True))
    for other in others:
        with pytest.raises(ArgumentError, match="same columns and an index of one kind.*'b'"):
            windows({"a": one, "b": other}, past=3)
    assert len(windows({"a": one, "b": one}, past=3)) == 14


@pytest.mark.parametrize("hours", [(8, 16), (0, 8), (10, 18), (9, 17)])
@pytest.mark.parametrize("days", [5, 7])
def test_eight_hours_a_day_are_those_of_the_rows(hours: tuple[int, int], days: int) -> None:
    every = pd.date_range("2026-01-05", "2026-03-09", freq="h", inclusive="left")
    opened = (every.hour >= hours[0]) & (every.hour < hours[1]) & (every.dayofweek < days)
    index = every[opened]
    n = len(index) - 20
    table = pd.DataFrame({"x": np.arange(float(n))}, index=index[:n])
    assert windows(table, past=2).last.after(20).get_level_values(-1).tolist() == [*index[n:]]
    assert len(windows(table, past=20)) == n - 19


def test_two_months_are_no_milliseconds() -> None:
    index = pd.date_range("2015-01-01", periods=48, freq="2MS")
    table = pd.DataFrame({"x": np.arange(44.0)}, index=index[:44])
    assert windows(table, past=20).last.after(4).get_level_values(-1).tolist() == [*index[44:]]


def test_a_few_outages_do_not_make_times_a_guess() -> None:
    hours = pd.date_range("2026-01-01", periods=1000, freq="h")
    kept = hours.delete([200 * i + k for i in range(1, 5) for k in range(5)])
    table = pd.DataFrame({"x": np.arange(float(len(kept)))}, index=kept)
    after = windows(table, past=48).last.after(24).get_level_values(-1)
    assert after[0] == hours[-1] + pd.Timedelta("1h")
