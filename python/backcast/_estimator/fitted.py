"""The record of a fit: the engine and everything that its numbers depend on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast import _core
from backcast._engine.columns import Column, Sequences, check_names, sequences, with_frames
from backcast._engine.scale import Scale, undo
from backcast._parameters import LOSS_RANGES
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

    @property
    def frame_size(self) -> int:
        """Numbers in a frame."""
        return math.prod(self.frame_shape)

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
