"""Scores of a live stream, from row to row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast.anomaly._events import require_pandas
from backcast.anomaly._scorer import Scorer, pieces, rows_of
from backcast.anomaly._scoring import Numbers, row_scores
from backcast.data._clock import times_of
from backcast.data._recordings import Recordings, is_table
from backcast.errors import ArgumentError, DataError

if TYPE_CHECKING:
    import pandas as pd

_OWN_COLUMNS = ("score", "outlier", "final")


class Stream(NamedTuple):
    """The last rows of a live stream, which later windows may cover.

    Attributes
    ----------
    seen : int
        Number of rows since the stream began.
    table : DataFrame
        The rows.
    sums, counts : ndarray of shape (n_rows, n_parts, n_columns)
        Their totals so far, as those of `Totals`.
    """

    seen: int
    table: pd.DataFrame
    sums: Numbers
    counts: Numbers


def as_rows(given: Any, columns: list[Any], time: Any, stream: Stream | None) -> Any:
    """Return rows of a stream as a table or an array; a dict or a flat array is one row.

    Rows in dicts are numbered on from the stream's, unless they have a date beside the columns.
    """
    pandas = require_pandas()
    seen = stream.seen if stream else 0
    if stream and time is not None and stream.table.index.dtype.kind in "iu":
        # The labels are no times; those of the rows before may begin anywhere.
        seen = max(seen, int(stream.table.index.max()) + 1)
    several = isinstance(given, list | tuple) and given and isinstance(given[0], Mapping)
    if isinstance(given, Mapping) and is_table(given):
        raise ArgumentError("rows must be one table, with the column of group=..., got several")
    if isinstance(given, Mapping) or several:
        whole = several or any(np.ndim(value) for value in given.values())
        table = pandas.DataFrame(given if whole else [given])
        table.index = pandas.RangeIndex(seen, seen + len(table))
        dates = [name for name in table if name not in columns and table[name].dtype.kind == "M"]
        return table.set_index(dates[0]) if time is None and len(dates) == 1 else table
    if not hasattr(given, "iloc") and not hasattr(given, "columns"):
        if np.ndim(given) == 0:
            return [[given]]
        if np.ndim(given) == 1 and len(columns) > 1 and len(given):
            return [given]
    return given


def update(
    stream: Stream | None,
    rows: Any,
    columns: list[Any],
    take: Callable[[Any], Recordings],
    scorer: Scorer,
    threshold: float,
    group: Any,
    time: Any,
) -> tuple[Stream, pd.DataFrame]:
    """Score the next rows.

    Parameters
    ----------
    stream : Stream or None
        The stream so far.
    rows : array_like or DataFrame
        The next rows.
    columns : list
        Labels of the columns.
    take : callable
        Orders rows and checks them.
    scorer : Scorer
        Scores the windows.
    threshold : float
        Rows with a higher score are outliers.
    group, time : label, list or None
        The columns of the recordings and the times, for labels of the rows; or the index.

    Returns
    -------
    stream : Stream
        The stream with the new rows.
    changed : DataFrame
        The new rows, and earlier ones whose score changed or became final.
    """
    labels = [*(group if isinstance(group, list) else [group]), time]
    clash = [name for name in _OWN_COLUMNS if name in (*columns, *labels)]
    if clash:
        raise ArgumentError(f"columns must have other names to be scored live, got {clash[0]!r}")
    table, seen = _joined(stream, rows, columns, take, time)
    taken = take(table)
    order = taken.row_positions
    old = order < (len(stream.table) if stream else 0)
    groups = np.zeros(len(order)) if taken.row_groups is None else taken.row_groups
    if (old[1:] & ~old[:-1] & (groups[1:] == groups[:-1])).any():
        raise DataError("rows must come later than those before them, got an earlier one")

    totals = scorer.totals(len(order))
    if stream:
        totals.sums[old] = stream.sums[order[old]]
        totals.counts[old] = stream.counts[order[old]]
    changed = ~old
    # The kept rows are fewer than a window, so that every window is new.
    for piece, _ in pieces(scorer.errors.windows(taken), 0):
        scorer.add(piece, totals)
        changed[rows_of(piece)] = True
    final = _final(taken, groups, scorer.errors.n_past + scorer.errors.n_future)

    scores = totals.scores()
    score = row_scores(scores)
    own = {"score": score, "outlier": score > threshold, "final": final}
    told = [name for name in labels if name is not None and name in table.columns]
    result = table.iloc[order][told].assign(**own)
    result[columns] = scores
    back = np.argsort(order)
    kept = back[~final[back]]
    after = Stream(seen, table.iloc[order[kept]], totals.sums[kept], totals.counts[kept])
    return after, result.iloc[back[(changed | final)[back]]]


def _joined(
    stream: Stream | None,
    rows: Any,
    columns: list[Any],
    take: Callable[[Any], Recordings],
    time: Any,
) -> tuple[pd.DataFrame, int]:
    """Return the kept rows and the new ones in a table, and the number of rows seen."""
    pandas = require_pandas()
    seen = stream.seen if stream else 0
    # The new rows are looked at alone: `concat` would fill what they lack.
    alone = take(rows)
    if isinstance(rows, pandas.DataFrame):
        table = rows
    else:
        index = seen + np.arange(len(alone.values))
        table = pandas.DataFrame(alone.values, index=index, columns=columns)
    if stream:
        if len(stream.table):
            table = like(table, stream.table, time, ("rows", "those before them"))
        table = pandas.concat([stream.table, table])
    return table, seen + len(alone.values)


def like(
    table: pd.DataFrame, before: pd.DataFrame, time: Any, names: tuple[str, str]
) -> pd.DataFrame:
    """Return new rows whose times are of the kind of those before; others are refused."""
    pandas = require_pandas()
    name, others = names

    def stamps(rows: pd.DataFrame) -> Any:
        if time is not None and time in rows.columns:
            return times_of(pandas.Index(rows[time]), given=True)[0]
        level = rows.index if rows.index.nlevels == 1 else rows.index.get_level_values(-1)
        return times_of(level, given=False)[0]

    def kind(labels: Any) -> str:
        if isinstance(labels, pandas.DatetimeIndex):
            return "dates without a zone" if labels.tz is None else "dates with a zone"
        if isinstance(labels, pandas.PeriodIndex):
            return "periods"
        if isinstance(labels, pandas.TimedeltaIndex):
            return "durations"
        return "numbers" if labels.dtype.kind in "iuf" else "words"

    new, old = stamps(table), stamps(before)
    if kind(new) != kind(old):
        raise DataError(
            f"{name} must have {kind(old)} as times or labels, as {others}, got {kind(new)}"
        )
    if table.index.nlevels != before.index.nlevels:
        raise DataError(
            f"{name} must have an index of {before.index.nlevels} levels, as {others}, got "
            f"{table.index.nlevels}"
        )
    if getattr(new, "tz", None) is not None and str(new.tz) != str(old.tz):
        new = new.tz_convert(old.tz)
        if time is not None and time in table.columns:
            table = table.copy()
            table[time] = new
            return table
        if table.index.nlevels == 1:
            return table.set_axis(new.rename(table.index.name))
    return table


def _final(rows: Recordings, groups: NDArray[Any], length: int) -> NDArray[np.bool_]:
    """Return which rows no later window covers: all but the last of each group's last run."""
    final = np.ones(len(rows.values), bool)
    last = np.append(groups[rows.ends[:-1]] != groups[rows.ends[:-1] - 1], True)
    for begin, end in zip(rows.begins[last], rows.ends[last], strict=True):
        final[max(begin, end - length + 1) : end] = False
    return final
