"""A series with its anomaly scores and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backcast._engine import tables
from backcast.anomaly._scoring import ranked, row_scores
from backcast.errors import ArgumentError, DataError, ShapeError
from backcast.plot._dates import date_axis
from backcast.plot._figure import (
    FUTURE,
    NEUTRAL,
    PAST,
    figure_with,
    new_figure,
    note,
    panels_of,
    require_matplotlib,
)

# Recordings in one figure, and columns of each of several, at most.
_RECORDINGS, _COLUMNS = 5, 3
# Stretches of a smaller part of the axis cannot be hatched.
_NARROW = 0.003

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def scores(
    series: Any,
    scores: Any,
    threshold: float | None = None,
    events: Any = None,
    *,
    group: Any = None,
    time: Any = None,
    ax: Sequence[Axes] | None = None,
) -> Figure:
    """Draw a series with the anomaly score of each row, the threshold and the events.

    Parameters
    ----------
    series : array_like of shape (n_rows,) or (n_rows, n_columns), or DataFrame
        Rows ordered by time. A table is drawn on its index. Several recordings are named by
        `group`, or by all levels of the index but the last; or they are a dict of tables.
    scores : array_like of shape (n_rows,) or (n_rows, n_columns), or DataFrame
        As `AnomalyDetector.scores` returns them for the series; or one number for each row, higher
        if more anomalous. NaN is no score.
    threshold : float, default=None
        Rows with a score above it are outliers and have its colour: ``detector.threshold_``.
    events : DataFrame, default=None
        As `AnomalyDetector.events` returns them. They are shaded from ``start`` to ``end``;
        ``columns`` are drawn of each of several recordings.
    group : label or list of labels, default=None
        Column of the table, or level of its index, that names the recording of a row.
    time : label, default=None
        Column of the table for the x axis, instead of its index.
    ax : sequence of matplotlib.axes.Axes, default=None
        Axes to draw on, one for each column that is drawn and one for the score of each recording,
        instead of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`. One panel for each column, in the order of the table; of
        more than 8 columns, only the 8 with the highest scores. The score of the rows is below
        them, on a logarithmic axis. Of several recordings, up to 3 columns that the events of each
        name, or else the column with the highest score, and the score; of more than 5, only the 5
        with the highest scores. A line below says what is left out. Stretches of rows without a
        score are hatched; of those that are too narrow, a short line is at the bottom of the score.

    Raises
    ------
    ShapeError
        If there is not one score for each row, or for each number.
    DataError
        If there is no column of numbers, or no row, or a recording has two rows at one time.
    ArgumentError
        If `group` or `time` is not a column of the table, or `events` have no ``start`` or ``end``.
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
    series = tables.table_of(series) if isinstance(series, Mapping) else series
    values, names, index = _table(series, group, time, getattr(scores, "columns", None))
    try:
        each = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError):
        got = f"a {type(scores).__name__}"
        raise ArgumentError(
            f"scores must be numbers, as detector.scores(series) gives them, got {got}"
        ) from None
    if each.shape not in ((len(values),), (len(values), each.shape[-1])):
        raise ShapeError(
            f"scores must be one a row, ({len(values)},), or one a number, {values.shape}, "
            f"got {each.shape}"
        )
    if events is not None and not {"start", "end"} <= set(events):
        raise ArgumentError(f"events must have a start and an end, got {[*events]}")
    groups, own_names = _groups(series, group, time)
    places = {None: np.arange(len(values))}
    if groups is not None:
        places = {label: np.flatnonzero(groups == label) for label in groups.unique()}
    if time is not None or _has_times(index):
        places = {label: _by_time(index, rows) for label, rows in places.items()}
    parts = [
        _Part(label, values[rows], each[rows], index[rows], _of(events, label, own_names))
        for label, rows in places.items()
    ]
    several = len(parts) > 1
    drawn = parts
    if len(parts) > _RECORDINGS:
        highest = [-np.nanmax(np.append(part.rows, -np.inf)) for part in parts]
        drawn = [parts[i] for i in sorted(np.argsort(highest, kind="stable")[:_RECORDINGS])]

    shown = [(several and part.named(names)) or part.shown(1 if several else 8) for part in drawn]
    titles = [[*(names[column] for column in own), "score"] for own in shown]
    panels = panels_of(ax, [name for own in titles for name in own], "panel")
    if panels is None:
        lane = 220 if len(shown[0]) == 1 and not several else 110
        ratios = [size for own in shown for size in (*[lane] * len(own), 110 if several else 180)]
        figure = new_figure(1000, sum(ratios) + 40 + 20 * several * len(drawn))
        figure.set_layout_engine("constrained")
        same = all(
            part.index is drawn[0].index or drawn[0].index.equals(part.index) for part in drawn
        )
        grid = figure.subplots(len(ratios), sharex=same, height_ratios=ratios, squeeze=False)
        panels = [*grid[:, 0]]
        told = []
        if len(drawn) < len(parts):
            told.append(f"The {len(drawn)} of {len(parts)} recordings with the highest scores.")
        if any(len(own) < len(names) for own in shown):
            most = "highest scores" if each.shape == values.shape else "largest deviations"
            which = f"The {len(shown[0])} of {len(names)} columns"
            if several:
                which = "Of each, the column"
                if any(part.named(names) for part in drawn):
                    which = "Of each, columns that its events name, or the one"
            told.append(f"{which} with the {most}.")
        if told:
            note(figure, " ".join(told))
    begin = 0
    for part, own in zip(drawn, shown, strict=True):
        mine = panels[begin : begin + len(own) + 1]
        begin += len(mine)
        _draw(mine, part, own, names, threshold)
        if several:
            mine[0].set_title(f"{part.label}: {names[own[0]]}", fontsize=11, loc="left", pad=3)
            for panel in mine[:-1]:
                # The score below has them.
                panel.tick_params(labelbottom=False)
                panel.xaxis.get_offset_text().set_visible(False)
        x = _axis(part.index, part.index)
        unit = "seconds" if getattr(part.index, "dtype", x.dtype).kind == "m" else "row"
        if part is drawn[-1]:
            mine[-1].set_xlabel("" if x.dtype.kind == "M" else unit if time is None else str(time))
    return figure_with(panels[0])


@dataclass(frozen=True)
class _Part:
    """The numbers (n, D), scores (n,) or (n, D), labels and events of one recording."""

    label: Any
    values: NDArray[np.float64]
    scores: NDArray[np.float64]
    index: Any
    events: Any

    @property
    def rows(self) -> NDArray[np.float64]:
        """One score a row."""
        return self.scores if self.scores.ndim == 1 else row_scores(self.scores)

    def named(self, names: Sequence[str]) -> list[int]:
        """Return up to 3 columns that drove its events, those of the highest events first."""
        if self.events is None or not {"columns", "score"} <= set(self.events):
            return []
        # The first column of each event comes before the second of any.
        order = sorted(
            (rank, -score, names.index(str(label)))
            for labels, score in zip(self.events["columns"], self.events["score"], strict=True)
            for rank, label in enumerate(labels)
            if str(label) in names
        )
        return sorted([*dict.fromkeys(column for *_, column in order)][:_COLUMNS])

    def shown(self, most: int) -> list[int]:
        """Return the columns with the highest scores; without scores of columns, of the values."""
        n_columns = self.values.shape[1]
        if n_columns <= most:
            return [*range(n_columns)]
        values = self.values
        merit = self.scores
        if merit.shape != values.shape:
            merit = np.abs(values - np.nanmean(values, 0))
        return sorted(ranked(merit)[0][:most].tolist())


def _draw(
    panels: Sequence[Axes], part: _Part, shown: Any, names: Sequence[str], threshold: float | None
) -> None:
    """Draw columns of one recording and, in the last panel, its scores."""
    from matplotlib.colors import to_rgba
    from matplotlib.ticker import LogLocator, NullFormatter

    x, rows = _axis(part.index, part.index), part.rows
    without = np.isnan(rows)
    wide = _wide(x, without)
    for panel, column in zip(panels, shown, strict=False):
        panel.plot(x, part.values[:, column], color=PAST, linewidth=1)
        panel.set_title(names[column], fontsize=11, loc="left", pad=3)
    below = panels[-1]
    below.plot(x, rows, color=NEUTRAL, linewidth=1)
    if threshold is not None:
        below.axhline(threshold, color=FUTURE, linewidth=1.2, linestyle="--", label="threshold")
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
        above = np.where(rows > threshold, rows, np.nan)
        below.plot(x, above, color=FUTURE, linewidth=1.5, marker=".", markersize=4)
    spans = []
    if part.events is not None:
        ends = [_axis(part.events[name], part.index) for name in ("start", "end")]
        spans = [*zip(*ends, strict=True)]
    pad = (x.max() - x.min()) / 100
    for panel in panels:
        # Neither rows without a number nor events outside the series change the axis.
        if x.max() > x.min():
            panel.set_xlim(x.min() - pad, x.max() + pad)
        for start, end in spans:
            # The edge makes an event of one row visible.
            panel.axvspan(start, end, color=FUTURE, alpha=0.25, linewidth=1.5)
        if wide.any():
            panel.fill_between(
                x,
                0,
                1,
                where=wide,
                transform=panel.get_xaxis_transform(),
                facecolor="none",
                edgecolor=to_rgba(NEUTRAL, 0.4),
                hatch="////",
                linewidth=0,
                label="no score",
            )
        if x.dtype.kind == "M":
            date_axis(panel.xaxis)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.3)
    if (narrow := without & ~wide).any():
        below.vlines(
            x[narrow],
            0,
            0.06,
            transform=below.get_xaxis_transform(),
            color=NEUTRAL,
            linewidth=1,
            label="" if wide.any() else "no score",
        )
    if threshold is not None or without.any():
        # As flat as the title.
        flat: dict[str, Any] = {"borderpad": 0, "borderaxespad": 0.2, "fontsize": 10}
        below.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, **flat)


def _wide(x: NDArray[Any], rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of these rows are in stretches that take enough of the axis to be hatched."""
    wide = np.zeros(len(rows), bool)
    for begin, end in np.flatnonzero(np.diff(rows, prepend=False, append=False)).reshape(-1, 2):
        wide[begin:end] = x[end - 1] - x[begin] > _NARROW * (x.max() - x.min())
    return wide


def _by_time(index: Any, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the rows of a recording in the order of their times, which must differ."""
    times = index[rows]
    if (twice := times.duplicated()).any():
        raise DataError(
            f"time must differ within a recording, got {times[twice][0]} twice; of several "
            "recordings in one table, group=... is the column that names them"
        )
    # Words are in their order.
    ordered = _has_times(times) or times.dtype.kind in "iuf"
    return rows[np.argsort(times, kind="stable")] if ordered else rows


def _has_times(index: Any) -> bool:
    """Whether labels are dates, durations or periods."""
    return index.dtype.kind in "mM" or str(index.dtype).startswith("period")


def _groups(series: Any, group: Any, time: Any) -> tuple[Any, list[Any]]:
    """Return the recording of each row, and the names of the columns of events that say it."""
    if not hasattr(series, "iloc"):
        if group is not None:
            raise ArgumentError("group must be None for an array; a DataFrame has columns")
        return None, []
    import pandas as pd

    index = series.index
    if group is None:
        levels = [i for i in range(index.nlevels) if index.names[i] != time or time is None]
        levels = levels if len(levels) < index.nlevels else levels[:-1]
        if not levels:
            return None, []
        found = index.droplevel([i for i in range(index.nlevels) if i not in levels])
        several = len(levels) > 1
        names = [f"level_{i}" if several else "group" for i in levels]
        return found, [index.names[i] or name for i, name in zip(levels, names, strict=True)]
    names = group if isinstance(group, list) else [group]
    keys = []
    for name in names:
        if name in getattr(series, "columns", ()):
            keys.append(pd.Index(series[name]))
        elif name in index.names:
            keys.append(index.get_level_values(name))
        else:
            raise ArgumentError(f"group must be a column of the table, got {name!r}")
    return keys[0] if len(keys) == 1 else pd.MultiIndex.from_arrays(keys), names


def _of(events: Any, label: Any, names: list[Any]) -> Any:
    """Return the events of one recording; all, if they do not say whose they are."""
    if events is None or not names or not set(names) <= set(events.columns):
        return events
    for name, part in zip(names, label if len(names) > 1 else (label,), strict=True):
        events = events[events[name] == part]
    return events


def _table(
    series: Any, group: Any, time: Any, columns: Any
) -> tuple[NDArray[np.float64], list[str], Any]:
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
    import pandas as pd

    table = series.to_frame() if series.ndim == 1 else series
    if time is not None and time not in table.columns:
        raise ArgumentError(f"time must be a column of the table, got {time!r}")
    if columns is not None and set(columns) <= set(table.columns):
        numbers = table[list(columns)]
    else:
        keys = [*(group if isinstance(group, list) else [group]), time]
        numbers = table.select_dtypes(["number", "bool"]).drop(columns=keys, errors="ignore")
    if numbers.size == 0:
        raise DataError(f"series must have a column of numbers, got {list(table.columns)}")
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    labels = table.index if time is None else pd.Index(table[time])
    if labels.nlevels > 1:
        labels = labels.get_level_values(-1)
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
