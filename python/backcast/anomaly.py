"""Anomalies in series: what the model can neither rebuild nor foresee."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin, clone

from backcast._engine.columns import _array
from backcast._engine.scale import Moments
from backcast._parameters import integer, number
from backcast.data._recordings import Recordings, has_times, recordings
from backcast.data.series import Windows
from backcast.errors import (
    ArgumentError,
    DataError,
    FileFormatError,
    MissingPackageError,
    NotFittedError,
    ShapeError,
)
from backcast.model import Model

if TYPE_CHECKING:
    import pandas as pd

# Of the model that a detector trains where nothing else is said.
_DEFAULTS: dict[str, Any] = {
    "hidden_size": 64,
    "feedback": "none",
    "scale": "standard",
    "learning_rate": 1e-2,
    "schedule": "cosine",
    "max_grad_norm": 1.0,
    "max_iter": 1000,
}
# Numbers in a piece of windows that is scored in one go.
_PIECE = 2**20
# Windows that the errors' mean and standard deviation are learnt on, at most.
_SAMPLE = 10_000
_OWN = ("score", "outlier", "final")


class _Stream(NamedTuple):
    """Rows of a live stream that windows to come may cover, and what they have so far."""

    # Rows since it began.
    seen: int
    table: pd.DataFrame
    sums: NDArray[np.float64]
    counts: NDArray[np.float64]


class _Centred(Windows):
    """Windows less the mean of their past, column by column."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """What the numbers are."""
        return np.promote_types(self.values.dtype, np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All of them, copied: as much memory as ``shape`` says."""
        frames = super().__array__(np.float64, copy)
        past = self.values[self.starts[:, np.newaxis] + np.arange(self.n_past)]
        level = _nanmean(past.astype(np.float64, copy=False), 1)[:, np.newaxis]
        # So that infinite numbers are seen, and told.
        level[np.isinf(level)] = 0
        frames -= level
        # What is left of a column that does not change is the mean's rounding.
        frames[np.abs(frames) < 1e-12 * np.abs(level)] = 0
        return frames.astype(dtype or self.dtype, copy=False)


