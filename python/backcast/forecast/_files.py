"""What is learnt beside the network, as JSON holds it."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast.forecast._intervals import Intervals
from backcast.forecast._layout import Layout
from backcast.forecast._linear import Linear
from backcast.forecast._normalization import Normalization
from backcast.forecast._prepared import Preparation
from backcast.forecast._scale import Scale


def plain(value: Any) -> Any:
    """Return a record of numbers and arrays, also a nested one, as JSON holds it."""
    if isinstance(value, np.ndarray):
        numbers = np.ascontiguousarray(value)
        text = base64.b64encode(numbers.tobytes()).decode()
        return {"dtype": numbers.dtype.str, "shape": numbers.shape, "bytes": text}
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(part) for name, part in vars(value).items()}
    return value


def preparation(saved: dict[str, Any]) -> Preparation:
    """Return the preparation that a file holds."""
    parts = {name: _array(part) for name, part in saved.items()}
    linear, scale = parts["linear"], parts.get("scale")
    return Preparation(
        **parts
        | {
            "normalization": Normalization(**_arrays(parts["normalization"])),
            "layout": Layout(**parts["layout"]),
            "linear": None if linear is None else Linear(**_arrays(linear)),
            "scale": None if scale is None else Scale(**_arrays(scale)),
        }
    )


def intervals(saved: dict[str, Any] | None) -> Intervals | None:
    """Return the intervals that a file holds."""
    return None if saved is None else Intervals(**_arrays(saved))


def _arrays(saved: dict[str, Any]) -> dict[str, Any]:
    return {name: _array(part) for name, part in saved.items()}


def _array(saved: Any) -> Any:
    if not isinstance(saved, dict) or "bytes" not in saved:
        return saved
    numbers: NDArray[Any] = np.frombuffer(base64.b64decode(saved["bytes"]), saved["dtype"])
    return numbers.reshape(saved["shape"]).copy()
