"""A classifier of sequences that starts from a fitted model's encoder: the paper's third use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.utils.multiclass import check_classification_targets

from backcast._arrays import Column, Sequences, sequences
from backcast._estimator import Estimator, flag, integer, seed
from backcast.errors import ArgumentError, DataError, NotFittedError, ShapeError
from backcast.model import Model

# What a model's encoder brings along.
_SIZES = ("hidden_size", "num_layers", "peepholes")


class Classifier(ClassifierMixin, Estimator):
    """LSTM classifier: the encoder of a fitted `Model`, or a new one, and a softmax at each step.

    The probabilities of a sequence are those of its steps, averaged [1]_. In training, the loss of
    a sequence is the mean cross entropy of its steps. Where labels are few and sequences are many,
    fit a `Model` to all of the sequences first, and start from it.

    Parameters
    ----------
    model : Model, default=None
        A fitted model, whose encoder's weights and sizes the classifier starts from; it is left as
        it is. None starts from random weights. `sklearn.base.clone` keeps it fitted.
    train : {"all", "head"}, default="all"
        Whether all weights are trained, or those of the softmax alone.
    hidden_size, num_layers, peepholes : int, int, bool, default=256, 1, False
        Of the encoder, as in `Model`; with a `model`, its own are taken and these are not looked
        at, nor are `init` and `forget_bias` but for the softmax's first weights.
    dropout, forget_bias, init : float, float, str, default=0.0, None, "pytorch"
        As in `Model`.
    optimizer, learning_rate, weight_decay, max_grad_norm, schedule, warmup : optional
        As in `Model`, and with its defaults.
    batch_size, max_iter : int, default=128, 1000
        As in `Model`.
    device, precision, num_threads, random_state, verbose : optional
        As in `Model`.

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
        Where the classifier is.

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

    classes_: NDArray[Any]
    # Sizes of the encoder.
    _sizes: dict[str, Any]

    def __init__(
        self,
        model: Model | None = None,
        *,
        train: str = "all",
        hidden_size: int = 256,
        num_layers: int = 1,
        peepholes: bool = False,
        dropout: float = 0.0,
        forget_bias: float | None = None,
        init: str = "pytorch",
        optimizer: str = "adam",
        learning_rate: float = 5e-4,
        weight_decay: float = 0.0,
        max_grad_norm: float | None = None,
        schedule: str | None = None,
        warmup: int = 0,
        batch_size: int = 128,
        max_iter: int = 1000,
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
        self.device = device
        self.precision = precision
        self.num_threads = num_threads
        self.random_state = random_state
        self.verbose = verbose

    # -- training ----------------------------------------------------------------------------------

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Train for `max_iter` updates, from the model's encoder or from new weights.

        Parameters
        ----------
        X : array_like of shape (n_windows, T, *frame_shape), or list of (T_i, *frame_shape)
            Frames, in the units the model was fitted on. uint8 frames are taken as 0..255 and
            scaled to 0..1.
        y : array_like of shape (n_windows,)
            One label a window: numbers or words.

        Returns
        -------
        Classifier
            This classifier.

        Raises
        ------
        NotFittedError
            If there is a `model` that was not fitted.
        ArgumentError, ShapeError, DataError
            If a parameter or the data cannot be used; the classifier is then as it was before.
        DivergedError
            If the loss stops being finite; the weights are those of the last finite update.
        KeyboardInterrupt
            Ctrl-C stops the training after the present batch; the classifier keeps its weights.
        """
        with self._or_as_before():
            windows = sequences("X", X)
            self._not_empty(windows)
            self.classes_, labels = _labels(y, len(windows))
            self._start(windows)
            until = integer("max_iter", self.max_iter, least=1)
            column = self._column(windows)
            return self._train(column, None, labels, until=until, in_memory=windows.in_memory)

    def _start(self, windows: Sequences) -> None:
        """Forget what was learnt and take the model's encoder, or draw a new one."""
        model = self.model
        if model is None:
            self._sizes = {
                "hidden_size": integer("hidden_size", self.hidden_size),
                "num_layers": integer("num_layers", self.num_layers),
                "peepholes": flag("peepholes", self.peepholes),
            }
            shape = windows.frame_shape
            scaled: bool | None = windows.is_bytes
        else:
            if not isinstance(model, Model):
                got = f"a {type(model).__name__}"
                raise ArgumentError(f"model must be a backcast.Model or None, got {got}")
            if not hasattr(model, "_core"):
                raise NotFittedError("model must be fitted before a classifier starts from it")
            self._sizes = {name: model._built[name] for name in _SIZES}
            shape, scaled = model.frame_shape_, model._scaled
        self._become(shape, scaled=scaled, seed=seed(self.random_state))
        self._check_frames(windows)
        if model is not None:
            encoder = {
                name: array
                for name, array in model._core.weights().items()
                if name.startswith("encoder.lstm.")
            }
            self._core.set_weights(self._core.weights() | encoder)

    # -- inference ---------------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probabilities of the classes: those of every step, averaged over the steps.

        Parameters
        ----------
        X : array_like of shape (n_windows, T, *frame_shape), or list of (T_i, *frame_shape)
            Frames, in the units the classifier was fitted on.

        Returns
        -------
        ndarray of shape (n_windows, n_classes)
            float32, in the order of `classes_`; rows sum to 1.

        Raises
        ------
        NotFittedError, ShapeError, DataError
            If the classifier was not fitted, or the data does not fit it.
        """
        core = self._core_()
        return core.classify(self._column(self._pasts(X, "X")), self._batch_size(), self._threads())

    def predict(self, X: Any) -> NDArray[Any]:
        """Label each window by its most probable class.

        Parameters
        ----------
        X : array_like or list
            As in `predict_proba`.

        Returns
        -------
        ndarray of shape (n_windows,)
            Labels, as they were given to `fit`.
        """
        best = self.predict_proba(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def state_dict(self) -> dict[str, NDArray[np.float32]]:
        """Weights by the names of the equivalent PyTorch modules.

        Returns
        -------
        dict of ndarray
            ``encoder.lstm.*`` as in `Model.state_dict`, ``encoder.fc.weight`` (n_classes, H) and
            ``encoder.fc.bias``: the softmax's; copies.
        """
        return self._core_().weights()

    # -- parameters and data, made ready for the engine --------------------------------------------

    def _architecture(self, frame_size: int) -> dict[str, Any]:
        return {
            "frame_size": frame_size,
            **self._sizes,
            "feedback": [None, None],
            "loss": "mse",  # of decoders, of which there are none
            "classes": len(self.classes_),
        }

    def _training(self) -> dict[str, Any]:
        if self.train not in ("all", "head"):
            raise ArgumentError(f'train must be "all" or "head", got {self.train!r}')
        return super()._training() | {"head_only": self.train == "head"}

    def _parameters(self) -> dict[str, Any]:
        return super()._parameters() | {"model": None} | self._sizes

    def _fitted_items(self) -> dict[str, Any]:
        classes = {"classes": self.classes_, "dtype": self.classes_.dtype.str}
        return super()._fitted_items() | classes

    def _set_fitted_items(self, fitted: Mapping[str, Any]) -> None:
        self.classes_ = np.array(fitted["classes"], dtype=fitted["dtype"])
        self._sizes = {name: getattr(self, name) for name in _SIZES}

    def _column(self, windows: Sequences) -> Column:
        return windows.column(self._unit_range())

    def __sklearn_clone__(self) -> Self:
        """Copy the parameters; a fitted model stays fitted, as it is what training starts from."""
        parameters = self.get_params(deep=False)
        model = parameters.pop("model")
        copied = {name: clone(value, safe=False) for name, value in parameters.items()}
        return type(self)(model, **copied)

    def __sklearn_tags__(self) -> Any:
        """Say what `fit` takes: sequences."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags

    def _gradients(
        self, X: Any, y: ArrayLike, *, double: bool = True
    ) -> tuple[dict[str, float], dict[str, Any]]:
        """One training pass over all windows as one batch, for tests: losses and gradients."""
        labels = np.searchsorted(self.classes_, np.asarray(y))
        column = self._column(self._pasts(X, "X"))
        losses, gradients, _ = self._core_().gradients(
            column, None, labels, self._training(), 1.0, double
        )
        return losses, gradients


def _labels(y: ArrayLike, n: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the classes, and the number of each window's."""
    given = np.asarray(y)
    if given.shape != (n,):
        raise ShapeError(f"y must be of shape ({n},), one label a window, got {given.shape}")
    if given.dtype == object:
        given = np.array(given.tolist())
    try:
        check_classification_targets(given)
    except ValueError as error:
        raise DataError(f"y must hold labels of classes, got other numbers: {error}") from None
    classes, labels = np.unique(given, return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"y must hold at least 2 classes, got {len(classes)}")
    return classes, labels.astype(np.int64)
