"""The model inside another estimator."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

from sklearn.base import clone

from backcast.errors import ArgumentError
from backcast.model import Model

P = ParamSpec("P")


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
