"""The model inside another estimator."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from sklearn.base import clone

from backcast.errors import ArgumentError
from backcast.model import Model


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
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"; {near[0]!r} is one" if near else f", which are {', '.join(known)}"
            raise ArgumentError(f"model must hold parameters of backcast.Model, got {name!r}{hint}")
    return Model(**(defaults | parameters))