class AnomalyDetector(OutlierMixin, BaseEstimator):
    """Outlier detector of series: a row is scored by how badly a `Model` rebuilds and predicts it.

    Each number of a row is scored by the squared errors of all windows that cover it, each error
    standardised by the mean and standard deviation that its column and step had in training. Its
    own errors are averaged, those of reconstructions and those of predictions, and the geometric
    mean of both is taken, where both are there. The windows' errors are averaged over their steps,
    and then harmonically over the windows: only what is odd in all windows that cover a row makes
    it odd, so that an anomaly counts for more than its rows alone and does not spread over others.
    The score is the geometric mean of its own and the windows'. Numbers of ordinary rows thus score
    about 1; a row's score is the root mean square of its numbers'. It depends on nothing but the
    rows less than a window away.

    Parameters
    ----------
    model : Model, mapping or None, default=None
        What rebuilds and predicts. A mapping holds parameters of `Model` that shall differ from
        the default, ``Model(64, feedback="none", scale="standard", learning_rate=1e-2,
        schedule="cosine", max_grad_norm=1.0)``. An unfitted `Model` gives all of its parameters; a
        fitted one is used as it is, and not trained.
    past, future : int, default=50, 10
        Rows of a window that are rebuilt, and those after them that are predicted; without a
        `future` nothing is predicted. A window should hold whole what repeats (a beat, a day): what
        comes too early or too late is not seen in less.
    center : bool, default=False
        Whether the model sees windows less the mean of their past, column by column: for series
        whose level wanders or grows. An odd level is then found as it begins and ends, not while
        it lasts.
    group, time, columns, gap : optional
        As in `backcast.data.windows`, of tables. The longest step of time within a window is
        learnt in `fit`, unless `gap` is given.
    contamination : float, default=None
        The part of the training rows, in (0, 0.5], that shall be outliers.
    quantile : float, default=0.995
        Without `contamination`: rows are outliers that score higher than this part of the normal
        rows, those of training or the `held_out` ones.

    Attributes
    ----------
    model_ : Model
        The fitted model.
    offset_ : float
        What `score_samples` is for the least of the inliers: minus the threshold of the scores.
    columns_ : list
        Labels of the columns; their numbers, of an array.
    gap_ : number or duration or None
        The longest step of time within a window.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str
        Names of the columns, where all are words.

    See Also
    --------
    backcast.plot.scores : Draw a series with its scores.

    Notes
    -----
    NaN is a number that is missing: it has no score, and others are scored without it. Rows that no
    window covers, since their run between two gaps is shorter than ``past + future``, have the
    score NaN and are no outliers. Series are scored in pieces: memory is that of the scores.

    A model rebuilds the rows it was trained on better than others, so that more of the rows that
    follow are outliers than `quantile` or `contamination` says; `held_out` rows that are like those
    to be scored give a threshold that keeps to it.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast import AnomalyDetector
    >>> wave = np.sin(np.arange(2000) / 5)
    >>> detector = AnomalyDetector(
    ...     {"max_iter": 200, "random_state": 0, "device": "cpu", "verbose": 0}, past=20, future=5
    ... ).fit(wave[:1000])
    >>> wave[1500:1505] += 1
    >>> bool((detector.predict(wave[1000:])[500:505] == -1).all())
    True
    """

    columns_: list[Any]
    gap_: Any
    model_: Model
    n_features_in_: int
    offset_: float
    # Of past and future in a window.
    _lengths: tuple[int, int]
    # Whether the model sees windows less their level.
    _center: bool
    # Mean and standard deviation of the errors, (n_frames, n_columns) each.
    _mean: NDArray[np.float64]
    _std: NDArray[np.float64]
    _stream: _Stream | None = None

    def __init__(
        self,
        model: Model | Mapping[str, Any] | None = None,
        *,
        past: int = 50,
        future: int = 10,
        center: bool = False,
        group: Any = None,
        time: Any = None,
        columns: list[Any] | None = None,
        gap: Any = None,
        contamination: float | None = None,
        quantile: float = 0.995,
    ) -> None:
        self.model = model
        self.past = past
        self.future = future
        self.center = center
        self.group = group
        self.time = time
        self.columns = columns
        self.gap = gap
        self.contamination = contamination
        self.quantile = quantile

    # -- training ----------------------------------------------------------------------------------

    def fit(self, series: Any, y: object = None, *, held_out: Any = None) -> Self:
        """Train the model on all windows, and learn what its errors are and the threshold.

        Parameters
        ----------
        series : array_like of shape (n_rows,) or (n_rows, n_columns), or DataFrame
            Rows in the order of time, or a table as `backcast.data.windows` takes it. A few
            anomalies do no harm.
        y : object, default=None
            Ignored.
        held_out : array_like or DataFrame, default=None
            Normal rows that the model is not trained on, to learn the threshold from.

        Returns
        -------
        AnomalyDetector
            This detector.

        Raises
        ------
        ArgumentError, ShapeError, DataError
            If a parameter or the data cannot be used.
        OutOfMemoryError, DivergedError, KeyboardInterrupt
            As in `Model.fit`; whatever is raised, the detector is then as it was before.
        """
        before = dict(self.__dict__)
        try:
            return self._fit(series, held_out)
        except BaseException:
            self.__dict__ = before
            raise

    def _fit(self, series: Any, held_out: Any) -> Self:
        part = self._part_of_outliers()
        if held_out is not None and self.contamination is not None:
            raise ArgumentError("contamination must be None with held_out rows")
        rows = self._rows(series, self.columns, self.gap)
        model, train = self._model()
        future = integer("future", self.future, least=0) if "predict" in model._present() else 0
        self._lengths = integer("past", self.past, least=1), future
        self._center = bool(self.center)
        windows = self._windows(rows)
        self._some(windows, rows)
        self._stream = None
        self.model_ = model.fit(windows) if train else model
        self.columns_, self.gap_ = rows.columns, rows.gap
        self._name_features()
        self._learn_errors(windows)
        normal = rows if held_out is None else self._same_columns(held_out)
        self._some(self._windows(normal), normal)
        scores = _of_rows(self._score(normal))
        self.offset_ = -float(np.nanquantile(scores, 1 - part))
        return self

    def _some(self, windows: Windows, rows: Recordings) -> None:
        if not len(windows):
            length = len(windows.frames)
            if (rows.ends - rows.begins >= length).any():
                raise DataError("series must hold numbers, got only NaN")
            raise rows.too_short(length)

    def _name_features(self) -> None:
        self.n_features_in_ = len(self.columns_)
        self.__dict__.pop("feature_names_in_", None)
        if all(isinstance(name, str) for name in self.columns_):
            self.feature_names_in_ = np.array(self.columns_, dtype=object)

    def _part_of_outliers(self) -> float:
        if self.contamination is not None:
            part = number("contamination", self.contamination)
            if not 0 < part <= 0.5:
                raise ArgumentError(f"contamination must be in (0, 0.5], got {part}")
            return part
        quantile = number("quantile", self.quantile)
        if not 0 <= quantile <= 1:
            raise ArgumentError(f"quantile must be in 0..1, got {quantile}")
        return 1 - quantile

    def _model(self) -> tuple[Model, bool]:
        """Return the model, and whether to train it."""
        given = self.model
        if isinstance(given, Model):
            if given.__sklearn_is_fitted__():
                return given, False
            model = clone(given)
        elif given is None or isinstance(given, Mapping):
            model = Model(**(_DEFAULTS | dict(given or {})))
        else:
            got = f"a {type(given).__name__}"
            raise ArgumentError(
                f"model must be a backcast.Model, its parameters or None, got {got}"
            )
        future = integer("future", self.future, least=0)
        if not future and model.decoders == "predict":
            raise ArgumentError('future must be at least 1 with decoders="predict", got 0')
        if not future:
            model.set_params(decoders="reconstruct")
        return model.set_params(horizon=future or None), True

    def _learn_errors(self, windows: Windows) -> None:
        """Learn mean and standard deviation of the errors, of each step and column."""
        sample = windows[:: -(-len(windows) // _SAMPLE)]
        moments, largest = Moments(sample.shape[1:]), np.zeros(sample.shape[2])
        for piece in _pieces(sample):
            moments.add(self._errors(piece))
            truth = np.abs(piece.values[piece._rows()])
            largest = np.fmax(largest, truth.max((0, 1), initial=0, where=~np.isnan(truth)))
        self._mean = moments.mean
        # Single precision is all that the model has.
        self._std = np.maximum(moments.std, np.maximum(1e-6 * largest, 1e-30))

    # -- scores ------------------------------------------------------------------------------------

    @overload
    def scores(self, series: pd.DataFrame | pd.Series[Any]) -> pd.DataFrame: ...
    @overload
    def scores(self, series: ArrayLike) -> NDArray[np.float64]: ...
    def scores(self, series: Any) -> pd.DataFrame | NDArray[np.float64]:
        """Score each number of each row: about 1 where all is ordinary, higher where it is not.

        Parameters
        ----------
        series : array_like of shape (n_rows,) or (n_rows, n_columns), or DataFrame
            Rows as `fit` takes them, with the same columns.

        Returns
        -------
        DataFrame or ndarray of shape (n_rows, n_columns)
            On the table's own index, in its own order; an array for an array. NaN where the number
            is missing or no window covers the row.

        Raises
        ------
        NotFittedError, ArgumentError, ShapeError, DataError
            If the detector was not fitted, or the data does not fit it.
        """
        rows = self._known(series)
        scores = _in_order(rows, self._score(rows))
        if not hasattr(series, "iloc"):
            return scores
        import pandas as pd

        return pd.DataFrame(scores, index=series.index, columns=self.columns_)

    def score_samples(self, series: Any) -> NDArray[np.float64]:
        """Score each row: the higher, the more normal.

        Parameters
        ----------
        series : array_like or DataFrame
            As in `scores`.

        Returns
        -------
        ndarray of shape (n_rows,)
            Minus the root mean square of the `scores` of the row's numbers.
        """
        rows = self._known(series)
        return -_of_rows(_in_order(rows, self._score(rows)))

    def decision_function(self, series: Any) -> NDArray[np.float64]:
        """Score each row from the threshold: negative for outliers.

        Parameters
        ----------
        series : array_like or DataFrame
            As in `scores`.

        Returns
        -------
        ndarray of shape (n_rows,)
            ``score_samples(series) - offset_``.
        """
        return self.score_samples(series) - self.offset_

    def predict(self, series: Any) -> NDArray[np.int64]:
        """Tell outliers from inliers.

        Parameters
        ----------
        series : array_like or DataFrame
            As in `scores`.

        Returns
        -------
        ndarray of shape (n_rows,)
            -1 for outliers, 1 for inliers and for rows that have no score.
        """
        return np.where(self.decision_function(series) < 0, -1, 1)

    def events(self, series: Any, *, join: int | None = None) -> pd.DataFrame:
        """List the outliers as events: runs of rows that belong together.

        Parameters
        ----------
        series : array_like or DataFrame
            As in `scores`.
        join : int, default=None
            Outliers with at most so many rows between them are one event; `future` by default.

        Returns
        -------
        pandas.DataFrame
            One row an event, in the order of group and time: `group` (where there is one),
            ``start``, ``end`` and ``peak``, the times (or labels) of the first, the last and the
            highest row, ``score``, that row's, and ``columns``, those that drove it: of a mean
            score in the event of at least the columns' average, largest first.

        Raises
        ------
        NotFittedError, ArgumentError, ShapeError, DataError
            If the detector was not fitted, or the data does not fit it.
        MissingPackageError
            If pandas is not installed.
        """
        pandas = _pandas()
        join = integer("join", self.future if join is None else join, least=0)
        rows = self._known(series)
        each = self._score(rows)
        score = _of_rows(each)
        outliers = np.flatnonzero(score > -self.offset_)
        run = np.searchsorted(rows.ends, outliers, side="right")
        new = (np.diff(outliers) > join + 1) | (np.diff(run) > 0)
        found = np.split(outliers, np.flatnonzero(new) + 1) if len(outliers) else []
        events: dict[Any, list[Any]] = {} if self.group is None else {self.group: []}
        events |= {name: [] for name in ("start", "end", "peak", "score", "columns")}
        for event in found:
            first, last = event[0], event[-1] + 1
            peak = first + np.nanargmax(score[first:last])
            means = np.nan_to_num(_nanmean(each[first:last], 0))
            drove = [i for i in np.argsort(-means, kind="stable") if means[i] >= means.mean()]
            values = [
                rows.row_labels[first],
                rows.row_labels[last - 1],
                rows.row_labels[peak],
                score[peak],
                [rows.columns[i] for i in drove],
            ]
            if self.group is not None:
                values.insert(0, rows.row_groups[first])
            for name, value in zip(events, values, strict=True):
                events[name].append(value)
        table: pd.DataFrame = pandas.DataFrame(events)
        return table

    # -- a live stream -----------------------------------------------------------------------------

    def update(self, rows: Any) -> pd.DataFrame:
        """Score the next rows of a live stream.

        Parameters
        ----------
        rows : array_like of shape (n_rows,) or (n_rows, n_columns), or DataFrame
            Rows that come after all those given since `fit`, `load` or `reset`.

        Returns
        -------
        pandas.DataFrame
            The new rows, and those before them whose score has changed or has become final: on
            their index (of arrays, the number of the row since the stream began), ``score``,
            ``outlier`` (whether it is above the threshold), ``final``, and the scores of each
            column. A score is final once the last window that can cover the row is complete, or a
            gap has come; until then it is that of the windows so far.

        Raises
        ------
        NotFittedError, ArgumentError, ShapeError
            If the detector was not fitted, or the data does not fit it.
        DataError
            If rows come earlier than those before them. The stream is then as it was before.
        MissingPackageError
            If pandas is not installed.

        Notes
        -----
        Final scores are those that `scores` gives for the whole stream. The last
        ``past + future - 1`` rows of each group are kept.
        """
        pandas = _pandas()
        self._fitted()
        clash = [name for name in _OWN if name in self.columns_]
        if clash:
            raise ArgumentError(
                f"columns must have other names to be scored live, got {clash[0]!r}"
            )
        stream = self._stream
        seen = stream.seen if stream else 0
        if not hasattr(rows, "iloc"):
            array = self._known(rows).values
            index = seen + np.arange(len(array))
            table = pandas.DataFrame(array, index=index, columns=self.columns_)
        else:
            table = rows.to_frame() if rows.ndim == 1 else rows
        seen += len(table)
        if stream:
            table = pandas.concat([stream.table, table])

        taken = self._known(table)
        order = taken.row_positions
        old = order < (len(stream.table) if stream else 0)
        groups = np.zeros(len(order)) if taken.row_groups is None else taken.row_groups
        if (old[1:] & ~old[:-1] & (groups[1:] == groups[:-1])).any():
            raise DataError("rows must come later than those before them, got an earlier one")

        sums, counts = self._nothing(len(order))
        if stream:
            sums[old], counts[old] = stream.sums[order[old]], stream.counts[order[old]]
        told = ~old
        # What was kept is shorter than a window, so that every window is a new one.
        for piece in _pieces(self._windows(taken)):
            self._add(piece, sums, counts, 0)
            told[piece._rows()] = True
        # Later windows may still cover the last rows of each group's last run.
        final = np.ones(len(order), bool)
        last = np.append(groups[taken.ends[:-1]] != groups[taken.ends[:-1] - 1], True)
        for begin, end in zip(taken.begins[last], taken.ends[last], strict=True):
            final[max(begin, end - sum(self._lengths) + 1) : end] = False

        scores = _mean_of(sums, counts)
        score = _of_rows(scores)
        own = {"score": score, "outlier": score > -self.offset_, "final": final}
        result = pandas.DataFrame(own, index=table.index[order])
        result[self.columns_] = scores
        back = np.argsort(order)
        kept = back[~final[back]]
        self._stream = _Stream(seen, table.iloc[order[kept]], sums[kept], counts[kept])
        changed: pd.DataFrame = result.iloc[back[(told | final)[back]]]
        return changed

    def reset(self) -> Self:
        """Forget the rows given to `update`: another stream begins.

        Returns
        -------
        AnomalyDetector
            This detector.
        """
        self._stream = None
        return self

    # -- files -------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the detector to a safetensors file, whole or not at all.

        Parameters
        ----------
        path : str or path-like
            The file; one that is there is replaced once the new one is complete. `Model.load`
            reads the model alone from it.

        Raises
        ------
        NotFittedError
            If there is nothing to save yet.
        ArgumentError
            If a column is called neither by a word nor by a number.
        OSError
            If the file cannot be written; one that was there is left as it was.

        Notes
        -----
        The rows given to `update` are not kept; a pickle keeps them.
        """
        self._fitted()
        for label in (*self.columns_, self.group, self.time):
            if not isinstance(label, str | int | float | None):
                raise ArgumentError(f"columns must be words or numbers to be saved, got {label!r}")
        gap = str(self.gap_) if isinstance(self.gap_, np.timedelta64) else self.gap_
        parameters = self.get_params(deep=False) | {"model": None}
        detector = {
            "parameters": parameters | {"gap": None if self.gap is None else gap},
            "columns": self.columns_,
            "gap": gap,
            "lengths": self._lengths,
            "center": self._center,
            "offset": self.offset_,
            "mean": self._mean,
            "std": self._std,
        }
        self.model_._write(path, more={"detector": detector})

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "auto") -> Self:
        """Read what `save` has written, also on another device.

        Parameters
        ----------
        path : str or path-like
            The file.
        device : str, default="auto"
            Where the model shall be, as the parameter of that name.

        Returns
        -------
        AnomalyDetector
            As it was saved, with its fitted model as the parameter `model`: `fit` learns errors
            and threshold anew, and does not train.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FileFormatError
            If it is cut short, corrupt, or not of a detector.
        """
        model, contents = Model._read(path, device)
        if "detector" not in contents.fitted:
            raise FileFormatError(f"{path}: must be a backcast AnomalyDetector, got a Model")
        saved = contents.fitted["detector"]
        try:
            detector = cls(**(saved["parameters"] | {"model": model}))
            detector.columns_, detector.gap_ = saved["columns"], saved["gap"]
            detector._lengths = tuple(saved["lengths"])
            detector._center = saved["center"]
            detector._mean, detector._std = np.array(saved["mean"]), np.array(saved["std"])
            detector.offset_ = saved["offset"]
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path}: is a damaged backcast detector: {error}") from error
        detector.model_ = model
        detector._name_features()
        return detector

    # -- rows, windows, errors ---------------------------------------------------------------------

    def _fitted(self) -> None:
        if not hasattr(self, "offset_"):
            raise NotFittedError("this AnomalyDetector is not fitted yet; call fit or load first")

    def _known(self, series: Any) -> Recordings:
        """Take rows to score."""
        self._fitted()
        return self._same_columns(series)

    def _same_columns(self, series: Any) -> Recordings:
        """Take rows of the columns that were fitted."""
        rows = self._rows(series, self.columns_, self.gap_)
        if len(rows.columns) != self.n_features_in_:
            raise ShapeError(
                f"series must have {self.n_features_in_} columns, as in fit, "
                f"got {len(rows.columns)}"
            )
        return rows

    def _rows(self, series: Any, columns: list[Any] | None, gap: Any) -> Recordings:
        if hasattr(series, "iloc"):
            table = series.to_frame() if series.ndim == 1 else series
            if self.gap is None and self.time is None and not has_times(table.index):
                gap = None
            return recordings(table, self.group, self.time, columns, gap)
        for name in ("group", "time"):
            if getattr(self, name) is not None:
                raise ArgumentError(f"series must be a DataFrame, which has a {name}, got an array")
        values = self._array(series)
        rows = np.arange(len(values))
        return Recordings(
            values=values,
            columns=list(range(values.shape[1])),
            row_labels=rows,
            row_groups=None,
            row_positions=rows,
            names=("group", "time"),
            begins=np.array([0]),
            ends=np.array([len(rows)]),
            timed=False,
            gap=None,
        )

    @staticmethod
    def _array(series: Any) -> NDArray[Any]:
        array = _array("series", series)
        if array.ndim not in (1, 2):
            raise ShapeError(
                f"series must be of shape (n_rows,) or (n_rows, n_columns), got {array.shape}"
            )
        if array.shape[1:] == (0,):
            raise DataError(f"series must have at least 1 column, got shape {array.shape}")
        return array if array.ndim == 2 else array[:, np.newaxis]

    def _windows(self, rows: Recordings) -> Windows:
        """Cut all windows whose past holds a number."""
        past, future = self._lengths
        windows = (_Centred if self._center else Windows)._of(rows, past, future)
        known = np.append(0, np.cumsum(~np.isnan(rows.values).all(1)))
        some: Windows = windows[known[windows.starts + past] > known[windows.starts]]
        return some

    def _errors(self, windows: Windows) -> NDArray[np.float64]:
        """Return what the model did not get right of the windows; NaN where nothing."""
        model, n_past = self.model_, windows.n_past
        truth = np.asarray(windows, dtype=np.float64)
        made = np.full(truth.shape, np.nan)
        state = model.encode(windows.past, state="full")
        if "reconstruct" in model._present():
            made[:, :n_past] = model.decode(state, steps=n_past, decoder="reconstruct")
        if truth.shape[1] > n_past:
            made[:, n_past:] = model.decode(state, steps=truth.shape[1] - n_past)
        errors: NDArray[np.float64] = truth - made
        return errors

    def _nothing(self, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return sums and counts of rows that no window covers yet, as `_mean_of` takes them."""
        shape = (n, 3, self.n_features_in_)
        return np.zeros(shape), np.zeros(shape)

    def _add(
        self,
        windows: Windows,
        sums: NDArray[np.float64],
        counts: NDArray[np.float64],
        first: int,
    ) -> None:
        """Add the windows' squared errors to the rows they cover, of which `first` is number 0."""
        squares = ((self._errors(windows) - self._mean) / self._std) ** 2
        known = ~np.isnan(squares)
        squares[~known] = 0
        whole = squares.sum(1) / np.maximum(known.sum(1), 1)
        inverse = 1 / np.maximum(whole, np.finfo(np.float64).tiny)
        for step in windows.frames:
            rows, decoder = windows.starts + (step - first), int(step >= windows.n_past)
            sums[rows, decoder] += squares[:, step]
            counts[rows, decoder] += known[:, step]
            sums[rows, 2] += inverse * known[:, step]
            counts[rows, 2] += known[:, step]

    def _score(self, rows: Recordings) -> NDArray[np.float64]:
        """Score each number of the rows, piece by piece."""
        windows = self._windows(rows)
        scores = np.full((len(rows.values), self.n_features_in_), np.nan)
        first, (sums, counts) = 0, self._nothing(0)
        for piece, following in _pieces_and_next(windows, len(rows.values)):
            if not len(sums):
                first = int(piece.starts[0])
            end = int(piece.starts[-1]) + len(windows.frames)
            more = self._nothing(end - first - len(sums))
            sums, counts = np.concatenate([sums, more[0]]), np.concatenate([counts, more[1]])
            self._add(piece, sums, counts, first)
            done = min(following, end) - first
            scores[first : first + done] = _mean_of(sums[:done], counts[:done])
            first, sums, counts = first + done, sums[done:], counts[done:]
        return scores

    # -- what scikit-learn asks --------------------------------------------------------------------

    def __sklearn_clone__(self) -> Self:
        """Copy the parameters; a fitted model stays fitted, as it is what scores."""
        parameters = self.get_params(deep=False)
        model = parameters.pop("model")
        fitted = isinstance(model, Model) and model.__sklearn_is_fitted__()
        copied = {name: clone(value, safe=False) for name, value in parameters.items()}
        return type(self)(model if fitted else clone(model, safe=False), **copied)

    def __sklearn_tags__(self) -> Any:
        """Say what `fit` takes: rows with missing numbers, in order."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a threshold."""
        return hasattr(self, "offset_")


def _pieces_and_next(windows: Windows, end: int) -> Iterator[tuple[Windows, int]]:
    """Give windows, so many at a time, and where those after them start."""
    step = max(1, _PIECE // max(1, windows.shape[1] * windows.shape[2]))
    for first in range(0, len(windows), step):
        following = windows.starts[first + step : first + step + 1]
        yield windows[first : first + step], int(following[0]) if len(following) else end


def _pieces(windows: Windows) -> Iterator[Windows]:
    for piece, _ in _pieces_and_next(windows, 0):
        yield piece


def _mean_of(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make scores of sums over windows, (n, 3, D): of both decoders' squares, of inverse errors."""
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    with np.errstate(divide="ignore"):
        log = np.log(means)
    own = _nanmean(log[:, :2], 1)
    scores: NDArray[np.float64] = np.exp((own - log[:, 2]) / 2)
    return scores


def _of_rows(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Score rows by the root mean square of their numbers' scores."""
    return np.sqrt(_nanmean(scores**2, 1))


def _nanmean(numbers: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Average of what is there; NaN, without a warning, where nothing is."""
    known = ~np.isnan(numbers)
    total, n = np.where(known, numbers, 0).sum(axis), known.sum(axis)
    means: NDArray[np.float64] = np.divide(total, n, np.full(total.shape, np.nan), where=n > 0)
    return means


def _in_order(rows: Recordings, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put scores in the user's own order."""
    back = np.empty_like(scores)
    back[rows.row_positions] = scores
    return back


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingPackageError("tables of anomalies need pandas: pip install pandas") from error
    return pandas
