"""Outliers as events: runs of rows that belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from backcast.anomaly._scoring import Numbers, nanmean, row_scores
from backcast.data._recordings import Recordings
from backcast.errors import MissingPackageError

if TYPE_CHECKING:
    import pandas as pd


def events_of(
    rows: Recordings, scores: Numbers, threshold: float, join: int, group: Any
) -> pd.DataFrame:
    """Return a table of events; outliers with at most `join` rows between them are one event."""
    pandas = require_pandas()
    score = row_scores(scores)
    outliers = np.flatnonzero(score > threshold)
    run = np.searchsorted(rows.ends, outliers, side="right")
    new = (np.diff(outliers) > join + 1) | (np.diff(run) > 0)
    found = np.split(outliers, np.flatnonzero(new) + 1) if len(outliers) else []
    events: dict[Any, list[Any]] = {} if group is None else {group: []}
    events |= {name: [] for name in ("start", "end", "peak", "score", "columns")}
    for event in found:
        first, last = event[0], event[-1] + 1
        peak = first + np.nanargmax(score[first:last])
        means = np.nan_to_num(nanmean(scores[first:last], 0))
        # The columns that drove the event, largest first.
        drove = [i for i in np.argsort(-means, kind="stable") if means[i] >= means.mean()]
        values = [
            rows.row_labels[first],
            rows.row_labels[last - 1],
            rows.row_labels[peak],
            score[peak],
            [rows.columns[i] for i in drove],
        ]
        if group is not None:
            values.insert(0, rows.row_groups[first])
        for name, value in zip(events, values, strict=True):
            events[name].append(value)
    table: pd.DataFrame = pandas.DataFrame(events)
    return table


def require_pandas() -> Any:
    """Return pandas, or raise an error that says how to install it."""
    try:
        import pandas
    except ImportError as error:
        raise MissingPackageError("tables of anomalies need pandas: pip install pandas") from error
    return pandas
