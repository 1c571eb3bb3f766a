"""Rows of tables and arrays, recording after recording, each ordered by time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from backcast.errors import ArgumentError, DataError, ShapeError

W = TypeVar("W")


@dataclass(frozen=True, eq=False)
class Recordings:
    """Rows of an array or a table, recording after recording, each ordered by time, cut at gaps.

    The fields are those of `Windows`, for all rows; the beginning and the end of each run without a
    gap; whether there is a time; and the longest step of time within a run.
    """

    values: NDArray[Any]
    columns: list[Any]
    row_labels: Any
    row_groups: Any
    row_positions: NDArray[np.intp]
    names: tuple[Any, Any]
    begins: NDArray[np.intp]
    ends: NDArray[np.intp]
    timed: bool
    gap: Any

    @classmethod
    def of_array(cls, values: NDArray[Any]) -> Recordings:
        """Take an array (n_rows, n_columns) as one recording without a gap."""
        rows = np.arange(len(values))
        return cls(
            values=values,
            columns=list(range(values.shape[1])),
            row_labels=rows,
            row_groups=None,
            row_positions=rows,
            names=("group", "time"),
            begins=np.array([0]),
            ends=np.array([len(rows)]),
            timed=False,
            gap=None,
        )

    def cut(self, kind: Callable[..., W], past: int, future: int, stride: int = 1) -> W:
        """Cut windows of a kind, `Windows` or a subclass, each from one run; there may be none."""
        length = past + future
        runs = zip(self.begins, self.ends, strict=True)
        starts = [np.arange(begin, end - length + 1, stride) for begin, end in runs]
        return kind(
            values=self.values,
            columns=self.columns,
            starts=np.concatenate(starts).astype(np.intp, copy=False),
            frames=range(length),
            n_past=past,
            row_labels=self.row_labels,
            row_groups=self.row_groups,
            row_positions=self.row_positions,
            run_ends=self.ends,
            timed=self.timed,
            names=self.names,
        )

    def in_given_order(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return one value for each row in the order of the user's rows."""
        back = np.empty_like(values)
        back[self.row_positions] = values
        return back

    def too_short(self, length: int) -> ShapeError:
        """Return the error that there is no window of that length."""
        longest = int((self.ends - self.begins).max(initial=0))
        return ShapeError(
            f"series must have at least past + future = {length} frames of one recording without "
            f"a gap, got {longest} at most"
        )


def recordings(
    table: Any, group: Any, time: Any, columns: list[Any] | None, gap: Any
) -> Recordings:
    """Order the rows of a table as `windows` documents it, and find its gaps."""
    import pandas as pd

    for name, label in (("group", group), ("time", time)):
        if label is not None and label not in table.columns:
            raise ArgumentError(f"{name} must be a column of the table, got {label!r}")
    values, columns = _numbers(table, columns, {group, time} - {None})
    codes, names = (None, None) if group is None else pd.factorize(table[group], sort=True)
    if codes is not None and (codes < 0).any():
        raise DataError(f"group must be known in every row, got NaN in {group!r}")
    labels = table.index if time is None else pd.Index(table[time])
    times = _times(labels, given=time is not None)
    if gap is not None and times is None:
        raise ArgumentError("gap must be None without a time")

    # One recording after another, each ordered by time.
    keys = [key for key in (times, codes) if key is not None]
    order = np.lexsort(keys) if keys else np.arange(len(table))
    times = None if times is None else times[order]
    codes = np.zeros(len(table), np.intp) if codes is None else codes[order]
    # A run belongs to one recording and has no gap.
    same = codes[1:] == codes[:-1]
    if times is not None and len(times) > 1:
        gaps, gap = _gaps(times, same, gap)
        same &= ~gaps
    ends = np.append(np.flatnonzero(~same) + 1, len(table))
    return Recordings(
        values=values[order],
        columns=columns,
        row_labels=labels[order],
        row_groups=None if group is None else np.asarray(names)[codes],
        row_positions=order,
        names=("group" if group is None else group, labels.name or "time"),
        begins=np.append(0, ends[:-1]),
        ends=ends.astype(np.intp),
        timed=times is not None,
        gap=gap,
    )


def _numbers(
    table: Any, columns: list[Any] | None, others: set[Any]
) -> tuple[NDArray[Any], list[Any]]:
    """Return the numbers of a table and the names of their columns."""
    if columns is None:
        columns = [
            name for name in table.select_dtypes(["number", "bool"]).columns if name not in others
        ]
        if not columns:
            raise DataError(f"series must have a column of numbers, got {list(table.columns)}")
    for name in columns:
        if name not in table.columns:
            raise ArgumentError(f"columns must be in the table, got {name!r}")
        if table[name].dtype.kind not in "buif":
            raise DataError(f"{name!r} must hold real numbers, got dtype {table[name].dtype}")
    chosen = table[columns]
    # Columns of several types, and nullable ones, whose missing numbers become NaN.
    several = len(set(chosen.dtypes)) > 1 or not isinstance(chosen.dtypes.iloc[0], np.dtype)
    numbers = chosen.to_numpy(dtype=np.float64, na_value=np.nan) if several else chosen.to_numpy()
    return np.ascontiguousarray(numbers), list(columns)


def has_times(index: Any) -> bool:
    """Return whether a table's index orders its rows by time."""
    return _times(index, given=False) is not None


def _times(labels: Any, *, given: bool) -> NDArray[Any] | None:
    """Return the time of each row as numbers, dates or durations; None if labels are no times."""
    import pandas as pd

    if isinstance(labels, pd.PeriodIndex):
        labels = labels.to_timestamp()
    if isinstance(labels, pd.DatetimeIndex) and labels.tz is not None:
        labels = labels.tz_convert(None)
    if not given and not isinstance(labels, pd.DatetimeIndex | pd.TimedeltaIndex):
        return None
    if labels.isna().any():
        raise DataError("time must be known in every row, got NaN")
    times: NDArray[Any] = labels.to_numpy()
    if times.dtype.kind not in "iufmM":
        raise DataError(f"time must hold numbers, dates or durations, got dtype {times.dtype}")
    return times


def _gaps(times: NDArray[Any], same: NDArray[np.bool_], gap: Any) -> tuple[NDArray[np.bool_], Any]:
    """Return whether there is a gap after each row but the last, and the longest step without."""
    steps = np.diff(times)
    within = steps[same]
    if not len(within):
        return np.zeros(len(steps), np.bool_), gap
    nothing = within.dtype.type(0)
    if (within <= nothing).any():
        at = times[:-1][same][within <= nothing][0]
        raise DataError(f"time must differ within a recording, got {at} twice")
    if gap is None:
        longest = 1.5 * float(np.median(within.astype(np.float64)))
        # Differences are whole units: rounding down loses nothing.
        durations = within.dtype.kind == "m"
        gap = (
            np.asarray(longest).astype(np.int64).astype(within.dtype)[()] if durations else longest
        )
    else:
        longest = _duration(gap, within.dtype)
        if not longest > 0:
            raise ArgumentError(f"gap must be greater than 0, got {gap!r}")
    return np.asarray(steps.astype(np.float64) > longest), gap


def _duration(gap: Any, dtype: np.dtype[Any]) -> float:
    """Return a duration as a number, in the units of `dtype`."""
    import pandas as pd

    try:
        if dtype.kind == "m":
            return float(pd.Timedelta(gap).to_timedelta64().astype(dtype).astype(np.int64))
        return float(gap)
    except (TypeError, ValueError):
        raise ArgumentError(f"gap must be a duration in the units of time, got {gap!r}") from None
