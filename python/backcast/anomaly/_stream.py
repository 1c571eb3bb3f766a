"""Scores of a live stream, from row to row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast.anomaly._events import require_pandas
from backcast.anomaly._scorer import Scorer, pieces, rows_of
from backcast.anomaly._scoring import Numbers, row_scores
from backcast.data._recordings import Recordings
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


def update(
    stream: Stream | None,
    rows: Any,
    columns: list[Any],
    take: Callable[[Any], Recordings],
    scorer: Scorer,
    threshold: float,
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

    Returns
    -------
    stream : Stream
        The stream with the new rows.
    changed : DataFrame
        The new rows, and earlier ones whose score changed or became final.
    """
    clash = [name for name in _OWN_COLUMNS if name in columns]
    if clash:
        raise ArgumentError(f"columns must have other names to be scored live, got {clash[0]!r}")
    table, seen = _joined(stream, rows, columns, take)
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

    pandas = require_pandas()
    scores = totals.scores()
    score = row_scores(scores)
    own = {"score": score, "outlier": score > threshold, "final": final}
    result = pandas.DataFrame(own, index=table.index[order])
    result[columns] = scores
    back = np.argsort(order)
    kept = back[~final[back]]
    after = Stream(seen, table.iloc[order[kept]], totals.sums[kept], totals.counts[kept])
    return after, result.iloc[back[(changed | final)[back]]]


def _joined(
    stream: Stream | None, rows: Any, columns: list[Any], take: Callable[[Any], Recordings]
) -> tuple[pd.DataFrame, int]:
    """Return the kept rows and the new ones in a table, and the number of rows seen."""
    pandas = require_pandas()
    seen = stream.seen if stream else 0
    if hasattr(rows, "iloc"):
        table = rows.to_frame() if rows.ndim == 1 else rows
    else:
        values = take(rows).values
        table = pandas.DataFrame(values, index=seen + np.arange(len(values)), columns=columns)
    seen += len(table)
    return (pandas.concat([stream.table, table]) if stream else table), seen


def _final(rows: Recordings, groups: NDArray[Any], length: int) -> NDArray[np.bool_]:
    """Return which rows no later window covers: all but the last of each group's last run."""
    final = np.ones(len(rows.values), bool)
    last = np.append(groups[rows.ends[:-1]] != groups[rows.ends[:-1] - 1], True)
    for begin, end in zip(rows.begins[last], rows.ends[last], strict=True):
        final[max(begin, end - length + 1) : end] = False
    return final
