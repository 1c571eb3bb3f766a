"""Containers are read as their own library means them, or refused with the call that converts."""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from backcast import AnomalyDetector
from backcast.data import windows
from backcast.errors import ArgumentError, BackcastError, DataError, ShapeError
from small import X, assert_same_weights, small_model

TENSOR = torch.from_numpy(X)


def table(n: int = 30, freq: str = "h", **options: Any) -> pd.DataFrame:
    t = np.arange(n)
    index = pd.date_range("2026-01-01", periods=n, freq=freq, name="time", **options)
    return pd.DataFrame({"a": np.sin(t / 3), "b": 5 + np.cos(t / 4)}, index=index)


# -- tensors and datasets --------------------------------------------------------------------------


class Endless(Dataset[Any]):
    def __getitem__(self, i: int) -> Any:
        return TENSOR[i % 12]


class Sized(Endless):
    def __len__(self) -> int:
        return 12


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([TENSOR[:5], TENSOR[5:10], TENSOR[10:]])


BATCHES: dict[str, Callable[[], Any]] = {
    "tensors in a dataset": lambda: DataLoader(TensorDataset(TENSOR), 5),
    "a pair": lambda: DataLoader(TensorDataset(TENSOR[:, :5], TENSOR[:, 5:]), 5),
    "items": lambda: DataLoader(Sized(), 5),
    "a stream": Stream,
    "a stream in a loader": lambda: DataLoader(Stream(), batch_size=None),
    "a subset": lambda: DataLoader(Subset(TensorDataset(TENSOR), range(12)), 5),
    "tuples of one": lambda: [(TENSOR[i : i + 5],) for i in (0, 5, 10)].__iter__(),
}


@pytest.mark.filterwarnings("ignore:the batches were used up")
@pytest.mark.parametrize("kind", BATCHES)
def test_batches_of_torch_are_windows(kind: str) -> None:
    model = small_model(horizon=3, max_iter=3).fit(BATCHES[kind]())
    assert model.frame_shape_ == (3,)
    same = small_model(horizon=3, max_iter=3).fit(iter([X[:5], X[5:10], X[10:]]))
    assert_same_weights(model, same)


