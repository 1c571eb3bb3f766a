"""Rows with the columns that are known in the future too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from backcast._engine import tables
from backcast._engine.columns import real
from backcast.data._recordings import Recordings, is_table, of_series, recordings
from backcast.data.series import Windows
from backcast.errors import ArgumentError, DataError, ShapeError
from backcast.forecast._calendar import features
from backcast.forecast._normalization import Numbers


def known_columns(series: Any, future_columns: Any) -> list[Any]:
    """Return the labels of the known columns, which must hold numbers."""
    if future_columns is None:
        return []
    if isinstance(future_columns, str | bytes) or not hasattr(future_columns, "__iter__"):
        future_columns = [future_columns]
    asked = list(future_columns)
    if is_table(series):
        table = tables.table_of(series)
        for label in asked:
            if label not in table.columns:
                raise ArgumentError(
                    f"future_columns must be columns of the table, got {label!r}, which is not "
                    f"among {list(table.columns)}"
                )
            if not tables.is_numeric(table[label]):
                raise DataError(
                    f"future_columns must hold numbers, got dtype {table[label].dtype} of "
                    f"{label!r}; pandas.get_dummies(table, columns=[{label!r}], dtype=float) makes "
                    "numbers"
                )
    return asked


def rows_of(
    series: Any, known: list[Any], columns: Any, group: Any, time: Any, gap: Any
) -> Recordings:
    """Return rows of the columns to forecast, then of the known ones."""
    if not is_table(series):
        rows = of_series(series, group, time, None, gap)
        every = range(rows.values.shape[1])
        for label in known:
            if label not in every:
                raise ArgumentError(
                    f"future_columns must be numbers of columns, 0 to {every[-1]}, got {label!r}"
                )
        mine = [column for column in every if column not in known]
        _check_any(mine)
        return replace(rows, values=rows.values[:, [*mine, *known]], columns=[*mine, *known])
    table = tables.table_of(series)
    others = [*(group if isinstance(group, list) else [group]), time, *known]
    mine = tables.chosen(table, columns, [name for name in others if name is not None])
    for label in mine:
        if label in known:
            raise ArgumentError(
                f"future_columns must be other columns than those to forecast, got {label!r} twice"
            )
    _check_any(mine)
    return of_series(table, group, time, [*mine, *known], gap)


def _check_any(columns: list[Any]) -> None:
    if not columns:
        raise ArgumentError("future_columns must leave a column to forecast, got all columns")


def with_calendar(rows: Recordings, periods: tuple[str, ...]) -> Recordings:
    """Add the known columns that say where in these periods a row is."""
    if not periods:
        return rows
    numbers = features(rows.row_labels, periods)
    names = [f"calendar {i}" for i in range(numbers.shape[1])]
    values = np.concatenate([rows.values.astype(np.float64), numbers], axis=1)
    return replace(rows, values=values, columns=[*rows.columns, *names])


def future_rows(
    windows: Windows,
    future: Any,
    labels: list[Any],
    steps: int,
    periods: tuple[str, ...],
    names: tuple[Any, Any],
) -> Numbers:
    """Return the known columns of the rows after each window, (n, steps, n_known).

    Parameters
    ----------
    windows : Windows
        The last windows of recordings.
    future : array_like or DataFrame
        What the user knows of the rows to come.
    labels : list
        The columns of `future` that are used; empty if there are none.
    steps : int
        Number of rows to come.
    periods : tuple of str
        Periods of the calendar.
    names : tuple
        The user's group and time.
    """
    n = len(windows)
    found = np.empty((n, steps, 0))
    if future is not None and not labels:
        raise ArgumentError("future must be None without future_columns")
    if labels and future is None:
        raise ArgumentError(
            f"future must have the columns {labels}, which are known in the {steps} rows to come, "
            "got None"
        )
    if labels:
        found = _given(windows, future, labels, steps, names)
        if not np.isfinite(found).all():
            raise DataError("future must hold finite numbers, got NaN or an infinite number")
    if periods:
        times = windows.after(steps).get_level_values(-1)
        found = np.concatenate([found, features(times, periods).reshape(n, steps, -1)], axis=2)
    return found


def _given(
    windows: Windows, future: Any, labels: list[Any], steps: int, names: tuple[Any, Any]
) -> Numbers:
    n = len(windows)
    if not is_table(future):
        if windows.row_groups is not None:
            raise ArgumentError(
                "future must be a table with the groups of the series, got an array"
            )
        rows = np.asarray(real("future", future), np.float64)
        rows = rows[:, np.newaxis] if rows.ndim == 1 else rows
        if rows.ndim != 2 or rows.shape[1] != len(labels) or len(rows) < steps:
            raise ShapeError(
                f"future must be of shape ({steps}, {len(labels)}), or longer, got {rows.shape}"
            )
        return np.repeat(rows[np.newaxis, :steps], n, axis=0)
    table = tables.table_of(future)
    for label in labels:
        if label not in table.columns:
            raise ArgumentError(f"future must have the columns {labels}, got {list(table.columns)}")
    given = recordings(table, *names, labels, None)
    if (given.row_groups is None) != (windows.row_groups is None):
        raise ArgumentError("future must have the groups of the series, as its table has them")
    values = given.values.astype(np.float64)
    expected = windows.after(steps).get_level_values(-1)
    found = np.empty((n, steps, len(labels)))
    for i in range(n):
        own = np.arange(len(values))
        if given.row_groups is not None:
            group = windows.groups[i]
            own = np.flatnonzero([label == group for label in given.row_groups])
        place = np.arange(steps)
        if windows.timed:
            times = expected[i * steps : (i + 1) * steps]
            place = given.row_labels[own].get_indexer(times)
            if (place < 0).any():
                missing = times[place < 0][0]
                raise DataError(
                    f"future must have the {steps} rows after the series, got none at {missing}"
                    + ("" if given.row_groups is None else f" of {windows.groups[i]!r}")
                )
        elif len(own) < steps:
            raise DataError(f"future must have the {steps} rows after the series, got {len(own)}")
        found[i] = values[own[place]]
    return found
