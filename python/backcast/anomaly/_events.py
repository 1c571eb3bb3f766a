"""Outliers as events: runs of rows that belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backcast.anomaly._scoring import Numbers, ranked, row_scores
from backcast.data._recordings import Recordings
from backcast.errors import ArgumentError, MissingPackageError

if TYPE_CHECKING:
    import pandas as pd

_OWN_COLUMNS = ("start", "end", "peak", "score", "columns")


def events_of(
    rows: Recordings, scores: Numbers, alone: Numbers, threshold: float, join: int, length: int
) -> pd.DataFrame:
    """Return a table of events.

    Parameters
    ----------
    rows : Recordings
        The rows.
    scores, alone : ndarray of shape (n_rows, n_columns)
        Their scores, and what each row adds to them alone.
    threshold : float
        Rows with a higher score are outliers.
    join : int
        Outliers with at most `join` rows between them are one event.
    length : int
        Rows in a window.
    """
    pandas = require_pandas()
    score = row_scores(scores)
    outliers = np.flatnonzero(score > threshold)
    run = np.searchsorted(rows.ends, outliers, side="right")
    new = (np.diff(outliers) > join + 1) | (np.diff(run) > 0)
    found = np.split(outliers, np.flatnonzero(new) + 1) if len(outliers) else []
    groups = [] if rows.row_groups is None else _labels_of_groups(rows)
    for name in groups:
        if name in _OWN_COLUMNS:
            raise ArgumentError(f"group must have another name than {name!r}, a column of events")
    events: dict[Any, list[Any]] = {name: [] for name in (*groups, *_OWN_COLUMNS)}
    for event in found:
        own = _own_rows(event, scores, alone, length)
        first, last = own[0], own[-1] + 1
        peak = first + np.nanargmax(score[first:last])
        order, highest = ranked(scores[first:last])
        drove = [i for i in order if highest[i] >= highest.mean()]
        values = [
            rows.row_labels[first],
            rows.row_labels[last - 1],
            rows.row_labels[peak],
            score[peak],
            [rows.columns[i] for i in drove],
        ]
        if groups:
            label = rows.row_groups[first]
            values = [*(label if len(groups) > 1 else [label]), *values]
        for name, value in zip(events, values, strict=True):
            events[name].append(value)
    table: pd.DataFrame = pandas.DataFrame(events)
    return table


def _own_rows(event: NDArray[np.intp], scores: Numbers, alone: Numbers, length: int) -> Any:
    """Return the outliers of an event without those that their neighbours alone make outliers.

    A short anomaly raises the windows of all rows less than a window away. Where the highest number
    is what its row adds alone, rows at the ends are left out, up to the first whose score is its
    own or at least half as much as any row adds, as the width of a peak is taken at half of its
    height.
    """
    score, own = row_scores(scores[event]), row_scores(alone[event])
    peak = int(np.argmax(score))
    at = event[peak], np.nanargmax(scores[event[peak]])
    if not alone[at] >= scores[at]:
        return event
    kept = (own >= np.nanmax(own) / 2) | (own >= score)
    kept[peak] = True
    first, last = event[kept][[0, -1]]
    first = first if first - event[0] < length else event[0]
    last = last if event[-1] - last < length else event[-1]
    return event[(event >= first) & (event <= last)]


def _labels_of_groups(rows: Recordings) -> list[Any]:
    """Return the name of the group, or the names of the columns or levels that make it."""
    name, groups = rows.names[0], rows.row_groups
    several = isinstance(name, tuple) and len(groups) and isinstance(groups[0], tuple)
    return list(name) if several else [name]


def require_pandas() -> Any:
    """Return pandas, or raise an error that says how to install it."""
    try:
        import pandas
    except ImportError as error:
        raise MissingPackageError("tables of anomalies need pandas: pip install pandas") from error
    return pandas
