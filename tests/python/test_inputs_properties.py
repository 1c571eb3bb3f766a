"""Random containers, storage types and indexes: equal numbers and times give equal results."""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backcast import Model
from backcast.data import windows
from small import small_model

BOUNDED = settings(derandomize=True, deadline=None, max_examples=25, database=None)

# Storage of whole numbers from 0 to 100. uint8 arrays hold pixels.
ARRAY_TYPES = [
    *("i1", "i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "g"),
    *(">i2", ">i4", ">i8", ">u4", ">f4", ">f8"),
]
COLUMN_TYPES = [
    *ARRAY_TYPES,
    *("u1", "Int8", "Int64", "UInt8", "UInt32", "Float32", "Float64"),
    *("int8[pyarrow]", "uint8[pyarrow]", "float[pyarrow]", "double[pyarrow]"),
    *("decimal", "object"),
]


@cache
def model() -> Model:
    rows = np.random.default_rng(0).integers(0, 100, size=(12, 8, 2)).astype(np.float64)
    return small_model(scale="standard", horizon=3).fit(rows)


def numbers(shape: tuple[int, ...]) -> st.SearchStrategy[NDArray[np.int64]]:
    size = int(np.prod(shape))
    return st.lists(st.integers(0, 100), min_size=size, max_size=size).map(
        lambda drawn: np.array(drawn).reshape(shape)
    )


# -- arrays ----------------------------------------------------------------------------------------

LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "as it is": lambda x: x,
    "columns first": np.asfortranarray,
    "every other": lambda x: np.repeat(x, 2, axis=0)[::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "transposed": lambda x: np.ascontiguousarray(x.swapaxes(0, 2)).swapaxes(0, 2),
    "read only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "unaligned": lambda x: unaligned(x),
}


def unaligned(x: NDArray[Any]) -> NDArray[Any]:
    room = np.zeros(x.nbytes + 1, np.uint8)
    shifted = room[1:].view(x.dtype).reshape(x.shape)
    shifted[...] = x
    return shifted


@BOUNDED
@given(numbers((5, 5, 2)), st.sampled_from(ARRAY_TYPES), st.sampled_from(sorted(LAYOUTS)))
def test_the_storage_of_an_array_changes_nothing(
    whole: NDArray[np.int64], dtype: str, layout: str
) -> None:
    expected = model().encode(whole.astype(np.float64))
    found = model().encode(LAYOUTS[layout](whole.astype(dtype)))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


CONTAINERS: dict[str, Callable[[NDArray[np.float64]], Any]] = {
    "nested lists": lambda x: x.tolist(),
    "a list of arrays": list,
    "a tuple of arrays": tuple,
    "a list of lists": lambda x: [one.tolist() for one in x],
    "a list of tensors": lambda x: list(torch.tensor(x)),
    "a tensor": torch.tensor,
    "a tensor of 32 bits": lambda x: torch.tensor(x, dtype=torch.float32),
    "a tensor of whole numbers": lambda x: torch.tensor(x.astype(np.int64)),
    "a memory view": lambda x: memoryview(x),
    "a masked array": np.ma.masked_array,
    "a list of tables": lambda x: [pd.DataFrame(one) for one in x],
}


@BOUNDED
@given(numbers((4, 5, 2)), st.sampled_from(sorted(CONTAINERS)))
def test_the_container_of_windows_changes_nothing(whole: NDArray[np.int64], kind: str) -> None:
    plain = whole.astype(np.float64)
    given_as = CONTAINERS[kind](plain)
    for method in ("encode", "predict", "reconstruct"):
        expected, found = getattr(model(), method)(plain), getattr(model(), method)(given_as)
        np.testing.assert_allclose(np.array(list(found)), expected, rtol=1e-5, atol=1e-5)


# -- columns of tables -----------------------------------------------------------------------------


def stored(column: list[Any], dtype: str) -> Any:
    """A column in some storage; None is a missing number."""
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    missing = None in column
    if dtype == "decimal":
        return pd.Series([None if x is None else Decimal(x) for x in column], dtype=object)
    if missing and dtype not in ("object", *(t for t in COLUMN_TYPES if t[0] in "IUF" or "[" in t)):
        dtype = "f8"
    return pd.Series(column, dtype=dtype if dtype != "g" else np.longdouble)


@BOUNDED
@given(
    st.lists(st.tuples(*[st.integers(0, 100) | st.none()] * 2), min_size=6, max_size=20),
    st.tuples(*[st.sampled_from(COLUMN_TYPES)] * 2),
)
def test_the_storage_of_columns_changes_nothing(
    rows: list[tuple[int | None, int | None]], dtypes: tuple[str, str]
) -> None:
    if not all(any(row[i] is not None for row in rows) for i in range(2)):
        return
    columns = [[row[i] for row in rows] for i in range(2)]
    table = pd.DataFrame({f"c{i}": stored(columns[i], dtypes[i]) for i in range(2)})
    expected = np.array([[np.nan if x is None else x for x in row] for row in rows], np.float64)
    w = windows(table, 4, 1)
    assert w.columns == ["c0", "c1"]
    np.testing.assert_array_equal(np.asarray(w, np.float64), windows(expected, 4, 1))


@BOUNDED
@given(st.lists(st.tuples(st.integers(0, 100), st.floats(-9, 9)), min_size=6, max_size=20))
def test_tables_of_other_libraries_are_the_same_tables(rows: list[tuple[int, float]]) -> None:
    polars, pyarrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    table = pd.DataFrame(rows, columns=["a", "b"])
    table["time"] = pd.date_range("2026-01-01", periods=len(rows), freq="h")
    expected = windows(table, 3, 2, time="time")
    for other in (polars.from_pandas(table), pyarrow.Table.from_pandas(table)):
        found = windows(other, 3, 2, time="time")
        assert found.columns == expected.columns
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
        assert (found.times == expected.times).all()


# -- indexes ---------------------------------------------------------------------------------------

START = pd.Timestamp("2026-03-28 20:00")  # the clocks of Berlin change in the following night

INDEXES: dict[str, Callable[[pd.DatetimeIndex], Any]] = {
    "dates": lambda times: times,
    "dates in seconds": lambda times: times.as_unit("s"),
    "dates in UTC": lambda times: times.tz_localize("UTC"),
    "dates in Berlin": lambda times: times.tz_localize("UTC").tz_convert("Europe/Berlin"),
    "periods": lambda times: times.to_period("h"),
    "durations": lambda times: times - START,
    "objects": lambda times: pd.Index(times.astype(object)),
    "objects of two offsets": lambda times: pd.Index(
        list(times.tz_localize("UTC").tz_convert("Europe/Berlin")), dtype=object
    ),
    "durations as objects": lambda times: pd.Index(list(times - START), dtype=object),
    "dates of Arrow": lambda times: arrow(times, "timestamp[us][pyarrow]"),
}


def arrow(times: pd.DatetimeIndex, dtype: str) -> Any:
    pytest.importorskip("pyarrow")
    return times.astype(dtype)


def cut(hours: NDArray[np.int64], length: int) -> list[list[int]]:
    """Windows by the rule in words: ordered by time, no step above 1.5 times the median."""
    order = np.argsort(hours)
    steps = np.diff(hours[order])
    longest = 1.5 * np.median(steps)
    return [
        order[i : i + length].tolist()
        for i in range(len(hours) - length + 1)
        if (steps[i : i + length - 1] <= longest).all()
    ]


@BOUNDED
@given(
    st.lists(st.integers(0, 60), min_size=12, max_size=40, unique=True),
    st.sampled_from(sorted(INDEXES)),
    st.booleans(),
)
def test_the_storage_of_times_changes_nothing(drawn: list[int], kind: str, as_column: bool) -> None:
    hours = np.array(drawn)
    expected = cut(hours, 3)
    times = INDEXES[kind](START + pd.to_timedelta(hours, unit="h"))
    table = pd.DataFrame({"row": np.arange(len(hours), dtype=np.float64)}, index=times)
    options: dict[str, Any] = {}
    if as_column:
        table = table.rename_axis("when").reset_index()
        options["time"] = "when"
    if not expected:
        with pytest.raises(Exception, match="must have at least past"):
            windows(table, 3, **options)
        return
    found = windows(table, 3, **options)
    assert np.asarray(found)[:, :, 0].astype(int).tolist() == expected
    assert found.positions.tolist() == expected


@BOUNDED
@given(
    st.lists(
        st.tuples(st.sampled_from("pq"), st.integers(0, 30)), min_size=16, max_size=40, unique=True
    ),
    st.sampled_from(["columns", "levels", "a level of words", "a category"]),
)
def test_the_place_of_the_group_changes_nothing(rows: list[tuple[str, int]], place: str) -> None:
    groups, hours = np.array([g for g, _ in rows]), np.array([h for _, h in rows])
    expected = []
    for name in "pq":
        own = np.flatnonzero(groups == name)
        if len(own) > 1:
            expected += [own[window].tolist() for window in cut(hours[own], 2)]
    table = pd.DataFrame({"row": np.arange(len(rows), dtype=np.float64), "group": groups})
    table["time"] = START + pd.to_timedelta(hours, unit="h")
    options: dict[str, Any] = {"group": "group", "time": "time"}
    if place == "levels":
        table, options = table.set_index(["group", "time"]), {}
    elif place == "a level of words":
        table, options = table.set_index(["time", "group"]), options
    elif place == "a category":
        table["group"] = table["group"].astype("category")
    found = windows(table, 2, **options)
    assert found.positions.tolist() == expected
