"""Windows of long series, and of tables on their own index."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from backcast._engine import tables
from backcast._engine.columns import real
from backcast._parameters import integer
from backcast.data._recordings import recordings
from backcast.data._times import Continuation, continuations, warn_of_guesses
from backcast.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of a table that know their times and groups, copied only when they are read.

    `backcast.Model` and scikit-learn's splitters take them as an array of shape
    (n_windows, n_frames, n_columns). ``w[rows]`` and ``w[:, frames]`` are windows again; ``w[i]``
    and ``np.asarray(w)`` are arrays. The function `windows` makes them.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_columns)
        The table's numbers, ordered by group and time.
    columns : list of str
        Names of its columns.
    starts : ndarray of int, of shape (n_windows,)
        The row of `values` where each window starts.
    frames : range
        The frames of a window, counted from its start.
    n_past : int
        Frames of past in a whole window.
    row_labels : pandas.Index
        Time of each row of `values`; without a time, the index of the table.
    row_groups : ndarray of shape (n_rows,)
        Group of each row; None without groups.
    row_positions : ndarray of int, of shape (n_rows,)
        Position in the table of each row of `values`.
    run_ends : ndarray of int, of shape (n_runs,)
        End of each run of rows of one recording without a gap: the row after its last.
    timed : bool
        Whether `row_labels` are times.
    names : tuple of str
        Names of group and time.
    calendar : calendar, dict or None, default=None
        The calendar of the dates, one for all recordings or by group, as far as it is known; of
        others, and where dates are not on it, it is learnt from the rows.
    """

    values: NDArray[Any]
    columns: list[Any]
    starts: NDArray[np.intp]
    frames: range
    n_past: int
    row_labels: Any
    row_groups: Any
    row_positions: NDArray[np.intp]
    run_ends: NDArray[np.intp]
    timed: bool
    names: tuple[Any, Any]
    calendar: Any = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_windows, n_frames, n_columns)."""
        return len(self.starts), len(self.frames), self.values.shape[1]

    @property
    def ndim(self) -> int:
        """3."""
        return 3

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return self.values.dtype

    @property
    def _column_names(self) -> tuple[Any, ...] | None:
        """Names of the columns; None if the rows come from an array, which has none."""
        return None if isinstance(self.row_labels, np.ndarray) else tuple(self.columns)

    def _without_numbers(self, rows: range, frames: range) -> NDArray[np.intp]:
        """Return which of these windows have NaN alone in these frames."""
        if self.values.dtype.kind != "f" or not len(frames):
            return np.empty(0, np.intp)
        # The number of rows of NaN before each row.
        before = np.append(0, np.isnan(self.values).all(1).cumsum())
        first = self.starts[rows.start : rows.stop] + self.frames[frames.start]
        return np.flatnonzero(before[first + len(frames)] - before[first] == len(frames))

    def _label(self, window: int, frame: int) -> Any:
        """Return the time of one frame."""
        return self.row_labels[self.starts[window] + self.frames[frame]]

    @property
    def past(self) -> Windows:
        """The first frames of each window, those of the past."""
        return replace(self, frames=range(self.n_past))

    @property
    def future(self) -> Windows:
        """The frames after the past."""
        return replace(self, frames=range(self.n_past, max(self.frames.stop, self.n_past)))

    @property
    def last(self) -> Windows:
        """The last window of each recording."""
        starts = np.sort(self.starts)
        if self.row_groups is None:
            return replace(self, starts=starts[-1:])
        groups = self.row_groups[starts]
        ends = np.append(np.flatnonzero(groups[1:] != groups[:-1]), len(starts) - 1)
        return replace(self, starts=starts[ends])

    @property
    def positions(self) -> NDArray[np.intp]:
        """Position of each frame in the table, for ``table.iloc``: (n_windows, n_frames)."""
        return self.row_positions[self._rows()]

    @property
    def times(self) -> Any:
        """Time of each frame, (n_windows, n_frames); without a time, its label."""
        return self.row_labels.to_numpy()[self._rows()]

    @property
    def groups(self) -> Any:
        """Group of each window, (n_windows,); None without groups."""
        return None if self.row_groups is None else self.row_groups[self.starts]

    @property
    def index(self) -> pd.Index[Any]:
        """Index of the windows: group, if there is one, and time of the last frame."""
        index: pd.Index[Any] = self._index(self._labels(slice(-1, None)))
        return index

    def after(self, steps: int) -> pd.MultiIndex:
        """Return the times of the frames after each window.

        Parameters
        ----------
        steps : int
            Number of frames after each window.

        Returns
        -------
        pandas.MultiIndex
            Group (if there is one), window (0, 1, ...) and time of ``n_windows * steps`` frames.
            Times come from the table while its rows continue without a gap. Later times follow by
            the calendar of the recording, if it has one: months, quarters, business days, days of
            the week and hours of opening, which `calendar` says or the rows show; else by the
            median step. Steps of whole days keep the local time of day. If labels are not times
            and those of the table do not suffice, all are steps: 1, 2, ...

        Raises
        ------
        ArgumentError
            If `steps` is below 1.

        Warns
        -----
        UserWarning
            If dates follow no calendar and their steps differ, so that later times are a guess.

        Examples
        --------
        >>> import pandas as pd
        >>> from backcast.data import windows
        >>> month = pd.date_range("2026-01-01", periods=6, freq="MS", name="month")
        >>> w = windows(pd.DataFrame({"x": range(6)}, index=month), past=4)
        >>> w.last.after(2).get_level_values("month").strftime("%B").tolist()
        ['July', 'August']
        """
        index, goes_on = self._continued(integer("steps", steps, 1))
        ends = {each.first: each for each in goes_on if each is not None}.values()
        if guesses := [each.labels[-1] for each in ends if each.is_guess(steps)]:
            warn_of_guesses(guesses)
        return index

    def _continued(self, steps: int) -> tuple[pd.MultiIndex, list[Continuation | None]]:
        """Return what `after` returns, and how the times beyond the table of each window go on."""
        import pandas as pd

        rows, ends = self._rows_after(steps)
        labels, beyond = self.row_labels.rename(self.names[1]), rows >= ends
        known: dict[int, Continuation] = {}
        runs = np.unique(ends[beyond.any(axis=1)])
        if self.timed or self.row_groups is None:
            of = continuations(self.row_labels, self.row_groups, self.run_ends, self.calendar)
            known = {end: of(end - 1) for end in runs.tolist()}
        each = [known[end].after(end, steps) for end in known]
        more = [times for times in each if times is not None]
        if len(more) < len(runs):
            labels = pd.RangeIndex(1, steps + 1, name=self._own_name("step"))
            rows = np.tile(np.arange(steps), (len(self), 1))
        elif more:
            extra = len(labels) + np.searchsorted(runs, ends) * steps
            rows = np.where(beyond, extra + rows - ends, rows)
            labels = labels.append([times.rename(labels.name) for times in more])
        index: pd.MultiIndex = self._index(labels[rows.reshape(-1)], steps)
        return index, [known.get(end) for end in ends[:, 0].tolist()]

    def table(
        self, values: ArrayLike, columns: list[Any] | None = None, *, after: bool = False
    ) -> pd.DataFrame:
        """Return the output of a model for these windows as a table on their index.

        Parameters
        ----------
        values : array_like of shape (n_windows, n_frames, n_columns) or (n_windows, n_numbers)
            Frames of these windows, or one row for each, as ``classifier.predict_proba(w)`` has.
        columns : list, default=None
            Names of the columns; for frames, by default those of the table.
        after : bool, default=False
            Whether the frames, any number of them, follow each window, as a model predicts them.

        Returns
        -------
        pandas.DataFrame
            One row for each window, on `index`; or one row for each window and frame, on group (if
            there is one), window (0, 1, ...) and time of the frame.

        Raises
        ------
        ShapeError
            If `values` does not have one row, or all frames, of each window.
        """
        import pandas as pd

        array = np.asarray(values)
        n, length, _ = self.shape
        if array.ndim == 3 and len(array) == n and (after or array.shape[1] == length):
            _, steps, width = array.shape
            names = columns if columns is not None else self.columns
            index = self.after(steps) if after else self._index(self._labels(), steps)
            return pd.DataFrame(array.reshape(n * steps, width), index=index, columns=names)
        if array.ndim == 2 and len(array) == n and not after:
            return pd.DataFrame(array, index=self.index, columns=columns)
        wanted = f"({n}, steps, n)" if after else f"{self.shape}, or ({n}, n) for a row a window"
        raise ShapeError(f"values must be of shape {wanted}, got {array.shape}")

    def _labels(self, frames: slice = slice(None)) -> Any:
        return self.row_labels[self._rows()[:, frames].reshape(-1)].rename(self.names[1])

    def _index(self, labels: Any, frames: int = 0) -> Any:
        """Index of the windows, or of `frames` frames of each, with these labels."""
        import pandas as pd

        each = frames or 1
        name, names = self.names[0], []
        levels: list[Any] = []
        if self.groups is not None:
            groups = np.repeat(self.groups, each)
            levels, names = [groups], [name]
            if self._several_names():
                levels = [[group[i] for group in groups] for i in range(len(name))]
                names = [*name]
        if frames:
            levels.append(np.repeat(np.arange(len(self)), each))
            names.append(self._own_name("window"))
        if not levels:
            return labels
        return pd.MultiIndex.from_arrays([*levels, labels], names=[*names, labels.name])

    def _several_names(self) -> bool:
        """Whether a recording is named by several labels, those of several columns or levels."""
        name, groups = self.names[0], self.row_groups
        if groups is None or not isinstance(name, tuple) or not len(groups):
            return False
        return isinstance(groups[0], tuple) and len(groups[0]) == len(name)

    def _own_name(self, name: str) -> str:
        """Return a name for a level of our own that is none of the user's."""
        group, time = self.names
        groups = group if isinstance(group, tuple) else (group,)
        return tables.own_name(name, [*self.columns, group, *groups, time])

    def _rows_after(self, steps: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows after each window, (n, steps), and the end of its run, (n, 1)."""
        after = self.starts[:, np.newaxis] + self.frames.stop
        ends = self.run_ends[np.searchsorted(self.run_ends, after - 1, side="right")]
        return after + np.arange(steps), ends

    def _rows(self) -> NDArray[np.intp]:
        return self.starts[:, np.newaxis] + np.arange(self.frames.start, self.frames.stop)

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.starts)

    def __getitem__(self, key: Any) -> Any:
        """Select windows by number, slice, mask or array of numbers, and frames by a slice."""
        rows, frames = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        if isinstance(rows, tuple):
            raise IndexError(f"windows are selected by rows and a slice of frames, got {key!r}")
        part = self.frames if frames is Ellipsis else self.frames[frames]
        if not isinstance(part, range) or part.step != 1:
            raise IndexError(f"frames are selected by a slice without a step, got {frames!r}")
        if isinstance(rows, int | np.integer):
            return replace(self, starts=self.starts[[int(rows)]], frames=part).__array__()[0]
        chosen: NDArray[np.intp] = self.starts[slice(None) if rows is Ellipsis else rows]
        return replace(self, starts=chosen, frames=part)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Copy all windows to an array: it takes as much memory as ``shape`` says."""
        if copy is False:
            raise ValueError("windows of a table are made on each read: a copy cannot be avoided")
        return self.values[self._rows()].astype(dtype or self.dtype, copy=False)

    def __repr__(self) -> str:
        """Return the shape of the windows and the times of the first and the last."""
        n, length, width = self.shape
        text = f"<{n:,} windows of {length} frames of {width} columns"
        if n:
            rows = self._rows()
            text += f", {self.row_labels[rows[:, 0]].min()} to {self.row_labels[rows[:, -1]].max()}"
        return text + (f", {len(set(self.groups))} groups>" if self.groups is not None else ">")


@overload
def windows(
    series: tables.Table,
    past: int,
    future: int = 0,
    stride: int = 1,
    *,
    group: Any = None,
    time: Any = None,
    columns: list[Any] | None = None,
    gap: Any = None,
) -> Windows: ...
@overload
def windows(series: ArrayLike, past: int, future: int = 0, stride: int = 1) -> NDArray[Any]: ...
def windows(
    series: Any,
    past: int,
    future: int = 0,
    stride: int = 1,
    *,
    group: Any = None,
    time: Any = None,
    columns: list[Any] | None = None,
    gap: Any = None,
) -> NDArray[Any] | Windows:
    """Cut a long series, or each series of a table, into windows without copying it.

    Parameters
    ----------
    series : array_like of shape (n_frames, *frame_shape) or (n_frames,), or pandas.DataFrame
        One recording; a memory-mapped array stays on disk. A one-dimensional series has one number
        per frame. Or a table in long format, with one row per frame, of one recording or of several
        (`group`), in any order; tables of polars, pyarrow and others become pandas' own. Or a dict
        of such tables by the names of their recordings.
    past : int
        Frames of past in a window, at least 1.
    future : int, default=0
        Frames of future in a window. `Model.fit` cuts windows without a future in half, unless its
        `horizon` or ``decoders="reconstruct"`` says otherwise.
    stride : int, default=1
        Frames from the start of a window to the start of the next. After a gap, and in each
        recording, the first window starts in the first row, so that windows of a day's frames no
        longer begin at midnight. A column with the day as `group` keeps windows within their days;
        rows of NaN for those that are missing, as ``table.asfreq`` makes them, leave no gap.
    group : label, default=None
        Column of a table, or level of its index, with the name of the recording that a row belongs
        to; a list of them for names of several parts. A window has rows of one recording only. Of
        an index of several levels, by default all but the last.
    time : label, default=None
        Column of a table, or level of its index, that orders each recording: numbers, dates or
        durations. By default the index of the table, or its last level, if it has dates or
        durations; otherwise rows are in order, without gaps.
    columns : list of labels, default=None
        Columns of a table with the numbers of a frame; by default all other numeric columns. NaN
        is a missing number, as in `backcast.Model.fit`.
    gap : number, duration or calendar offset, default=None
        Longest time from one frame to the next within a window, in the units of `time`; infinity
        allows any. By default 1.5 times the median step of each recording; of dates on a calendar
        with closed days or hours, which two weeks of rows show (business days, a week of six days,
        hours of opening), its step: a weekend is no gap, and a holiday is one.
        ``pandas.offsets.CustomBusinessDay(holidays=days)`` knows the holidays, also those of an
        exchange, as does an index with this `freq`; ``"4D"`` allows all of up to four days.

    Returns
    -------
    ndarray of shape (n_windows, past + future, *frame_shape), or Windows
        For an array a read-only view. Window i starts at frame ``i * stride``; frames after the
        last whole window are skipped. For a table `Windows`, which know their times and groups.

    Raises
    ------
    ArgumentError
        If `past`, `stride` or `gap` is too small, `future` is negative, or a column does not exist.
    ShapeError
        If the series is shorter than one window, or a single number.
    DataError
        If the series does not hold numbers, or two rows of a recording have the same time.

    Notes
    -----
    Windows are one array, not a pair, so that they can be shuffled, split and indexed together.
    ``Model(horizon=future).fit(w)`` takes whole windows; ``model.fit(w[:, :past], w[:, past:])``
    takes both parts, which are views too; ``model.encode`` takes the pasts only. A copy takes
    ``(past + future) / stride`` times the memory of the series.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.data import windows
    >>> w = windows(np.arange(6.0), past=3, future=1, stride=2)
    >>> w.shape
    (2, 4, 1)
    >>> w[1, :3, 0], w[1, 3:, 0]
    (array([2., 3., 4.]), array([5.]))

    >>> import pandas as pd
    >>> day = pd.date_range("2026-01-01", periods=6, freq="D")
    >>> table = pd.DataFrame({"sensor": ["a"] * 6 + ["b"] * 6, "day": [*day, *day], "x": range(12)})
    >>> w = windows(table, past=3, future=1, group="sensor", time="day")
    >>> w.shape, w.past.shape
    ((6, 4, 1), (6, 3, 1))
    >>> w.index[-1]
    ('b', Timestamp('2026-01-06 00:00:00'))

    If windows have a past only, the future of the last ones is beyond the table.

    >>> past = windows(table, past=3, group="sensor", time="day").last
    >>> past.index.tolist() == [("a", day[-1]), ("b", day[-1])]
    True
    >>> from backcast import Model
    >>> model = Model(horizon=1, hidden_size=8, max_iter=50, device="cpu", verbose=0).fit(w)
    >>> model.predict(past).loc["b"].index
    MultiIndex([(1, '2026-01-07')],
               names=['window', 'day'])
    """
    past, future = integer("past", past, 1), integer("future", future, 0)
    stride = integer("stride", stride, 1)
    if tables.is_table(series) or tables.has_time_axis(series):
        return _of_table(series, past, future, stride, group, time, columns, gap)
    for name, value in {"group": group, "time": time, "columns": columns, "gap": gap}.items():
        if value is not None:
            raise ArgumentError(f"{name} must be None for an array; a DataFrame has columns")
    frames = real("series", series)
    if frames.ndim == 0:
        raise ShapeError("series must have at least 1 dimension, got a single number")
    if frames.ndim == 1:
        frames = frames[:, np.newaxis]
    if len(frames) < past + future:
        raise ShapeError(
            f"series must be at least past + future = {past + future} frames long, "
            f"got {len(frames)}"
        )
    return np.moveaxis(sliding_window_view(frames, past + future, axis=0), -1, 1)[::stride]


def _of_table(
    table: Any,
    past: int,
    future: int,
    stride: int,
    group: Any,
    time: Any,
    columns: Any,
    gap: Any,
) -> Windows:
    rows = recordings(table, group, time, columns, gap)
    windows = rows.cut(Windows, past, future, stride)
    if not len(windows):
        raise rows.too_short(past + future)
    rows.warn_of_groups_without(windows)
    return windows
