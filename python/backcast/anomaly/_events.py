"""Outliers as events: runs of rows that belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from backcast.anomaly._scoring import Numbers, ranked, row_scores
from backcast.data._recordings import Recordings
from backcast.errors import ArgumentError, MissingPackageError

if TYPE_CHECKING:
    import pandas as pd

_OWN_COLUMNS = ("start", "end", "peak", "score", "columns")


def events_of(rows: Recordings, scores: Numbers, threshold: float, join: int) -> pd.DataFrame:
    """Return a table of events; outliers with at most `join` rows between them are one event."""
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
        first, last = event[0], event[-1] + 1
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
