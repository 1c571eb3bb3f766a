"""What goes on beside a training: validation, early stopping, a callback, checkpoints, advice."""

from __future__ import annotations

import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backcast.errors import ArgumentError, TrainingWarning

if TYPE_CHECKING:
    from backcast._estimator import Estimator

Callback = Callable[[Any, dict[str, float]], object]

# So many updates say something about how a training goes.
_ENOUGH = 100
_HERE = str(Path(__file__).parent)


class Watch:
    """Looks after a training at each of its records.

    Parameters
    ----------
    estimator : Estimator
        What is trained.
    validate : callable, default=None
        Gives the losses on held-out windows, by name, and their weighted total as "loss".
    patience : int, default=None
        Records without a better validation loss after which training stops.
    callback : callable, default=None
        Called with the estimator and the record; what returns True stops the training.
    checkpoint : path, default=None
        File that the training is kept in.
    minutes : float
        From one writing of it to the next.
    """

    def __init__(
        self,
        estimator: Estimator,
        *,
        validate: Callable[[], dict[str, float]] | None = None,
        patience: int | None = None,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        minutes: float = 5.0,
    ) -> None:
        self._estimator = estimator
        self._validate = validate
        self._patience = patience
        self._callback = callback
        self._checkpoint = None if checkpoint is None else Path(checkpoint)
        self._seconds = 60 * minutes
        self._written = time.monotonic()
        self.best = math.inf
        self.waited = 0
        self.done = False
        self.weights: dict[str, NDArray[np.float32]] = {}

    @property
    def idle(self) -> bool:
        """Whether there is nothing to look after."""
        return not (self._validate or self._callback or self._checkpoint)

    def after(self, record: dict[str, float]) -> bool:
        """Look at a new record; return whether to stop."""
        stop = False
        if self._validate is not None:
            losses = self._validate()
            record.update({f"validation_{name}": loss for name, loss in losses.items()})
            if losses["loss"] < self.best:
                self.best, self.waited = losses["loss"], 0
                if self._patience is not None:
                    self.weights = self._estimator._fitted().weights()
            else:
                self.waited += 1
                stop = self._patience is not None and self.waited >= self._patience
        if self._callback is not None:
            stop = self._callback(self._estimator, record) is True or stop
        if not stop and time.monotonic() - self._written >= self._seconds:
            self.write()
        return stop

    def finish(self) -> None:
        """Keep the best weights, where they were looked for, and the file of the whole training."""
        self.done = True
        if self.weights:
            self._estimator._fitted().set_weights(self.weights)
        self.write()

    def write(self) -> None:
        """Write the checkpoint, if there is to be one."""
        self._written = time.monotonic()
        if self._checkpoint is not None:
            self._estimator._write(
                self._checkpoint,
                training=True,
                arrays={f"best.{name}": array for name, array in self.weights.items()},
                watch=self.state,
            )

    @property
    def state(self) -> dict[str, Any]:
        """What a resumed training has to know beside the weights."""
        best = None if math.isinf(self.best) else self.best
        return {"best": best, "waited": self.waited, "done": self.done}

    def resume(self, state: dict[str, Any], weights: dict[str, NDArray[np.float32]]) -> None:
        """Take up the state of an earlier training."""
        self.best = math.inf if state["best"] is None else state["best"]
        self.waited, self.done = state["waited"], state["done"]
        self.weights = weights


def advise(history: list[dict[str, float]], first: int, stopped_early: bool) -> None:
    """Tell once what went wrong silently in the records of a training from update `first` on."""
    records = [record for record in history if record["step"] > first]
    if first or len(records) < 2 or records[-1]["step"] < _ENOUGH:
        return
    some = max(1, len(records) // 10)
    start, end = (np.mean([r["loss"] for r in part]) for part in (records[:some], records[-some:]))
    if end >= start:
        warn(
            f"the loss did not fall: {start:.4g} at first, {end:.4g} at the end. Try another "
            "learning_rate (ten times smaller, then ten times larger), or scale the numbers "
            '(scale="standard")'
        )
    validation = [record.get("validation_loss", math.nan) for record in records]
    best = int(np.nanargmin(validation)) if not all(map(math.isnan, validation)) else -1
    if best >= 0 and not stopped_early and validation[-1] > 1.1 * validation[best]:
        warn(
            f"the validation loss rose from {validation[best]:.4g} at update "
            f"{records[best]['step']:,} to {validation[-1]:.4g} at the end: the model learns its "
            "windows by heart. Try patience=10 (keeps the best weights), fewer updates, a smaller "
            "model, dropout or more windows"
        )


def advise_on_outputs(by_decoder: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]) -> None:
    """Tell once if what decoders give, (n, steps, ...), is nearly the same for every window."""
    same = {}
    for decoder, (outputs, targets) in by_decoder.items():
        given, wanted = np.var(outputs, axis=0).mean(), np.nanvar(targets, axis=0).mean()
        if len(outputs) >= 8 and given < 0.01 * wanted:
            same[decoder] = f"variance {given:.2g}, that of the windows is {wanted:.2g}"
    if same:
        warn(
            f"{' and '.join(same)} {'give' if len(same) > 1 else 'gives'} nearly the same frames "
            f"for every window ({'; '.join(same.values())}): the model has learnt no more than the "
            'mean. Try more updates (max_iter), a larger learning_rate, feedback="none", or '
            'scale="standard"'
        )


def held_out_windows(part: float, n: int) -> int:
    """Return how many of n windows to hold out."""
    held_out = round(part * n)
    if not (0 < part < 1 and 0 < held_out < n):
        raise ArgumentError(
            f"validation must be a part of the {n} windows that leaves some on both sides, 0 to 1, "
            f"got {part}"
        )
    return held_out


def enough(updates: int) -> bool:
    """Whether a training of so many updates should have learnt something."""
    return updates >= _ENOUGH


def warn(message: str) -> None:
    """Tell the user, at the line that called us."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, TrainingWarning, stacklevel=level)
