"""Rows with the columns that are known in the future too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast._engine import tables
from backcast._engine.columns import real
from backcast._warn import warn
from backcast.data._calendars import closes, on
from backcast.data._clock import describe, has_times
from backcast.data._recordings import Recordings, is_table, of_series, recordings
from backcast.data._times import Continuation
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
                    f"future_columns must be columns of the table, got {label!r}"
                    f"{tables.among(table)}"
                )
        _check_numbers("future_columns", table, asked)
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
) -> tuple[Numbers, Any]:
    """Return the known columns of the rows after each window, (n, steps, n_known), and their index.

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
    if labels and is_table(future):
        found, index = _of_table(windows, tables.table_of(future), labels, steps, names)
    else:
        # Rows of an array have no index.
        index = None if isinstance(windows.row_labels, np.ndarray) else windows.after(steps)
        if labels:
            found = _of_array(windows, future, labels, steps)
    missing = np.argwhere(~np.isfinite(found))
    if len(missing):
        window, step, column = missing[0]
        at = f"row {step}" if index is None else str(index[window * steps + step][-1])
        of = "" if windows.row_groups is None else f" of {windows.groups[window]!r}"
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"future must hold finite numbers, got {found[window, step, column]} in "
            f"{labels[column]!r} at {at}{of}{more}"
        )
    if periods:
        times = index.get_level_values(-1)
        found = np.concatenate([found, features(times, periods).reshape(n, steps, -1)], axis=2)
    return found, index


def _of_array(windows: Windows, future: Any, labels: list[Any], steps: int) -> Numbers:
    if windows.row_groups is not None:
        raise ArgumentError("future must be a table with the groups of the series, got an array")
    rows = np.asarray(real("future", future), np.float64)
    rows = rows[:, np.newaxis] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != len(labels) or len(rows) < steps:
        raise ShapeError(
            f"future must be of shape ({steps}, {len(labels)}), or longer, got {rows.shape}"
        )
    return np.repeat(rows[np.newaxis, :steps], len(windows), axis=0)


def _of_table(
    windows: Windows, table: Any, labels: list[Any], steps: int, names: tuple[Any, Any]
) -> tuple[Numbers, Any]:
    given = _rows_of_future(windows, table, labels, names)
    found = np.empty((len(windows), steps, len(labels)))
    index: Any = None
    goes_on: list[Continuation | None] = []
    times: list[Any] = []
    skipped: list[str] = []
    if not isinstance(windows.row_labels, np.ndarray):
        index, goes_on = windows._continued(steps)
    for i in range(len(windows)):
        own, of = np.arange(len(given.values)), ""
        if given.row_groups is not None:
            group = windows.groups[i]
            own, of = np.flatnonzero([each == group for each in given.row_groups]), f" of {group!r}"
        place = np.arange(steps)
        if index is not None and windows.timed:
            expected = index[i * steps : (i + 1) * steps].get_level_values(-1)
            there, last = given.row_labels[own], windows._label(i, -1)
            place, missing = _places(there, expected, last, goes_on[i], of)
            times.append(there[place].astype(expected.dtype))
            skipped += [f"{each}{of}" for each in missing]
        elif len(own) < steps:
            raise DataError(
                f"future must have the {steps} rows after the series, got {len(own)}{of}"
            )
        found[i] = given.values[own[place]]
    if skipped:
        some = ", ".join(skipped[:5]) + (", ..." if len(skipped) > 5 else "")
        warn(
            f"future has no row at {some}, which the series would have, so that the forecast skips "
            "them as days off. If they are none, give their rows; if they are, "
            "gap=pandas.offsets.CustomBusinessDay(holidays=[...]) knows them",
            UserWarning,
        )
    if times:
        index = windows._index(times[0].append(times[1:]).rename(windows.names[1]), steps)
    return found, index


