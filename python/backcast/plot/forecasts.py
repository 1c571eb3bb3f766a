"""A forecast after its past, with a band of errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backcast._warn import renamed
from backcast.errors import ArgumentError
from backcast.plot._dates import date_axis, date_numbers
from backcast.plot._figure import FUTURE, NEUTRAL, PAST, figure_with, new_figure, note, panels_of
from backcast.plot._stretches import Stretch, stretches_of

# Panels of several recordings, at most, unless the user names them.
_PANELS = 8

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
    groups: Sequence[Any] | None = None,
    ax: Axes | Sequence[Axes] | None = None,
    axes: Sequence[Axes] | None = None,
) -> Figure:
    """Draw forecasts after their past, with intervals or a band of typical errors.

    Parameters
    ----------
    past : Windows, DataFrame, or array_like of shape (T, D)
        Pasts of a table, one of which is drawn; the rows before a forecast, of one recording or of
        several, as a `Forecaster` takes them; or the past of one window.
    prediction : DataFrame, or array_like of shape (steps, D)
        What `Model.predict` returned for those windows, or for that one. For a table what
        `Forecaster.predict` returned, whose intervals are drawn; of several recordings, a part such
        as ``prediction.loc[["north"]]`` will do.
    errors : DataFrame, default=None
        What `forecast_errors` returned for held-out windows; for several columns, with
        ``per="column"``, and with "group" those of each recording. The band is the forecast plus
        and minus the model's RMSE at that step. It holds about two thirds of the true values if
        errors are normal.
    future : array_like of shape (F, D) or DataFrame, default=None
        The frames that followed; of a table, its rows at the times of the forecast. For windows of
        a table, those in the table by default.
    window : int, default=-1
        Index of the window; the last by default.
    columns : sequence of labels, default=None
        Columns to draw, for an array by their numbers; the first four by default, of several
        recordings the first two. A line below says of how many.
    frames : int, default=None
        Number of past frames to draw, the last ones; by default four times the steps of the
        forecast.
    groups : sequence of labels, default=None
        Recordings to draw; by default the first ones, in at most 8 panels, below which the number
        of the others stands.
    ax : matplotlib.axes.Axes or sequence of them, default=None
        Axes to draw on, one for each recording and column, instead of a new figure.
    axes : sequence of matplotlib.axes.Axes, default=None
        The old name of `ax`.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`, with a panel for each recording and column. The x axis has
        the times, durations in the largest unit that fits; or steps, where 1 is the first after
        the past.

    Raises
    ------
    ShapeError
        If `past`, `prediction` and `future` differ in their columns or belong to other windows.
    ArgumentError
        If a column or group does not exist, `window` or `frames` is out of range, there is not one
        axes for each panel, or `errors` are means over several columns.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.plot import forecast
    >>> wave = np.sin(np.arange(40) / 3)
    >>> figure = forecast(wave[:30, np.newaxis], wave[30:, np.newaxis] * 0.9)
    """
    found = {each.group: each for each in stretches_of(past, prediction, future, window)}
    several = len(found) > 1
    every = next(iter(found.values())).columns
    names = [*every[: 2 if several else 4]] if columns is None else [*columns]
    if not names or not set(names) <= set(every):
        raise ArgumentError(f"columns must be some of {every}, got {names}")
    labels = [*found][: max(1, _PANELS // len(names))] if groups is None else [*groups]
    if not labels or not set(labels) <= set(found):
        raise ArgumentError(f"groups must be some of {[*found]}, got {labels}")
    if frames is not None and frames < 1:
        raise ArgumentError(f"frames must be at least 1, got {frames}")
    drawn = [(found[label], name) for label in labels for name in names]
    titles = [f"{label} {name}" if several else name for label in labels for name in names]
    panels = panels_of(renamed("axes", axes, "ax", ax), titles, "panel" if several else "column")
    inner: list[Axes] = []
    if panels is None:
        figure = new_figure(800, 100 + (260 if len(drawn) == 1 else 170 * len(drawn)))
        figure.set_layout_engine("constrained")
        first = drawn[0][0].times
        same = len(labels) == 1 or all(first.equals(stretch.times) for stretch, _ in drawn)
        grid = figure.subplots(len(drawn), sharex=same, squeeze=False)
        panels = [*grid[:, 0]]
        inner = panels[:-1]
        left_out = [
            (f"{len(shown)} of {len(there)} {what}", f"{option}=[...]")
            for what, option, given, shown, there in (
                ("recordings", "groups", groups, labels, found),
                ("columns", "columns", columns, names, every),
            )
            if given is None and len(shown) < len(there)
        ]
        if left_out:
            counts, options = (" and ".join(words) for words in zip(*left_out, strict=True))
            note(figure, f"The first {counts}; {options} for others.")
    else:
        figure = figure_with(panels[0])

    for panel, (stretch, name) in zip(panels, drawn, strict=True):
        _draw(panel, stretch, name, errors, frames)
        if stretch.group is not None and name == names[0]:
            panel.set_title(str(stretch.group), loc="left", fontsize=12)
    for panel in inner:
        panel.set_xlabel("")
    panels[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, frameon=False)
    return figure


def _draw(panel: Axes, stretch: Stretch, name: Any, errors: Any, frames: int | None) -> None:
    """Draw a column of one recording."""
    steps, n_past = len(stretch.prediction), len(stretch.past)
    frames = 4 * steps if frames is None else frames
    before, after = slice(max(0, n_past - frames), n_past), slice(n_past, n_past + steps)
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
        panel.fill_between(x[after], low, high, color=FUTURE, alpha=alpha, linewidth=0, label=label)
    if errors is not None:
        rmse = _rmse(errors, stretch.group, name, len(stretch.columns))[:steps]
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


def _rmse(errors: Any, group: Any, column: Any, width: int) -> Any:
    """Return the model's RMSE of a column, of a recording if errors are by group, at each step."""
    levels = [*errors.index.names]
    if "column" not in levels and width > 1:
        raise ArgumentError(
            'errors must be of each column, as forecast_errors(..., per="column") gives, '
            "got means over columns"
        )
    n_groups = errors.index.nlevels - 1 - ("column" in levels)
    if n_groups:
        keys = errors.index.droplevel([*range(n_groups, errors.index.nlevels)])
        errors = errors[keys == group]
        if not len(errors):
            raise ArgumentError(f"errors must be of group {group!r} too, got others")
    if "column" in levels:
        errors = errors[errors.index.get_level_values(-2) == column]
        if not len(errors):
            raise ArgumentError(f"errors must be of column {column!r} too, got others")
    return errors["RMSE", "model"].to_numpy()


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
