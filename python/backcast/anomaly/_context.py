"""The rows before those to score, which their windows cover too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast.anomaly._stream import like
from backcast.data._clock import describe
from backcast.data._recordings import Recordings, is_table
from backcast.errors import ArgumentError, DataError


def joined(
    series: Any,
    context: Any,
    take: Callable[..., Recordings],
    length: int,
    time: Any,
) -> tuple[Recordings, NDArray[np.bool_]]:
    """Put the last rows of `context` before those of `series`.

    Parameters
    ----------
    series, context : array_like or DataFrame
        The rows to score, and the rows before them.
    take : callable
        Orders and checks rows; takes their name for messages.
    length : int
        Rows in a window.
    time : label
        The column of the times; None if the index has them.

    Returns
    -------
    rows : Recordings
        Both.
    before : ndarray of bool
        Which of them are of the context.
    """
    earlier, later = take(context, "context"), take(series, "series")
    if is_table(context) != is_table(series):
        kinds = [f"a{' table' if is_table(x) else 'n array'}" for x in (series, context)]
        raise ArgumentError("context must be {}, as series, got {}".format(*kinds))
    # A window that covers a row of the series begins at most length - 1 rows before it.
    groups = _groups(earlier)
    last = np.append(np.flatnonzero(groups[1:] != groups[:-1]) + 1, len(groups))
    from_end = last[np.searchsorted(last, np.arange(len(groups)), side="right")]
    near = np.sort(earlier.row_positions[from_end - np.arange(len(groups)) < length])
    if is_table(series):
        import pandas as pd

        if earlier.timed and len(context) > 1 and (earlier.ends - earlier.begins).max() == 1:
            raise DataError(
                "context must have rows at the steps of fit, got all further apart than "
                f"{describe(earlier.gap)}, which is a gap"
            )
        series = like(series, context, time, ("series", "those of context"))
        _check_order(earlier, later)
        rows = take(pd.concat([context.iloc[near], series]), "series")
    else:
        values = [earlier.values[near], later.values]
        rows = Recordings.of_array(np.concatenate(values) if len(near) else later.values)
    before = rows.row_positions < len(near)
    runs = [before[begin:end] for begin, end in zip(rows.begins, rows.ends, strict=True)]
    if before.any() and not before.all() and not any(run.any() and not run.all() for run in runs):
        raise DataError(_apart(earlier, later, rows))
    return rows, before


def _check_order(earlier: Recordings, later: Recordings) -> None:
    """Refuse rows of the context that are not before those of the series."""
    firsts = dict(zip(_groups(later)[::-1], later.row_labels[::-1], strict=True))
    lasts = dict(zip(_groups(earlier), earlier.row_labels, strict=True))
    if not later.timed:
        # Plain row numbers; those of two files may both begin at 0.
        both = [rows.row_labels for rows in (earlier, later)]
        numbers = all(labels.dtype.kind in "iu" and labels.is_unique for labels in both)
        if later.row_groups is not None or not numbers or not all(map(len, both)):
            return
        if both[0][0] == both[1][0]:
            return
    for group, first in firsts.items():
        if group in lasts and lasts[group] >= first:
            of = "" if later.row_groups is None else f" of {group!r}"
            raise DataError(
                f"context must end before series begins, got rows{of} up to {lasts[group]} and "
                f"series from {first}"
            )


def _apart(earlier: Recordings, later: Recordings, rows: Recordings) -> str:
    """Say why no window reaches from the context to the series."""
    common = set(_groups(earlier)) & set(_groups(later))
    if not common:
        return (
            f"context must have rows of the recordings of series, such as {_groups(later)[0]!r}, "
            f"got {_groups(earlier)[0]!r}"
        )
    return (
        f"context must reach to series without a gap, got rows up to {earlier.row_labels[-1]} and "
        f"series from {later.row_labels[0]}; a step of more than {describe(rows.gap)} is a gap, "
        "as in fit"
    )


def _groups(rows: Recordings) -> NDArray[Any]:
    """Return the recording of each row."""
    return np.zeros(len(rows.values), int) if rows.row_groups is None else rows.row_groups
