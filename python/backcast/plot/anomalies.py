"""A series with its anomaly scores and events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backcast.anomaly._scoring import row_scores
from backcast.errors import ArgumentError, DataError, ShapeError
from backcast.plot._figure import (
    FUTURE,
    NEUTRAL,
    PAST,
    figure_with,
    new_figure,
    panels_of,
    require_matplotlib,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def scores(
    series: Any,
    scores: Any,
    threshold: float | None = None,
    events: Any = None,
    *,
    time: Any = None,
    ax: Sequence[Axes] | None = None,
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
        Rows with a score above it are outliers and have its colour: ``detector.threshold_``.
    events : DataFrame, default=None
        As `AnomalyDetector.events` returns them. They are shaded from ``start`` to ``end``.
    time : label, default=None
        Column of the table for the x axis, instead of its index.
    ax : sequence of matplotlib.axes.Axes, default=None
        Axes to draw on, one for each column that is drawn and one for the score, instead of a new
        figure.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`. One panel for each column, in the order of the table; of
        more than 8 columns, only the 8 with the highest scores. The score of the rows is below
        them, on a logarithmic axis.

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
    require_matplotlib()
    from matplotlib.ticker import LogLocator, NullFormatter

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

    panels = panels_of(ax, [*(names[column] for column in shown), "score"], "panel")
    if panels is None:
        lane = 220 if len(shown) == 1 else 110
        figure = new_figure(1000, lane * len(shown) + 220)
        figure.set_layout_engine("constrained")
        ratios = [lane] * len(shown) + [180]
        grid = figure.subplots(len(ratios), sharex=True, height_ratios=ratios, squeeze=False)
        panels = [*grid[:, 0]]
    for panel, column in zip(panels, shown, strict=False):
        panel.plot(x, values[:, column], color=PAST, linewidth=1)
        panel.set_title(names[column], fontsize=11, loc="left", pad=3)
    below = panels[-1]
    below.plot(x, rows, color=NEUTRAL, linewidth=1)
    known = rows[np.isfinite(rows) & (rows > 0)]
    if known.size:
        below.set_yscale("log")
        below.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        below.yaxis.set_major_formatter("{x:g}")
        below.yaxis.set_minor_formatter(NullFormatter())
        # The lowest scores carry no information.
        below.set_ylim(bottom=float(np.median(known)) / 10)
    below.set_title("score", fontsize=11, loc="left", pad=3)
    if threshold is not None:
        below.axhline(threshold, color=FUTURE, linewidth=1.2, linestyle="--")
        above = np.where(rows > threshold, rows, np.nan)
        below.plot(x, above, color=FUTURE, linewidth=1.5, marker=".", markersize=4)
        below.set_title("threshold", fontsize=11, loc="right", pad=3, color=FUTURE)
    for panel in panels:
        panel.margins(x=0.01)
        # Events before or after the series must not stretch the axis.
        panel.set_xlim(panel.get_xlim())
        for start, end in spans:
            # The edge makes an event of one row visible.
            panel.axvspan(start, end, color=FUTURE, alpha=0.25, linewidth=1.5)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.3)
    unit = "seconds" if getattr(index, "dtype", x.dtype).kind == "m" else "row"
    below.set_xlabel("" if x.dtype.kind == "M" else unit if time is None else str(time))
    return figure_with(below)


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
