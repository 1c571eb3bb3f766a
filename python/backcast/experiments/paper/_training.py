"""Training on windows that are drawn while the model trains."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from backcast import Model
from backcast._training.progress import bar
from backcast.experiments._console import say
from backcast.experiments.paper._sources import TRAINING, Bytes, Source
from backcast.experiments.paper._windows import sides
from backcast.experiments.paper.models import Size


def _chunks(
    source: Source, size: Size, parameters: Mapping[str, Any], done: int, end: int
) -> Generator[Bytes, None, None]:
    """Draw windows for updates `done` to `end`, chunk after chunk, ahead of use, in threads."""
    seed, batch = parameters["random_state"], parameters["batch_size"]

    def draw(first: int) -> Bytes:
        rng = np.random.default_rng((TRAINING, seed, first))
        return source.draw(min(size.chunk, end - first) * batch, rng)

    # One thread draws windows faster than a GPU trains on them; a second makes sure of it.
    workers = 2 if len(os.sched_getaffinity(0)) >= 4 else 1
    firsts = iter(range(done, end, size.chunk))
    waiting: deque[Future[Bytes]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for first in firsts:
            waiting.append(pool.submit(draw, first))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def speed(source: Source, size: Size, parameters: Mapping[str, Any], seconds: float) -> float:
    """Train a model for `seconds`; return the updates per second, without the first two."""
    model = Model(**parameters, verbose=0)
    with closing(_chunks(source, size, parameters, 0, sys.maxsize)) as chunks:
        return _measured(model, size, chunks, seconds)


def _measured(model: Model, size: Size, chunks: Iterator[Bytes], seconds: float) -> float:
    start, done = time.monotonic(), -2
    for windows in chunks:
        for first in range(0, len(windows), model.batch_size):
            if done == 0:
                start = time.monotonic()
            batch = windows[first : first + model.batch_size]
            model.partial_fit(*sides(model, batch, size.past))
            done += 1
            if done > 0 and time.monotonic() - start >= seconds:
                return done / (time.monotonic() - start)
    raise AssertionError("chunks never end")


def train(
    target: Path,
    source: Source,
    size: Size,
    plan: Mapping[str, Any],
    place: Mapping[str, Any],
    checkpoint_seconds: float,
) -> Model:
    """Train to the plan's end, from where the folder's files stand."""
    end = plan["updates"]
    place = dict(place) | {"verbose": 0}
    done, checkpoint = target / "model.safetensors", target / "checkpoint.safetensors"
    there = next((file for file in (done, checkpoint) if file.exists()), None)
    if there is None:
        model = Model(**plan["model"], **place, max_iter=end)
        begun = 0
    else:
        model = Model.load(there, device=place["device"]).set_params(**place)
        begun = model.n_iter_
    if there != done:
        say("training", f"{plan['row']}, {size.name}: updates {begun:,} to {end:,}")
        say("", "Ctrl-C stops it soon, and saves it; a second one stops it at once")
        with closing(_chunks(source, size, plan["model"], begun, end)) as chunks:
            _fit(model, size, chunks, checkpoint, end, checkpoint_seconds)
        model.save(done)
        say(
            "trained",
            f"{model.n_iter_:,} updates on {model.device_}, {model.history_[-1]['seconds']:.0f} s",
        )
    checkpoint.unlink(missing_ok=True)
    return model


def _fit(
    model: Model, size: Size, chunks: Iterator[Bytes], checkpoint: Path, end: int, pause: float
) -> None:
    saved, cost = time.monotonic(), 0.0
    begun = model.n_iter_ if hasattr(model, "history_") else 0
    with bar(end, begun) as shown, _ctrl_c_waits() as pressed:
        for windows in chunks:
            model.partial_fit(*sides(model, windows, size.past))
            shown.set_postfix({"loss": f"{model.history_[-1]['loss']:.4g}"}, refresh=False)
            shown.update(model.n_iter_ - shown.n)
            # A large model takes seconds to save: a twentieth of the time, at most.
            now = time.monotonic()
            if pressed.is_set() or now - saved >= max(pause, 20 * cost):
                model.save(checkpoint, training=True)
                saved = time.monotonic()
                cost = saved - now
            if pressed.is_set():
                raise KeyboardInterrupt


@contextmanager
def _ctrl_c_waits() -> Iterator[threading.Event]:
    """Let the first Ctrl-C only set an event, where it would raise KeyboardInterrupt."""
    pressed = threading.Event()

    def press(*_: object) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
