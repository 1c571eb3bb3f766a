"""Bars of long calls, and the record of a training at each report."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Self

Record = dict[str, float]

# A call that takes no longer needs no bar; in seconds.
_PATIENCE = 2.0


class Inference(NamedTuple):
    """How the engine passes over windows without training."""

    batch_size: int
    num_threads: int | None
    on_rows: Callable[[int, int], None] | None  # called with the windows done, and with all


def bar(total: int | None, initial: int = 0, unit: str = "step", *, short: bool = False) -> Any:
    """Make a bar of `total` updates (or other units), `initial` of which were made before.

    With `short`, large numbers are shown as 1.2M.
    """
    from tqdm import TqdmWarning

    with warnings.catch_warnings():
        # A notebook without ipywidgets gets a bar of text, which is enough.
        warnings.simplefilter("ignore", TqdmWarning)
        from tqdm.auto import tqdm

    notebook = type(sys.stderr).__module__ == "ipykernel.iostream"
    return tqdm(
        total=total,
        initial=initial,
        unit=unit,
        unit_scale=short,
        # A log file gets a line every ten seconds, a terminal a bar that moves.
        mininterval=0.1 if sys.stderr.isatty() or notebook else 10.0,
        dynamic_ncols=True,
        # Notebooks show stderr in red.
        file=sys.stdout if notebook else sys.stderr,
    )


class RowBar:
    """A bar over windows that appears when a call turns out to be long; call it with done and all.

    Parameters
    ----------
    verbose : int
        0 shows nothing.
    """

    def __init__(self, verbose: int) -> None:
        self._verbose = verbose
        self._began = time.monotonic()
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Move the bar to `done` of `total` windows; it is closed when all are done."""
        if self._bar is None:
            late = time.monotonic() - self._began >= _PATIENCE
            if not (self._verbose and late and done < total):
                return
            self._bar = bar(total, unit="window")
        self._bar.update(done - self._bar.n)
        if done == total:
            self._bar.close()


class Progress:
    """Shows a training's progress and keeps the records that the engine reports.

    Parameters
    ----------
    history : list of dict
        Records are appended to it.
    start : int
        Updates made before.
    end : int or None
        The last update; None where it is unknown.
    every : int
        Updates from one record to the next.
    weights : tuple of float
        Weights of the two decoders' losses in the total.
    verbose : int
        0 shows nothing.
    """

    def __init__(
        self,
        history: list[Record],
        start: int,
        end: int | None,
        every: int,
        weights: tuple[float, float],
        verbose: int,
    ) -> None:
        self._history = history
        self._range = (start, end)
        self.every = every
        self._weights = {"reconstruct": weights[0], "predict": weights[1]}
        self._verbose = verbose
        self._reported = start
        # Reports since the last record: number of updates, and mean losses.
        self._pending: list[tuple[int, Record]] = []
        self._place: Record = {}
        self._began = time.monotonic() - (history[-1]["seconds"] if history else 0.0)
        self._bar: Any = None
        # How often the processes of a group had drifted apart.
        self.drifts = 0

    def __enter__(self) -> Self:
        if self._verbose:
            start, end = self._range
            self._bar = bar(None if end is None else end - start)
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        if self._bar is not None:
            self._bar.close()

    def on_progress(self, step: int, losses: Record) -> None:
        """Move the bar to `step`."""
        if self._bar is not None:
            # Trailing zeros keep the length of the text, so that the bar does not jump.
            shown = {name: f"{loss:#.4g}".rstrip(".") for name, loss in losses.items()}
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(step - self._range[0] - self._bar.n)

    def on_report(self, step: int, epoch: int, losses: Record, learning_rate: float) -> None:
        """Collect the means since the last report; append a record when one is due."""
        if step == self._reported:  # After Ctrl-C in a report, the engine repeats it.
            return
        self._place = {"step": step, "epoch": epoch, "learning_rate": learning_rate}
        self._pending.append((step - self._reported, losses))
        self._reported = step
        if step % self.every == 0:
            self.flush()
        self.on_progress(step, losses)

    def on_drift(self, step: int) -> None:
        """Count that the processes had drifted apart before update `step`."""
        self.drifts += 1

    def flush(self) -> None:
        """Append a record of the reports since the last one."""
        if not self._pending:
            return
        updates = sum(n for n, _ in self._pending)
        losses = self._pending[0][1]
        if len(self._pending) > 1:
            losses = {
                name: sum(n * each[name] for n, each in self._pending) / updates for name in losses
            }
        self._pending = []
        total = sum(self._weights.get(name, 1.0) * loss for name, loss in losses.items())
        rate = self._place.pop("learning_rate")
        self._history.append(
            self._place
            | {"loss": total}
            | losses
            | {"learning_rate": rate, "seconds": time.monotonic() - self._began}
        )
