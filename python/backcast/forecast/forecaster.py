"""The forecaster as a scikit-learn estimator."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from backcast._estimator.fitted import is_label
from backcast._inner import HasModel, advise_on_names, model_of
from backcast._parameters import Number, Word, integer, number
from backcast._training.hooks import Callback
from backcast._training.windows import part_of
from backcast._warn import renamed, warn
from backcast.data._clock import has_times, restored_gap, saved_gap
from backcast.data._recordings import Recordings, is_table, same_columns
from backcast.data.series import Windows
from backcast.errors import ArgumentError, DataError
from backcast.forecast import _files
from backcast.forecast._calendar import check_periods, n_features, periods_of
from backcast.forecast._intervals import Intervals, ends_of, levels_of, with_intervals
from backcast.forecast._known import future_rows, known_columns, rows_of, with_calendar
from backcast.forecast._layout import auto_segment
from backcast.forecast._learning import Choices, evenly, hold_out, learn
from backcast.forecast._normalization import NORMALIZE, Numbers
from backcast.forecast._prepared import Parts, Preparation
from backcast.model import Model

if TYPE_CHECKING:
    import pandas as pd

    from backcast._engine.tables import Table

# Parameters of the default model.
DEFAULTS: dict[str, Any] = {
    "hidden_size": 128,
    "decoders": "predict",
    "feedback": "none",
    "forget_bias": None,
    "batch_size": 128,
}
# Windows that are forecast at a time; it bounds the memory.
_PIECE = 1024


class Forecaster(HasModel, BaseEstimator):
    """Forecaster of tables and series: a `Model` on normalised windows, with intervals.

    The columns of every window are normalised by their own past, a ridge regression on the past
    makes a first forecast, and a `Model` learns what it leaves. The last windows are held out: on
    them the normalisation is chosen, and whether columns have regressions of their own, the
    forecast is drawn towards the naive one as far as that makes it better (all the way, with a
    warning, where it gains less than 5 %), and the widths of intervals are learnt.

    Parameters
    ----------
    past, future : int
        Rows of a window that are known, and rows after them to forecast. The past should hold two
        or more seasons (a day, a week).
    model : Model, mapping or None, default=None
        The network. A mapping holds parameters of `Model` that differ from the default,
        ``Model(128, decoders="predict", feedback="none", forget_bias=None, batch_size=128)``, whose
        `max_iter` is that of two passes over the samples, from 1,000 to 1,500. An unfitted `Model`
        gives all of its parameters.
    segment : int or "auto", default="auto"
        Rows in a frame of the model. A recurrent network learns a few frames of many rows better
        and faster than many frames of one. Any number up to `past` will do; where it does not
        divide the lengths, frames are filled up with missing numbers. "auto" is the longest of 4 to
        24 rows that divides both lengths, or else the past.
    normalize : {"auto", None, "last", "mean", "standard"}, default="auto"
        What the model sees of a window: None, its numbers with mean 0 and deviation 1 in training;
        "last", these less the last one of the past; "mean", less the mean of the past; "standard",
        less the mean and divided by the deviation of the past, for series of unequal size. It is
        undone in forecasts. "auto" compares ridge regressions on held-out windows and takes
        "last" unless "mean" or "standard" is more than 5 % better.
    together : bool, default=False
        Whether the columns are one series of many numbers for the network. By default each is a
        series of its own and all share the weights.
    linear : bool, default=True
        Whether a ridge regression forecasts first, and the network learns what it leaves. Where
        that is better on held-out windows, each column has coefficients of its own, which are drawn
        towards those of all columns together.
    future_columns : list of labels, default=None
        Columns that are known in the future too, such as prices or the weather forecast; of an
        array, their numbers. They are not forecast. `past` must be at least `future` with them.
    calendar : bool or list of {"day", "week", "year"}, default=False
        Whether the place of a row in the day, the week and the year is known to the model; the
        index must have dates. True takes those longer than a step of which the table has two.
    group, time, columns, gap : label, list or duration, default=None
        As in `backcast.data.windows`, for tables; `columns` are those to forecast.

    Attributes
    ----------
    model_ : Model
        The fitted network.
    segment_, normalize_ : int, str or None
        What was chosen.
    weights_ : tuple of two floats
        How much of the linear forecast's change of the naive forecast, and of the network's change
        of the linear one, is used; from 0 to 1. Both are those for which the error, by that of the
        naive forecast, is the least in the worse half of the held-out windows; both are 0, and the
        forecast repeats the last value, where that gains less than 5 %.
    decisions_ : dict of str
        One line of why for each of "segment", "normalize", "weights" and "intervals".
    baselines_ : dict of float
        Errors of "forecaster", "network", "linear" and "naive" on the validation windows: the mean
        over series of their root mean squared error by their mean change in one row.
    columns_ : list
        Labels of the columns that are forecast; of an array, their numbers.
    gap_ : number, duration, calendar or dict, or None
        The longest step of time within a window.
    step_ : calendar, duration, number or dict, or None
        The time from one row to the next, by which forecasts are dated; of several recordings by
        their labels unless all have the same. A calendar is the one that `gap` or the table's own
        index (its `freq`) says, or that the rows show: months, quarters, business days, days of the
        week, hours of opening. Holidays are known only if `gap` or the index says them.
    n_features_in_ : int
        Number of columns, those known in the future included.

    See Also
    --------
    forecast_errors : Backtest with many origins, beside naive forecasts.
    backcast.plot.forecast : Draw a forecast with its intervals.

    Notes
    -----
    NaN is a missing number. A frame of the model holds the numbers of `segment` rows and, with
    known columns, their numbers in these rows and in those `future` rows later: the encoder thereby
    sees the known columns of the whole future. Words must become numbers before, as by
    ``pandas.get_dummies``.

    Intervals are split-conformal, for each step and column: their half width is a quantile of the
    absolute errors in up to 1,000 held-out windows, in units of what the window lets expect. A unit
    is a product of powers of the deviation of the past, of its least change over a lag (from season
    to season) and of its level, and of exponentials of the known columns in the row to forecast.
    The powers are those of a regression of the errors in up to 1,000 training windows. Where this
    does not make the held-out errors more likely, the unit is the deviation of the past alone, or
    unless windows are normalised by it the geometric mean of that and the deviation in training.
    Intervals keep their level as far as the rows to come resemble the held-out ones; `calibrate`
    learns the quantiles from others.

    The network alone is `model_`; ``model_.to_torch()`` converts it, without normalisation, linear
    forecast and intervals, which are not part of it.

    References
    ----------
    Segments and the last value: S. Lin et al., "SegRNN", arXiv 2308.11200. Normalisation: T. Kim et
    al., "Reversible Instance Normalization", ICLR 2022. Intervals: J. Lei et al.,
    "Distribution-Free Predictive Inference for Regression", JASA 2018.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from backcast import Forecaster
    >>> hours = pd.date_range("2026-01-01", periods=600, freq="h", name="time")
    >>> load = 50 + 10 * np.sin(2 * np.pi * np.arange(600) / 24)
    >>> model = {"max_iter": 20, "random_state": 0, "device": "cpu", "verbose": 0}
    >>> forecaster = Forecaster(48, 24, model).fit(pd.DataFrame({"load": load}, index=hours))
    >>> forecast = forecaster.predict(pd.DataFrame({"load": load}, index=hours), interval=0.9)
    >>> forecast.columns.tolist(), str(forecast.index[0])
    (['load', 'load-lo-90', 'load-hi-90'], '2026-01-26 00:00:00')
    >>> bool((abs(forecast["load"] - load[:24]) < 0.5).all())
    True
    """

    columns_: list[Any]
    gap_: Any
    baselines_: dict[str, float]
    decisions_: dict[str, str]
    model_: Model
    n_features_in_: int
    step_: Any
    weights_: tuple[float, float]
    # Labels of the known columns of the table, and periods of the calendar.
    _known: list[Any]
    _periods: tuple[str, ...]
    _preparation: Preparation
    _intervals: Intervals | None

    @advise_on_names
    def __init__(
        self,
        past: int,
        future: int,
        model: Model | Mapping[str, Any] | None = None,
        *,
        segment: int | str = "auto",
        normalize: str | None = "auto",
        together: bool = False,
        linear: bool = True,
        future_columns: list[Any] | None = None,
        calendar: bool | list[str] = False,
        group: Any = None,
        time: Any = None,
        columns: list[Any] | None = None,
        gap: Any = None,
    ) -> None:
        self.past = past
        self.future = future
        self.model = model
        self.segment = segment
        self.normalize = normalize
        self.together = together
        self.linear = linear
        self.future_columns = future_columns
        self.calendar = calendar
        self.group = group
        self.time = time
        self.columns = columns
        self.gap = gap

    # -- training ----------------------------------------------------------------------------------

    def fit(
        self,
        series: Any,
        y: object = None,
        *,
        validation: Any = 0.2,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_minutes: float = 5.0,
        held_out: Any = None,
    ) -> Self:
        """Choose the normalisation, train the network, learn weights and intervals.

        Parameters
        ----------
        series : array_like of shape (n_rows,) or (n_rows, n_columns), or DataFrame
            Rows ordered by time, or a table as for `backcast.data.windows`.
        y : object, default=None
            Ignored.
        validation : float, array_like or DataFrame, default=0.2
            Rows to choose and to calibrate on, which are not trained on: the last fraction of the
            rows of every recording, of each part of it between gaps, or rows of their own, which
            begin with a past.
        callback, checkpoint, checkpoint_minutes : callable, path, float, default=None, None, 5.0
            As in `Model.fit`, for the training of the network.
        held_out : float, array_like or DataFrame, default=None
            The old name of `validation`.

        Returns
        -------
        Forecaster
            This forecaster.

        Raises
        ------
        ArgumentError, ShapeError, DataError
            If a parameter or the data cannot be used.
        OutOfMemoryError, DivergedError, KeyboardInterrupt
            As in `Model.fit`. After any error the forecaster is unchanged.

        Warns
        -----
        TrainingWarning
            If the forecasts are not clearly better than the last value on the validation windows
            and repeat it therefore, or no window could be held out.
        UserWarning
            If recordings have no window, or gaps leave more than a tenth of the rows without one.
        """
        # A new forecaster learns; this one takes over what it learnt in one step.
        new = type(self)(**self.get_params(deep=False))
        validation = renamed("held_out", held_out, "validation", validation, default=0.2)
        training: dict[str, Any] = {}
        if callback is not None or checkpoint is not None:
            training = {
                "callback": callback,
                "checkpoint": checkpoint,
                "checkpoint_minutes": checkpoint_minutes,
            }
        new._fit(series, validation, training)
        self.__dict__.pop("feature_names_in_", None)
        self.__dict__.update(new.__dict__)
        return self

    def _fit(self, series: Any, validation: Any, training: dict[str, Any]) -> None:
        past, future = integer("past", self.past, 1), integer("future", self.future, 1)
        model, part = self._model(), part_of(validation)
        Word(("auto", *NORMALIZE))("normalize", self.normalize)
        segment, why = auto_segment(past, future)
        if self.segment != "auto":
            segment, why = integer("segment", self.segment, 1, past), "given"
        self._known = known_columns(series, self.future_columns)
        rows = self._rows(series, self.columns, self.gap)
        n_forecast = len(rows.columns) - len(self._known)
        self.columns_, self.gap_ = rows.columns[:n_forecast], rows.gap
        self.step_ = rows.steps()
        self._set_names()
        self._periods = periods_of(self.calendar, rows.row_labels)
        rows = self._with_calendar(rows)
        n_known = len(rows.columns) - n_forecast
        if n_known and past < future:
            raise ArgumentError(
                f"past must be at least future = {future} with future_columns or a calendar, as "
                f"the past shows the model the known columns of the future, got {past}"
            )
        if part is not None:
            train, rest = hold_out(rows, past, future, part)
            other = rows
        else:
            other = self._same_columns(validation, "validation")
            train, rest = rows.cut(Windows, past, future), other.cut(Windows, past, future)
            if not len(rest):
                raise other.too_short(past + future, "validation")
        if not len(train):
            raise rows.too_short(past + future)
        rows.warn_of_groups_without(train)
        rows.warn_of_short_runs(train)
        choices = Choices(
            past=past,
            future=future,
            segment=segment,
            normalize=self.normalize,
            n_known=n_known,
            together=bool(self.together),
            linear=bool(self.linear),
            auto_updates=not isinstance(self.model, Model) and "max_iter" not in (self.model or {}),
        )
        learnt = learn(model, train, rest, rows, other, choices, training)
        self.model_, self._preparation, self._intervals = (
            model,
            learnt.preparation,
            learnt.intervals,
        )
        self.weights_, self.baselines_ = learnt.weights, learnt.errors
        self.decisions_ = {"segment": why, **learnt.why}

    def calibrate(self, series: Any) -> Self:
        """Learn the widths of intervals anew, from other rows; nothing else changes.

        Parameters
        ----------
        series : array_like or DataFrame
            Rows as for `fit` that it was not trained on, for example the latest ones.

        Returns
        -------
        Forecaster
            This forecaster.

        Raises
        ------
        NotFittedError, ArgumentError, ShapeError, DataError
            If the forecaster was not fitted, or the data does not fit it.
        """
        n_forecast = len(self.columns_)
        windows = evenly(self._origins(series, 1), n_forecast)
        frames = np.asarray(windows, np.float64)
        past, future = np.split(frames[..., :n_forecast], [windows.n_past], axis=1)
        parts = self._parts(past, frames[..., n_forecast:])
        self._intervals = Intervals.learn((future - parts.blend(self.weights_)) / parts.unit)
        return self

    def _model(self) -> Model:
        model = model_of(self.model, DEFAULTS)
        if model.decoders == "reconstruct":
            raise ArgumentError(
                'decoders must be "predict" or "both" to forecast, got "reconstruct"'
            )
        # The frames of the network have lengths of their own, and numbers that are scaled.
        for name in ("horizon", "scale"):
            if getattr(model, name) is not None:
                raise ArgumentError(
                    f"{name} of the model must be None, as the forecaster sets it by future and "
                    f"normalize, got {getattr(model, name)!r}"
                )
        return model

    # -- forecasts ---------------------------------------------------------------------------------

    @overload
    def predict(
        self, series: Table, *, interval: Any = None, future: Any = None
    ) -> pd.DataFrame: ...
    @overload
    def predict(
        self, series: ArrayLike, *, interval: Any = None, future: Any = None
    ) -> NDArray[np.float64]: ...
    def predict(
        self, series: Any, *, interval: Any = None, future: Any = None
    ) -> pd.DataFrame | NDArray[np.float64]:
        """Forecast the rows after the end of a series, of each recording if it has several.

        Parameters
        ----------
        series : array_like of shape (n_rows,) or (n_rows, n_columns), or DataFrame
            Rows as for `fit`, with the same columns; the last `past` rows count.
        interval : float or list of float, default=None
            Levels of prediction intervals, between 0 and 1, such as 0.9.
        future : array_like of shape (n_rows, n_known) or DataFrame, default=None
            With `future_columns`: these columns in the rows to come, found by their times and
            groups; further rows and columns are ignored. Where dates follow no calendar that is
            known, or a day off is missing among these rows, forecasts have their dates.

        Returns
        -------
        DataFrame or ndarray of shape (future, n_columns)
            One row for each row to come, on group (if there is one) and time. The columns are those
            of the table, each followed by its intervals: ``load``, ``load-lo-90``, ``load-hi-90``
            (``load-lo-90_`` if the table has a column of that name).
            For an array, (future, n_columns), or (future, n_columns, 1 + 2 * n_levels) with the
            forecast, the lower and the upper end of each level.

        Raises
        ------
        NotFittedError, ArgumentError, ShapeError, DataError
            If the forecaster was not fitted, or the data does not fit it.

        Warns
        -----
        UserWarning
            If forecasts begin before the end of a recording, as there is a gap; if their dates are
            a guess, as those of the series follow no calendar; or if `future` skips some.
        """
        self._fitted()
        levels = levels_of(interval)
        rows = self._same_columns(series)
        layout = self._preparation.layout
        if rows.calendar is None:
            rows = replace(rows, calendar=self.step_)
        windows = rows.cut(Windows, layout.past, 0)
        if not len(windows):
            raise rows.too_short(layout.past, what="past")
        windows = windows.last
        rows.warn_of_groups_without(windows)
        rows.warn_of_rows_after(windows)
        n_forecast = len(self.columns_)
        frames = np.asarray(windows, np.float64)
        later, index = future_rows(
            windows, future, self._known, layout.future, self._periods, (self.group, self.time)
        )
        known = np.concatenate([frames[..., n_forecast:], later], axis=1)
        made = self._blend(self._parts(frames[..., :n_forecast], known), levels)
        if not is_table(series):
            return made[0] if levels else made[0, ..., 0]
        import pandas as pd

        index = index.droplevel(windows._own_name("window"))
        columns: Any = pd.Index(self.columns_)
        if levels:
            taken, mark = {str(label) for label in self.columns_}, ""
            ends = [end for end in ends_of(levels) if end]
            while any(f"{label}{end}{mark}" in taken for label in self.columns_ for end in ends):
                mark += "_"
            columns = [
                f"{label}{end}{mark}" if end else label
                for label in self.columns_
                for end in ("", *ends)
            ]
        return pd.DataFrame(made.reshape(len(index), -1), index=index, columns=columns)

    def _blend(self, parts: Parts, levels: tuple[float, ...]) -> Numbers:
        """Return forecasts and ends of intervals, (n, future, n_columns, 1 + 2 * n_levels)."""
        return with_intervals(self._intervals, parts, self.weights_, levels)

    def _parts(self, past: Numbers, known: Numbers) -> Parts:
        """Forecast pasts (n, past, n_columns) piece by piece."""
        found = [
            self._preparation.forecast(
                self.model_, past[first : first + _PIECE], known[first : first + _PIECE]
            )
            for first in range(0, len(past), _PIECE)
        ]
        return Parts(*(np.concatenate(part) for part in zip(*found, strict=True)))

    def _origins(self, series: Any, stride: int) -> Windows:
        """Return windows of past and future, `stride` rows apart."""
        layout, rows = self._fitted().layout, self._same_columns(series)
        windows = rows.cut(Windows, layout.past, layout.future, stride)
        if not len(windows):
            raise rows.too_short(layout.past + layout.future)
        rows.warn_of_groups_without(windows)
        return windows

    # -- files -------------------------------------------------------------------------------------

    def _learnt(self) -> dict[str, Any]:
        return {
            "columns": self.columns_,
            "known": self._known,
            "periods": self._periods,
            "gap": saved_gap(self.gap_),
            "step": saved_gap(self.step_),
            "weights": self.weights_,
            "errors": self.baselines_,
            "why": self.decisions_,
            "preparation": _files.plain(self._preparation),
            "intervals": self._intervals and _files.plain(self._intervals),
        }

    def _restore(self, saved: Mapping[str, Any], model: Model) -> None:
        """Take over what a file holds; raise `ValueError` if it is not as it was saved."""
        columns, known = saved["columns"], saved["known"]
        if not columns or not all(map(is_label, [*columns, *known])):
            raise ValueError("columns must be words or numbers")
        self.columns_, self._known = list(columns), list(known)
        self._periods = check_periods(saved["periods"])
        self._preparation = _files.preparation(saved["preparation"], len(columns))
        layout = self._preparation.layout
        self._intervals = _files.intervals(saved["intervals"], layout.future, len(columns))
        width = layout.width(len(columns) if self._preparation.together else 1)
        if (model.frame_shape_, model.horizon_) != ((width,), layout.lengths[1]):
            raise ValueError("the model is not one of these frames")
        if layout.n_known != len(known) + n_features(self._periods):
            raise ValueError("the model is not one of these known columns")
        self.gap_ = restored_gap(saved["gap"])
        # Older files do not have it: it is learnt from the rows of `predict`.
        self.step_ = restored_gap(saved.get("step"))
        of_linear, of_network = (Number()("weights", weight) for weight in saved["weights"])
        self.weights_ = of_linear, of_network
        self.baselines_ = {str(name): number(name, e) for name, e in saved["errors"].items()}
        self.decisions_ = {str(name): str(why) for name, why in saved["why"].items()}

    # -- rows --------------------------------------------------------------------------------------

    @property
    def why_(self) -> dict[str, str]:
        """The old name of `decisions_`."""
        warn("why_ is called decisions_ now", FutureWarning)
        return self.decisions_

    @property
    def held_out_(self) -> dict[str, float]:
        """The old name of `baselines_`."""
        warn("held_out_ is called baselines_ now", FutureWarning)
        return self.baselines_

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickle, also one with the old names."""
        new = {"why_": "decisions_", "held_out_": "baselines_"}
        state = {new.get(name, name): value for name, value in state.items()}
        if "gap_" in state:
            state.setdefault("step_", None)
        super().__setstate__(state)

    @property
    def segment_(self) -> int:
        """Rows in a frame of the network."""
        return self._fitted().layout.segment

    @property
    def normalize_(self) -> str | None:
        """The kind of normalisation."""
        return self._fitted().normalization.kind

    def _fitted(self) -> Preparation:
        self._check_fitted()
        return self._preparation

    def _names(self) -> list[Any]:
        return [*self.columns_, *self._known]

    def _same_columns(self, series: Any, name: str = "series") -> Recordings:
        """Return rows of the fitted columns."""

        def take(given: Any) -> Recordings:
            gap = self.gap_ if is_table(given) else None
            if is_table(given) and self.gap is None and self.time is None:
                gap = gap if has_times(given.index) else None
            return self._rows(given, self.columns_ if is_table(given) else None, gap)

        return self._with_calendar(same_columns(name, series, [*self.columns_, *self._known], take))

    def _rows(self, series: Any, columns: Any, gap: Any) -> Recordings:
        rows = rows_of(series, self._known, columns, self.group, self.time, gap)
        if np.isinf(rows.values).any():
            raise DataError("series must hold finite numbers or NaN, got an infinite number")
        return rows

    def _with_calendar(self, rows: Recordings) -> Recordings:
        if self._periods:
            # A series without dates is refused in the words of fit.
            periods_of(list(self._periods), rows.row_labels)
        return with_calendar(rows, self._periods)

    # -- scikit-learn ------------------------------------------------------------------------------

    def __sklearn_tags__(self) -> Any:
        """Describe what `fit` accepts: rows with missing numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
