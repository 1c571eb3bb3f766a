"""A classifier of sequences that starts from a fitted model's encoder: the paper's third use."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.utils.multiclass import check_classification_targets

from backcast._engine.columns import sequences, with_frames
from backcast._engine.scale import learn
from backcast._engine.tables import is_missing
from backcast._estimator.base import Estimator, fitted_of
from backcast._estimator.files import Contents
from backcast._estimator.fitted import Fitted
from backcast._parameters import check, names_of, value, values_of
from backcast._training.hooks import Callback
from backcast._training.windows import Pair
from backcast.data.series import Windows
from backcast.errors import ArgumentError, DataError, NotFittedError, ShapeError
from backcast.model import Model

if TYPE_CHECKING:
    import pandas as pd

    from backcast._torch import TorchClassifier


class Classifier(ClassifierMixin, Estimator):
    """LSTM classifier: the encoder of a fitted `Model`, or a new one, and a softmax at each step.

    The probabilities of a sequence are those of its steps, averaged [1]_. In training, the loss of
    a sequence is the mean cross entropy of its steps. With few labels and many sequences, fit a
    `Model` to all sequences first, and start from it.

    Parameters
    ----------
    model : Model, default=None
        A fitted model; the classifier starts from the weights and sizes of its encoder and leaves
        the model unchanged. None starts from random weights. `sklearn.base.clone` keeps it fitted.
    train : {"all", "head"}, default="all"
        Whether all weights are trained, or only those of the softmax.
    hidden_size, num_layers, peepholes : int, int, bool, default=256, 1, False
        As in `Model`, for the encoder. With a `model` they are ignored; `init` and `forget_bias`
        then matter only for the first weights of the softmax.
    scale : {None, "standard", "minmax"}, default=None
        As in `Model`. With a `model` it is ignored, and the model's own scaling is used.
    dropout, forget_bias, init : float, float, str, default=0.0, 1.0, "pytorch"
        As in `Model`.
    optimizer, learning_rate, weight_decay, max_grad_norm, schedule, warmup : see `Model`
        As in `Model`, and with its defaults.
    batch_size, max_iter, patience : int, default=32, 1000, None
        As in `Model`.
    device, precision, num_threads, random_state, verbose : see `Model`
        As in `Model`, and with its defaults.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    history_ : list of dict
        As in `Model`; the loss is "classify", in nats.
    frame_shape_ : tuple of int
        Shape of one frame.
    n_iter_ : int
        Updates made so far.
    seed_ : int
        The seed drawn from `random_state`.
    device_ : str
        The device of the classifier: "cpu", "cuda:0" and so on.

    References
    ----------
    .. [1] N. Srivastava, E. Mansimov, R. Salakhutdinov, "Unsupervised Learning of Video
       Representations using LSTMs", ICML 2015, arXiv 1502.04681, section 4.3.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast import Classifier, Model
    >>> rng = np.random.default_rng(0)
    >>> speed = rng.choice([1, 2], size=200)
    >>> t = np.arange(20) * speed[:, None] / 2 + rng.uniform(0, 6, size=(200, 1))
    >>> waves = np.sin(t)[..., None]                       # 200 windows of 20 frames of 1 number
    >>> options = dict(learning_rate=0.01, max_iter=100, random_state=0, device="cpu", verbose=0)
    >>> model = Model(16, **options).fit(waves)            # needs no labels
    >>> classifier = Classifier(model, **options).fit(waves[:100], speed[:100])
    >>> classifier.predict_proba(waves[100:]).shape
    (100, 2)
    >>> classifier.score(waves[100:], speed[100:]) > 0.9
    True
    """

    def __init__(
        self,
        model: Model | None = None,
        *,
        train: str = "all",
        hidden_size: int = 256,
        num_layers: int = 1,
        peepholes: bool = False,
        scale: str | None = None,
        dropout: float = 0.0,
        forget_bias: float | None = 1.0,
        init: str = "pytorch",
        optimizer: str = "adam",
        learning_rate: float = 3e-3,
        weight_decay: float = 0.0,
        max_grad_norm: float | None = 1.0,
        schedule: str | None = "cosine",
        warmup: int = 0,
        batch_size: int = 32,
        max_iter: int = 1000,
        patience: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        num_threads: int | None = None,
        random_state: Any = None,
        verbose: int = 1,
    ) -> None:
        self.model = model
        self.train = train
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.peepholes = peepholes
        self.scale = scale
        self.dropout = dropout
        self.forget_bias = forget_bias
        self.init = init
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_grad_norm = max_grad_norm
        self.schedule = schedule
        self.warmup = warmup
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.patience = patience
        self.device = device
        self.precision = precision
        self.num_threads = num_threads
        self.random_state = random_state
        self.verbose = verbose

    # -- training ----------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        *,
        validation: Any = None,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_minutes: float = 5.0,
        group: Any = None,
        shared: bool = True,
    ) -> Self:
        """Train for `max_iter` updates, from the model's encoder or from new weights.

        Parameters
        ----------
        X : array_like of shape (n_windows, T, *frame_shape), or list of (T_i, *frame_shape)
            Frames, in the units the model was fitted on. uint8 frames are taken as 0..255 and
            scaled to 0..1. NaN is a missing number, as in `Model.fit`. Arrays of (cases, channels,
            time), as of aeon and sktime, come as ``X.swapaxes(1, 2)``.
        y : array_like of shape (n_windows,)
            One label for each window: numbers or words.
        validation : pair (X, y), default=None
            Held-out windows and labels, whose loss is added to the records of `history_`.
        callback : callable, default=None
            As in `Model.fit`.
        checkpoint, checkpoint_minutes : str or path-like, float, default=None, 5.0
            As in `Model.fit`. A resumed training must get the same labels.
        group, shared : ProcessGroup or "world", bool, default=None, True
            As in `Model.fit`. With ``shared=False`` the classes are those of all processes.

        Returns
        -------
        Classifier
            This classifier.

        Raises
        ------
        NotFittedError
            If `model` is given and was not fitted.
        ArgumentError, ShapeError, DataError
            If a parameter or the data cannot be used; the classifier is then unchanged.
        OSError, BusyError, GroupError
            As in `Model.fit`.
        OutOfMemoryError
            If an update needs more memory than is free; the message says how much.
        DivergedError
            If the loss stops being finite; the weights are those of the last finite update.
        KeyboardInterrupt
            Ctrl-C stops the training after the present batch; the classifier keeps its weights.
        """
        with self._rollback_on_error(group, shared):
            self._compare(validation=validation is None, checkpoint=checkpoint is None)
            check(self)
            windows = Pair(with_frames(sequences("X", X)), None)
            classes, labels = _labels(y, len(windows.pasts), self._group.all)
            n = self._compare_windows(windows, numbers=self._group.shared)
            resumed = self._resume(checkpoint, windows, n)
            if resumed is None:
                self._fitted = self._start(windows, classes)
            self._record().check_frames(windows.pasts)
            resumed = self._unite(resumed)
            fitted = self._record()
            validate = self._validate(validation)
            hooks = self._hooks(validate, callback, checkpoint, checkpoint_minutes, resumed)
            if hooks.done:
                return self
            self._remember(windows, windows=n)
            source, own = (fitted.past(windows.pasts), None, labels), self._own_batches(n)
            looks = windows.is_checked_first
            self._train(source, until=fitted.end, hooks=hooks, check=looks, batches=own)
        return self

    def _start(self, windows: Pair, classes: NDArray[Any]) -> Fitted:
        """Return the record of an untrained classifier with the model's encoder or a new one."""
        model, frame_shape = self.model, windows.pasts.frame_shape
        scaled: bool | None = windows.pasts.is_bytes
        scale, encoder, columns = None, {}, windows.pasts.columns
        if model is None:
            architecture = self._architecture(math.prod(frame_shape), classes=len(classes))
            if self.scale is not None:
                some = windows.cut(self._part(windows))
                scale = learn(self.scale, math.prod(frame_shape), some, self._group.all)
        else:
            if not isinstance(model, Model):
                got = f"a {type(model).__name__}"
                raise ArgumentError(f"model must be a backcast.Model or None, got {got}")
            if not model.__sklearn_is_fitted__():
                raise NotFittedError("model must be fitted before a classifier starts from it")
            source = fitted_of(model)
            frame_shape, scale, scaled = source.frame_shape, source.scale, source.scaled
            columns = source.columns if source.columns is not None else columns
            sizes = self._sizes_of(source)
            architecture = _architecture(sizes, source.frame_size, len(classes))
            encoder = {
                name: array
                for name, array in source.core.weights().items()
                if name.startswith("encoder.lstm.")
            }
        self._check_memory(architecture, windows)
        fitted = self._new(
            architecture, frame_shape, scale=scale, scaled=scaled, classes=classes, columns=columns
        )
        if encoder:
            fitted.core.set_weights(fitted.core.weights() | encoder)
        return fitted

    def _validate(self, validation: Any) -> Callable[[], dict[str, float]] | None:
        """Return what gives the loss on held-out windows."""
        if validation is None:
            return None
        if not isinstance(validation, tuple) or len(validation) != 2:
            got = f"a {type(validation).__name__}"
            raise ArgumentError(f"validation must be a pair (X, y), got {got}")
        fitted = self._record()
        windows = fitted.pasts("validation", validation[0])
        labels = self._numbers_of(validation[1], len(windows))
        column, group = fitted.past(windows), self._group
        self._compare_windows(Pair(windows, None), numbers=group.shared)

        def validate() -> dict[str, float]:
            losses = fitted.core.losses(
                column,
                None,
                labels,
                self._inference(silent=True),
                group.engine,
                shared=group.shared,
            )
            return {"loss": losses["classify"]}

        return validate

    @property
    def classes_(self) -> NDArray[Any]:
        """The labels, sorted."""
        classes = self._record().classes
        assert classes is not None
        return classes

    def _numbers_of(self, y: ArrayLike, n: int) -> NDArray[np.int64]:
        """Return the number of each label, which must be in `classes_`."""
        given = _known(y)
        if given.shape != (n,):
            raise ShapeError(f"y must be of shape ({n},), one label a window, got {given.shape}")
        foreign = sorted(set(given.tolist()) - set(self.classes_.tolist()), key=str)
        if foreign:
            raise DataError(f"y must hold labels that are in classes_, got also {foreign[0]!r}")
        return np.searchsorted(self.classes_, given).astype(np.int64)

    # -- inference ---------------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probabilities of the classes, averaged over the steps.

        Parameters
        ----------
        X : array_like of shape (n_windows, T, *frame_shape), or list of (T_i, *frame_shape)
            Frames, in the units the classifier was fitted on.

        Returns
        -------
        ndarray of shape (n_windows, n_classes)
            float32, in the order of `classes_`; rows sum to 1. Also of windows of a table, as
            scikit-learn's scores need an array: ``X.table(probabilities, classifier.classes_)``
            puts it on their index.

        Raises
        ------
        NotFittedError, ShapeError, DataError
            If the classifier was not fitted, or the data does not fit it.
        """
        with self._reading() as fitted:
            return fitted.core.classify(fitted.past(fitted.pasts("X", X)), self._inference())

    @overload
    def predict(self, X: Windows) -> pd.Series[Any]: ...
    @overload
    def predict(self, X: Any) -> NDArray[Any]: ...
    def predict(self, X: Any) -> NDArray[Any] | pd.Series[Any]:
        """Return the most probable class of each window.

        Parameters
        ----------
        X : array_like or list
            As in `predict_proba`.

        Returns
        -------
        ndarray or Series of shape (n_windows,)
            Labels as given to `fit`; of windows of a table, on their `index`.
        """
        best = self.predict_proba(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[best]
        if not isinstance(X, Windows):
            return labels
        import pandas as pd

        return pd.Series(labels, index=X.index, name="predict")

    def state_dict(self) -> dict[str, NDArray[np.float32]]:
        """Weights by the names of the equivalent PyTorch modules.

        Returns
        -------
        dict of ndarray
            ``encoder.lstm.*`` as in `Model.state_dict`, and those of the softmax,
            ``encoder.fc.weight`` (n_classes, H) and ``encoder.fc.bias``; copies.
        """
        return self._current().core.weights()

    def to_torch(self) -> TorchClassifier:
        """Convert the classifier to a plain PyTorch module that computes what inference does.

        Returns
        -------
        torch.nn.Module
            ``forward(X)`` takes float frames (n, T, *frame_shape) in the classifier's units and
            returns probabilities (n, n_classes), as `predict_proba`; ``logits(X)`` returns the
            softmax's input at every step, (n, T, n_classes). It has copies of the weights, by the
            names of `state_dict`, on the CPU in float32; ``.to`` moves it.

        Raises
        ------
        NotFittedError
            If the classifier was not fitted.

        Notes
        -----
        `fit` minimises ``cross_entropy(logits.mT, y[:, None].expand(-1, T))``. In training mode
        too, no unit is dropped. uint8 frames are refused: divide them by 255.
        ``torch.export.export`` works at a fixed T, for any n; ``torch.jit.script`` does not.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from backcast import Classifier
        >>> waves = np.sin(np.arange(20) / 3 + np.arange(64)[:, None])[..., None]
        >>> classifier = Classifier(hidden_size=16, max_iter=5, device="cpu", verbose=0)
        >>> module = classifier.fit(waves, np.arange(64) % 2).to_torch()
        >>> module(torch.tensor(waves, dtype=torch.float32)).shape
        torch.Size([64, 2])
        """
        from backcast._torch import TorchClassifier

        with self._reading() as fitted:
            arrays = fitted.core.weights()
        return TorchClassifier.of(arrays, fitted.scale, fitted.architecture, fitted.frame_shape)

    # -- parameters, as the engine takes them ------------------------------------------------------

    def _architecture(self, frame_size: int, *, classes: int | None = None) -> dict[str, Any]:
        fitted = self._fitted
        if fitted is not None and classes is None:
            classes = fitted.architecture["classes"]
        if fitted is not None and self.model is not None:
            sizes = self._sizes_of(fitted)
        else:
            sizes = values_of(self, "Architecture")
        return _architecture(sizes, frame_size, classes)

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"head_only": value(self, "train") == "head"}

    def _parameters(self) -> dict[str, Any]:
        return super()._parameters() | {"model": None} | self._sizes_of(self._record())

    def _sizes_of(self, fitted: Fitted) -> dict[str, Any]:
        """Return the parameters that a given model's encoder determines."""
        return {name: fitted.architecture[name] for name in names_of(self, "Architecture")}

    def _saved_architecture(self, items: dict[str, Any]) -> dict[str, Any]:
        frame_size = math.prod(items["frame_shape"])
        return self._architecture(frame_size, classes=len(_saved_classes(items)))

    def _restored(self, contents: Contents) -> Fitted:
        return self._new_from(contents, classes=_saved_classes(contents.fitted))

    def __sklearn_clone__(self) -> Self:
        """Copy the parameters; a fitted model stays fitted, as it is what training starts from."""
        parameters = self.get_params(deep=False)
        model = parameters.pop("model")
        copied = {name: clone(value, safe=False) for name, value in parameters.items()}
        return type(self)(model, **copied)

    def __sklearn_tags__(self) -> Any:
        """Describe what `fit` accepts: sequences."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags

    def _gradients(
        self, X: Any, y: ArrayLike, *, double: bool = True
    ) -> tuple[dict[str, float], dict[str, Any]]:
        """One training pass over all windows as one batch, for tests: losses and gradients."""
        fitted = self._current()
        windows = fitted.pasts("X", X)
        labels, column = self._numbers_of(y, len(windows)), fitted.past(windows)
        settings = self._settings()
        losses, gradients, _ = fitted.core.gradients(column, None, labels, settings, 1.0, double)
        return losses, gradients


# NumPy's names of the types that labels may have.
_LABELS = (
    r"[|<>=](b1|[iuf][1248]|U[0-9]{1,6}|[mM]8(\[[0-9]{0,6}(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)"
)


def _architecture(sizes: Mapping[str, Any], frame_size: int, classes: int | None) -> dict[str, Any]:
    return {
        "frame_size": frame_size,
        **sizes,
        "feedback": [None, None],
        "loss": "mse",  # The engine requires one; without decoders it has no effect.
        "classes": classes,
    }


def _known(y: ArrayLike) -> NDArray[Any]:
    """Return labels as an array; each must be known."""
    if isinstance(y, np.ma.MaskedArray) and np.ma.is_masked(y):
        raise DataError("y must be known for every window, got a masked label")
    given: NDArray[Any] = np.asarray(y)
    for i, label in enumerate(given.ravel() if given.dtype.kind in "OfmM" else ()):
        if is_missing(label):
            raise DataError(f"y must be known for every window, got {label} for window {i}")
    return given


def _saved_classes(items: Mapping[str, Any]) -> NDArray[Any]:
    """Return the labels in a file; raise `ValueError` if they are not as they were saved."""
    labels, dtype = items["classes"], items["dtype"]
    # NumPy makes a type of almost any text, also of one that takes all memory.
    if labels is None or not re.fullmatch(_LABELS, dtype):
        raise ValueError("classes are not as they were saved")
    kind = np.dtype(dtype)
    natural = np.array(labels)
    stored = "iuf" if kind.kind in "iuf" else "i" if kind.kind in "mM" else kind.kind
    if natural.dtype.kind not in stored:
        raise ValueError(f"classes must be of type {dtype}")
    if kind.kind == "U" and kind.itemsize > natural.dtype.itemsize:
        raise ValueError(f"classes are shorter than {dtype}")
    classes = natural.astype(kind)
    if kind.kind in "mM" and np.isnat(classes).any():
        raise ValueError("classes must be known")
    if natural.ndim != 1 or not np.array_equal(np.unique(classes), classes):
        raise ValueError("classes must be different, and in order")
    return classes


def _labels(
    y: ArrayLike, n: int, gather: Callable[[Any], list[Any]]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the classes, and the number of the class of each window.

    `gather` returns the classes of all processes, given those of this one.
    """
    given = _known(y)
    if given.shape != (n,):
        raise ShapeError(f"y must be of shape ({n},), one label a window, got {given.shape}")
    if given.dtype == object:
        given = np.array(given.tolist())
    try:
        check_classification_targets(given)
    except ValueError as error:
        raise DataError(f"y must hold labels of classes, got other numbers: {error}") from None
    classes = np.unique(np.concatenate(gather(np.unique(given))))
    if len(classes) < 2:
        raise DataError(f"y must hold at least 2 classes, got {len(classes)}")
    return classes, np.searchsorted(classes, given).astype(np.int64)
