"""Losses of simple models, which a training has to beat: the mean and the last value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast._engine.columns import Sequences, floats
from backcast._engine.scale import Moments, Scale
from backcast._training.windows import Pair

MEAN, LAST = "the mean", "the last value"
"""What messages call the simple models."""

_Numbers = NDArray[np.float64]


def names_of(loss: str) -> dict[str, str]:
    """Return which simple model each decoder is compared with.

    The last value is no forecast of a probability: where it is wrong, its loss is infinite.
    """
    return {"reconstruct": MEAN, "predict": MEAN if loss == "bce" else LAST}


def losses_of(windows: Pair, loss: str, scale: Scale | None) -> dict[str, float]:
    """Return the loss of the simple model of each decoder, for the frames that there are.

    The mean is that of each number of a frame over all windows and steps of the side.

    Parameters
    ----------
    windows : Pair
        Pasts, and futures if they are to be predicted.
    loss : str
        The loss of the decoders.
    scale : tuple of ndarray or None
        Offset and factor of the numbers, as the model sees them.
    """
    pasts = _scaled(windows.pasts, scale)
    found = {"reconstruct": _mean(_of_mean(pasts, loss))}
    if windows.futures is not None and windows.futures.span[1]:
        futures = _scaled(windows.futures, scale)
        errors = _of_mean(futures, loss)
        if names_of(loss)["predict"] == LAST:
            errors = [(f - _last(p)) ** 2 for p, f in zip(pasts, futures, strict=True)]
        found["predict"] = _mean(errors)
    return found


def _scaled(side: Sequences, scale: Scale | None) -> list[_Numbers]:
    """Return each window as numbers (T, D), as the model sees them."""
    windows = side.frames if isinstance(side.frames, list) else side.array()
    offset, factor = scale or (0.0, 1.0)
    return [(floats(x).reshape(len(x), -1) - offset) / factor for x in windows]


def _of_mean(windows: list[_Numbers], loss: str) -> list[_Numbers]:
    moments = Moments(windows[0].shape[1:])
    for window in windows:
        moments.add(window)
    mean = moments.mean
    if loss != "bce":
        return [(window - mean) ** 2 for window in windows]
    mean = np.clip(mean, 1e-6, 1 - 1e-6)
    return [-x * np.log(mean) - (1 - x) * np.log(1 - mean) for x in windows]


def _last(past: _Numbers) -> _Numbers:
    """Return the last known number in each place of a past; zero if there is none."""
    known = ~np.isnan(past)
    row = len(past) - 1 - known[::-1].argmax(0)
    return np.where(known.any(0), past[row, np.arange(past.shape[1])], 0.0)


def _mean(errors: list[Any]) -> float:
    """Return the mean of all errors; NaN does not count, and there may be nothing else."""
    known = sum(int((~np.isnan(each)).sum()) for each in errors)
    return float(sum(np.nansum(each) for each in errors) / known) if known else float("nan")
