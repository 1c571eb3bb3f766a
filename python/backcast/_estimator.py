"""What `Model` and `Classifier` share: an engine and its training, parameters, files."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from backcast import _core
from backcast._arrays import Column, Sequences, sequences
from backcast._brief import brief
from backcast._memory import check_memory, training_bytes
from backcast._progress import Progress
from backcast._scaling import Scale, learn, scale_of
from backcast._view import view
from backcast._watch import Watch, advise, warn
from backcast.errors import (
    ArgumentError,
    BusyError,
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
_NEVER = 2**62
# The estimators in training, by `id`.
_TRAINING: dict[int, object] = {}


class Estimator(BaseEstimator):
    """An estimator whose weights and training an engine holds."""

    frame_shape_: tuple[int, ...]
    history_: list[dict[str, float]]
    seed_: int
    # The architecture that the weights belong to.
    _built: dict[str, Any]
    # The last update of the plan.
    _end_: int
    # How numbers are scaled for the engine; None as they are.
    _scale: Scale | None
    # True: fitted on bytes scaled to 0..1. False: on numbers as they were. None: nobody knows.
    _scaled: bool | None
    # What the last training was on, as `_remember` has it; None where nobody said.
    _trained_on: dict[str, Any] | None = None

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
    patience: int | None
    scale: str | None
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
        core = _core.Core(architecture, init, *self._place())
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
        pasts: Sequences,
        futures: Sequences | None,
        labels: NDArray[np.int64] | None,
        *,
        until: int | None,
        watch: Watch,
    ) -> Self:
        core, training = self._core, self._training()
        if 0 < training["dropout"] < 1 and self._built["num_layers"] == 1:
            warn(
                f"dropout={self.dropout} does nothing with num_layers=1: units are dropped between "
                "layers. Try num_layers=2, or dropout=0"
            )
        first = core.progress[0]
        self._remember(pasts, futures, training["batch_size"], whole=until is not None)
        last = until
        if last is None:
            last = first + math.ceil(len(pasts) / training["batch_size"])
        progress = self._progress(last)
        every = progress.every
        columns = self._columns(pasts, futures, targets=True)
        sides = [side for side in (pasts, futures) if side is not None]
        # What is quickly read, and may be bad, is looked through first.
        check = all(s.in_memory for s in sides) and not all(s.only_bytes for s in sides)
        watched, stopped = not watch.idle, False
        source = (*columns, labels)
        session = _core.Session(
            core, source, training, every, progress, check=check, num_threads=self._threads()
        )
        with progress:
            try:
                while until is None or core.progress[0] < until:
                    stop = until
                    if until is not None and watched:
                        stop = min(until, (core.progress[0] // every + 1) * every)
                    session.run(stop)
                    progress.flush()
                    stopped = watched and watch.after(self.history_[-1])
                    if stopped or until is None:
                        break
            except KeyboardInterrupt:
                if core.progress[0] > first:
                    watch.write()
                raise
        watch.finish()
        if until is not None:
            advise(self.history_, first, stopped)
        return self

    def _progress(self, last: int) -> Progress:
        training = self._training()
        every = max(1, math.ceil(training["end"] / _RECORDS))
        first, weights = self._core.progress[0], training["loss_weights"]
        return Progress(self.history_, first, last, every, weights, self.verbose)

    def _remember(
        self, pasts: Sequences, futures: Sequences | None, batch_size: int, *, whole: bool
    ) -> None:
        """Remember what the training is on: the least and most frames, and windows if all came."""
        self._trained_on = {
            "windows": len(pasts) if whole else None,
            "past": [*pasts.span],
            "future": [*futures.span] if futures is not None else [0, 0],
            "batch": min(batch_size, len(pasts)),
        }

    def _check_memory(self, pasts: Sequences, futures: Sequences | None) -> None:
        """Refuse what does not fit, before anything is made."""
        device, _ = self._place()
        if device == "cpu" or (device == "auto" and not _core.cuda_device_count()):
            architecture = self._architecture(math.prod(pasts.frame_shape))
            lengths = _most(pasts), _most(futures)
            batch = min(self._batch_size(), len(pasts))
            check_memory(training_bytes(architecture, batch, *lengths))

    def _resume(
        self, checkpoint: Any, pasts: Sequences, futures: Sequences | None
    ) -> tuple[dict[str, Any], Any] | None:
        """Become what a training of these parameters and windows has left in its file."""
        if checkpoint is None or not Path(checkpoint).exists():
            return None
        other, arrays, fitted = self._read(checkpoint, self.device)
        if "watch" not in fitted:
            raise ArgumentError(
                f"checkpoint must be the file of a training, or not be there yet, got {checkpoint}"
                ", a model that was saved"
            )
        free = {"device", "num_threads", "verbose", "model"}
        if not isinstance(self.random_state, int | None):
            free.add("random_state")
        mine, theirs = self.get_params(deep=False), other.get_params(deep=False)
        for name in sorted(set(mine) - free):
            asked, had = (json.dumps(p[name], default=_plain) for p in (mine, theirs))
            if asked != had:
                raise ArgumentError(
                    f"{name} must be {had}, as in the training that {checkpoint} is of, got "
                    f"{asked}; remove the file to train anew"
                )
        was = fitted["trained_on"]
        then = was["windows"], was["past"][1], was["future"][1]
        now = len(pasts), _most(pasts), _most(futures)
        if then != now:
            told = [f"{n:,} windows of {past} + {future}" for n, past, future in (then, now)]
            raise ShapeError(
                f"there must be {told[0]} frames, as in the training that {checkpoint} is of, got "
                f"{told[1]}; remove the file to train anew"
            )
        learnt = {name: value for name, value in vars(other).items() if name not in mine}
        self.__dict__.update(learnt)
        return fitted["watch"], arrays

    @contextmanager
    def _or_as_before(self) -> Iterator[None]:
        """Undo what a refused training has begun; one that was interrupted keeps its updates."""
        before = dict(self.__dict__)
        core = before.get("_core")
        step = core.progress[0] if core else 0
        # A dict's own method is one step, also between threads.
        ours = object()
        if _TRAINING.setdefault(id(self), ours) is not ours:
            raise BusyError(
                "this model is in use by another thread; give each thread its own copy "
                "(copy.deepcopy)"
            )
        try:
            yield
        except DivergedError:
            raise
        except BaseException as error:
            now = self.__dict__.get("_core")
            done = now.progress[0] if now is not None else 0
            trained = done > (step if now is core else 0)
            if not trained:
                self.__dict__ = before
            if isinstance(error, KeyboardInterrupt):
                raise _stopped(done if trained else 0) from None
            raise
        finally:
            del _TRAINING[id(self)]

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
        self._core_()
        self._write(path, training=training)

    def _write(
        self,
        path: str | os.PathLike[str],
        *,
        training: bool,
        arrays: Mapping[str, NDArray[np.float32]] | None = None,
        **more: Any,
    ) -> None:
        """Write a file; `arrays` and `more` are kept in it too."""
        core = self._fitted()
        all_arrays = core.weights() | dict(arrays or {})
        fitted = self._fitted_items() | more
        if training:
            first, second, progress = core.training_state()
            all_arrays |= {f"optimizer.first.{name}": array for name, array in first.items()}
            all_arrays |= {f"optimizer.second.{name}": array for name, array in second.items()}
            fitted["training"] = {"progress": progress, "end": self._end_}
        metadata = {
            "format": "backcast",
            "format_version": str(_FORMAT_VERSION),
            "estimator": type(self).__name__,
            "parameters": json.dumps(self._parameters(), default=_plain),
            "fitted": json.dumps(fitted, default=_plain),
        }
        _core.write(os.fspath(Path(path)), all_arrays, metadata)

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
            "scale": self._scale,
            "seed": self.seed_,
            "n_iter": self.n_iter_,
            "history": self.history_,
            "trained_on": self._trained_on,
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
        estimator, _, _ = cls._read(path, device)
        return estimator

    @classmethod
    def _read(
        cls, path: str | os.PathLike[str], device: str
    ) -> tuple[Self, dict[str, NDArray[np.float32]], dict[str, Any]]:
        """Read a file: an estimator, its best weights if a training has any, and the rest."""
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
            first, second = (_taken(arrays, f"optimizer.{order}.") for order in ("first", "second"))
            best = _taken(arrays, "best.")
            parameters = json.loads(metadata["parameters"])
            fitted = json.loads(metadata["fitted"])
            if "loss_weights" in parameters:
                parameters["loss_weights"] = tuple(parameters["loss_weights"])
            if "precision" in parameters:
                parameters["precision"] = _precision_on(device, parameters["precision"])
            estimator = cls(**(parameters | {"device": device}))
            estimator._set_fitted_items(fitted)
            estimator._scale = scale_of(fitted.get("scale"))
            estimator._become(
                tuple(fitted["frame_shape"]),
                scaled=fitted["scaled"],
                seed=fitted["seed"],
                weights=arrays,
            )
            core = estimator._core
            estimator.history_ = fitted["history"]
            estimator._trained_on = fitted.get("trained_on")
            training = fitted.get("training")
            if training is None:
                core.set_training_state(None, None, [0, fitted["n_iter"], 0, 0])
            else:
                core.set_training_state(first, second, training["progress"])
                estimator._end_ = training["end"]
        except FileFormatError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path}: is a damaged backcast model: {error}") from error
        return estimator, best, fitted

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
        self.precision = _precision_on(self.device, self.precision)
        try:
            core = _core.Core(self._built, init, *self._place())
        except DeviceError as error:
            warnings.warn(f"{error}; this model comes to the CPU", RuntimeWarning, stacklevel=2)
            self.device = "cpu"
            self.precision = _precision_on(self.device, self.precision)
            core = _core.Core(self._built, init, *self._place())
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

    # -- what a notebook shows ---------------------------------------------------------------------

    @property
    def _repr_html_(self) -> Callable[[], str]:
        """Scikit-learn's view, and ours below it; absent where scikit-learn's is switched off."""
        return partial(view, self, super()._repr_html_)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Return what a notebook chooses from."""
        bundle = {"text/plain": repr(self)}
        if hasattr(self, "_repr_html_"):
            bundle["text/html"] = self._repr_html_()
        return bundle

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

    def _patience(self) -> int | None:
        return None if self.patience is None else integer("patience", self.patience, least=1)

    def _threads(self) -> int | None:
        if self.num_threads is None:
            return None
        return integer("num_threads", self.num_threads, least=1, most=1024)

    def _place(self) -> tuple[str, str]:
        """Return the device and the precision of the products there."""
        return word("device", self.device), word("precision", self.precision)

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
        if pasts.span[0] < 1:
            raise ShapeError(f"{pasts.name} must have at least 1 frame in every window, got 0")

    def _columns(
        self, pasts: Sequences, futures: Sequences | None, *, targets: bool
    ) -> tuple[Column, Column | None]:
        """Both sides as the engine takes them."""
        reason = self._unit_range()
        return (
            pasts.column(reason, self._scale),
            None if futures is None else futures.column(reason, self._scale),
        )

    def _unit_range(self) -> str | None:
        """Return what is expected of frames, where only 0..1 will do."""
        if self._scaled and self._scale is None:
            return "numbers from 0 to 1 (the model was fitted on uint8 frames, scaled to 0..1)"
        return None

    def _learn_scale(self, *sides: Sequences | None) -> Scale | None:
        return learn(self.scale, [side for side in sides if side is not None])


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


def _precision_on(device: str, precision: str) -> str:
    """Return what a model of this precision has on a device: TF32 is CUDA's alone."""
    on_cpu = device == "cpu" or not _core.cuda_device_count()
    return "auto" if precision == "tf32" and on_cpu else precision


def _most(side: Sequences | None) -> int:
    """Return the frames of the longest sequence."""
    return side.span[1] if side is not None else 0


def steps_or_horizon(steps: int | None, horizon: int | None) -> int:
    """Return the number of frames to predict."""
    if steps is not None:
        return integer("steps", steps, least=1)
    if not horizon:
        raise ArgumentError("steps must be given, as the model was fitted without a horizon")
    return horizon


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


def _stopped(updates: int) -> KeyboardInterrupt:
    """Tell what an interrupted training leaves; no class of its own, by which scripts end."""
    kept = f"after update {updates:,}; its weights are kept"
    error = KeyboardInterrupt(f"training stopped {kept if updates else 'before its first update'}")
    vars(error)["_render_traceback_"] = partial(brief, error)
    return error


def _taken(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Take the arrays whose names start so out of others."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} cannot be saved")
