"""Rows of tables and arrays, recording after recording, each ordered by time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from backcast._engine import tables
from backcast._engine.columns import real
from backcast._warn import warn
from backcast.data._calendars import closes, offset_of
from backcast.data._clock import (
    describe,
    find_gaps,
    median_step,
    pd_numbers,
    times_of,
    warn_of_swapped,
)
from backcast.data._dates import how_to_date
from backcast.data._times import continuations
from backcast.errors import ArgumentError, DataError, ShapeError

W = TypeVar("W")
# Gaps that leave more than this part of the rows without a window are a warning.
_MANY = 0.1


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
    # As that of `Windows`.
    calendar: Any = None
    # Columns of the table with the group and the time; None of those that are in its index.
    of_columns: tuple[Any, Any] = (None, None)

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
            calendar=self._calendar,
        )

    def in_given_order(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return one value for each row in the order of the user's rows."""
        back = np.empty_like(values)
        back[self.row_positions] = values
        return back

    @property
    def last_rows(self) -> NDArray[np.intp]:
        """The place of the last row of each recording."""
        if self.row_groups is None:
            return np.array([len(self.values) - 1])
        changes = self.row_groups[1:] != self.row_groups[:-1]
        return np.flatnonzero(np.append(changes, True))

    def steps(self) -> Any:
        """Return the step of time of each recording, by its label unless all have the same.

        A step is a calendar, a duration or a number; None if there are no times.
        """
        if not self.timed or not len(self.values):
            return None
        of = continuations(self.row_labels, self.row_groups, self.ends, self._calendar)
        last = self.last_rows
        found = [of(row).step for row in last]
        if self.row_groups is None or all(step == found[0] for step in found):
            return found[0]
        return dict(zip(self.row_groups[last].tolist(), found, strict=True))

    @property
    def _calendar(self) -> Any:
        return self.gap if self.calendar is None else self.calendar

    def warn_of_rows_after(self, windows: Any) -> None:
        """Warn where the last window of a recording is not at its end, as a gap is in between."""
        ends = windows.starts + len(windows.frames)
        early = ends[~np.isin(ends - 1, self.last_rows)]
        if len(early):
            at = ", ".join(str(self.row_labels[end - 1]) for end in early[:5])
            at += ", ..." if len(early) > 5 else ""
            several = self.row_groups is not None
            where = f"{len(early)} of {len(ends)} recordings" if several else "the series"
            warn(
                f"forecasts begin before the end of {where}, after "
                f"{at}: later rows follow a gap and are fewer than past = {len(windows.frames)}. "
                f"Give rows of NaN for those that are missing, as {self.filling} makes them"
                f"{self._holidays()}",
                UserWarning,
            )

    @property
    def filling(self) -> str:
        """The call that gives a table rows of NaN where rows are missing, for advice."""
        import pandas as pd

        dates = isinstance(self.row_labels, pd.DatetimeIndex)
        # Not those of a calendar, nor of recordings with different steps.
        if not dates or isinstance(self.gap, dict) or offset_of(self.gap) is not None:
            return "table.asfreq"
        step = median_step(self.row_labels, self.begins, self.ends)
        if step is None:
            return "table.asfreq"
        group, time = self.of_columns
        several = self.row_groups is not None
        if several and group is None:
            return "asfreq of the table of each recording"
        freq = repr(pd.tseries.frequencies.to_offset(pd.Timedelta(step)).freqstr)
        table = "table" if time is None else f"table.set_index({time!r})"
        if several:
            columns = repr(self.columns) if len(self.columns) < 5 else "columns"
            table += f".groupby({group!r})[{columns}]"
        times = times_of(self.row_labels, given=True)[1]
        first = np.repeat(
            np.append(0, self.last_rows[:-1] + 1), np.diff(self.last_rows, prepend=-1)
        )
        if times is None or ((times - times[first]) % step).any():
            return f"{table}.resample({freq}).mean()"
        return (
            f"{table}.apply(lambda each: each.asfreq({freq}))"
            if several
            else f"{table}.asfreq({freq})"
        )

    @property
    def bridging(self) -> str:
        """What leaves no gap between rows, for advice."""
        return (
            f"Rows of NaN for those that are missing, as {self.filling} makes them, leave no gap; "
            "gap=... allows longer steps"
        )

    @property
    def longest_step(self) -> str:
        """The longest step without a gap, in words."""
        return "usual" if isinstance(self.gap, dict | None) else describe(self.gap)

    def _holidays(self) -> str:
        """Return how a calendar without holidays learns them."""
        gaps = self.gap.values() if isinstance(self.gap, dict) else [self.gap]
        if not any(offset_of(gap) is not None for gap in gaps):
            return ""
        return (
            ". If they are holidays, gap=pandas.offsets.CustomBusinessDay(holidays=[...]) knows "
            'them, and a duration, such as gap="4D", allows all of up to that'
        )

    def warn_of_groups_without(self, windows: Any) -> None:
        """Warn where recordings have no window, while others have some."""
        if self.row_groups is None:
            return
        every = self.row_groups[self.last_rows]
        used = set(windows.row_groups[windows.starts])
        without = [group for group in every if group not in used]
        if without:
            some = ", ".join(map(repr, without[:5])) + (", ..." if len(without) > 5 else "")
            warn(
                f"{len(without)} of {len(every)} recordings have no window of "
                f"{len(windows.frames)} frames without a gap and are left out: {some}",
                UserWarning,
            )

    def warn_of_short_runs(self, windows: Any) -> None:
        """Warn where gaps leave many rows without a window."""
        length, sizes = len(windows.frames), self.ends - self.begins
        of = np.searchsorted(self.last_rows, self.begins)
        # Gaps do not make a recording short.
        short = (sizes < length) & (np.bincount(of, sizes)[of] >= length)
        n = int(sizes[short].sum())
        if n > _MANY * len(self.values):
            warn(
                f"{n:,} of {len(self.values):,} rows are in no window and are not learnt from: "
                f"between gaps, steps of more than {self.longest_step}, they are fewer than the "
                f"{length} rows of a window. {self.bridging}{self._holidays()}",
                UserWarning,
            )

    def too_short(
        self, length: int, name: str = "series", what: str = "past + future"
    ) -> ShapeError:
        """Return the error that there is no window of that length."""
        longest = int((self.ends - self.begins).max(initial=0))
        remedy = ""
        if self.timed and len(self.ends) > 1 and not isinstance(self.gap, dict):
            remedy = (
                f"; a step of more than {describe(self.gap)} is a gap: give rows of NaN for those "
                f"that are missing, as {self.filling} makes them, or a larger gap"
                f"{self._holidays()}"
            )
        return ShapeError(
            f"{name} must have at least {what} = {length} frames of one recording without "
            f"a gap, got {longest} at most{remedy}"
        )


