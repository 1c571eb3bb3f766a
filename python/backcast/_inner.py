"""Estimators around a `Model`: its parameters, and their files."""

from __future__ import annotations

import difflib
import functools
import inspect
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Self

import numpy as np
from sklearn.base import clone

from backcast._estimator.base import fitted_of, read, write
from backcast._estimator.files import damaged, kind_of, section_of
from backcast._estimator.fitted import Fitted
from backcast._estimator.view import Shown
from backcast.data._clock import restored_gap, saved_gap
from backcast.data._recordings import check_savable
from backcast.errors import ArgumentError, FileFormatError, NotFittedError
from backcast.model import Model

P = ParamSpec("P")


class HasModel(Shown):
    """An estimator that trains a `Model`, or uses one: what all of them have in common."""

    model: Any
    group: Any
    time: Any
    columns: Any
    gap: Any
    model_: Model
    decisions_: dict[str, str]
    get_params: Any

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the estimator to a safetensors file, completely or not at all.

        Parameters
        ----------
        path : str or path-like
            The file; an existing one is replaced once the new one is complete. `Model.load` reads
            the model alone from it.

        Raises
        ------
        NotFittedError
            If the estimator was not fitted.
        ArgumentError
            If the label of a column is neither a word nor a number.
        OSError
            If the file cannot be written; an existing one keeps its contents.
        """
        self._check_fitted()
        model, learnt = self.model, self._learnt()
        check_savable([*(learnt["columns"] or []), *learnt.get("known", [])], self.group, self.time)
        parameters = self.get_params(deep=False)
        parameters["model"] = model.get_params(deep=False) if isinstance(model, Model) else model
        parameters["gap"] = saved_gap(self.gap)
        if self.columns is not None:
            parameters["columns"] = learnt["columns"]
        more = {section_of(type(self)): {"parameters": parameters} | learnt}
        write(self.model_, path, more=more)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "auto") -> Self:
        """Read an estimator that `save` has written, also on another device.

        Parameters
        ----------
        path : str or path-like
            The file.
        device : str, default="auto"
            Device of the model, as its parameter of that name.

        Returns
        -------
        AnomalyDetector, Forecaster or Embedder
            The saved estimator: its numbers are the same to the bit on the same kind of device. The
            parameter `model` of a detector is its fitted model, so that `fit` learns errors and
            threshold again, and does not train.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FileFormatError
            If the file is truncated, corrupt, or of another estimator.
        """
        model, contents = read(Model, path, device)
        section = section_of(cls)
        if section not in contents.fitted:
            raise FileFormatError(
                f"{path}: must be a backcast {cls.__name__}, got a backcast {kind_of(path)}"
            )
        with damaged(path, section):
            saved = contents.fitted[section]
            estimator = cls(**cls._parameters(saved, model))
            check_savable([], estimator.group, estimator.time)
            restored_gap(estimator.gap)
            estimator._restore(saved, model)
            estimator.model_ = model
            estimator._set_names()
        return estimator

    @classmethod
    def _parameters(cls, saved: Mapping[str, Any], model: Model) -> dict[str, Any]:
        """Return the parameters that a file holds."""
        parameters: dict[str, Any] = saved["parameters"]
        return parameters

    def _learnt(self) -> dict[str, Any]:
        """Return what a file holds beside parameters and the model, as JSON does."""
        raise NotImplementedError

    def _restore(self, saved: Mapping[str, Any], model: Model) -> None:
        """Take over what a file holds; raise `ValueError` if it is not as it was saved."""
        raise NotImplementedError

    def _names(self) -> list[Any]:
        """Return the labels of the columns; of arrays their numbers."""
        raise NotImplementedError

    def _set_names(self) -> None:
        """Set the number of columns, and their names as scikit-learn has them: if all are words."""
        names = self._names()
        self.n_features_in_ = len(names)
        if names and all(isinstance(name, str) for name in names):
            self.feature_names_in_ = np.array(names, dtype=object)

    if not TYPE_CHECKING:  # Or every name would be an attribute.

        def __getattr__(self, name: str) -> Any:
            """Say that what is learnt is not there yet; called where nothing else has the name."""
            if name.endswith("_") and not name.startswith("_"):
                self._check_fitted()
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(
                f"this {type(self).__name__} is not fitted yet; call fit or load first"
            )

    def _shown(self) -> tuple[Fitted | None, Mapping[str, str]]:
        if not self.__sklearn_is_fitted__():
            return None, {}
        # A detector of an old pickle has made no decisions.
        return fitted_of(self.model_), getattr(self, "decisions_", {})

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether `fit` or `load` came to its end."""
        return "model_" in vars(self)


def model_of(given: Any, defaults: dict[str, Any]) -> Model:
    """Return an unfitted model: a copy of a `Model`, or one of parameters over the defaults."""
    if isinstance(given, Model):
        model: Model = clone(given)
        return model
    if given is not None and not isinstance(given, Mapping):
        got = f"a {type(given).__name__}"
        raise ArgumentError(f"model must be a backcast.Model, its parameters or None, got {got}")
    parameters = dict(given or {})
    known = Model._get_param_names()
    for name in parameters:
        if name not in known:
            raise ArgumentError(
                f"model must hold parameters of backcast.Model, got {name!r}{_nearest(name, known)}"
            )
    return Model(**(defaults | parameters))


def advise_on_names(init: Callable[P, None]) -> Callable[P, None]:
    """Let the initialiser of an estimator say where a parameter of its model belongs."""
    own = list(inspect.signature(init).parameters)[1:]

    @functools.wraps(init)
    def checked(*args: P.args, **parameters: P.kwargs) -> None:
        for name, value in parameters.items():
            if name in own:
                continue
            kind = type(args[0]).__name__
            hint = _nearest(name, own)
            if name in Model._get_param_names():
                hint = f"; it is one of the model inside, {kind}({{{name!r}: {value!r}, ...}})"
            raise TypeError(f"{kind} has no parameter {name!r}{hint}")
        init(*args, **parameters)

    return checked


def _nearest(name: Any, known: list[str]) -> str:
    near = difflib.get_close_matches(str(name), known, 1)
    return f"; {near[0]!r} is one" if near else f"; there are {', '.join(known)}"
