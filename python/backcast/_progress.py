"""What a training tells: a bar while it runs, a record now and then."""

from __future__ import annotations

import sys
from typing import Any, Self

Record = dict[str, float]


class Progress:
    """Shows a training's progress and keeps its records, as the engine tells them.

    Parameters
    ----------
    history : list of dict
        Records are appended to it.
    start, end : int
        Updates made before, and in all when it is done; `end` is None where it is not known.
    weights : tuple of float
        Of the two decoders' losses, for the weighted sum.
    verbose : int
        0 shows nothing.
    """

    def __init__(
        self,
        history: list[Record],
        start: int,
        end: int | None,
        weights: tuple[float, float],
        verbose: int,
    ) -> None:
        self._history = history
        self._weights = {"reconstruct": weights[0], "predict": weights[1]}
        self._range = (start, end)
        self._verbose = verbose
        self._seconds = history[-1]["seconds"] if history else 0.0
        self._bar: Any = None

    def __enter__(self) -> Self:
        if self._verbose:
            from tqdm.auto import tqdm

            start, end = self._range
            # A log file gets a line now and then, a person a bar that moves.
            interval = 0.1 if sys.stderr.isatty() or "ipykernel" in sys.modules else 10.0
            total = None if end is None else end - start
            self._bar = tqdm(total=total, unit="step", mininterval=interval, dynamic_ncols=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def on_progress(self, step: int, losses: Record) -> None:
        """Move the bar to `step`."""
        if self._bar is not None:
            self._bar.set_postfix(
                {name: f"{loss:.4g}" for name, loss in losses.items()}, refresh=False
            )
            self._bar.update(step - self._range[0] - self._bar.n)

    def on_report(
        self, step: int, epoch: int, losses: Record, learning_rate: float, seconds: float
    ) -> None:
        """Append one record: means since the last one."""
        total = sum(self._weights.get(name, 1.0) * loss for name, loss in losses.items())
        self._history.append(
            {"step": step, "epoch": epoch, "loss": total}
            | losses
            | {"learning_rate": learning_rate, "seconds": self._seconds + seconds}
        )
        self.on_progress(step, losses)