def is_table(series: Any) -> bool:
    """Whether rows are labelled: a table, or an array with dates, as xarray's."""
    return tables.is_table(series) or tables.has_time_axis(series)


def of_series(
    series: Any, group: Any, time: Any, columns: Any, gap: Any, name: str = "series"
) -> Recordings:
    """Order the rows of a table, or take an array (n_rows,) or (n_rows, n_columns)."""
    if is_table(series):
        return recordings(tables.table_of(series), group, time, columns, gap)
    for what, value in (("group", group), ("time", time)):
        if value is not None:
            raise ArgumentError(f"{name} must be a DataFrame, which has a {what}, got an array")
    array = tables.as_plain_numbers(real(name, series))
    if array.ndim not in (1, 2):
        how = ""
        if array.ndim > 2:
            how = f"; numpy.reshape({name}, ({len(array)}, -1)) makes rows of frames"
        raise ShapeError(
            f"{name} must be of shape (n_rows,) or (n_rows, n_columns), got {array.shape}{how}"
        )
    if array.shape[1:] == (0,):
        raise DataError(f"{name} must have at least 1 column, got shape {array.shape}")
    return Recordings.of_array(array if array.ndim == 2 else array[:, np.newaxis])


def same_columns(
    name: str, series: Any, columns: list[Any], take: Callable[[Any], Recordings]
) -> Recordings:
    """Take rows that must have the columns of `fit`."""
    if is_table(series):
        series = tables.table_of(series)
        missing = [label for label in columns if label not in series.columns]
        if missing:
            raise ArgumentError(
                f"{name} must have the columns of fit, {tables.listed(columns)}, got "
                f"{tables.listed(series.columns)}: {tables.listed(missing)[1:-1]} missing"
            )
    rows = take(series)
    if len(rows.columns) != len(columns):
        raise ShapeError(
            f"{name} must have {len(columns)} columns, as in fit, got {len(rows.columns)}"
        )
    return rows


