"""Weights from a state dict of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backcast._parameters import DECODERS
from backcast.errors import ArgumentError, DataError, ShapeError


def numbers(name: str, value: ArrayLike) -> NDArray[np.float32]:
    """Return finite numbers as a float32 array, or raise an error."""
    try:
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(np.asarray(value, dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise ShapeError(
            f"{name} must be an array of numbers, got a {type(value).__name__}: {error}"
        ) from None
    if not np.isfinite(array).all():
        raise DataError(f"{name} must hold finite numbers, got NaN or an infinite number")
    return array.reshape(np.shape(value))


def weights(arrays: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Return arrays or tensors by name as float32 arrays."""
    if not isinstance(arrays, Mapping):
        raise ArgumentError(
            "arrays must be a mapping of names to arrays, as state_dict() gives it, got a "
            f"{type(arrays).__name__}"
        )
    plain = {
        name: array.detach().cpu() if hasattr(array, "detach") else array
        for name, array in arrays.items()
    }
    return {name: numbers(name, array) for name, array in plain.items()}


def sizes(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return the frame size and the parameters of a model with these weights."""
    first, recurrent = "encoder.lstm.weight_ih_l0", "encoder.lstm.weight_hh_l0"
    for name in (first, recurrent):
        if name not in arrays or arrays[name].ndim != 2:
            raise ShapeError(
                f"weights must hold {name}, a matrix, got {', '.join(arrays) or 'nothing'}"
            )
    present = [d for d in DECODERS["both"] if f"{d}_decoder.fc.weight" in arrays]
    if not present:
        raise ShapeError(
            "weights must hold reconstruct_decoder.fc.weight or predict_decoder.fc.weight, "
            f"got {', '.join(arrays)}"
        )
    has_input = {d: f"{d}_decoder.lstm.weight_ih_l0" in arrays for d in present}
    feedback = {d: "output" if has_input[d] else "none" for d in present}
    return {
        "frame_size": arrays[first].shape[1],
        "hidden_size": arrays[recurrent].shape[1],
        "num_layers": sum(name.startswith("encoder.lstm.weight_hh_l") for name in arrays),
        "decoders": "both" if len(present) == 2 else present[0],
        "feedback": "output" if all(has_input.values()) else feedback,
        "peepholes": "encoder.lstm.weight_ch_l0" in arrays,
    }
