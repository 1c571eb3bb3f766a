"""What `Model` and `Classifier` share: an engine and its training, parameters, files."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from backcast import _core
from backcast._arrays import Column, Sequences, sequences
from backcast._progress import Progress
from backcast.errors import (
    ArgumentError,
    DataError,
    DeviceError,
    DivergedError,
    FileFormatError,
    NotFittedError,
    ShapeError,
)

_FORMAT_VERSION = 1
# About so many records in `history_` for `max_iter` updates.
_RECORDS = 100


class Estimator(BaseEstimator):
    """An estimator whose weights and training an engine holds."""

    frame_shape_: tuple[int, ...]
    history_: list[dict[str, float]]
    seed_: int
    # The architecture that the weights belong to.
    _built: dict[str, Any]
    # The last update of the plan.
    _end_: int
    # True: fitted on bytes scaled to 0..1. False: on numbers as they were. None: nobody knows.
    _scaled: bool | None

    # Parameters that both have.
    dropout: float
    forget_bias: float | None
    init: str
    optimizer: str
    learning_rate: float
    weight_decay: float
    max_grad_norm: float | None
    schedule: str | None
    warmup: int
    batch_size: int
    max_iter: int
    device: str
    precision: str
    num_threads: int | None
    random_state: Any
    verbose: int

    def _architecture(self, frame_size: int) -> dict[str, Any]:
        """Return the architecture that the parameters ask for."""
        raise NotImplementedError

    # -- training ----------------------------------------------------------------------------------

    def _become(
        self,
        frame_shape: tuple[int, ...],
        *,
        scaled: bool | None,
        seed: int,
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        """Become one that was never trained, with these weights or new ones."""
        forget_bias = self.forget_bias
        init = {
            "init": word("init", self.init),
            "forget_bias": None if forget_bias is None else number("forget_bias", forget_bias),
            "seed": seed,
        }
        architecture = self._architecture(math.prod(frame_shape))
        core = _core.Core(architecture, init, self._device())
        if weights is not None:
            core.set_weights(dict(weights))
        self._core = core
        self._built = architecture
        self._end_ = integer("max_iter", self.max_iter)
        self._scaled = scaled
        self.seed_ = seed
        self.frame_shape_ = frame_shape
        self.history_ = []

    def _train(
        self,
        pasts: Column,
        futures: Column | None,
        labels: NDArray[np.int64] | None,
        *,
        until: int | None,
        in_memory: bool = True,
    ) -> Self:
        core = self._core
        first = core.progress[0]
        training = self._training()
        last = until
        if last is None:
            last = first + math.ceil(len(pasts[1]) / training["batch_size"])
        progress = Progress(self.history_, first, last, training["loss_weights"], self.verbose)
        with progress:
            core.train(
                pasts,
                futures,
                labels,
                training,
                until,
                max(1, math.ceil(training["end"] / _RECORDS)),
                progress,
                in_memory,
                self._threads(),
            )
        return self

    @contextmanager
    def _or_as_before(self) -> Iterator[None]:
        """Undo what a refused training has begun; one that was interrupted keeps its updates."""
        before = dict(self.__dict__)
        core = before.get("_core")
        step = core.progress[0] if core else 0
        try:
            yield
        except DivergedError:
            raise
        except BaseException:
            now = self.__dict__.get("_core")
            trained = now is not None and now.progress[0] > (step if now is core else 0)
            if not trained:
                self.__dict__ = before
            raise

    # -- files -------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, training: bool = False) -> None:
        """Write the weights and all parameters to a safetensors file, whole or not at all.

        Parameters
        ----------
        path : str or path-like
            The file; one that is there is replaced once the new one is complete.
        training : bool, default=False
            Whether to write the optimizer's moments and the place in the data too, which takes
            three times the space: a training that goes on after `load` then gives the same numbers
            as one that was never broken off.

        Raises
        ------
        NotFittedError
            If there is nothing to save yet.
        OSError
            If the file cannot be written; one that was there is left as it was.
        """
        core = self._core_()
        arrays = core.weights()
        fitted = self._fitted_items()
        if training:
            first, second, progress = core.training_state()
            arrays |= {f"optimizer.first.{name}": array for name, array in first.items()}
            arrays |= {f"optimizer.second.{name}": array for name, array in second.items()}
            fitted["training"] = {"progress": progress, "end": self._end_}
        metadata = {
            "format": "backcast",
            "format_version": str(_FORMAT_VERSION),
            "estimator": type(self).__name__,
            "parameters": json.dumps(self._parameters(), default=_plain),
            "fitted": json.dumps(fitted, default=_plain),
        }
        _core.write(os.fspath(Path(path)), arrays, metadata)

    def _parameters(self) -> dict[str, Any]:
        """Return the parameters that make an equal estimator."""
        parameters: dict[str, Any] = self.get_params(deep=False)
        if not isinstance(self.random_state, int | None):
            parameters["random_state"] = self.seed_
        return parameters

    def _fitted_items(self) -> dict[str, Any]:
        """Return what was learnt beside the weights."""
        return {
            "frame_shape": self.frame_shape_,
            "scaled": self._scaled,
            "seed": self.seed_,
            "n_iter": self.n_iter_,
            "history": self.history_,
        }

    def _set_fitted_items(self, fitted: Mapping[str, Any]) -> None:
        """Take up what a subclass has added to `_fitted_items`."""

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "auto") -> Self:
        """Read what `save` has written, also on another device.

        Parameters
        ----------
        path : str or path-like
            The file.
        device : str, default="auto"
            Where it shall be, as the parameter of that name.

        Returns
        -------
        Model or Classifier
            As it was saved: its numbers are the same to the bit on the same kind of device.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FileFormatError
            If it is cut short, corrupt, not a file of backcast or not of this class, or of a newer
            format.
        """
        device = word("device", device)
        arrays, metadata = _core.read(os.fspath(Path(path)))
        if metadata.get("format") != "backcast":
            raise FileFormatError(
                f"{path}: is not a backcast model (a safetensors file without its mark); weights "
                "from elsewhere load with Model.from_state_dict"
            )
        try:
            version = int(metadata["format_version"])
            if version > _FORMAT_VERSION:
                raise FileFormatError(
                    f"{path}: must be of format version {_FORMAT_VERSION} or older, got {version}; "
                    "a newer backcast reads it"
                )
            saved = metadata.get("estimator", "Model")
            if saved != cls.__name__:
                raise FileFormatError(
                    f"{path}: must be a backcast {cls.__name__}, got a {saved}; load it with "
                    f"backcast.{saved}.load"
                )
            moments = {
                order: {
                    name.removeprefix(prefix): arrays.pop(name)
                    for name in list(arrays)
                    if name.startswith(prefix)
                }
                for order in ("first", "second")
                for prefix in [f"optimizer.{order}."]
            }
            parameters = json.loads(metadata["parameters"])
            fitted = json.loads(metadata["fitted"])
            if "loss_weights" in parameters:
                parameters["loss_weights"] = tuple(parameters["loss_weights"])
            estimator = cls(**(parameters | {"device": device}))
            estimator._set_fitted_items(fitted)
            estimator._become(
                tuple(fitted["frame_shape"]),
                scaled=fitted["scaled"],
                seed=fitted["seed"],
                weights=arrays,
            )
            core = estimator._core
            estimator.history_ = fitted["history"]
            training = fitted.get("training")
            if training is None:
                core.set_training_state(None, None, [0, fitted["n_iter"], 0, 0])
            else:
                core.set_training_state(moments["first"], moments["second"], training["progress"])
                estimator._end_ = training["end"]
        except FileFormatError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path}: is a damaged backcast model: {error}") from error
        return estimator

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the weights and the training's state, not the engine that holds them."""
        state = dict(super().__getstate__())
        if "_core" in state:
            core = state.pop("_core")
            state["history_"] = list(self.history_)
            state["_pickled"] = (core.weights(), core.training_state())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the engine; one from a GPU that is not there comes to the CPU."""
        pickled = state.pop("_pickled", None)
        super().__setstate__(state)
        if pickled is None:
            return
        weights, training = pickled
        init = {"init": "pytorch", "forget_bias": None, "seed": self.seed_}
        try:
            core = _core.Core(self._built, init, self._device())
        except DeviceError as error:
            warnings.warn(f"{error}; this model comes to the CPU", RuntimeWarning, stacklevel=2)
            self.device = "cpu"
            core = _core.Core(self._built, init, "cpu")
        core.set_weights(weights)
        core.set_training_state(*training)
        self._core = core

    # -- what was fitted ---------------------------------------------------------------------------

    @property
    def n_iter_(self) -> int:
        """Updates made so far."""
        return self._fitted().progress[0]

    @property
    def device_(self) -> str:
        """Where the weights are: "cpu", "cuda:0" and so on."""
        return self._fitted().device

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there are weights."""
        return hasattr(self, "_core")

    def _fitted(self) -> _core.Core:
        if not hasattr(self, "_core"):
            ways = "call fit, load or from_state_dict first"
            if not hasattr(self, "from_state_dict"):
                ways = "call fit or load first"
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet; {ways}")
        return self._core

    def _core_(self) -> _core.Core:
        """Return the engine, if it is still what the parameters say."""
        core = self._fitted()
        for name, now in self._architecture(math.prod(self.frame_shape_)).items():
            if now != self._built[name]:
                raise ArgumentError(
                    f"{name} must be {self._built[name]!r}, as the model was fitted with, "
                    f"got {now!r}; set it back or fit anew"
                )
        return core

    # -- parameters, made ready for the engine -----------------------------------------------------

    def _training(self) -> dict[str, Any]:
        max_norm, schedule = self.max_grad_norm, self.schedule
        return {
            "batch_size": self._batch_size(),
            "end": self._end_,
            "loss_weights": (1.0, 1.0),
            "dropout": number("dropout", self.dropout),
            "optimizer": word("optimizer", self.optimizer),
            "learning_rate": number("learning_rate", self.learning_rate),
            "weight_decay": number("weight_decay", self.weight_decay),
            "max_grad_norm": None if max_norm is None else number("max_grad_norm", max_norm),
            "schedule": None if schedule is None else word("schedule", schedule),
            "warmup": integer("warmup", self.warmup),
            "head_only": False,
            "seed": self.seed_,
        }

    def _batch_size(self) -> int:
        return integer("batch_size", self.batch_size, least=1)

    def _threads(self) -> int | None:
        if self.num_threads is None:
            return None
        return integer("num_threads", self.num_threads, least=1, most=1024)

    def _device(self) -> str:
        if self.precision not in ("auto", "fp32"):
            raise ArgumentError(f'precision must be "auto" or "fp32", got {self.precision!r}')
        return word("device", self.device)

    # -- data, made ready for the engine -----------------------------------------------------------

    def _check_frames(self, *sides: Sequences | None) -> None:
        for side in sides:
            if side is not None and side.frame_shape != self.frame_shape_:
                raise ShapeError(
                    f"{side.name} must have frames of shape {self.frame_shape_}, as the model was "
                    f"fitted on, got {side.frame_shape}"
                )
            if side is not None and side.is_bytes and self._refuses_bytes():
                raise DataError(
                    f"{side.name} must be floats in the units the model was fitted on, got uint8 "
                    "(which would be taken as 0..255 and scaled to 0..1)"
                )

    def _refuses_bytes(self) -> bool:
        return self._scaled is False

    def _pasts(self, past: Any, name: str = "past") -> Sequences:
        """Take windows that are all past."""
        pasts = sequences(name, past)
        self._check_frames(pasts)
        self._not_empty(pasts)
        return pasts

    @staticmethod
    def _not_empty(pasts: Sequences) -> None:
        if min(pasts.lengths) < 1:
            raise ShapeError(f"{pasts.name} must have at least 1 frame in every window, got 0")

    def _unit_range(self) -> str | None:
        """Return what is expected of frames, where only 0..1 will do."""
        if self._scaled:
            return "numbers from 0 to 1 (the model was fitted on uint8 frames, scaled to 0..1)"
        return None