def check_savable(columns: list[Any], group: Any, time: Any) -> None:
    """Refuse labels that a file cannot hold."""
    groups = group if isinstance(group, list) else [group]
    for label in (*columns, *groups, time):
        if not isinstance(label, str | int | float | np.number | None):
            raise ArgumentError(f"columns must be words or numbers to be saved, got {label!r}")


def recordings(given: Any, group: Any, time: Any, columns: Any, gap: Any) -> Recordings:
    """Order the rows of a table as `windows` documents it, and find its gaps."""
    table = tables.table_of(given)
    keys, labels, is_given, names = _keys(table, group, time)
    used = [group, time] if not isinstance(group, list) else [*group, time]
    asked, columns = columns, tables.chosen(table, columns, [n for n in used if n is not None])
    values = tables.numbers(table, columns)
    codes, groups = _groups(keys)
    labels, times = times_of(labels, given=is_given, name=names[1])
    if gap is not None and times is None:
        raise ArgumentError("gap must be None without a time")
    # The table's own calendar, whose holidays and days of the week dates alone may not show.
    freq = None if keys else getattr(labels, "freq", None)
    calendar = freq if closes(freq) else None
    gap = calendar if gap is None else gap

    # One recording after another, each ordered by time.
    order_by = [key for key in (times, codes) if key is not None]
    order = np.lexsort(order_by) if order_by else np.arange(len(table))
    labels, times = labels[order], None if times is None else times[order]
    codes = np.zeros(len(table), np.intp) if codes is None else codes[order]
    # A run belongs to one recording and has no gap.
    same = codes[1:] == codes[:-1]
    if times is not None and len(times) > 1:
        is_own = gap is None
        gaps, gap = find_gaps(times, labels, codes, groups, gap)
        same &= ~gaps
        if is_own and gaps.any():
            warn_of_swapped(labels, codes, int(gaps.sum()), names[1])
    ends = np.append(np.flatnonzero(~same) + 1, len(table))
    if asked is None:
        _advise_on_left_out(table, {*columns, *used}, grouped=bool(keys), timed=times is not None)
    return Recordings(
        values=values[order],
        columns=columns,
        row_labels=labels,
        row_groups=None if groups is None else groups[codes],
        row_positions=order,
        names=names,
        begins=np.append(0, ends[:-1]),
        ends=ends.astype(np.intp),
        timed=times is not None,
        gap=gap,
        calendar=calendar,
        of_columns=(_column(table, group), _column(table, time)),
    )


def _column(table: Any, label: Any) -> Any:
    """Return a label, or a list of labels, of columns; None of those that are in the index."""
    labels = label if isinstance(label, list) else [label]
    return label if label is not None and set(labels) <= set(table.columns) else None


