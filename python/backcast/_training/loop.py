"""The training loop: everything that trains goes through `train`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from backcast import _core
from backcast._training.advice import advise
from backcast._training.group import ALONE, Alone
from backcast._training.hooks import Hooks
from backcast._training.progress import Progress
from backcast._warn import warn
from backcast.errors import GroupError

# About this many records in `history_` for `max_iter` updates.
_RECORDS = 100


def report_every(end: int) -> int:
    """Return the updates from one record to the next, in a training of `end` updates."""
    return max(1, math.ceil(end / _RECORDS))


def train(
    core: _core.Core,
    source: tuple[Any, Any, Any] | Callable[[], Any],
    settings: Mapping[str, Any],
    *,
    until: int | None,
    last: int | None,
    history: list[dict[str, float]],
    verbose: int,
    hooks: Hooks | None = None,
    check: bool = False,
    num_threads: int | None = None,
    group: Alone = ALONE,
    batches: int | None = None,
) -> None:
    """Train an engine on windows, or on a stream of batches.

    Parameters
    ----------
    core : Core
        The engine.
    source : tuple or callable
        Past and future columns and labels of all windows; or a function that returns those of the
        next batch, and None at the end of a pass.
    settings : mapping
        Settings of the engine, by the names of its struct ``Training``.
    until : int or None
        The last update; None trains for one pass.
    last : int or None
        The update at which the progress bar ends; None where it is unknown.
    history : list of dict
        Records are appended to it.
    verbose : int
        0 shows no bar.
    hooks : Hooks, default=None
        Hooks that run at each record.
    check : bool, default=False
        Whether to check all windows before the first update.
    num_threads : int, default=None
        Threads of the CPU.
    group : Alone, default=ALONE
        The processes that train together; process 0 shows the bar and gives advice.
    batches : int, default=None
        The batches of an epoch, if each process has windows of its own.
    """
    hooks = hooks or Hooks(core)
    first = core.progress[0]
    every = report_every(settings["end"])
    leads = group.rank == 0
    verbose = verbose if leads else 0
    progress = Progress(history, first, last, every, settings["loss_weights"], verbose)
    session = _core.Session(
        core,
        source,
        dict(settings),
        every,
        progress,
        check=check,
        num_threads=num_threads,
        group=group.engine,
        batches=batches,
    )
    stopped = used_up = False
    with progress:
        try:
            while not stopped and not used_up and (until is None or core.progress[0] < until):
                done = core.progress[0]
                stop = until
                if until is not None and not hooks.idle:
                    stop = min(until, (done // every + 1) * every)
                session.run(stop)
                progress.flush()
                if core.progress[0] > done and not hooks.idle:
                    stopped = hooks.after(history[-1])
                if until is None:
                    break
                used_up = stop is not None and core.progress[0] < stop
        except (KeyboardInterrupt, SystemExit, GroupError):
            if core.progress[0] > first:
                hooks.write()
            raise
    hooks.finish()
    if not leads:
        return
    if progress.drifts:
        warn(
            f"the processes had drifted apart at {progress.drifts} of their reports and took over "
            "the weights of process 0: processors of several kinds round differently. Train on "
            "machines of one kind where numbers must be repeatable"
        )
    if used_up and not stopped:
        warn(
            f"the batches were used up after {core.progress[0]:,} of {until:,} updates; give an "
            "iterable that starts again in each pass, such as a DataLoader"
        )
    if until is not None:
        advise(history, first, stopped)