def integer(name: str, value: Any, least: int | None = None, most: int = 2**53) -> int:
    """Return a parameter that is a whole number."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise ArgumentError(f"{name} must be a whole number, got {value!r}")
    whole = int(value)
    if least is not None and whole < least:
        raise ArgumentError(f"{name} must be at least {least}, got {whole}")
    if whole > most:
        raise ArgumentError(f"{name} must be at most {most}, got {whole}")
    return whole


def number(name: str, value: Any) -> float:
    """Return a parameter that is a real number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ArgumentError(f"{name} must be a number, got {value!r}")
    return float(value)


def word(name: str, value: Any) -> str:
    """Return a parameter that is a word."""
    if not isinstance(value, str):
        raise ArgumentError(f"{name} must be given in words, got {value!r}")
    return value


def flag(name: str, value: Any) -> bool:
    """Return a parameter that is true or false."""
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def seed(random_state: Any) -> int:
    """Draw the seed of everything."""
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        if random_state < 0:
            raise ArgumentError(f"random_state must be at least 0, got {random_state}")
        return int(random_state) % 2**64
    try:
        return int(check_random_state(random_state).randint(2**31))
    except ValueError:
        raise ArgumentError(
            f"random_state must be None, an int or a RandomState, got {random_state!r}"
        ) from None


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} cannot be saved")