REFUSED: dict[str, tuple[Any, str]] = {
    "a dataset": (TensorDataset(TENSOR), "wrap it in a DataLoader"),
    "a dataset of pairs": (TensorDataset(TENSOR, TENSOR), "wrap it in a DataLoader"),
    "an endless dataset": (Endless(), "wrap it in a DataLoader"),
    "a sized dataset": (Sized(), "wrap it in a DataLoader"),
    "a subset": (Subset(TensorDataset(TENSOR), [0]), "wrap it in a DataLoader"),
    "a list of batches": ([[TENSOR[:5]], [TENSOR[5:]]], "give the DataLoader itself"),
    "a list of pairs": ([(X[:, :5], X[:, 5:])], "give the DataLoader itself"),
    "a dict": ({"x": X}, "must be an array, got a dict"),
    "a set": ({1, 2}, "must be an array, got a set"),
    "a table": (table(), r"windows of a table are made by backcast\.data\.windows"),
    "a series": (table()["a"], r"windows of a table are made by backcast\.data\.windows"),
    "ragged": ([[[1.0], [2.0]], [[1.0]]], "must be an array of numbers, got a list"),
    "a meta tensor": (TENSOR.to("meta"), "got a tensor on the device meta"),
    "a sparse tensor": (TENSOR.to_sparse(), r"call to_dense\(\) first"),
    "complex": (X.astype(complex), "must hold real numbers"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_misread_is_refused(kind: str) -> None:
    given, message = REFUSED[kind]
    with pytest.raises(BackcastError, match=message):
        small_model(horizon=3).fit(given)


ARRAYS: dict[str, Callable[[], Any]] = {
    "a tensor": lambda: TENSOR,
    "a tensor with gradients": lambda: TENSOR.clone().requires_grad_(),
    "bfloat16": lambda: TENSOR.bfloat16(),
    "half": lambda: TENSOR.half(),
    "a view": lambda: TENSOR.flip(0).flip(0),
    "a memoryview": lambda: memoryview(np.ascontiguousarray(X)),
    "nested lists": lambda: X.tolist(),
    "a list of tensors": lambda: list(TENSOR),
    "a tuple of arrays": lambda: tuple(X),
    "a deque": lambda: deque(X),
    "decimals": lambda: [[[Decimal(float(x)) for x in f] for f in w] for w in X],
    "a masked array without a mask": lambda: np.ma.array(X),
    "a list of tables": lambda: [pd.DataFrame(w) for w in X],
    "a list of nullable tables": lambda: [pd.DataFrame(w).astype("Float32") for w in X],
    "an array of arrays": lambda: np.array([None, *X], object)[1:],
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_windows_of_any_container_train_as_the_array(kind: str) -> None:
    given = ARRAYS[kind]()
    model = small_model(horizon=3, max_iter=2).fit(given)
    assert model.frame_shape_ == (3,)
    assert_same_weights(model, small_model(horizon=3, max_iter=2).fit(X))


def test_series_of_any_container_are_cut_as_the_array() -> None:
    series = X[0]
    expected = windows(series, 3)
    for given in (
        torch.from_numpy(series),
        torch.from_numpy(series).requires_grad_(),
        torch.from_numpy(series).bfloat16(),
        memoryview(np.ascontiguousarray(series)),
        series.tolist(),
        np.ma.array(series),
    ):
        np.testing.assert_array_equal(windows(given, 3), expected)
    with pytest.raises(ShapeError, match="series must be an array of numbers"):
        windows([[1.0, 2.0], [3.0]], 1)


# -- indexes ---------------------------------------------------------------------------------------


def recordings(names: list[str | None]) -> pd.DataFrame:
    rows = pd.concat({s: table(20) + 100 * i for i, s in enumerate("pq")})
    rows.index = rows.index.set_names(names)
    return rows


@pytest.mark.parametrize("names", [["sensor", "time"], [None, None], ["sensor", None]], ids=str)
def test_levels_of_an_index_are_group_and_time(names: list[str | None]) -> None:
    rows = recordings(names)
    shuffled = rows.sample(frac=1, random_state=0)
    for given in (rows, shuffled):
        w = windows(given, 8)
        assert len(w) == 26
        np.testing.assert_array_equal(np.ptp((np.asarray(w)[..., 0] > 50).astype(int), axis=1), 0)
        assert (np.diff(w.times.astype("M8[ns]"), axis=1) == np.timedelta64(1, "h")).all()
        assert set(w.groups) == {"p", "q"}
        assert w.index.nlevels == 2
    model = small_model(horizon=2).fit(windows(rows, 8, 2))
    assert model.predict(windows(rows, 8).last).shape == (4, 2)


def test_levels_are_chosen_by_name_and_several_make_one_group() -> None:
    rows = recordings(["sensor", "time"])
    expected = np.asarray(windows(rows, 8))
    flat = rows.reset_index()
    for given, group in ((rows, "sensor"), (flat, "sensor"), (flat, ["sensor"])):
        np.testing.assert_array_equal(windows(given, 8, group=group, time="time"), expected)
    several = pd.concat({"x": rows, "y": rows}, names=["site"])
    w = windows(several, 8)
    assert len(w) == 52
    assert w.index.names == ["site", "sensor", "time"]
    columns = windows(several.reset_index(), 8, group=["site", "sensor"], time="time")
    pd.testing.assert_index_equal(columns.index, w.index)
    assert columns.groups[0] == ("x", "p")
    model = {"hidden_size": 4, "max_iter": 2, "device": "cpu", "verbose": 0}
    found = AnomalyDetector(model, past=5, future=2, quantile=0.5).fit(several)
    assert list(found.events(several).columns[:3]) == ["site", "sensor", "start"]


def test_numbers_in_the_last_level_are_times_and_rows_without_a_time_are_in_order() -> None:
    panel = pd.DataFrame({"x": np.arange(16.0)})
    panel.index = pd.MultiIndex.from_product([[3, 5], range(1980, 1988)], names=["nr", "year"])
    assert len(windows(panel.sample(frac=1, random_state=0), 8)) == 2
    assert len(windows(panel.drop(index=(3, 1983)), 4)) == 6
    words = panel.set_index(pd.MultiIndex.from_product([[3, 5], list("hgfedcba")]))
    np.testing.assert_array_equal(
        np.asarray(windows(words, 8))[..., 0], panel["x"].to_numpy().reshape(2, 8)
    )


HOLED = table().drop(index=table().index[10:15])
STORED: dict[str, Callable[[pd.DatetimeIndex], Any]] = {
    "dates": lambda t: t,
    "objects": lambda t: t.astype(object),
    "datetimes": lambda t: pd.Index(t.to_pydatetime(), dtype=object),
    "zoned": lambda t: t.tz_localize("Asia/Tokyo"),
    "zoned objects": lambda t: t.tz_localize("Asia/Tokyo").astype(object),
    "several offsets": lambda t: pd.Index(
        [s.tz_localize("UTC").tz_convert(f"+0{i % 3}:00") for i, s in enumerate(t)], dtype=object
    ),
    "seconds": lambda t: t.as_unit("s"),
    "durations": lambda t: t - t[0],
    "objects of durations": lambda t: (t - t[0]).astype(object),
    "periods": lambda t: t.to_period("h"),
    "objects of periods": lambda t: t.to_period("h").astype(object),
    "categories": lambda t: pd.CategoricalIndex(t),
}


@pytest.mark.parametrize("where", ["index", "column"])
@pytest.mark.parametrize("kind", STORED)
def test_times_in_any_storage_type_are_times(kind: str, where: str) -> None:
    labels = STORED[kind](HOLED.index)
    rows = HOLED.set_axis(labels).sample(frac=1, random_state=1)
    if where == "column":
        rows = rows.rename_axis("t").reset_index()
    w = windows(rows, 5, time="t" if where == "column" else None)
    assert len(w) == 17
    np.testing.assert_array_equal(np.asarray(w), np.asarray(windows(HOLED, 5)))


NUMBERS = ["uint8", "int8", "uint64", "float32", "Int64", "UInt8", "Float64", "object"]


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_any_type_are_times_where_they_are_said_to_be(kind: str) -> None:
    rows = pd.DataFrame({"t": np.arange(90, 120), "x": np.arange(30.0)}).drop(range(10, 15))
    given = rows.astype({"t": kind}).sample(frac=1, random_state=0)
    assert len(windows(given, 5, time="t")) == 17
    dates = rows.assign(t=[datetime.date(2026, 1, 1) + datetime.timedelta(int(i)) for i in rows.t])
    assert len(windows(dates.sample(frac=1, random_state=0), 5, time="t")) == 17


def test_words_that_look_like_times_are_told_of() -> None:
    words = table().set_axis(table().index.astype(str))
    with pytest.warns(UserWarning, match=r"the index is not taken as times.*to_datetime"):
        assert len(windows(words, 5)) == 26
    column = words.rename_axis("t").reset_index()
    with pytest.raises(DataError, match=r"got dtype .*to_datetime\(\.\.\.\) makes dates of 't'"):
        windows(column, 5, time="t")
    mixed = [*table().index[:15], *table().index[15:].tz_localize("UTC")]
    with pytest.warns(UserWarning, match=r"to_datetime\(\.\.\., utc=True\)"):
        windows(table().set_axis(pd.Index(mixed, dtype=object)), 5)
    windows(table().set_axis([f"row {i}" for i in range(30)]), 5)


@pytest.mark.parametrize(("freq", "n"), [("B", 120), ("bh", 200), ("D", 60), ("MS", 40)])
def test_a_regular_calendar_has_no_gap(freq: str, n: int) -> None:
    rows = table(n, freq)
    w = windows(rows, 10)
    assert len(w) == n - 9
    after = w.last.after(3).get_level_values("time")
    pd.testing.assert_index_equal(
        after, pd.date_range(rows.index[-1], periods=4, freq=freq)[1:], check_names=False
    )
    model = {"hidden_size": 4, "max_iter": 2, "device": "cpu", "verbose": 0}
    found = AnomalyDetector(model, past=5, future=2).fit(rows)
    assert found.scores(rows).notna().all(axis=None)


def test_business_days_have_gaps_of_their_own() -> None:
    rows = table(120, "B")
    missing = rows.drop(index=rows.index[[50, 51]])
    assert len(windows(missing, 10)) == 118 - 18
    with pytest.raises(ShapeError, match=r"a step of more than .* is a gap: give rows of NaN"):
        windows(table(30).iloc[[0, 1, 2, 3, 10, 11, 12, 13]], 6)


# -- tables of other libraries ---------------------------------------------------------------------


def test_tables_of_polars() -> None:
    pl = pytest.importorskip("polars")
    rows = table(60)
    given = pl.DataFrame({"time": rows.index.to_numpy(), "b": rows["b"], "a": rows["a"]})
    w = windows(given, 5, time="time", columns=["a", "b"])
    np.testing.assert_array_equal(np.asarray(w), np.asarray(windows(rows, 5)))
    model = {"hidden_size": 4, "max_iter": 2, "device": "cpu", "verbose": 0}
    found = AnomalyDetector(model, past=5, future=2, time="time").fit(rows.reset_index())
    pd.testing.assert_frame_equal(found.scores(given), found.scores(rows.reset_index()))
    with pytest.raises(ArgumentError, match=r"call collect\(\) first"):
        windows(given.lazy(), 5)
    small = pl.DataFrame({"x": pl.Series([1, None, 3, 4], dtype=pl.UInt8)})
    np.testing.assert_array_equal(windows(small, 3)[0][:, 0], [1, np.nan, 3])


def test_tables_of_pyarrow() -> None:
    pa = pytest.importorskip("pyarrow")
    rows = table(60)
    given = pa.table({"time": rows.index.to_numpy(), "a": rows["a"], "b": rows["b"]})
    w = windows(given, 5, time="time")
    np.testing.assert_array_equal(np.asarray(w), np.asarray(windows(rows, 5)))
    arrow = HOLED.set_axis(HOLED.index.astype("timestamp[us][pyarrow]"))
    assert len(windows(arrow, 5)) == 17
    for kind in ("timestamp[ns, tz=Europe/Berlin][pyarrow]", "timestamp[s][pyarrow]"):
        column = HOLED.reset_index().astype({"time": kind})
        assert len(windows(column, 5, time="time")) == 17
    decimals = HOLED.astype(pd.ArrowDtype(pa.decimal128(12, 6)))
    np.testing.assert_allclose(
        np.asarray(windows(decimals, 5)), np.asarray(windows(HOLED, 5)), atol=1e-6
    )


class OtherTable:
    """What tables of other libraries have in common."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._rows, self.columns = rows, list(rows.columns)

    def to_pandas(self) -> pd.DataFrame:
        return self._rows


class LazyTable(OtherTable):
    def compute(self) -> pd.DataFrame:
        return self._rows


def test_tables_of_other_libraries() -> None:
    rows = table()
    np.testing.assert_array_equal(windows(OtherTable(rows), 5), windows(rows, 5))
    model = {"hidden_size": 4, "max_iter": 2, "device": "cpu", "verbose": 0}
    found = AnomalyDetector(model, past=5, future=2).fit(OtherTable(rows))
    pd.testing.assert_frame_equal(found.scores(OtherTable(rows)), found.scores(rows))
    with pytest.raises(ArgumentError, match=r"call compute\(\) first"):
        windows(LazyTable(rows), 5)