def _rows_of_future(
    windows: Windows, table: Any, labels: list[Any], names: tuple[Any, Any]
) -> Recordings:
    """Take the rows of a table that must have known columns, times and groups of the series."""
    for label in labels:
        if label not in table.columns:
            raise ArgumentError(
                f"future must have the columns {tables.listed(labels)}, got "
                f"{tables.listed(table.columns)}"
            )
    _check_numbers("future", table, labels)
    group, time = names
    keys = {label: "groups" for label in (group if isinstance(group, list) else [group])}
    for label, what in {**keys, time: "times"}.items():
        if label is not None and label not in [*table.columns, *table.index.names]:
            raise ArgumentError(
                f"future must have the column {label!r}, the {what} of its rows, as the series "
                f"has it, got columns {tables.listed(table.columns)}"
            )
    given = recordings(table, group, time, labels, np.inf if _has_times(table, time) else None)
    if (given.row_groups is None) != (windows.row_groups is None):
        name, there = given.names[0], "no groups, as the series"
        if given.row_groups is None:
            name, there = windows.names[0], "the groups of the series"
        raise ArgumentError(
            f"future must have {there}, {name!r}, in its index, got levels "
            f"{list(table.index.names)}"
        )
    return given


def _places(
    there: Any, expected: Any, last: Any, goes_on: Continuation | None, of: str
) -> tuple[NDArray[Any], list[Any]]:
    """Return the places of the rows after a recording, and the times that they skip.

    They are at the expected times. Where those are a guess, or days off are missing, they are the
    first after the last row of the series.
    """
    if len(there) and _kind(there) != _kind(expected):
        raise DataError(
            f"future must have {_kind(expected)} as the series has, got {_kind(there)}, such as "
            f"{there[0]}: in its index, or in the column of time=..."
        )
    steps = len(expected)
    place = there.get_indexer(expected)
    guess = goes_on is not None and goes_on.is_guess(steps)
    if not guess and (place >= 0).all():
        return place, []
    first = int(there.searchsorted(last, "right"))
    after, first_ones = there[first : first + steps], first + np.arange(steps)
    if len(after) == steps and guess:
        return first_ones, []
    calendar = None if goes_on is None else goes_on.calendar
    if len(after) == steps and closes(calendar) and on(calendar, after).all():
        skipped = list(expected[(place < 0) & (expected < after[-1])])
        # Days off are few; other rows are of another time.
        if len(skipped) <= max(1, steps // 3):
            return first_ones, skipped
    if guess:
        raise DataError(
            f"future must have {steps} rows{of} after {last}, the end of the series, got "
            f"{len(after)}"
        )
    step = ""
    if calendar is not None:
        step = f", by the calendar {describe(calendar)}"
    elif goes_on is not None and goes_on.step is not None:
        step = f", one every {str(goes_on.step).removeprefix('0 days ')}"
    rows = f"; it has rows from {there[0]} to {there[-1]}" if len(there) else ""
    raise DataError(
        f"future must have the {steps} rows after the series, got none at "
        f"{expected[place < 0][0]}{of}: it needs those from {expected[0]} to {expected[-1]}{step}"
        f"{rows}"
    )


def _kind(labels: Any) -> str:
    """Return in words what labels are."""
    import pandas as pd

    if isinstance(labels, pd.DatetimeIndex):
        return "dates" if labels.tz is None else "dates with a time zone"
    if isinstance(labels, pd.PeriodIndex):
        return "periods"
    return {"m": "durations", "i": "numbers", "u": "numbers", "f": "numbers"}.get(
        labels.dtype.kind, "words"
    )


def _has_times(table: Any, time: Any) -> bool:
    return time is not None or has_times(table.index)


def _check_numbers(name: str, table: Any, labels: list[Any]) -> None:
    """Refuse columns of words, and say how they become numbers."""
    for label in labels:
        if table[label].ndim == 1 and not tables.is_numeric(table[label]):
            found = tables.remedy(table[label], label)
            how = f"pandas.get_dummies(table, columns=[{label!r}], dtype=float) makes numbers"
            raise DataError(
                f"{name} must hold numbers, got dtype {table[label].dtype} of {label!r}; "
                f"{found.how if found else how}"
            )
