"""A forecast after its past, with a band of errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backcast._warn import renamed
from backcast.errors import ArgumentError, ShapeError
from backcast.plot._dates import date_axis, date_numbers
from backcast.plot._figure import FUTURE, NEUTRAL, PAST, figure_with, new_figure, panels_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from backcast.data import Windows


def forecast(
    past: Windows | pd.DataFrame | ArrayLike,
    prediction: pd.DataFrame | ArrayLike,
    errors: pd.DataFrame | None = None,
    *,
    future: ArrayLike | None = None,
    window: int = -1,
    columns: Sequence[Any] | None = None,
    frames: int | None = None,
    ax: Axes | Sequence[Axes] | None = None,
    axes: Sequence[Axes] | None = None,
) -> Figure:
    """Draw the forecast of one window after its past, with intervals or a band of typical errors.

    Parameters
    ----------
    past : Windows, DataFrame, or array_like of shape (T, D)
        Pasts of a table; the rows of one recording before a forecast, on their times; or the past
        of one window.
    prediction : DataFrame, or array_like of shape (steps, D)
        What `Model.predict` returned for those windows, or for that one. For a table what
        `Forecaster.predict` returned, whose intervals are drawn, of one recording:
        ``prediction.loc[group]``.
    errors : DataFrame, default=None
        What `forecast_errors` returned for held-out windows; for several columns, with
        ``per="column"``. The band is the forecast plus and minus the model's RMSE at that step. It
        holds about two thirds of the true values if errors are normal.
    future : array_like of shape (F, D) or DataFrame, default=None
        The frames that followed. For windows of a table, those in the table by default.
    window : int, default=-1
        Index of the window; the last by default.
    columns : sequence of labels, default=None
        Columns to draw, for an array by their numbers; the first four by default.
    frames : int, default=None
        Number of past frames to draw, the last ones; by default four times the steps of the
        forecast.
    ax : matplotlib.axes.Axes or sequence of them, default=None
        Axes to draw on, one for each column, instead of a new figure.
    axes : sequence of matplotlib.axes.Axes, default=None
        The old name of `ax`.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`, with the columns below each other. The x axis has the
        times of the window, durations in the largest unit that fits; or steps, where 1 is the
        first after the past.

    Raises
    ------
    ShapeError
        If `past`, `prediction` and `future` differ in their columns or belong to other windows.
    ArgumentError
        If a column does not exist, `window` or `frames` is out of range, there is not one axes for
        each column, or `errors` are means over several columns.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.plot import forecast
    >>> wave = np.sin(np.arange(40) / 3)
    >>> figure = forecast(wave[:30, np.newaxis], wave[30:, np.newaxis] * 0.9)
    """
    stretch = _stretch(past, prediction, future, window)
    names = [*stretch.columns[:4]] if columns is None else [*columns]
    if not names or not set(names) <= set(stretch.columns):
        raise ArgumentError(f"columns must be some of {stretch.columns}, got {names}")
    steps = len(stretch.prediction)
    frames = 4 * steps if frames is None else frames
    if frames < 1:
        raise ArgumentError(f"frames must be at least 1, got {frames}")
    panels = panels_of(renamed("axes", axes, "ax", ax), names, "column")
    if panels is None:
        figure = new_figure(800, 100 + (260 if len(names) == 1 else 170 * len(names)))
        figure.set_layout_engine("constrained")
        panels = [*figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]]
        inner = panels[:-1]
    else:
        figure, inner = figure_with(panels[0]), []

    n_past = len(stretch.past)
    before, after = slice(max(0, n_past - frames), n_past), slice(n_past, n_past + steps)
    for panel, name in zip(panels, names, strict=True):
        x = _time_axis(panel, stretch.times, n_past, n_past + steps)
        at = stretch.columns.index(name)
        panel.plot(x[before], stretch.past[before, at], color=PAST, label="past")
        known = stretch.future[:steps, at]
        if len(known):
            followed = slice(n_past, n_past + len(known))
            panel.plot(x[followed], known, color=NEUTRAL, linestyle="--", label="truth")
        made = stretch.prediction[:, at]
        marker = "o" if steps < 13 else None
        panel.plot(x[after], made, color=FUTURE, label="forecast", marker=marker, markersize=4)
        for i, (level, low, high) in enumerate(stretch.intervals.get(name, [])):
            label, alpha = f"{level} % interval", 0.25 / (1 + i)
            panel.fill_between(
                x[after], low, high, color=FUTURE, alpha=alpha, linewidth=0, label=label
            )
        if errors is not None:
            rmse = _rmse(errors, name, len(stretch.columns))[:steps]
            band, middle = slice(n_past, n_past + len(rmse)), made[: len(rmse)]
            panel.fill_between(
                x[band],
                middle - rmse,
                middle + rmse,
                color=FUTURE,
                alpha=0.2,
                linewidth=0,
                label="forecast ± RMSE at its step",
            )
        panel.set_ylabel(str(name) if stretch.times is not None else f"column {name}")
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.3)
    for panel in inner:
        panel.set_xlabel("")
    if stretch.group is not None:
        panels[0].set_title(str(stretch.group), loc="left", fontsize=12)
    panels[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, frameon=False)
    return figure


@dataclass(frozen=True)
class _Stretch:
    """One past, its forecast and the true future, with the times of all frames."""

    past: NDArray[Any]
    prediction: NDArray[Any]
    future: NDArray[Any]
    columns: list[Any]
    times: Any = None
    group: Any = None
    # Level in percent, lower and upper ends of the intervals of a column, narrow ones first.
    intervals: dict[Any, list[tuple[str, Any, Any]]] = field(default_factory=dict)


def _stretch(past: Any, prediction: Any, future: Any, window: int) -> _Stretch:
    """Take one window with its forecast, and the true future as far as it is known."""
    from backcast.data import Windows

    if isinstance(past, Windows):
        n, _, width = past.shape
        if not -n <= window < n:
            raise ArgumentError(f"window must be in {-n}..{n - 1}, got {window}")
        made = np.asarray(prediction)
        if made.ndim not in (2, 3) or made.shape[-1] != width or made.size % (n * width):
            raise ShapeError(
                f"prediction must be what a model predicted for these {n} windows of {width} "
                f"columns, got shape {made.shape}"
            )
        made = made.reshape(n, -1, width)[window]
        one = past[[window]]
        rows = one.starts[0] + np.arange(one.frames.start, one.frames.stop)
        end = one.run_ends[np.searchsorted(one.run_ends, rows[-1], side="right")]
        known = past.values[rows[-1] + 1 : min(rows[-1] + 1 + len(made), end)]
        known = known if future is None else np.asarray(future)
        labels = one.row_labels[rows].rename(one.names[1])
        times = labels.append(one.after(len(made)).get_level_values(-1))
        group = None if one.groups is None else one.groups[0]
        stretch = _Stretch(one[0], made, known, past.columns, times, group)
    elif hasattr(past, "iloc") and hasattr(prediction, "iloc"):
        stretch = _of_tables(past, prediction, future)
    else:
        sides = [np.asarray(past), np.asarray(prediction)]
        sides.append(sides[0][:0] if future is None else np.asarray(future))
        first, made, known = (side[:, np.newaxis] if side.ndim == 1 else side for side in sides)
        stretch = _Stretch(first, made, known, [*range(first.shape[-1])])
    shape = np.shape(stretch.past)
    for name in ("past", "prediction", "future"):
        side = getattr(stretch, name)
        if side.ndim != 2 or side.shape[1:] != shape[1:] or not (len(side) or name == "future"):
            raise ShapeError(
                f"{name} must be frames of one window, (n, D), with as many numbers as past, "
                f"got shape {side.shape}"
            )
    return stretch


def _of_tables(past: Any, prediction: Any, future: Any) -> _Stretch:
    """Take the rows of one recording, and their forecast with its intervals."""
    past = past.to_frame() if past.ndim == 1 else past
    columns = [name for name in prediction.columns if name in past.columns]
    if past.index.nlevels > 1 or prediction.index.nlevels > 1 or not columns:
        raise ShapeError(
            "past and prediction must be tables of one recording, on their times, with the same "
            f"columns, got levels {[*past.index.names]} and {[*prediction.index.names]} and "
            f"columns {[*past.columns]} and {[*prediction.columns]}"
        )
    intervals: dict[Any, list[tuple[str, Any, Any]]] = {}
    for name in columns:
        start = f"{name}-lo-"
        ends = [end for end in prediction.columns if isinstance(end, str) and end.startswith(start)]
        levels = sorted((end.removeprefix(start) for end in ends), key=float)
        intervals[name] = [
            (level, *(prediction[f"{name}-{end}-{level}"].to_numpy() for end in ("lo", "hi")))
            for level in levels
        ]
    known = past[columns].to_numpy()[:0] if future is None else future
    if hasattr(known, "iloc"):
        known = known[columns].to_numpy()
    times = past.index.append(prediction.index).rename(prediction.index.name or "time")
    sides = past[columns].to_numpy(), prediction[columns].to_numpy(), np.asarray(known)
    return _Stretch(*sides, columns, times, None, intervals)


def _rmse(errors: Any, column: Any, width: int) -> Any:
    """Return the model's RMSE of a column at each step."""
    if errors.index.nlevels == 1:
        if width > 1:
            raise ArgumentError(
                'errors must be of each column, as forecast_errors(..., per="column") gives, '
                "got means over columns"
            )
        return errors["RMSE", "model"].to_numpy()
    own = errors[errors.index.get_level_values(0) == column]
    if not len(own):
        raise ArgumentError(f"errors must be of column {column!r} too, got others")
    return own["RMSE", "model"].to_numpy()


def _time_axis(ax: Axes, times: Any, n_past: int, n: int) -> NDArray[Any]:
    """Label x with times, or with steps if there are none; return the place of each frame."""
    steps = np.arange(n) - n_past + 1
    ax.set_xlabel("step")
    if times is None:
        return steps
    import pandas as pd

    if isinstance(times, pd.PeriodIndex):
        times = times.to_timestamp()
    if isinstance(times, pd.DatetimeIndex):
        date_axis(ax.xaxis, times.tz)
        ax.set_xlabel(f"{times.name} ({times.tz})" if times.tz else str(times.name))
        utc = times if times.tz is None else times.tz_convert(None)
        return date_numbers(utc.to_numpy())
    if isinstance(times, pd.TimedeltaIndex):
        units = {"days": 86400.0, "hours": 3600.0, "minutes": 60.0, "seconds": 1.0, "ms": 1e-3}
        seconds = times.total_seconds().to_numpy()
        span = float(np.ptp(seconds))
        unit = next((name for name in units if span > 3 * units[name]), "ms")
        ax.set_xlabel(f"{times.name} ({unit})")
        return np.asarray(seconds / units[unit])
    if times.dtype.kind in "iuf" and times.is_monotonic_increasing:
        ax.set_xlabel(str(times.name))
        return np.asarray(times.to_numpy())
    return steps
