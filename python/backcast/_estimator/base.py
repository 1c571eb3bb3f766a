"""The base of `Model` and `Classifier`: the fitted record, training, files and pickles."""

from __future__ import annotations

import copy
import json
import math
import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from backcast import _core
from backcast._brief import brief
from backcast._engine.memory import check_memory
from backcast._engine.scale import Scale, scale_of
from backcast._estimator import files
from backcast._estimator.fitted import Fitted
from backcast._estimator.view import Shown
from backcast._estimator.whole import try_place
from backcast._parameters import (
    PARAMETERS,
    check,
    flag,
    integer,
    number,
    random_seed,
    text,
    value,
    values_of,
)
from backcast._training.advice import advise_on_dropout
from backcast._training.group import ALONE, Alone, together
from backcast._training.hooks import Callback, Hooks
from backcast._training.loop import train
from backcast._training.progress import Inference, RowBar
from backcast._training.windows import Pair
from backcast.errors import (
    ArgumentError,
    BusyError,
    DeviceError,
    DivergedError,
    NotFittedError,
    OutOfMemoryError,
    ShapeError,
)

# The thread that trains an estimator, by the estimator's `id`.
_TRAINING: dict[int, int] = {}

_Kind = TypeVar("_Kind", bound="Estimator")
# The hooks' state in a checkpoint, and the best weights so far.
_Resumed = tuple[dict[str, Any], dict[str, NDArray[np.float32]]]


