"""Windows cut as a model takes them, and its errors on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backcast import Model
from backcast.experiments.paper._sources import Bytes

Decoder = Literal["reconstruct", "predict"]
Errors = dict[str, float]


def decoders_of(model: Model) -> tuple[Decoder, ...]:
    """Return the names of the decoders, which are those of the methods that run them."""
    both: tuple[Decoder, ...] = ("reconstruct", "predict")
    return tuple(name for name in both if model.decoders in ("both", name))


def sides(decoders: str, windows: Bytes, past: int) -> tuple[Bytes, ...]:
    """Cut windows in past and future; a model that only reconstructs has no future."""
    if decoders == "reconstruct":
        return (windows[:, :past],)
    return windows[:, :past], windows[:, past:]


def outputs(model: Model, past: Bytes) -> dict[str, NDArray[np.float32]]:
    """Return the output of each decoder for these pasts."""
    return {name: np.asarray(getattr(model, name)(past)) for name in decoders_of(model)}


def errors_of(model: Model, windows: Bytes, past: int) -> dict[str, Errors]:
    """Return the errors of each decoder: sums over a frame, means over frames and windows."""
    squares: Errors = {name: 0.0 for name in decoders_of(model)}
    for piece in _pieces(windows):
        truth = {"reconstruct": piece[:, :past], "predict": piece[:, past:]}
        for name, made in outputs(model, truth["reconstruct"]).items():
            squares[name] += squared_error(truth[name], made) / len(windows)
    errors = {"squared_error": squares}
    if model.loss == "bce":
        errors["cross_entropy"] = model.losses(*sides(model.decoders, windows, past), per="frame")
    return errors


def last_frame_error(windows: Bytes, past: int) -> float:
    """Return the squared error of a future that repeats the last frame."""
    squares = 0.0
    for piece in _pieces(windows):
        squares += squared_error(piece[:, past:], piece[:, past - 1 : past] / np.float32(255))
    return squares / len(windows)


def squared_error(truth: Bytes, made: NDArray[Any]) -> float:
    """Sum squared differences over a frame's numbers and over windows; mean over frames."""
    difference = truth / np.float32(255) - made
    return float(np.square(difference).sum(dtype=np.float64) / truth.shape[1])


def _pieces(windows: Bytes) -> Iterator[Bytes]:
    for first in range(0, len(windows), 500):
        yield windows[first : first + 500]
