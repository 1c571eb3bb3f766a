"""The embedder as a scikit-learn estimator."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from backcast._engine.columns import check_names
from backcast._estimator.files import labels_of
from backcast._inner import HasModel, advise_on_names, model_of
from backcast._parameters import flag, integer
from backcast._training.advice import advise_on_scale, without_baselines
from backcast._training.hooks import Callback
from backcast.data._recordings import is_table
from backcast.embedding._prototypes import STATES, Prototypes
from backcast.embedding._rules import MOST_PARTS, auto_parts, auto_units, auto_window, future_of
from backcast.embedding._sequences import Given, Numbers, given_of, unit_of
from backcast.embedding._views import (
    PARTS,
    UNITS,
    VIEWS,
    in_pieces,
    statistics,
    thinning,
    windows_of,
)
from backcast.errors import ArgumentError, ShapeError
from backcast.model import Model

# Parameters of the default model.
_DEFAULTS: dict[str, Any] = {
    "hidden_size": 64,
    "feedback": "none",
    "forget_bias": None,
    "learning_rate": 1e-2,
    "batch_size": 128,
    "max_iter": 400,
}
AUTO = "auto"
# Windows in training, at most; those of more sequences are taken evenly.
_TRAINING = 50_000


class Embedder(HasModel, TransformerMixin, BaseEstimator):
    """Embeddings of whole sequences of any length, for classifiers, clusters and maps.

    A `Model` learns, without labels, to reconstruct and predict windows of the sequences and of
    their differences from row to row. It then learns at most 128 prototypes of either: centres of
    clusters of the embeddings of windows. An embedding of a sequence holds its distance from each
    prototype, which is that of its nearest window, and the share of positive numbers in the
    embeddings of its windows, which tell what happens in it, and statistics of the numbers in equal
    parts of it, which tell where.

    Parameters
    ----------
    model : Model, mapping or None, default=None
        The model of the windows. A mapping holds parameters of `Model` that differ from the
        default, ``Model(64, feedback="none", forget_bias=None, learning_rate=1e-2,
        batch_size=128, max_iter=400)``. An unfitted `Model` gives all of its parameters.
    window : int or "auto", default="auto"
        Rows of a window. "auto" takes 20, at most half of the shortest sequence. Half as many rows
        after them are predicted in training.
    parts : bool, default=True
        Whether statistics of the numbers in equal parts of a sequence, and the logarithm of its
        rows, are among the features: up to eight parts, and fewer where columns are many, so that
        they are at most 128 features. Mean and logarithm of the deviation of the whole sequence are
        among them where each has units of its own.
    group, time, columns, gap : label, list or duration, default=None
        As in `backcast.data.windows`, for a table: each recording is a sequence.

    Attributes
    ----------
    model_ : Model
        The fitted model. Its frames are rows of a sequence, or of its differences, in units of
        their deviation.
    window_ : int
        Rows of a window.
    decisions_ : dict of str
        One line each for the window, the units and the parts that says why.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str
        Names of the columns, if all are words.

    See Also
    --------
    Model.encode : Embeddings of windows.
    Classifier : A classifier that starts from a model's encoder.
    backcast.plot.embedding_map : A map of embeddings.

    Notes
    -----
    Columns are in units of their deviation in all sequences together. Where more than half of the
    sequences vary by less than a tenth of that, each is in units of its own mean and deviation.

    NaN is a missing number. No window lies across a gap of a table; a sequence that is shorter than
    a window is filled up with its first row. Of a sequence, at most 1,000 windows are looked at,
    evenly. All features are float32, and of different sizes: put a
    ``sklearn.preprocessing.StandardScaler`` before a linear classifier.

    References
    ----------
    Differences and statistics beside embeddings: A. Auer et al., "Pre-trained Forecasting Models:
    Strong Zero-Shot Feature Extractors for Time Series Classification", arXiv 2510.26777. Shares of
    positive numbers: A. Dempster et al., "MiniRocket", KDD 2021. Distances from prototypes are
    those of shapelets: J. Lines et al., KDD 2012, here between embeddings.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast import Embedder
    >>> rng = np.random.default_rng(0)
    >>> slow, fast = ([np.sin(np.arange(n) / k) for n in rng.integers(40, 90, 20)] for k in (4, 3))
    >>> waves = [wave[:, np.newaxis] for wave in slow + fast]          # 40 arrays (T_i, 1)
    >>> model = {"hidden_size": 8, "max_iter": 50, "random_state": 0, "verbose": 0}
    >>> embedder = Embedder(model | {"device": "cpu"}).fit(waves)
    >>> embedder.transform(waves).shape
    (40, 305)
    """

    decisions_: dict[str, str]
    model_: Model
    n_features_in_: int
    window_: int
    # Labels of the columns, None where there are none, and the longest step within a run.
    _columns: list[Any] | None
    _n_parts: int
    # Whether each sequence has units of its own; those of an old pickle have not.
    _own_units = False
    _prototypes: dict[str, Prototypes]
    # Mean and deviation of each column, by view.
    _scales: dict[str, tuple[Numbers, Numbers]]

    @advise_on_names
    def __init__(
        self,
        model: Model | Mapping[str, Any] | None = None,
        *,
        window: int | str = AUTO,
        parts: bool = True,
        group: Any = None,
        time: Any = None,
        columns: list[Any] | None = None,
        gap: Any = None,
    ) -> None:
        self.model = model
        self.window = window
        self.parts = parts
        self.group = group
        self.time = time
        self.columns = columns
        self.gap = gap

    # -- training ----------------------------------------------------------------------------------

    def fit(
        self,
        sequences: Any,
        y: object = None,
        *,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_minutes: float = 5.0,
    ) -> Self:
        """Learn the scaling of the columns, and train the model on windows of the sequences.

        Parameters
        ----------
        sequences : list of array_like (T_i, n_columns), array_like (n, T, n_columns) or DataFrame
            Sequences, of any lengths. Of a table, each recording is one, as `group` says; without a
            group the table is one sequence. A list may hold tables with the same columns. Arrays
            of (cases, channels, time), as of aeon and sktime, come as ``[x.T for x in cases]``.
        y : object, default=None
            Ignored, so that a pipeline may pass labels through.
        callback, checkpoint, checkpoint_minutes : callable, path, float, default=None, None, 5.0
            As in `Model.fit`, for the training of the model.

        Returns
        -------
        Embedder
            This embedder.

        Raises
        ------
        ArgumentError, ShapeError, DataError
            If a parameter or the data cannot be used.
        OutOfMemoryError, DivergedError, KeyboardInterrupt
            As in `Model.fit`. After any error the embedder is unchanged.
        """
        # A new embedder learns; this one takes over what it learnt in one step.
        new = type(self)(**self.get_params(deep=False))
        training: dict[str, Any] = {}
        if callback is not None or checkpoint is not None:
            training = {
                "callback": callback,
                "checkpoint": checkpoint,
                "checkpoint_minutes": checkpoint_minutes,
            }
        new._fit(sequences, training)
        self.__dict__.pop("feature_names_in_", None)
        self.__dict__.update(new.__dict__)
        return self

    def _fit(self, sequences: Any, training: dict[str, Any]) -> None:
        model, parts = self._model(), flag("parts", self.parts)
        given = given_of(sequences, self.group, self.time, self.columns, self.gap)
        self._columns, self.n_features_in_ = given.columns, given.width
        self._set_names()
        if self.window == AUTO:
            self.window_, why = auto_window(given.lengths)
        else:
            self.window_, why = integer("window", self.window, least=1), "given"
        self.decisions_ = {"window": f"{self.window_}: {why}"}
        self._own_units, self.decisions_["units"] = auto_units(given)
        if self._own_units:
            given = given.in_units(*given.units())
        self._n_parts = 0
        if parts:
            self._n_parts, why = auto_parts(given.width, own_units=self._own_units)
            self.decisions_["parts"] = f"{self._n_parts}: {why}"
        self._scales = {name: unit_of(given.moments(see)) for name, see in VIEWS.items()}
        advise_on_scale(self._scales["series"], self._columns)
        future = future_of(self.window_)
        views = [runs for name in VIEWS for runs in self._view(given, name)]
        every = thinning(views, _TRAINING)
        cuts = [windows_of(runs, self.window_ + future)[::every] for runs in views]
        windows = np.concatenate([cut for cut in cuts if len(cut)])
        model.set_params(horizon=None if model.decoders == "reconstruct" else future)
        # Whether a window is well predicted says little about embeddings.
        with without_baselines():
            model.fit(windows[~np.isnan(windows[:, : self.window_]).all((1, 2))], **training)
        self._prototypes = {}
        for name in VIEWS:
            view = self._view(given, name)
            every = thinning(view, STATES)
            windows = np.concatenate([windows_of(runs, self.window_)[::every] for runs in view])
            self._prototypes[name] = Prototypes.learn(model.encode(windows))
        self.model_ = model

    def _model(self) -> Model:
        model = model_of(self.model, _DEFAULTS)
        for name, expected in (("horizon", None), ("scale", None), ("loss", "mse")):
            if getattr(model, name) != expected:
                raise ArgumentError(
                    f"{name} of the model must be {expected!r}, as the embedder cuts and scales "
                    f"windows, got {getattr(model, name)!r}"
                )
        return model

    # -- embeddings --------------------------------------------------------------------------------

    def transform(self, sequences: Any) -> Any:
        """Embed each sequence.

        Parameters
        ----------
        sequences : list, array_like or DataFrame
            Sequences as for `fit`, with the same columns, of any lengths.

        Returns
        -------
        ndarray of shape (n_sequences, n_features) or DataFrame
            float32. For a table, a DataFrame with one row for each recording, on its label.

        Raises
        ------
        NotFittedError, ArgumentError, ShapeError, DataError
            If the embedder was not fitted, or the data does not fit it.
        """
        self._check_fitted()
        given = self._same_columns(sequences)
        units = given.units() if self._own_units else None
        if units:
            given = given.in_units(*units)
        parts = [self._pooled(given, name) for name in VIEWS]
        if self.parts:
            runs = self._view(given, "series")
            parts.append(np.stack([statistics(each, self._n_parts) for each in runs]))
            if units:
                parts += [units[0], np.log(units[1])]
            parts.append(np.log(given.lengths)[:, np.newaxis])
        embeddings = np.concatenate(parts, axis=1).astype(np.float32)
        if given.index is None:
            return embeddings
        import pandas as pd

        return pd.DataFrame(embeddings, given.index, self.get_feature_names_out())

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Names of the features: ``series_near_0``, ``part0_least_pressure`` and so on.

        Parameters
        ----------
        input_features : object, default=None
            Ignored.

        Returns
        -------
        ndarray of str
            One name for each feature.
        """
        self._check_fitted()
        units = range(self.model_.hidden_size)
        names = []
        for view in VIEWS:
            names += [f"{view}_positive_h{i}" for i in units]
            names += [f"{view}_near_{i}" for i in range(len(self._prototypes[view].centres))]
        names += [
            f"part{k}_{statistic}_{column}"
            for k in range(self._n_parts)
            for statistic in PARTS
            for column in self._names()
        ]
        if self.parts:
            own = UNITS if self._own_units else ()
            names += [f"{unit}_{column}" for unit in own for column in self._names()]
            names.append("log_rows")
        return np.array(names, dtype=object)

    def _pooled(self, given: Given, name: str) -> NDArray[np.float64]:
        """Pool the embeddings of the windows of each sequence in a view."""
        rows, near = [], self._prototypes[name].near
        for windows, counts in in_pieces(self._view(given, name), self.window_):
            states = np.split(self.model_.encode(windows), np.cumsum(counts)[:-1])
            rows += [np.concatenate([(each > 0).mean(0), near(each)]) for each in states]
        return np.stack(rows)

    # -- files -------------------------------------------------------------------------------------

    def _learnt(self) -> dict[str, Any]:
        return {
            "columns": self._columns,
            "width": self.n_features_in_,
            "window": self.window_,
            "n_parts": self._n_parts,
            "own_units": self._own_units,
            "decisions": self.decisions_,
            "prototypes": {name: each.as_json() for name, each in self._prototypes.items()},
            "scales": {name: list(scale) for name, scale in self._scales.items()},
        }

    def _restore(self, saved: Mapping[str, Any], model: Model) -> None:
        """Take over what a file holds; raise `ValueError` if it is not as it was saved."""
        width = integer("width", saved["width"], least=1)
        columns = labels_of(saved["columns"])
        self.window_ = integer("window", saved["window"], least=1)
        self._n_parts, self._scales = integer("n_parts", saved["n_parts"], 0, MOST_PARTS), {}
        # Files of before know units of all sequences only.
        self._own_units = flag("own_units", saved.get("own_units", False))
        for name in VIEWS:
            mean, deviation = (_numbers(numbers, width) for numbers in saved["scales"][name])
            if not (deviation > 0).all():
                raise ValueError("deviations must be above 0")
            self._scales[name] = mean, deviation
        self._prototypes = {
            name: Prototypes.restore(saved["prototypes"][name], model.hidden_size) for name in VIEWS
        }
        if model.frame_shape_ != (width,) or (columns is not None and len(columns) != width):
            raise ValueError("the model is not one of these columns")
        self._columns = None if columns is None else list(columns)
        self.n_features_in_ = width
        self.decisions_ = {str(key): str(word) for key, word in saved["decisions"].items()}

    # -- sequences ---------------------------------------------------------------------------------

    def _names(self) -> list[Any]:
        return [*range(self.n_features_in_)] if self._columns is None else self._columns

    def _same_columns(self, sequences: Any) -> Given:
        """Return sequences of the fitted columns."""
        columns = self._columns if is_table(sequences) else None
        given = given_of(sequences, self.group, self.time, columns, self.gap)
        expected = None if self._columns is None else tuple(self._columns)
        labels = None if given.columns is None else tuple(given.columns)
        check_names("sequences", labels, expected, "fit")
        if given.width != self.n_features_in_:
            raise ShapeError(
                f"sequences must have {self.n_features_in_} columns, as in fit, got {given.width}"
            )
        return given

    def _view(self, given: Given, name: str) -> list[list[Numbers]]:
        """Return the runs of each sequence in a view, scaled."""
        mean, deviation = self._scales[name]
        see = VIEWS[name]
        return [[(see(run) - mean) / deviation for run in runs] for runs in given.runs]

    # -- scikit-learn ------------------------------------------------------------------------------

    def __sklearn_tags__(self) -> Any:
        """Describe what `fit` accepts: sequences, without labels."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.target_tags.required = False
        return tags


def _numbers(saved: Any, size: int) -> Numbers:
    """Return finite numbers of a file."""
    numbers = np.asarray(saved, np.float64)
    if numbers.shape != (size,) or not np.isfinite(numbers).all():
        raise ValueError(f"scales must be {size} numbers")
    return numbers
