"""Hooks that run at each record: validation, early stopping, a callback, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from backcast._warn import warn

Callback = Callable[[Any, dict[str, float]], object]
Weights = dict[str, NDArray[np.float32]]


class HasWeights(Protocol):
    """The engine, as far as the hooks use it."""

    def weights(self) -> Weights:
        """Return all weights by name."""

    def set_weights(self, arrays: Weights) -> None:
        """Replace all weights."""


class Hooks:
    """Hooks that run after each record of a training.

    Parameters
    ----------
    core : Core
        The engine in training.
    validate : callable, default=None
        Returns the losses on held-out windows, by name, and their weighted total as "loss".
    patience : int, default=None
        Number of records without a better validation loss after which training stops.
    callback : callable, default=None
        Called with each record; returns True to stop the training.
    save : callable, default=None
        Writes the checkpoint, given the best weights so far and `state`.
    minutes : float, default=5.0
        Time from one checkpoint to the next.
    """

    def __init__(
        self,
        core: HasWeights,
        *,
        validate: Callable[[], dict[str, float]] | None = None,
        patience: int | None = None,
        callback: Callable[[dict[str, float]], object] | None = None,
        save: Callable[[Weights, dict[str, Any]], None] | None = None,
        minutes: float = 5.0,
    ) -> None:
        self._core = core
        self._validate = validate
        self._patience = patience
        self._callback = callback
        self._save = save
        self._seconds = 60 * minutes
        self._written = time.monotonic()
        self._cost = 0.0
        self._best = math.inf
        self._waited = 0
        self._best_weights: Weights = {}
        self.done = False

    @property
    def idle(self) -> bool:
        """Whether no hook is set."""
        return not (self._validate or self._callback or self._save)

    def after(self, record: dict[str, float]) -> bool:
        """Run the hooks on a new record; return whether to stop."""
        stop = False
        if self._validate is not None:
            losses = self._validate()
            record.update({f"validation_{name}": loss for name, loss in losses.items()})
            if losses["loss"] < self._best:
                self._best, self._waited = losses["loss"], 0
                if self._patience is not None:
                    self._best_weights = self._core.weights()
            else:
                self._waited += 1
                stop = self._patience is not None and self._waited >= self._patience
        if self._callback is not None:
            stop = self._callback(record) is True or stop
        # Writing a large model takes seconds: spend at most a twentieth of the time on it.
        due = max(self._seconds, 20 * self._cost)
        if not stop and time.monotonic() - self._written >= due:
            self.write()
        return stop

    def finish(self) -> None:
        """Restore the best weights, if patience kept some, and write the last checkpoint."""
        self.done = True
        if self._best_weights:
            self._core.set_weights(self._best_weights)
        self.write()

    def write(self) -> None:
        """Write the checkpoint, if there is one; a failure warns and the training continues."""
        if self._save is None:
            return
        began = time.monotonic()
        try:
            self._save(self._best_weights, self.state)
        except OSError as error:
            warn(
                f"the checkpoint could not be written: {error}. The training continues; the file "
                "keeps the last checkpoint that was written",
                RuntimeWarning,
            )
        self._written = time.monotonic()
        self._cost = self._written - began

    @property
    def state(self) -> dict[str, Any]:
        """What a resumed training needs in addition to the weights."""
        best = None if math.isinf(self._best) else self._best
        return {"best": best, "waited": self._waited, "done": self.done}

    def resume(self, state: dict[str, Any], best_weights: Weights) -> None:
        """Restore the state of an earlier training."""
        self._best = math.inf if state["best"] is None else state["best"]
        self._waited, self.done = state["waited"], state["done"]
        self._best_weights = best_weights
