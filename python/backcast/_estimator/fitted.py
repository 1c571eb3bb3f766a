"""The record of a fit: the engine and everything that its numbers depend on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast import _core
from backcast._engine.columns import Column, Sequences, check_names, sequences, with_frames
from backcast._engine.scale import Scale, undo
from backcast._estimator.safetensors import is_count
from backcast._parameters import LOSS_RANGES, Word
from backcast.errors import DataError, ShapeError

Record = dict[str, float]
Columns = tuple[Column, Column | None]


@dataclass(frozen=True)
class Fitted:
    """An engine and everything that belongs to its weights.

    An estimator replaces the whole record in one step, so that another thread sees the old one or
    the new one and never a mixture.
    """

    core: _core.Core
    architecture: Mapping[str, Any]
    frame_shape: tuple[int, ...]
    # The seed of the weights, the order of windows, dropout and scheduled feedback.
    seed: int
    # How numbers are scaled for the engine; None leaves them as they are.
    scale: Scale | None
    # True: fitted on bytes scaled to 0..1. False: on numbers as they were. None: unknown.
    scaled: bool | None
    # The last update of the planned training.
    end: int
    # Number of future frames; None if unknown.
    horizon: int | None = None
    # The labels of a classifier, sorted.
    classes: NDArray[Any] | None = None
    # Lengths and number of the windows of the last training; None before the first.
    trained_on: Mapping[str, Any] | None = None
    history: list[Record] = field(default_factory=list)
    # Labels of the numbers in a frame, where the windows had them.
    columns: tuple[Any, ...] | None = None
    # Losses of simple models, by decoder, beside those of the last long training.
    baselines: Mapping[str, float] | None = None

    @property
    def frame_size(self) -> int:
        """Numbers in a frame."""
        return math.prod(self.frame_shape)

    def numbers(self, per: str, *more: str) -> int:
        """Return by how much to multiply means over numbers; `more` are further words for `per`."""
        Word(("number", "frame", *more))("per", per)
        return self.frame_size if per == "frame" else 1

    @property
    def _needs_unit_range(self) -> bool:
        """Whether the loss requires targets in 0..1."""
        return LOSS_RANGES[self.architecture["loss"]] is not None

    def has(self, decoder: str) -> bool:
        """Whether the weights have this decoder."""
        return bool(self.architecture["feedback"][decoder != "reconstruct"])

    def check_frames(self, *sides: Sequences | None) -> None:
        """Refuse frames of other columns, another shape or another unit than those of the fit."""
        for side in sides:
            if side is not None:
                check_names(side.name, side.columns, self.columns, "fit")
            if side is not None and side.frame_shape != self.frame_shape:
                raise ShapeError(
                    f"{side.name} must have frames of shape {self.frame_shape}, as the model was "
                    f"fitted on, got {side.frame_shape}"
                )
            refuses_bytes = self.scaled is False and not self._needs_unit_range
            if side is not None and side.is_bytes and refuses_bytes:
                raise DataError(
                    f"{side.name} must be floats in the units the model was fitted on, got uint8 "
                    "(which would be taken as 0..255 and scaled to 0..1)"
                )

    def engine_columns(
        self, pasts: Sequences, futures: Sequences | None, *, targets: bool
    ) -> Columns:
        """Return both sides as the engine takes them.

        `targets` says whether losses are computed from them: some losses need numbers in 0..1.
        """
        expected = None
        if self.scaled and self.scale is None:
            expected = "numbers from 0 to 1 (the model was fitted on uint8 frames, scaled to 0..1)"
        elif self._needs_unit_range and targets:
            loss = self.architecture["loss"]
            expected = f'numbers from 0 to 1 (loss="{loss}"; or uint8 frames, which are scaled)'
            if self.scale is not None:
                expected = f'numbers of the range that scale="minmax" was learnt on (loss="{loss}")'
        of_past = expected if self.scaled or self.has("reconstruct") else None
        future = None if futures is None else futures.column(expected, self.scale)
        return pasts.column(of_past, self.scale), future

    def pasts(self, name: str, given: Any) -> Sequences:
        """Return windows that are all past, with frames as in the fit."""
        pasts = sequences(name, given)
        self.check_frames(pasts)
        return with_frames(pasts)

    def past(self, pasts: Sequences) -> Column:
        """Return pasts for inference as the engine takes them."""
        return self.engine_columns(pasts, None, targets=False)[0]

    def frames(
        self, made: NDArray[np.float32], decoder: str, *, single: bool = False
    ) -> NDArray[Any]:
        """Return a decoder's numbers (n, steps, D) as frames, in the user's units and in order.

        With a scale they are float64, or float32 if the user's numbers are (`single`).
        """
        unscaled = undo(made, self.scale, single=single)
        frames = unscaled.reshape(*made.shape[:2], *self.frame_shape)
        return np.ascontiguousarray(frames[:, ::-1]) if decoder == "reconstruct" else frames


def check_items(items: Any) -> None:
    """Refuse items of a file that no record has, before anything is made of them.

    Raises
    ------
    ValueError
        If one is of another type or out of its range.
    """
    if not isinstance(items, dict):
        raise ValueError("what was fitted is not a table")
    for name, check in _CHECKS.items():
        # A file of an older release may lack those that may be None.
        if not check(items[name] if name in _ALWAYS else items.get(name)):
            raise ValueError(f"{name} is not as it was saved")
    scale, size = items.get("scale"), math.prod(items["frame_shape"])
    if size > 2**53:
        raise ValueError("frame_shape is too large")
    if scale is not None and any(len(part) != size for part in scale):
        raise ValueError(f"scale must be of {size} numbers")
    columns = items.get("columns")
    if columns is not None and len(columns) != size:
        raise ValueError(f"columns must be {size} labels")


def is_label(value: Any) -> bool:
    """Whether a value from JSON is the label of a column; tuples have become lists."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(part, str | int | float) for part in value)
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308


