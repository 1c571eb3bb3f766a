"""A series with its anomaly scores and events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backcast.anomaly._scoring import row_scores
from backcast.errors import ArgumentError, DataError, ShapeError
from backcast.plot._figure import FUTURE, PAST, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def scores(
    series: Any,
    scores: Any,
    threshold: float | None = None,
    events: Any = None,
    *,
    time: Any = None,
) -> Figure:
    """Draw a series with the anomaly score of each row, the threshold and the events.

    Parameters
    ----------
    series : array_like of shape (n_rows,) or (n_rows, n_columns), or DataFrame
        One recording, ordered by time. A table is drawn on its index.
    scores : array_like of shape (n_rows,) or (n_rows, n_columns), or DataFrame
        As `AnomalyDetector.scores` returns them for the series; or one number for each row, higher
        if more anomalous. NaN is left out.
    threshold : float, default=None
        Rows with a score above it are outliers: ``-detector.offset_``.
    events : DataFrame, default=None
        As `AnomalyDetector.events` returns them. They are shaded from ``start`` to ``end``.
    time : label, default=None
        Column of the table for the x axis, instead of its index.

    Returns
    -------
    matplotlib.figure.Figure
        One panel for each column, in the order of the table; of more than 8 columns, only the 8
        with the highest scores. The score of the rows is below them, on a logarithmic axis.

    Raises
    ------
    ShapeError
        If there is not one score for each row, or for each number.
    DataError
        If there is no column of numbers, or no row.
    ArgumentError
        If `time` is not a column of the table, or `events` have no ``start`` or ``end``.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.plot import scores
    >>> wave = np.sin(np.arange(300) / 10)
    >>> wave[200:210] += 1
    >>> figure = scores(wave, np.exp(-((np.arange(300) - 205) ** 2) / 50) + 0.1, threshold=0.5)
    """
    values, names, index = _table(series, time, getattr(scores, "columns", None))
    x = _axis(index, index)
    each = np.asarray(scores, dtype=np.float64)
    if each.shape not in ((len(values),), (len(values), each.shape[-1])):
        raise ShapeError(
            f"scores must be one a row, ({len(values)},), or one a number, {values.shape}, "
            f"got {each.shape}"
        )
    rows = each if each.ndim == 1 else row_scores(each)
    shown = np.arange(values.shape[1])
    if len(shown) > 8:
        merit = each if each.shape == values.shape else np.abs(values - np.nanmean(values, 0))
        shown = np.sort(np.argsort(-np.nan_to_num(merit).max(0), kind="stable")[:8])
    spans = []
    if events is not None:
        if not {"start", "end"} <= set(events):
            raise ArgumentError(f"events must have a start and an end, got {[*events]}")
        ends = [_axis(events[name], index) for name in ("start", "end")]
        spans = [*zip(*ends, strict=True)]

    lane = 220 if len(shown) == 1 else 110
    figure = new_figure(1000, lane * len(shown) + 220)
    figure.set_layout_engine("constrained")
    ratios = [lane] * len(shown) + [180]
    axes = figure.subplots(len(ratios), sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
    for ax, column in zip(axes, shown, strict=False):
        ax.plot(x, values[:, column], color=PAST, linewidth=1)
        ax.set_title(names[column], fontsize=11, loc="left", pad=3)
    below = axes[-1]
    below.plot(x, rows, color="0.35", linewidth=1)
    known = rows[np.isfinite(rows) & (rows > 0)]
    if known.size:
        below.set_yscale("log")
        # The lowest scores carry no information.
        below.set_ylim(bottom=float(np.median(known)) / 10)
    below.set_title("score", fontsize=11, loc="left", pad=3)
    if threshold is not None:
        below.axhline(threshold, color=FUTURE, linewidth=1.2, linestyle="--")
        below.set_title("threshold", fontsize=11, loc="right", pad=3, color=FUTURE)
    for ax in axes:
        ax.margins(x=0.01)
        # Events before or after the series must not stretch the axis.
        ax.set_xlim(ax.get_xlim())
        for start, end in spans:
            # The edge makes an event of one row visible.
            ax.axvspan(start, end, color=FUTURE, alpha=0.25, linewidth=1.5)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.3)
    unit = "seconds" if getattr(index, "dtype", x.dtype).kind == "m" else "row"
    below.set_xlabel("" if x.dtype.kind == "M" else unit if time is None else str(time))
    return figure


def _table(series: Any, time: Any, columns: Any) -> tuple[NDArray[np.float64], list[str], Any]:
    """Return the numbers (n, D), the names of the columns and the labels of the rows."""
    if not hasattr(series, "iloc"):
        if time is not None:
            raise ArgumentError("time must be None for an array; a DataFrame has columns")
        values = np.asarray(series)
        values = values[:, np.newaxis] if values.ndim == 1 else values
        if values.ndim != 2 or values.dtype.kind not in "buif" or values.size == 0:
            raise DataError(
                "series must hold numbers, (n_rows,) or (n_rows, n_columns), "
                f"got shape {values.shape} of {values.dtype}"
            )
        names = ["series"] if values.shape[1] == 1 else [f"{i}" for i in range(values.shape[1])]
        return values.astype(np.float64), names, np.arange(len(values))
    table = series.to_frame() if series.ndim == 1 else series
    if time is not None and time not in table.columns:
        raise ArgumentError(f"time must be a column of the table, got {time!r}")
    if columns is not None and set(columns) <= set(table.columns):
        numbers = table[list(columns)]
    else:
        numbers = table.select_dtypes(["number", "bool"]).drop(columns=[time], errors="ignore")
    if numbers.size == 0:
        raise DataError(f"series must have a column of numbers, got {list(table.columns)}")
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    labels = table.index if time is None else table[time]
    return values, [*map(str, numbers.columns)], labels


def _axis(labels: Any, of: Any) -> NDArray[Any]:
    """Return the x positions of `labels`, which are among the row labels `of`."""
    if isinstance(of, np.ndarray):
        return np.asarray(labels)
    import pandas as pd

    index: Any = pd.Index(labels)
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    if isinstance(index, pd.DatetimeIndex):
        return np.asarray(index.tz_localize(None))
    if isinstance(index, pd.TimedeltaIndex):
        return np.asarray(index.total_seconds())
    if index.dtype.kind in "biuf":
        return np.asarray(index)
    return np.asarray(pd.Index(of).get_indexer(index))
