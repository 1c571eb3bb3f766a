"""What is learnt beside the network, as JSON holds it."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast._parameters import Word, flag, integer
from backcast.forecast._intervals import Intervals
from backcast.forecast._layout import Layout
from backcast.forecast._linear import Linear
from backcast.forecast._normalization import NORMALIZE, Normalization
from backcast.forecast._prepared import Preparation
from backcast.forecast._scale import Scale

Shape = tuple[int | None, ...]
Shapes = dict[str, Shape]


def plain(value: Any) -> Any:
    """Return a record of numbers and arrays, also a nested one, as JSON holds it."""
    if isinstance(value, np.ndarray):
        numbers = np.ascontiguousarray(value)
        text = base64.b64encode(numbers.tobytes()).decode()
        return {"dtype": numbers.dtype.str, "shape": numbers.shape, "bytes": text}
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(part) for name, part in vars(value).items()}
    return value


def preparation(saved: dict[str, Any], n_columns: int) -> Preparation:
    """Return the preparation that a file holds; raise `ValueError` if it is not as it was saved."""
    layout = Layout(**saved["layout"])
    for name, least in (("past", 1), ("future", 1), ("segment", 1), ("n_known", 0)):
        integer(name, getattr(layout, name), least)
    integer("segment", layout.segment, 1, layout.past)
    n_known, linear, scale = layout.n_known, saved["linear"], saved.get("scale")
    if linear is not None:
        n_maps = len(numbers(linear["past"], "past", (None, 1 + layout.past + n_known, None)))
        if n_maps not in (1, n_columns):
            raise ValueError(f"linear must hold 1 map or {n_columns}, got {n_maps}")
        shapes: Shapes = {
            "past": (n_maps, 1 + layout.past + n_known, layout.future),
            "step": (n_maps, layout.future, n_known),
        }
        linear = Linear(**_arrays(linear, shapes))
    if scale is not None:
        shapes = {"least": (2, n_columns), "deviation": (n_columns,), "factor": (n_columns,)}
        scale = Scale(**_arrays(scale, shapes, above_0=True, powers=(3 + n_known,)))
    normalization = dict(saved["normalization"])
    kind = Word(NORMALIZE)("normalize", normalization.pop("kind"))
    shapes = {"deviation": (n_columns,), "least": (n_columns,)}
    learnt = _arrays(normalization, shapes, above_0=True, mean=(n_columns,))
    return Preparation(
        normalization=Normalization(kind, **learnt),
        layout=layout,
        linear=linear,
        together=flag("together", saved["together"]),
        known_mean=numbers(saved["known_mean"], "known_mean", (n_known,)),
        known_deviation=numbers(saved["known_deviation"], "known_deviation", (n_known,), True),
        scale=scale,
    )


def intervals(saved: dict[str, Any] | None, future: int, n_columns: int) -> Intervals | None:
    """Return the intervals that a file holds; raise `ValueError` if they are not as saved."""
    if saved is None:
        return None
    return Intervals(numbers(saved["errors"], "errors", (None, future, n_columns), nan=True))


def _arrays(
    saved: dict[str, Any], shapes: Shapes, *, above_0: bool = False, **others: Shape
) -> dict[str, NDArray[Any]]:
    """Return arrays of these names and shapes; `others` may hold numbers up to 0."""
    if set(saved) != {*shapes, *others}:
        raise ValueError(f"arrays must be {sorted({*shapes, *others})}, got {sorted(saved)}")
    found = {name: numbers(saved[name], name, shape, above_0) for name, shape in shapes.items()}
    return found | {name: numbers(saved[name], name, shape) for name, shape in others.items()}


def numbers(
    saved: dict[str, Any], name: str, shape: Shape, above_0: bool = False, *, nan: bool = False
) -> NDArray[Any]:
    """Return an array that a file holds, of a shape in which None is any size."""
    if saved["dtype"] not in ("<f4", "<f8"):
        raise ValueError(f"{name} must hold floats, got {saved['dtype']!r}")
    given = saved["shape"]
    if len(given) != len(shape) or any(
        type(size) is not int or size != wanted
        for size, wanted in zip(given, shape, strict=True)
        if wanted is not None
    ):
        wanted = str(shape).replace("None", "any")
        raise ValueError(f"{name} must be of shape {wanted}, got {given}")
    array: NDArray[Any] = np.frombuffer(base64.b64decode(saved["bytes"]), saved["dtype"])
    array = array.reshape(given).copy()
    if np.isinf(array).any() or (not nan and np.isnan(array).any()):
        raise ValueError(f"{name} must hold finite numbers")
    if above_0 and not (array > 0).all():
        raise ValueError(f"{name} must hold numbers above 0")
    return array
