"""The detector as a scikit-learn estimator.

This file is longer than 700 lines because 280 of them are docstrings of the public interface.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin, clone

from backcast._engine import tables
from backcast._engine.columns import check_names
from backcast._estimator.base import fitted_of
from backcast._inner import HasModel, advise_on_names, model_of
from backcast._parameters import Number, Word, flag, integer, number
from backcast._training.advice import (
    Comparison,
    advise_on_baselines,
    advise_on_scale,
    enough,
    without_baselines,
)
from backcast._training.baselines import LAST, MEAN
from backcast._training.hooks import Callback
from backcast._training.windows import part_of
from backcast._warn import renamed, warn
from backcast.anomaly._context import joined
from backcast.anomaly._events import events_of, require_pandas
from backcast.anomaly._rules import (
    AUTO,
    TOO_FEW,
    Decision,
    center_of,
    column_weights,
    future_of,
    hold_out,
    margin_of,
    past_of,
    updates_of,
)
from backcast.anomaly._scorer import Errors, Scorer
from backcast.anomaly._scoring import Numbers, row_scores, score_of
from backcast.anomaly._stream import Stream, as_rows, update
from backcast.anomaly._unscored import advice
from backcast.data._clock import describe, has_times, is_plain, median_step, restored_gap, saved_gap
from backcast.data._recordings import (
    Recordings,
    is_table,
    of_series,
    same_columns,
)
from backcast.data.series import Windows
from backcast.errors import (
    ArgumentError,
    DataError,
)
from backcast.model import Model

if TYPE_CHECKING:
    import pandas as pd

    from backcast._engine.tables import Table

# Parameters of the default model.
DEFAULTS: dict[str, Any] = {
    "hidden_size": 64,
    "feedback": "none",
    "scale": "standard",
    "forget_bias": None,
    "learning_rate": 1e-2,
}

# Fewer windows of training than these are too few to learn what is normal.
_FEW_WINDOWS = 50
# A larger share of outliers than this, in as many rows at least, is a change and no anomaly.
_MANY, _MANY_ROWS = 0.3, 100
# Most held-out windows whose losses come into the history.
_WINDOWS_TO_LOOK_AT = 100
# What a user may set of what `fit` learns, and what it learns beside properties.
_SETTABLE = ("threshold_", "offset_")
_LEARNT = {"baselines_", "columns_", "decisions_", "feature_names_in_", "gap_", "model_"}
_LEARNT |= {"n_features_in_"}
_WEIGHTS = Word((AUTO, "equal"))
# What a fitted model got before there was a rule.
_PAST_OF_A_FITTED_MODEL = 50


class _Scored(NamedTuple):
    """Rows with the scores of their numbers; which are context; what each adds alone, if asked."""

    rows: Recordings
    scores: Numbers
    before: NDArray[np.bool_]
    alone: Numbers

    @property
    def in_given_order(self) -> Numbers:
        """The scores of the rows to score, in the order of the user's rows."""
        return self.rows.in_given_order(self.scores)[self.before.sum() :]