class Estimator(Shown, BaseEstimator):
    """An estimator with an engine in its fitted record."""

    _fitted: Fitted | None = None
    # Parameters that every estimator has and this class changes or reads by name.
    device: str
    precision: str
    random_state: Any
    verbose: int

    # The processes that take part in the present training.
    _group: Alone = ALONE

    # Number of trainings; a reader compares it to detect one that began meanwhile.
    _trainings: int = 0

    def _architecture(self, frame_size: int) -> dict[str, Any]:
        """Return the architecture that the parameters ask for, as the engine takes it."""
        raise NotImplementedError

    # -- training ----------------------------------------------------------------------------------

    def _new(
        self,
        architecture: dict[str, Any],
        frame_shape: tuple[int, ...],
        *,
        scale: Scale | None,
        scaled: bool | None,
        seed: int | None = None,
        weights: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Fitted:
        """Return the record of an untrained engine with these weights or new ones."""
        seed = random_seed("random_state", self.random_state) if seed is None else seed
        init = values_of(self, "Init") | {"seed": seed}
        given = None if weights is None else dict(weights)
        core = _core.Core(architecture, init, *self._place(), weights=given)
        return Fitted(
            core=core,
            architecture=architecture,
            frame_shape=frame_shape,
            seed=seed,
            scale=scale,
            scaled=scaled,
            end=value(self, "max_iter"),
            **more,
        )

    def _train(
        self,
        source: tuple[Any, Any, Any] | Callable[[], Any],
        *,
        until: int | None,
        last: int | None = None,
        hooks: Hooks | None = None,
        check: bool = False,
        batches: int | None = None,
    ) -> None:
        """Train the engine of the present record; see `backcast._training.loop.train`."""
        fitted, settings = self._record(), self._settings()
        if until is None:
            # Nobody knows where single passes end, so that their rate stays.
            settings["schedule"] = None
        if self._group.rank == 0:
            advise_on_dropout(settings["dropout"], fitted.architecture["num_layers"])
        train(
            fitted.core,
            source,
            settings,
            until=until,
            last=until if last is None else last,
            history=fitted.history,
            verbose=self.verbose,
            hooks=hooks,
            check=check,
            num_threads=self._threads(),
            group=self._group,
            batches=batches,
        )

    def _compare(self, **given: Any) -> None:
        """Refuse parameters and arguments that are not the same in all processes of the group."""
        free = {"device", "num_threads", "verbose", "random_state", "model"}
        parameters = self.get_params(deep=False)
        same = {name: parameters[name] for name in parameters if name not in free}
        self._group.same(estimator=type(self).__name__, **same, **given)

    def _compare_windows(self, pair: Pair, *, numbers: bool) -> int:
        """Refuse windows that do not fit those of other processes; return the number of all.

        `numbers` says whether the windows are the same in all processes.
        """
        group, sides = self._group, [side for side in pair if side is not None]
        if group.engine is None:
            return len(pair.pasts)
        group.same(
            frames=[side.frame_shape for side in sides],
            columns=pair.pasts.columns,
            bytes=[side.is_bytes for side in sides],
            horizon=pair.lengths[1],
        )
        if not numbers:
            return sum(group.all(len(pair.pasts)))
        hint = "; with shared=False each process has windows of its own"
        group.same(hint, windows=len(pair.pasts), lengths=[side.span for side in sides])
        group.same(hint, **{f"numbers of {side.name}": side.digest() for side in sides})
        return len(pair.pasts)

    def _own_batches(self, n: int | None) -> int | None:
        """Return the batches of an epoch of `n` windows where each process has its own."""
        if n is None or self._group.shared:
            return None
        batch_size: int = value(self, "batch_size")
        return math.ceil(n / batch_size)

    def _part(self, windows: Pair) -> slice:
        """Return the windows that this process reads where each reads some."""
        group, n = self._group, len(windows.pasts)
        if not group.shared:
            return slice(n)
        return slice(group.rank * n // group.size, (group.rank + 1) * n // group.size)

    def _unite(self, resumed: _Resumed | None) -> _Resumed | None:
        """Take over the record of the group's process 0, and what it resumed."""
        group, fitted = self._group, self._record()
        if group.engine is not None:
            group.same(architecture=fitted.architecture)
            mine = {name: item for name, item in vars(fitted).items() if name != "core"}
            record, resumed = group.first((mine, resumed))
            if group.rank:
                self._fitted = Fitted(core=fitted.core, **record)
            fitted.core.replicate(group.engine)
        return resumed

    def _settings(self) -> dict[str, Any]:
        """Return the settings of the engine, by the names of its struct ``Training``."""
        fitted = self._record()
        # Parameters that this class of estimator lacks have their defaults.
        defaults = {name: p.default for name, p in PARAMETERS.items() if p.of == "Training"}
        plan = {"end": fitted.end, "seed": fitted.seed, "head_only": False}
        return defaults | values_of(self, "Training") | plan

    def _change(self, **changes: Any) -> None:
        """Replace the record by one with these changes."""
        self._fitted = replace(self._record(), **changes)

    def _remember(self, pair: Pair, *, windows: int | None) -> None:
        """Record lengths and, if known, the number of the windows in training."""
        futures = pair.futures
        trained_on = {
            "windows": windows,
            "past": [*pair.pasts.span],
            "future": [*futures.span] if futures is not None else [0, 0],
            "batch": min(value(self, "batch_size"), len(pair.pasts)),
        }
        self._change(trained_on=trained_on)

    def _check_memory(self, architecture: Mapping[str, Any], pair: Pair) -> None:
        """Refuse what does not fit into the memory of the CPU, before anything is allocated."""
        device, _ = self._place()
        if device == "cpu" or (device == "auto" and not _core.cuda_device_count()):
            batch = min(value(self, "batch_size"), len(pair.pasts))
            check_memory(architecture, batch, *pair.lengths)

    def _hooks(
        self,
        validate: Callable[[], dict[str, float]] | None,
        callback: Callback | None,
        checkpoint: Any,
        minutes: float,
        resumed: _Resumed | None,
    ) -> Hooks:
        """Return the hooks of a training, after a test that the checkpoint can be written."""
        minutes = number("checkpoint_minutes", minutes)
        patience = value(self, "patience")
        if patience is not None and validate is None:
            raise ArgumentError("validation must be given to fit with a patience, got None")
        save = None
        if checkpoint is not None and self._group.rank:
            # Process 0 writes it. The hooks run at the same updates everywhere.
            def save(best: dict[str, NDArray[np.float32]], state: dict[str, Any]) -> None: ...

        elif checkpoint is not None:
            try_place(checkpoint)

            def save(best: dict[str, NDArray[np.float32]], state: dict[str, Any]) -> None:
                write(self, checkpoint, training=True, best=best, more={"watch": state})

        hooks = Hooks(
            self._record().core,
            validate=validate,
            patience=patience,
            callback=self._group.callback(None if callback is None else partial(callback, self)),
            save=save,
            minutes=minutes,
        )
        if resumed is not None:
            hooks.resume(*resumed)
        return hooks

    def _resume(self, checkpoint: Any, pair: Pair, windows: int | None) -> _Resumed | None:
        """Continue the record in a checkpoint; return its hooks' state, None without a file.

        In a group process 0 reads it; see `_unite`.
        """
        if checkpoint is None or self._group.rank or not Path(checkpoint).exists():
            return None
        other, contents = read(type(self), checkpoint, self.device)
        if "watch" not in contents.fitted:
            raise ArgumentError(
                "checkpoint must be the file of a training, or not exist yet, got the saved model "
                f"{checkpoint}"
            )
        free = {"device", "num_threads", "verbose", "model"}
        if not isinstance(self.random_state, int | None):
            free.add("random_state")
        mine, theirs = self.get_params(deep=False), other.get_params(deep=False)
        for name in sorted(set(mine) - free):
            given, trained = (json.dumps(p[name], default=files.plain) for p in (mine, theirs))
            if given != trained:
                raise ArgumentError(
                    f"{name} must be {trained}, as in the training of {checkpoint}, got {given}; "
                    "remove the file to train anew"
                )
        trained_on = contents.fitted["trained_on"]
        before = trained_on["windows"], trained_on["past"][1], trained_on["future"][1]
        now = windows, *pair.lengths
        if before != now:
            trained, given = (
                f"{'batches' if n is None else f'{n:,} windows'} of {past} + {future} frames"
                for n, past, future in (before, now)
            )
            raise ShapeError(
                f"{pair.pasts.name} must hold {trained}, as in the training of {checkpoint}, got "
                f"{given}; remove the file to train anew"
            )
        self._fitted = other._fitted
        return contents.fitted["watch"], contents.best

    @contextmanager
    def _rollback_on_error(self, group: Any = None, shared: bool = True) -> Iterator[None]:
        """Restore the record if a training failed before its first update.

        The processes of `group` train together; see `backcast._training.group.together`.
        """
        before = self._fitted
        step = before.core.progress[0] if before is not None else 0
        # setdefault is atomic.
        me = threading.get_ident()
        if id(self) in _TRAINING or _TRAINING.setdefault(id(self), me) != me:
            raise _busy()
        self._trainings += 1
        try:
            with together(group, flag("shared", shared)) as self._group:
                yield
        except DivergedError:
            raise
        except BaseException as error:
            now = self._fitted
            done = now.core.progress[0] if now is not None else 0
            same = before is not None and now is not None and now.core is before.core
            trained = done > (step if same else 0)
            if not trained:
                self._fitted = before
            if isinstance(error, KeyboardInterrupt):
                raise _stopped(done if trained else 0) from None
            if isinstance(error, MemoryError) and not isinstance(error, OutOfMemoryError):
                raise _out_of_memory(error) from error
            raise
        finally:
            self._group = ALONE
            del _TRAINING[id(self)]

    # -- reading -----------------------------------------------------------------------------------

    def _record(self) -> Fitted:
        """Return the fitted record, or raise `NotFittedError`."""
        fitted = self._fitted
        if fitted is None:
            ways = "call fit, load or from_state_dict first"
            if not hasattr(self, "from_state_dict"):
                ways = "call fit or load first"
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet; {ways}")
        return fitted

    def _current(self) -> Fitted:
        """Return the record if parameters still match it and no other thread trains."""
        fitted = self._record()
        self._check_free()
        for name, now in self._architecture(fitted.frame_size).items():
            if now != fitted.architecture[name]:
                raise ArgumentError(
                    f"{name} must be {fitted.architecture[name]!r}, as the model was fitted with, "
                    f"got {now!r}; set it back or fit anew"
                )
        return fitted

    @contextmanager
    def _reading(self) -> Iterator[Fitted]:
        """Yield the record; raise `BusyError` if another thread began to train meanwhile."""
        trainings = self._trainings
        try:
            yield self._current()
        except OutOfMemoryError:
            raise
        except MemoryError as error:
            raise _out_of_memory(error) from error
        self._check_free()
        if self._trainings != trainings:
            raise _busy()

    def _check_free(self) -> None:
        if _TRAINING.get(id(self), me := threading.get_ident()) != me:
            raise _busy()

    def _inference(self, *, silent: bool = False) -> Inference:
        """Return how the engine passes over windows; a long call shows a bar unless `silent`."""
        on_rows = None if silent else RowBar(self.verbose)
        return Inference(value(self, "batch_size"), self._threads(), on_rows)

    def _threads(self) -> int | None:
        """Return the number of threads; None is torch's number.

        Processes that multiprocessing starts are many, so that one thread each is the default.
        """
        given: int | None = value(self, "num_threads")
        is_worker = multiprocessing.parent_process() is not None
        return 1 if given is None and is_worker and "OMP_NUM_THREADS" not in os.environ else given

    def _place(self) -> tuple[str, str]:
        """Return the device and the precision of the products there."""
        return self._group.device(value(self, "device")), value(self, "precision")

    @property
    def frame_shape_(self) -> tuple[int, ...]:
        """Shape of one frame."""
        return self._record().frame_shape

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """Labels of the columns in `fit`, where its windows had them."""
        columns = self._record().columns
        if columns is None:
            raise AttributeError(f"this {type(self).__name__} was fitted on windows without names")
        names = np.empty(len(columns), object)
        for i, label in enumerate(columns):
            names[i] = label
        return names

    @property
    def history_(self) -> list[dict[str, float]]:
        """The records of the training."""
        return self._record().history

    @property
    def seed_(self) -> int:
        """The seed drawn from `random_state`."""
        return self._record().seed

    @property
    def n_iter_(self) -> int:
        """Updates made so far."""
        return self._record().core.progress[0]

    @property
    def device_(self) -> str:
        """The device of the weights: "cpu", "cuda:0" and so on."""
        return self._record().core.device

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there are weights."""
        return self._fitted is not None

    # -- files and pickles -------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, training: bool = False) -> None:
        """Write the weights and all parameters to a safetensors file, completely or not at all.

        Parameters
        ----------
        path : str or path-like
            The file; an existing one is replaced once the new one is complete.
        training : bool, default=False
            Whether to write the optimizer's moments and the position in the data too, for three
            times the space. A training that continues after `load` then gives the same numbers as
            an uninterrupted one.

        Raises
        ------
        NotFittedError
            If the estimator was not fitted.
        OSError
            If the file cannot be written; an existing one keeps its contents.

        Notes
        -----
        A pickle holds the same as a file without the training, so that it is small where it goes
        to many workers. ``copy.deepcopy`` copies the training too.
        """
        self._current()
        write(self, path, training=training)

    def _parameters(self) -> dict[str, Any]:
        """Return the parameters of an equal estimator."""
        parameters: dict[str, Any] = self.get_params(deep=False)
        if not isinstance(self.random_state, int | None):
            parameters["random_state"] = self.seed_
        return parameters

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "auto") -> Self:
        """Read a file that `save` has written, also on another device.

        Parameters
        ----------
        path : str or path-like
            The file.
        device : str, default="auto"
            The device of the model, as the parameter of that name.

        Returns
        -------
        Model or Classifier
            The saved estimator: its numbers are the same to the bit on the same kind of device.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FileFormatError
            If the file is truncated, corrupt, not of backcast or not of this class, or of a newer
            format.
        """
        return read(cls, path, device)[0]

    def _saved_architecture(self, items: dict[str, Any]) -> dict[str, Any]:
        """Return the architecture of the model in a file, of what was fitted there."""
        return self._architecture(math.prod(items["frame_shape"]))

    def _restored(self, contents: files.Contents) -> Fitted:
        """Return the record in a file."""
        raise NotImplementedError

    def _new_from(self, contents: files.Contents, **more: Any) -> Fitted:
        """Return a record with the contents of a file."""
        fitted = contents.fitted
        return self._new(
            self._saved_architecture(fitted),
            tuple(fitted["frame_shape"]),
            scale=scale_of(fitted.get("scale")),
            scaled=fitted["scaled"],
            seed=fitted["seed"],
            weights=contents.weights,
            history=fitted["history"],
            trained_on=fitted.get("trained_on"),
            columns=files.labels_of(fitted.get("columns")),
            **more,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what `save` writes: the weights, but not the optimizer's moments.

        A pickle goes to every worker that encodes or scores, and the moments are two thirds of it.
        """
        return self._state(training=False)

    def __copy__(self) -> Self:
        """Copy the state of the training too, so that the copy trains on identically."""
        return self.__deepcopy__(None)

    def __deepcopy__(self, memo: dict[int, Any] | None) -> Self:
        """Copy the state of the training too, so that the copy trains on identically."""
        new = type(self).__new__(type(self))
        state = self._state(training=True)
        new.__setstate__(state if memo is None else copy.deepcopy(state, memo))
        return new

    def _state(self, *, training: bool) -> dict[str, Any]:
        """Return the weights, and the state of the training if asked for, without the engine."""
        state = dict(super().__getstate__())
        for name in ("_trainings", "_group"):
            state.pop(name, None)
        fitted = state.pop("_fitted", None)
        if fitted is not None:
            record = {name: item for name, item in vars(fitted).items() if name != "core"}
            record["history"] = list(fitted.history)
            core = fitted.core
            kept = core.training_state() if training else (None, None, [0, core.progress[0], 0, 0])
            state["_pickled"] = (core.weights(), kept)
            state["_pickled_record"] = record
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the engine, on the CPU if its GPU is not available here."""
        pickled, record = state.pop("_pickled", None), state.pop("_pickled_record", None)
        if pickled is not None and record is None:
            record = _old_record(state)
        # A pickle lacks parameters that were added after it was made.
        names = self._get_param_names()
        defaults = {name: PARAMETERS[name].default for name in names if name in PARAMETERS}
        super().__setstate__(defaults | state)
        if pickled is None:
            return
        weights, training = pickled
        self.precision = _precision_on(self.device, self.precision)
        try:
            core = self._core_of(record, weights)
        except DeviceError as error:
            warnings.warn(f"{error}; this model is now on the CPU", RuntimeWarning, stacklevel=2)
            self.device = "cpu"
            self.precision = _precision_on(self.device, self.precision)
            core = self._core_of(record, weights)
        core.set_training_state(*training)
        self._fitted = Fitted(core=core, **record)

    def _core_of(self, record: Mapping[str, Any], weights: dict[str, Any]) -> _core.Core:
        """Return the engine of a pickled record."""
        init = {"init": "pytorch", "forget_bias": None, "seed": record["seed"]}
        return _core.Core(record["architecture"], init, *self._place(), weights=weights)

    def _shown(self) -> tuple[Fitted | None, Mapping[str, str]]:
        return self._fitted, {}


def fitted_of(estimator: Estimator) -> Fitted:
    """Return the record of what was fitted.

    Raises
    ------
    NotFittedError
        If there is none yet.
    """
    return estimator._record()


def write(estimator: Estimator, path: str | os.PathLike[str], **options: Any) -> None:
    """Write an estimator to a file; see `backcast._estimator.files.write` for the options."""
    name, parameters = type(estimator).__name__, estimator._parameters()
    files.write(path, name, parameters, estimator._record(), **options)


def read(
    kind: type[_Kind], path: str | os.PathLike[str], device: str
) -> tuple[_Kind, files.Contents]:
    """Read a file; return an estimator of this kind and the contents of the file."""
    device = text("device", device)
    estimator: _Kind

    def check_header(
        parameters: dict[str, Any], items: dict[str, Any], shapes: files.Shapes
    ) -> None:
        nonlocal estimator
        if "precision" in parameters:
            parameters["precision"] = _precision_on(device, parameters["precision"])
        estimator = kind(**parameters | {"device": device})
        _check_saved(estimator)
        _core.check_shapes(estimator._saved_architecture(items), shapes)

    contents = files.read(path, kind.__name__, check_header)
    fitted = contents.fitted
    with files.damaged(path):
        estimator._fitted = estimator._restored(contents)
        core, training = estimator._fitted.core, fitted.get("training")
        if training is None:
            core.set_training_state(None, None, [0, fitted["n_iter"], 0, 0])
        else:
            core.set_training_state(contents.first, contents.second, training["progress"])
            estimator._change(end=training["end"])
    return estimator, contents


def _check_saved(estimator: Estimator) -> None:
    """Check parameters from a file, also those that a new estimator takes as they come."""
    check(estimator)
    state = estimator.random_state
    if state is not None:
        integer("random_state", state, least=0, most=2**64 - 1)
    flag("warm_start", getattr(estimator, "warm_start", False))
    if not isinstance(estimator.verbose, int):
        raise ArgumentError(f"verbose must be a whole number, got {estimator.verbose!r}")
    if getattr(estimator, "model", None) is not None:
        raise ArgumentError("model must be None in a file")


def _old_record(state: dict[str, Any]) -> dict[str, Any]:
    """Remove the loose attributes of a pickle of release 0.1.0; return them as a record."""
    names = {
        "_built": "architecture",
        "frame_shape_": "frame_shape",
        "seed_": "seed",
        "_scale": "scale",
        "_scaled": "scaled",
        "_end_": "end",
        "horizon_": "horizon",
        "classes_": "classes",
        "_trained_on": "trained_on",
        "history_": "history",
    }
    record = {new: state.pop(old) for old, new in names.items() if old in state}
    for name in ("_sizes", "_told"):
        state.pop(name, None)
    return record


def _precision_on(device: str, precision: str) -> str:
    """Return the precision of a model on a device: only CUDA has TF32."""
    on_cpu = device == "cpu" or not _core.cuda_device_count()
    return "auto" if precision == "tf32" and on_cpu else precision


def _busy() -> BusyError:
    return BusyError(
        "this model is in use by another thread; give each thread its own copy (copy.deepcopy)"
    )


def _out_of_memory(error: MemoryError) -> OutOfMemoryError:
    """Say what helps where NumPy, or Python itself, got no memory."""
    return OutOfMemoryError(
        f"there is not enough memory: {str(error) or 'Python got none'}; try a smaller batch_size "
        "or hidden_size, or fewer or shorter windows"
    )


def _stopped(updates: int) -> KeyboardInterrupt:
    """Return a plain KeyboardInterrupt, which ends scripts, that says what was kept."""
    kept = f"after update {updates:,}; its weights are kept"
    error = KeyboardInterrupt(f"training stopped {kept if updates else 'before its first update'}")
    vars(error)["_render_traceback_"] = partial(brief, error)
    return error