def _are(check: Callable[[Any], bool], value: Any, length: int | None = None) -> bool:
    """Whether a value from JSON is a list of such values."""
    fits = isinstance(value, list) and (length is None or len(value) == length)
    return fits and all(map(check, value))


def _is_shape(value: Any) -> bool:
    return _are(is_count, value) and len(value) <= 64 and all(value)


def _is_scale(value: Any) -> bool:
    return value is None or (
        _are(lambda part: _are(is_number, part), value, 2)
        and all(factor > 0 for factor in value[1])
    )


def _is_history(value: Any) -> bool:
    """Whether each record has numbers alone, the step and the seconds among them."""
    return _are(lambda one: _is_record(one) and {"step", "seconds"} <= {*one}, value)


def _is_record(value: Any) -> bool:
    """Whether it is a table of numbers; a loss on held-out windows may be NaN."""
    return isinstance(value, dict) and all(isinstance(one, int | float) for one in value.values())


def _is_trained_on(value: Any) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and (value["windows"] is None or is_count(value["windows"]))
        and all(_are(is_count, value[name], 2) for name in ("past", "future"))
        and is_count(value["batch"])
    )


def _is_training(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict) and _are(is_count, value["progress"], 4) and is_count(value["end"])
    )


def _is_watch(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and (value["best"] is None or is_number(value["best"]))
        and is_count(value["waited"])
        and isinstance(value["done"], bool)
    )


def _is_classes(value: Any) -> bool:
    plain = bool | int | float | str
    return value is None or (_are(lambda one: isinstance(one, plain), value) and len(value) > 1)


def _is_count_or_none(value: Any) -> bool:
    return value is None or is_count(value)


_ALWAYS = {"frame_shape", "scaled", "seed", "n_iter", "history"}

_CHECKS: dict[str, Callable[[Any], bool]] = {
    "frame_shape": _is_shape,
    "scaled": lambda value: value is None or isinstance(value, bool),
    "scale": _is_scale,
    "seed": lambda value: isinstance(value, int) and 0 <= value < 2**64,
    "n_iter": is_count,
    "history": _is_history,
    "trained_on": _is_trained_on,
    "horizon": _is_count_or_none,
    "baselines": lambda value: value is None or _is_record(value),
    "columns": lambda value: value is None or _are(is_label, value),
    "training": _is_training,
    "watch": _is_watch,
    "classes": _is_classes,
}