def _advise_on_left_out(table: Any, used: set[Any], *, grouped: bool, timed: bool) -> None:
    """Warn where a column without numbers may hold the times of rows, or name their recordings."""
    for name in table.columns:
        if name in used or (column := table[name]).ndim > 1 or tables.remedy(column, name):
            continue
        words = tables.is_words(column)
        how = how_to_date(column, name) if words else ""
        dates = column.dtype.kind == "M" or bool(how)
        n_values = _n_values(column)
        # Times mostly differ; names of recordings have runs of rows each.
        if dates and not timed and n_values > min(3, len(column) / 2):
            warn(
                f"column {name!r} holds dates and is left out. With time={name!r} rows are "
                f"ordered by it and cut at its gaps, and results have it{how}",
                UserWarning,
            )
        elif words and not grouped and 1 < n_values <= len(column) / 2 and _may_name(column, timed):
            warn(
                f"column {name!r} holds words and is left out, so windows cross from one of its "
                f"values to another. If it names recordings, group={name!r} keeps them apart; if "
                f"it describes rows, pandas.get_dummies(table, columns=[{name!r}]) makes numbers "
                "of it; columns=[...] says which columns to take",
                UserWarning,
            )


def _n_values(column: Any) -> int:
    """Return the number of different values."""
    try:
        return int(column.nunique())
    except TypeError:
        return len(column)  # of lists and the like


def _may_name(column: Any, timed: bool) -> bool:
    """Whether words may name recordings: they are in every row, and lie in blocks along a time."""
    n_blocks = (column != column.shift()).sum()
    return not column.isna().any() and (not timed or bool(n_blocks == column.nunique()))


def _keys(table: Any, group: Any, time: Any) -> tuple[list[Any], Any, bool, tuple[Any, Any]]:
    """Return the labels of recordings and of times, whether those must be times, and their names.

    They are columns or levels of the index. Of an index of several levels, the last is the time and
    the others are the group, unless the user says otherwise.
    """
    index = table.index
    several = index.nlevels > 1
    is_given = time is not None
    if time is not None:
        labels, level = _labelled(table, "time", time)
    elif several:
        level = index.nlevels - 1
        labels = index.get_level_values(level)
        is_given = pd_numbers(labels)
    else:
        labels, level = index, None
    own_name = labels.name if time is None else time
    named = list(group) if isinstance(group, list) else [group]
    if group is not None:
        keys = [_labelled(table, "group", each)[0] for each in named]
        name = tuple(named) if isinstance(group, list) and len(named) > 1 else named[0]
        return keys, labels, is_given, (name, "time" if own_name is None else own_name)
    if not several:
        return [], labels, is_given, ("group", own_name or "time")
    others = [i for i in range(index.nlevels) if i != level]
    if level is None and index.is_unique:
        # The last level counts the rows.
        others = others[:-1]
    keys = [index.get_level_values(i) for i in others]
    levels = tuple(f"level_{i}" if index.names[i] is None else index.names[i] for i in others)
    name = levels if len(levels) > 1 else index.names[others[0]] or "group"
    return keys, labels, is_given, (name, "time" if own_name is None else own_name)


def _labelled(table: Any, name: str, label: Any) -> tuple[Any, int | None]:
    """Return the column or the level of the index of that label; and the number of the level."""
    import pandas as pd

    try:
        if label in table.columns:
            column = table[label]
            if column.ndim > 1:
                raise ArgumentError(f"{name} must be one column of the table, got {label!r}")
            return pd.Index(column), None
        if label in table.index.names:
            level = list(table.index.names).index(label)
            return table.index.get_level_values(level), level
    except TypeError:
        pass  # It cannot be a label.
    raise ArgumentError(
        f"{name} must be a column of the table, got {label!r}{tables.among(table, index=True)}"
    )


def _groups(keys: list[Any]) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    """Return the number of each row's recording, and the label of each; None without a group."""
    import pandas as pd

    if not keys:
        return None, None
    for key in keys:
        if key.isna().any():
            raise DataError(f"group must be known in every row, got NaN in {key.name!r}")
    several = len(keys) > 1
    key = pd.MultiIndex.from_arrays(keys) if several else keys[0]
    try:
        codes, found = pd.factorize(key, sort=True)
    except TypeError:
        # Labels of several types have no order.
        codes, found = pd.factorize(key)
    if not several:
        return codes, np.asarray(found)
    labels = np.empty(len(found), object)
    labels[:] = list(found)
    return codes, labels