class AnomalyDetector(HasModel, OutlierMixin, BaseEstimator):
    """Outlier detector for series: it scores how badly a `Model` reconstructs and predicts rows.

    Every window that covers a row gives it a squared error for each of its numbers, standardised by
    the mean and the standard deviation that the errors of that column and step had in the rows of
    `fit`. `scoring` chooses how these errors become the score of a number, and it is multiplied by
    the weight of the column. The score of a row is the root mean square of the scores of its
    numbers, and about 1 in ordinary rows. It depends only on rows less than a window away.

    What is left at "auto" is chosen by rules that look at the rows of `fit`; `decisions_` gives
    each choice and its reason in words. A fifth of the rows of `fit` is held out from training: it
    gives the threshold and shows whether the model is better than a simple one.

    Parameters
    ----------
    model : Model, mapping or None, default=None
        The model that reconstructs and predicts. A mapping holds parameters of `Model` that differ
        from the default, ``Model(64, feedback="none", scale="standard", forget_bias=None,
        learning_rate=1e-2)``, with updates for 25 passes over the windows, 200 to 1,000. An
        unfitted `Model` gives all of its parameters; a fitted one is used as it is and not trained.
        With a `patience`, the held-out rows stop the training.
    past : int or "auto", default="auto"
        Rows of a window that are reconstructed. A window should hold a whole period (a beat, a
        day): in a shorter window, a period that is too early or too late is not noticed. "auto"
        takes as many whole periods, as the autocorrelation shows them, as 50 rows hold; 50 rows
        without one; at most an eighth of the longest run. With a fitted model it takes 50.
    future : int or "auto", default="auto"
        Rows after them that are predicted; with ``future=0`` none are. "auto" takes a fifth of
        `past`; of a fitted model, the frames that it was fitted to predict.
    center : bool or "auto", default="auto"
        Whether the model gets windows minus the mean of their past, column by column: for series
        whose level drifts. An anomalous level is then found where it begins and ends, not while it
        lasts. "auto" subtracts it where the levels of most windows of the last fifth lie outside
        the range of earlier levels, and where most columns rest in most windows, so that few of
        the levels they may have are known; not with a fitted model.
    scoring : str, default="wide"
        How the errors of all windows that cover a row become its score: one of the names in
        `backcast.anomaly.SCORES`, whose classes describe the scores. "wide" averages the windows'
        errors over all windows that cover a row, which ranks long anomalies as a whole, and keeps
        the rows of short anomalies above their neighbours. "sharp" takes the geometric mean of two
        errors: the row's own, averaged over the windows for each decoder (with both decoders,
        their geometric mean), and the windows' mean errors, averaged harmonically. A row then
        scores high only if all windows that cover it are anomalous, and an anomaly does not spread
        over its neighbours.
    column_weights : {"auto", "equal"}, default="auto"
        How much each column counts in the score of a row. Errors that grow in rows that the model
        was not trained on, as those of a column that drifts, would hide anomalies of other columns.
        With "auto" a column counts a fifth if its errors grow, from the rows of training to those
        held out, by a fifth more than those of the median column; of two columns, and of a fitted
        model without `validation`, all count the same.
    group, time, columns, gap : label, list or duration, default=None
        As in `backcast.data.windows`, for tables. The longest step of time within a window is
        learnt in `fit` unless `gap` is given.
    contamination : float, default=None
        Fraction of the training rows, in (0, 0.5], that are outliers.
    quantile : float, default=0.995
        Without `contamination`: rows are outliers if they score higher than this fraction of
        normal rows that the model was not trained on, the `validation` rows of `fit`. The threshold
        of rows that `fit` holds out itself is raised, the more the fewer windows they hold that
        share no row.

    Attributes
    ----------
    model_ : Model
        The fitted model.
    threshold_ : float
        Rows with a higher score are outliers. `fit` learns it, and it may be set:
        ``detector.threshold_ = 4``.
    offset_ : float
        Lowest `score_samples` of an inlier, ``-threshold_``, as scikit-learn has it.
    past_, future_, center_ : int, int, bool
        Rows of past and future in a window, and whether its level is subtracted.
    decisions_ : dict of str
        One line for each choice of `fit` that says why: of the window's length, its level, the
        validation rows, the weights of the columns, the threshold, and the comparison with simple
        models.
    baselines_ : dict of float
        Mean squared error of the model in the validation rows, in units of the columns' variance
        there ("model"), that of their mean ("mean"), and, for predicted rows, that of the model
        ("model, predicted") and of the last value of the past ("last value").
    column_weights_ : ndarray of shape (n_columns,)
        Weights of the columns; the mean of their squares is 1.
    columns_ : list
        Labels of the columns; of an array, their numbers.
    gap_ : number, duration, calendar or dict, or None
        The longest step of time within a window; of recordings with different steps, by group.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str
        Names of the columns, if all are words.

    See Also
    --------
    backcast.plot.scores : Draw a series with its scores.

    Notes
    -----
    NaN is a missing number: it has no score, and other numbers are scored without it. Rows that no
    window covers, because their run between two gaps is shorter than ``past + future``, have the
    score NaN and are inliers; a warning says where. A model that only predicts scores no row of the
    past of the first window. Rows of NaN for those that are missing, as
    ``table.asfreq`` makes them, leave no gap, so that windows go across. Series are scored in
    pieces: beside the scores, memory is bounded.

    A model reconstructs its training rows better than others. Therefore more of the rows that
    follow are outliers than `contamination` says. A threshold learnt from `validation` rows that
    resemble the rows to score keeps to the quantile. Where there are too few rows to hold some out,
    and with a fitted model, the threshold comes from the rows of `fit`.

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
    _threshold: float
    # Whether the threshold was set after `fit`.
    _by_hand: bool = False
    # Pickles made before there was a choice lack these.
    scoring: str = "sharp"
    _scoring: str = "sharp"
    decisions_: dict[str, str]
    baselines_: dict[str, float]
    # What was given or chosen in `fit`: frames of past and future, and `center`.
    _lengths: tuple[int, int]
    _center: bool
    # Mean and standard deviation of the errors, (n_frames, n_columns) each.
    _mean: Numbers
    _std: Numbers
    # Pickles made before there was a choice lack these.
    column_weights: str = "equal"
    _column_weights: Numbers | None = None
    _stream: Stream | None = None

    @advise_on_names
    def __init__(
        self,
        model: Model | Mapping[str, Any] | None = None,
        *,
        past: int | str = AUTO,
        future: int | str = AUTO,
        center: bool | str = AUTO,
        scoring: str = "wide",
        column_weights: str = AUTO,
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
        self.scoring = scoring
        self.column_weights = column_weights
        self.group = group
        self.time = time
        self.columns = columns
        self.gap = gap
        self.contamination = contamination
        self.quantile = quantile

    # -- training ----------------------------------------------------------------------------------

    def fit(
        self,
        series: Any,
        y: object = None,
        *,
        validation: Any = None,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_minutes: float = 5.0,
        group: Any = None,
        held_out: Any = None,
    ) -> Self:
        """Choose what is left at "auto", train the model, learn its errors and the threshold.

        Parameters
        ----------
        series : array_like of shape (n_rows,) or (n_rows, n_columns), or DataFrame
            Rows ordered by time, or a table as for `backcast.data.windows`. A few anomalies do no
            harm.
        y : object, default=None
            Ignored.
        validation : float, array_like or DataFrame, default=None
            Normal rows that the model is not trained on: the last fraction of each recording, by
            default a fifth, or rows of their own. They give the threshold (without
            `contamination`), `baselines_` and, if they are given or the model has a `patience`, the
            validation losses in the model's `history_`.
        callback, checkpoint, checkpoint_minutes : callable, path, float, default=None, None, 5.0
            As in `Model.fit`, for the training of the model.
        group : "world" or ProcessGroup, default=None
            As in `Model.fit`: processes that train the model together, each with the same rows.
            The parameter `group` of the detector is something else, a column of the table.
        held_out : array_like or DataFrame, default=None
            The old name of `validation`.

        Returns
        -------
        AnomalyDetector
            This detector.

        Raises
        ------
        ArgumentError, ShapeError, DataError
            If a parameter or the data cannot be used.
        OutOfMemoryError, DivergedError, GroupError, KeyboardInterrupt
            As in `Model.fit`. After any error the detector is unchanged.

        Warns
        -----
        UserWarning
            If recordings have no window, or gaps leave more than a tenth of the rows without one.
        TrainingWarning
            If there are few windows, or the model is no better than simple ones.
        """
        # A new detector learns; this one takes over what it learnt in one step.
        new = type(self)(**self.get_params(deep=False))
        validation = renamed("held_out", held_out, "validation", validation)
        training: dict[str, Any] = {"callback": callback, "checkpoint": checkpoint, "group": group}
        if any(value is not None for value in training.values()):
            training["checkpoint_minutes"] = checkpoint_minutes
        else:
            training = {}
        new._fit(series, validation, training)
        self.__dict__.pop("feature_names_in_", None)
        self.__dict__.update(new.__dict__)
        return self

    def _fit(self, series: Any, validation: Any, training: dict[str, Any]) -> None:
        outliers = self._outlier_fraction()
        part = None if validation is None else part_of(validation)
        score_of(self.scoring)
        _WEIGHTS("column_weights", self.column_weights)
        model, train = self._model()
        columns: Any = self.columns
        if columns is None and not train:
            # By name: the table may have the model's columns in another order.
            columns = fitted_of(model).columns
        rows = self._rows(series, columns, self.gap)
        if not train and tables.is_table(series):
            check_names("series", tuple(rows.columns), fitted_of(model).columns, "the fit of model")
        self._scoring, self._stream, self.decisions_ = self.scoring, None, {}
        self._decide(rows, model, train)
        windows = Errors(model, *self._lengths, self._center).windows(rows)
        self._check_any(windows, rows)
        rows.warn_of_groups_without(windows)
        rows.warn_of_short_runs(windows)
        self.model_, self.columns_, self.gap_ = model, rows.columns, rows.gap
        self._set_names()
        given = validation is not None and part is None
        normal = self._same_columns(validation, name="validation") if given else None
        if normal is not None:
            self._check_any(self._errors().windows(normal), normal, "validation")
        if train:
            looks = validation is not None or model.patience is not None
            kept, normal = self._train(rows, normal, part, training, looks=looks)
        elif training or part is not None:
            name = "validation" if part is not None else ""
            name = name or next(name for name, value in training.items() if value is not None)
            rest = "rows with" if part is not None else "None with"
            raise ArgumentError(f"{name} must be {rest} a fitted model, which is not trained")
        else:
            kept = rows
        self._mean, self._std = self._errors().learn(windows)
        self._weigh(kept, normal)
        self._learn_threshold(rows, normal, 1 - outliers, given=given)
        self._compare(normal)

    def _decide(self, rows: Recordings, model: Model, train: bool) -> None:
        """Set the window's length and `center`, by the rules where they are left to them."""
        if self.past != AUTO:
            past = Decision(integer("past", self.past, least=1), "given")
        elif train:
            past = past_of(rows)
        else:
            past = Decision(_PAST_OF_A_FITTED_MODEL, "the model is fitted")
        if model.decoders == "reconstruct":
            future = Decision(0, "the model does not predict")
        elif self.future != AUTO:
            future = Decision(integer("future", self.future, least=0), "given")
        elif train:
            future = future_of(past.value)
        else:
            future = Decision(model.horizon_ or 0, "the model was fitted to predict these")
        if isinstance(self.center, str) and self.center != AUTO:
            raise ArgumentError(f'center must be True, False or "auto", got {self.center!r}')
        if self.center != AUTO:
            center = Decision(bool(self.center), "given")
        elif train:
            center = center_of(rows, past.value)
        else:
            center = Decision(False, "the model is fitted")
        decisions = {"past": past, "future": future, "center": center}
        if train:
            model.set_params(horizon=future.value or None)
        elif model.horizon_ and future.value > model.horizon_:
            warn(
                f"future={future.value} is beyond the {model.horizon_} frames that the model was "
                "fitted to predict; later frames were never trained"
            )
        self._lengths, self._center = (past.value, future.value), center.value
        for name, (value, why) in decisions.items():
            self.decisions_[name] = f"{value}: {why}"

    def _train(
        self,
        rows: Recordings,
        normal: Recordings | None,
        part: float | None,
        training: dict[str, Any],
        *,
        looks: bool,
    ) -> tuple[Recordings, Recordings | None]:
        """Train the model; return the rows of training, and those held out if there are some.

        With `looks`, their losses come into the history.
        """
        errors, model = self._errors(), self.model_
        kept, why = rows, "given"
        if normal is None:
            kept, normal, why = hold_out(rows, sum(self._lengths), part)
            # Both parts need a window that holds a number.
            if not normal or not len(errors.windows(normal)) or not len(errors.windows(kept)):
                kept, normal, why = rows, None, TOO_FEW
        self.decisions_["validation"] = why
        if looks and normal is not None:
            # Some are enough to see when to stop, and cost less than the training.
            some = errors.windows(normal)
            some = some[:: -(-len(some) // _WINDOWS_TO_LOOK_AT)]
            training = training | {"validation": some}
        else:
            model.set_params(patience=None)
        windows = errors.windows(kept)
        # A model, or a mapping with updates, says how many.
        if not isinstance(self.model, Model) and "max_iter" not in (self.model or {}):
            batch_size = integer("batch_size", model.batch_size, least=1)
            updates, why = updates_of(len(windows), batch_size)
            model.set_params(max_iter=updates)
            self.decisions_["max_iter"] = f"{updates}: {why}"
        with without_baselines():
            model.fit(windows, **training)
        scale = fitted_of(model).scale
        if not looks and normal is not None and scale is not None and enough(model.n_iter_):
            later = errors.windows(normal)
            frames = np.asarray(later[:: -(-len(later) // _WINDOWS_TO_LOOK_AT)], np.float64)
            advise_on_scale(scale, rows.columns, frames.reshape(-1, len(rows.columns)))
        if enough(model.n_iter_) and len(windows) < _FEW_WINDOWS:
            warn(
                f"series of {len(rows.values)} rows gives {len(windows)} windows to train on, of "
                f"{len(windows.frames)} rows: too few to know what is normal, so scores and "
                "threshold_ say little. Some hundred rows are the least; a smaller past gives few "
                "more"
            )
        return kept, normal

    def _weigh(self, kept: Recordings, normal: Recordings | None) -> None:
        """Choose how much each column counts, by the errors in rows of training and others."""
        self._column_weights, why = np.ones(len(self.columns_)), "equal: given"
        if self.column_weights == AUTO:
            why = "equal: no rows were held out to compare on"
            if normal is not None:
                errors = self._errors()
                trained, held_out = (
                    errors.mean_squares(errors.windows(rows), self._mean, self._std)
                    for rows in (kept, normal)
                )
                self._column_weights, why = column_weights(trained, held_out, self.columns_)
        if len(self.columns_) > 1:
            self.decisions_["column_weights"] = why

    def _learn_threshold(
        self, rows: Recordings, normal: Recordings | None, quantile: float, *, given: bool
    ) -> None:
        """Set the threshold to the quantile of scores; raise that of the rows held out here."""
        source = "validation rows"
        if normal is None or self.contamination is not None:
            normal, source, given = rows, "rows of fit", True
        scores = row_scores(self._scorer().scores(normal))
        threshold, margin = float(np.nanquantile(scores, quantile)), 1.0
        if not given:
            margin = margin_of(np.isfinite(scores).sum() / sum(self._lengths))
        self._threshold, self._by_hand = threshold * margin, False
        raised = f", times {margin:.2f} as they are few" if margin >= 1.005 else ""
        self.decisions_["threshold"] = (
            f"{self._threshold:.4g}: quantile {quantile:.4g} of the scores of the {source}{raised}"
        )

    def _compare(self, normal: Recordings | None) -> None:
        """Compare the model with simple ones in validation rows; warn where it is no better."""
        self.baselines_ = {}
        if normal is None:
            return
        found = self._errors().compare(self._errors().windows(normal))
        self.baselines_ = found
        told = ", ".join(f"{name} {value:.3g}" for name, value in found.items())
        self.decisions_["baselines"] = f"squared errors in validation windows: {told}"
        if enough(self.model_.n_iter_):
            errors = [Comparison("rows", found["model"], f"{MEAN} of the rows", found["mean"])]
            if "last value" in found:
                own, last = found["model, predicted"], found["last value"]
                errors.append(Comparison("predicted rows", own, LAST, last))
            advise_on_baselines(
                errors,
                "validation rows",
                "more rows, more updates (max_iter), another window (past), or center=True where "
                "the level drifts: scores are no better than a simple distance",
            )

    def _check_any(self, windows: Windows, rows: Recordings, name: str = "series") -> None:
        if not len(windows):
            length = len(windows.frames)
            if (rows.ends - rows.begins >= length).any():
                raise DataError(f"{name} must hold numbers, got only NaN")
            raise rows.too_short(length, name)

    def _outlier_fraction(self) -> float:
        if self.contamination is not None:
            fraction = number("contamination", self.contamination)
            if not 0 < fraction <= 0.5:
                raise ArgumentError(f"contamination must be in (0, 0.5], got {fraction}")
            return fraction
        quantile = number("quantile", self.quantile)
        if not 0 <= quantile <= 1:
            raise ArgumentError(f"quantile must be in 0..1, got {quantile}")
        return 1 - quantile

    def _model(self) -> tuple[Model, bool]:
        """Return the model, and whether to train it."""
        if isinstance(self.model, Model) and self.model.__sklearn_is_fitted__():
            return self.model, False
        model = model_of(self.model, DEFAULTS)
        if self.future != AUTO and not integer("future", self.future, least=0):
            if model.decoders == "predict":
                raise ArgumentError('future must be at least 1 with decoders="predict", got 0')
            model.set_params(decoders="reconstruct")
        return model, True

    @property
    def past_(self) -> int:
        """Rows of past in a window."""
        return self._lengths[0]

    @property
    def future_(self) -> int:
        """Rows of future in a window."""
        return self._lengths[1]

    @property
    def center_(self) -> bool:
        """Whether the level of a window is subtracted."""
        return self._center

    @property
    def column_weights_(self) -> Numbers:
        """Weights of the columns."""
        weights = self._column_weights
        return np.ones(len(self.columns_)) if weights is None else weights

    @property
    def threshold_(self) -> float:
        """Score above which a row is an outlier."""
        self._check_fitted()
        return self._threshold

    @threshold_.setter
    def threshold_(self, threshold: float) -> None:
        self._check_fitted()
        check = Number("a finite number above 0", lambda x: 0 < x < math.inf)
        self._threshold, self._by_hand = check("threshold_", threshold), True
        self.decisions_ = self.decisions_ | {"threshold": f"{self._threshold:.4g}: set by hand"}

    @property
    def offset_(self) -> float:
        """Minus the threshold."""
        return -self.threshold_

    @offset_.setter
    def offset_(self, offset: float) -> None:
        self.threshold_ = -number("offset_", offset)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, but none that looks as if it were learnt and would do nothing."""
        looks_learnt = name.endswith("_") and not name.startswith("_")
        if (looks_learnt or f"{name}_" in _SETTABLE) and name not in (*_LEARNT, *dir(type(self))):
            near = difflib.get_close_matches(f"{name.rstrip('_')}_", _SETTABLE, 1)
            hint = f"; {near[0]} is one" if near else ""
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r} to set{hint}")
        super().__setattr__(name, value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickle; those of before there was a threshold hold its negative."""
        if "offset_" in state:
            state = {k: v for k, v in state.items() if k != "offset_"} | {
                "_threshold": -state["offset_"]
            }
        super().__setstate__(state)

    # -- scores ------------------------------------------------------------------------------------

    @overload
    def scores(self, series: Table, *, context: Any = None) -> pd.DataFrame: ...
    @overload
    def scores(self, series: ArrayLike, *, context: Any = None) -> NDArray[np.float64]: ...
    def scores(self, series: Any, *, context: Any = None) -> pd.DataFrame | NDArray[np.float64]:
        """Score each number of each row: about 1 in ordinary rows, higher in others.

        Parameters
        ----------
        series : array_like of shape (n_rows,) or (n_rows, n_columns), or DataFrame
            Rows as for `fit`, with the same columns.
        context : array_like or DataFrame, default=None
            The rows before `series`, of the same kind. Windows begin in them, so that the first
            rows of `series`, and few rows alone, have scores too. They are not scored. The last
            ``past_ + future_ - 1`` rows (of each recording) will do.

        Returns
        -------
        DataFrame or ndarray of shape (n_rows, n_columns)
            On the index and in the order of the table; for an array, an array. NaN where the number
            is missing or no window covers the row.

        Raises
        ------
        NotFittedError, ArgumentError, ShapeError, DataError
            If the detector was not fitted, or the data does not fit it; also if `context` does not
            end right before `series`.

        Warns
        -----
        TrainingWarning
            If no row has a score, or some have none although they hold numbers; the message says
            where, why, and what to do.
        """
        scores = self._scored(series, context).in_given_order
        if not is_table(series):
            return scores
        import pandas as pd

        index = self._table(series, self.columns_).index
        return pd.DataFrame(scores, index=index, columns=self.columns_)

    @overload
    def score_samples(self, series: Table, *, context: Any = None) -> pd.Series[float]: ...
    @overload
    def score_samples(self, series: ArrayLike, *, context: Any = None) -> NDArray[np.float64]: ...
    def score_samples(self, series: Any, *, context: Any = None) -> Any:
        """Score each row: the higher, the more normal.

        Parameters
        ----------
        series, context : array_like or DataFrame, default=None for `context`
            As in `scores`.

        Returns
        -------
        Series or ndarray of shape (n_rows,)
            Minus the root mean square of the `scores` of the row's numbers; on the index of a
            table.
        """
        return self._like_rows(series, -self._row_scores(series, context), "score_samples")

    @overload
    def decision_function(self, series: Table, *, context: Any = None) -> pd.Series[float]: ...
    @overload
    def decision_function(
        self, series: ArrayLike, *, context: Any = None
    ) -> NDArray[np.float64]: ...
    def decision_function(self, series: Any, *, context: Any = None) -> Any:
        """Score each row relative to the threshold: negative for outliers.

        Parameters
        ----------
        series, context : array_like or DataFrame, default=None for `context`
            As in `scores`.

        Returns
        -------
        Series or ndarray of shape (n_rows,)
            ``score_samples(series) + threshold_``.
        """
        scores = self._row_scores(series, context)
        return self._like_rows(series, self.threshold_ - scores, "decision_function")

    @overload
    def predict(self, series: Table, *, context: Any = None) -> pd.Series[int]: ...
    @overload
    def predict(self, series: ArrayLike, *, context: Any = None) -> NDArray[np.int64]: ...
    def predict(self, series: Any, *, context: Any = None) -> Any:
        """Label rows as outliers or inliers.

        Parameters
        ----------
        series, context : array_like or DataFrame, default=None for `context`
            As in `scores`.

        Returns
        -------
        Series or ndarray of shape (n_rows,)
            -1 for outliers, 1 for inliers and for rows without a score.
        """
        scores = self._row_scores(series, context)
        self._warn_of_many(scores)
        outlier = scores > self.threshold_
        return self._like_rows(series, np.where(outlier, -1, 1), "predict")

    def events(self, series: Any, *, join: int | None = None, context: Any = None) -> pd.DataFrame:
        """List the outliers as events: runs of rows that belong together.

        Parameters
        ----------
        series : array_like or DataFrame
            As in `scores`.
        join : int, default=None
            Outliers with at most `join` rows between them are one event; `future_` by default.
        context : array_like or DataFrame, default=None
            As in `scores`. An event that begins in the context is cut at the first row of `series`.

        Returns
        -------
        pandas.DataFrame
            One row for each event, in the order of group and time: `group` (if there is one),
            ``start``, ``end`` and ``peak``, the times (or labels) of the first, the last and the
            highest row; ``score``, the score of the highest row; ``columns``, those that drove the
            event: their highest score in it is at least the average of all columns', largest first,
            as `backcast.plot.scores` chooses columns. The rows around a short anomaly, whose "wide"
            scores are high because of it, are outliers of `predict`, and not of the event. A long
            anomaly may begin and end up to a window early and late.

        Raises
        ------
        NotFittedError, ArgumentError, ShapeError, DataError
            If the detector was not fitted, or the data does not fit it.
        MissingPackageError
            If pandas is not installed.
        """
        require_pandas()
        self._check_fitted()
        join = integer("join", self.future_ if join is None else join, least=0)
        rows, scores, _, alone = self._scored(series, context, alone=True)
        self._warn_of_many(row_scores(scores))
        return events_of(rows, scores, alone, self.threshold_, join, sum(self._lengths))

    # -- a live stream -----------------------------------------------------------------------------

    def update(self, rows: Any) -> pd.DataFrame:
        """Score the next rows of a live stream.

        Parameters
        ----------
        rows : DataFrame, Series, dict or array_like
            Rows that come after all those given since `fit`, `load` or `reset`: a table or an
            array of rows, or one row as a Series, a dict by the names of the columns (also of the
            time and the group) or an array of its numbers.

        Returns
        -------
        pandas.DataFrame
            The new rows, and earlier ones whose score has changed or become final, on their index
            (for arrays and dicts, the number of the row since the stream began): the columns of
            `group` and `time`, if they were given; ``score``; ``outlier``, whether the score is
            above the threshold; ``final``; and the scores of each column. A score is final once no
            later window can cover the row, at the latest after a gap. Until then it comes from the
            windows so far, and an outlier may be withdrawn: act on one that is final, or sooner
            where a late alarm costs more than a false one.

        Raises
        ------
        NotFittedError, ArgumentError, ShapeError
            If the detector was not fitted, or the data does not fit it.
        DataError
            If rows are earlier than those before them. The stream is then unchanged.
        MissingPackageError
            If pandas is not installed.

        Notes
        -----
        Final scores equal those that `scores` gives for the whole stream. The last
        ``past + future - 1`` rows of each group are kept; a pickle holds them, a file of `save`
        does not.
        """
        require_pandas()
        self._check_fitted()
        columns = self.columns_
        self._stream, changed = update(
            self._stream,
            self._table(as_rows(rows, columns, self.time, self._stream), columns),
            columns,
            self._rows_of_stream,
            self._scorer(),
            self.threshold_,
            self.group,
            self.time,
        )
        return changed

    def reset(self) -> Self:
        """Forget the rows given to `update`; another stream begins.

        Returns
        -------
        AnomalyDetector
            This detector.
        """
        self._stream = None
        return self

    # -- files -------------------------------------------------------------------------------------

    def _learnt(self) -> dict[str, Any]:
        return {
            "columns": self.columns_,
            "gap": saved_gap(self.gap_),
            "lengths": self._lengths,
            "center": self._center,
            "scoring": self._scoring,
            # A detector of an old pickle has made none.
            "decisions": getattr(self, "decisions_", {}),
            "baselines": getattr(self, "baselines_", {}),
            "offset": self.offset_,
            "by_hand": self._by_hand,
            "mean": self._mean,
            "std": self._std,
            "column_weights": self.column_weights_,
        }

    @classmethod
    def _parameters(cls, saved: Mapping[str, Any], model: Model) -> dict[str, Any]:
        # Files from before there was a choice hold no score, and that was "sharp".
        # Those from before columns had weights hold none, and all counted the same.
        before = {"scoring": "sharp", "column_weights": "equal"}
        return {**before, **saved["parameters"], "model": model}

    def _restore(self, saved: Mapping[str, Any], model: Model) -> None:
        """Take over what a file holds; raise `ValueError` if it is not as it was saved."""
        if self.past != AUTO:
            integer("past", self.past, least=1)
        if self.future != AUTO:
            integer("future", self.future, least=0)
        if self.center != AUTO:
            flag("center", self.center)
        score_of(self.scoring)
        _WEIGHTS("column_weights", self.column_weights)
        self._outlier_fraction()
        labels, groups = saved["columns"], self.group
        if not labels or not all(isinstance(one, list | None) for one in (labels, self.columns)):
            raise ValueError("columns must be lists")
        groups = groups if isinstance(groups, list) else [groups]
        if not all(map(is_plain, (*labels, *(self.columns or ()), *groups, self.time))):
            raise ValueError("columns, group and time must be words or numbers")
        self.columns_, self.gap_ = labels, restored_gap(saved["gap"])
        restored_gap(self.gap)
        past, future = saved["lengths"]
        self._lengths = integer("past", past, least=1), integer("future", future, least=0)
        if model.decoders == ("reconstruct" if future else "predict"):
            raise ValueError(f"a model with decoders={model.decoders!r} lacks these frames")
        self._center = flag("center", saved["center"])
        self._scoring = saved.get("scoring", "sharp")
        score_of(self._scoring)
        self.decisions_ = {str(key): str(word) for key, word in saved.get("decisions", {}).items()}
        self.baselines_ = {
            name: Number()("baselines", value) for name, value in saved.get("baselines", {}).items()
        }
        shape = past + future, len(labels)
        self._mean, self._std = (np.array(saved[name]) for name in ("mean", "std"))
        for errors in (self._mean, self._std):
            are_numbers = errors.dtype.kind in "iuf" and np.isfinite(errors).all()
            if errors.shape != shape or not are_numbers:
                raise ValueError(f"mean and std must be {shape} numbers")
        if model.frame_shape_ != (len(labels),) or not (self._std > 0).all():
            raise ValueError("the model is not one of these columns")
        weights = np.array(saved.get("column_weights", np.ones(len(labels))))
        if weights.shape != (len(labels),) or weights.dtype.kind not in "iuf":
            raise ValueError(f"column_weights must be {len(labels)} numbers")
        if not (np.isfinite(weights) & (weights > 0)).all():
            raise ValueError("column_weights must be positive")
        self._column_weights = weights
        self._threshold = -Number()("offset", saved["offset"])
        self._by_hand = flag("by_hand", saved.get("by_hand", False))

    # -- rows and errors ---------------------------------------------------------------------------

    def _errors(self) -> Errors:
        return Errors(self.model_, *self._lengths, self._center)

    def _scorer(self) -> Scorer:
        # A score that is multiplied by its column's weight is one of errors in larger units.
        unit = self._std / self.column_weights_
        return Scorer(self._errors(), self._mean, unit, score_of(self._scoring))

    def _names(self) -> list[Any]:
        return self.columns_

    def _rows_of_stream(self, series: Any) -> Recordings:
        """Return rows of a stream, without advice: they are few."""
        return self._same_columns(series, "rows", advise=False)

    def _row_scores(self, series: Any, context: Any) -> NDArray[np.float64]:
        """Score each row, in the given order."""
        return row_scores(self._scored(series, context).in_given_order)

    def _scored(self, series: Any, context: Any, *, alone: bool = False) -> _Scored:
        """Score the rows of a series, also `alone`; say why where none has a score."""
        self._check_fitted()
        if context is None:
            rows = self._same_columns(series)
            before = np.zeros(len(rows.values), np.bool_)
        else:
            rows, before = joined(
                self._table(series, self.columns_),
                self._table(context, self.columns_),
                self._same_columns,
                sum(self._lengths),
                self.time,
            )
        scorer = self._scorer()
        scores, own = scorer.scores_and_alone(rows) if alone else (scorer.scores(rows),) * 2
        scores[before] = own[before] = np.nan
        past_too = self.model_.decoders != "predict"
        if why := advice(rows, scores, before, self._lengths, past_too=past_too):
            warn(why)
        return _Scored(rows, scores, before, own)

    def _warn_of_many(self, scores: NDArray[np.float64]) -> None:
        """Warn where so many rows are outliers that they differ from those of `fit` as a whole."""
        if self._by_hand:
            return
        scores = scores[~np.isnan(scores)]
        share = np.mean(scores > self.threshold_) if len(scores) else 0.0
        if len(scores) >= _MANY_ROWS and share > max(_MANY, 5 * self._outlier_fraction()):
            warn(
                f"{share:.0%} of {len(scores):,} rows are outliers: as a whole they differ from "
                "those of fit. Fit on more, or later, normal rows; or try center=True, which "
                "leaves out the level; or set threshold_ from rows that you know to be normal"
            )

    def _like_rows(self, series: Any, values: NDArray[Any], name: str) -> Any:
        """Return one value for each row as a Series on a table's index; for an array, an array."""
        if not is_table(series):
            return values
        import pandas as pd

        return pd.Series(values, index=self._table(series, self.columns_).index, name=name)

    def _warn_of_rate(self, rows: Recordings, name: str) -> None:
        """Warn where rows follow each other faster than those of `fit`."""
        learnt = self.gap is None and isinstance(self.gap_, float | np.timedelta64)
        if not rows.timed or not learnt:
            return
        median, known = median_step(rows.row_labels, rows.begins, rows.ends), self.gap_ / 1.5
        if median is not None and len(rows.values) > 9 and median < known / 1.5:
            warn(
                f"the rows of {name} are {describe(median)} apart, those of fit {describe(known)}: "
                "scores of series of another rate mean little; resample it"
            )

    def _table(self, series: Any, columns: list[Any]) -> Any:
        """Return a table's rows as pandas' DataFrame; a row of `DataFrame.iterrows` is one row."""
        if not is_table(series):
            return series
        import pandas as pd

        if isinstance(series, pd.Series) and set(columns) <= set(series.index):
            row = pd.DataFrame([series.tolist()], columns=series.index)
            row.index = pd.Index([series.name])
            return row
        return tables.table_of(series)

    def _same_columns(
        self, series: Any, name: str = "series", *, advise: bool = True
    ) -> Recordings:
        """Return rows of the fitted columns."""
        rows = same_columns(
            name,
            self._table(series, self.columns_),
            self.columns_,
            lambda given: self._rows(given, self.columns_, self.gap_, name),
        )
        if advise:
            self._warn_of_rate(rows, name)
        return rows

    def _rows(
        self, series: Any, columns: list[Any] | None, gap: Any, name: str = "series"
    ) -> Recordings:
        if is_table(series):
            series = tables.table_of(series)
            if self.gap is None and self.time is None and not has_times(series.index):
                gap = None
        rows = of_series(series, self.group, self.time, columns, gap, name)
        if np.isinf(rows.values).any():
            raise DataError(f"{name} must hold finite numbers or NaN, got an infinite one")
        return rows

    # -- scikit-learn ------------------------------------------------------------------------------

    def __sklearn_clone__(self) -> Self:
        """Copy the parameters; a fitted model stays fitted, as it is what scores."""
        parameters = self.get_params(deep=False)
        model = parameters.pop("model")
        fitted = isinstance(model, Model) and model.__sklearn_is_fitted__()
        copied = {name: clone(value, safe=False) for name, value in parameters.items()}
        return type(self)(model if fitted else clone(model, safe=False), **copied)

    def __sklearn_tags__(self) -> Any:
        """Describe what `fit` accepts: rows with missing numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is a threshold."""
        return hasattr(self, "_threshold")
