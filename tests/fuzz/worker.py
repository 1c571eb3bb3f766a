"""Read damaged files, in a process of its own with little memory; one line a file comes out.

``python worker.py FOLDER FIRST END``: the files that `__main__.py` made lie in the folder.
"""

from __future__ import annotations

import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from backcast import AnomalyDetector, Classifier, Embedder, Forecaster, Model
from backcast.data import moving_mnist_test, read_idx
from backcast.errors import BackcastError, DivergedError, ShapeError
from mutate import damaged

# What importing takes, and this much more.
MORE_MEMORY = 600 << 20


def _used(model: Any, folder: Path) -> None:
    """Use what was loaded: its numbers must be finite."""
    past = np.zeros((2, 5, *model.frame_shape_), np.float32)
    if isinstance(model, Classifier):
        found = [model.predict_proba(past)]
        model.predict(past)
    else:
        found = [model.encode(past)]
        if model.decoders != "predict":
            found.append(model.reconstruct(past))
        if model.decoders != "reconstruct":
            found.append(model.predict(past, steps=3))
    # Numbers that are finite and absurd may overflow.
    scale = model._fitted.scale or ()
    ordinary = all(
        np.abs(numbers).max() < 1e9 for numbers in (*model.state_dict().values(), *scale)
    )
    if ordinary and not all(np.isfinite(numbers).all() for numbers in found):
        raise AssertionError("numbers that are not finite")
    model.save(folder / f"again-{os.getpid()}")
    repr(model), model._repr_html_(), model.history_, model.n_iter_


def _detector(path: Path, folder: Path) -> None:
    detector = AnomalyDetector.load(path, device="cpu")
    rows = np.zeros((sum(detector._lengths) + 5, detector.n_features_in_))
    if detector.group is None and detector.time is None:
        detector.scores(rows)
    detector.save(folder / f"again-{os.getpid()}")


def _forecaster(path: Path, folder: Path) -> None:
    forecaster = Forecaster.load(path, device="cpu")
    layout = forecaster._preparation.layout
    rows = np.zeros((layout.past + 3, forecaster.n_features_in_))
    if forecaster.group is None and forecaster.time is None and not forecaster._periods:
        future = np.zeros((layout.future, layout.n_known)) if layout.n_known else None
        forecaster.predict(rows, future=future)
    forecaster.save(folder / f"again-{os.getpid()}")


def _embedder(path: Path, folder: Path) -> None:
    embedder = Embedder.load(path, device="cpu")
    embedder.transform([np.zeros((9, embedder.n_features_in_))] * 2)
    embedder.save(folder / f"again-{os.getpid()}")


def _checkpoint(path: Path, folder: Path) -> None:
    model = Model.load(path, device="cpu")
    # A rate may be so high that the training diverges, a horizon longer than these windows.
    with suppress(DivergedError, ShapeError):
        model.partial_fit(np.zeros((3, 8, *model.frame_shape_), np.float32))
    if not all(np.isfinite(array).all() for array in model.state_dict().values()):
        raise AssertionError("weights that are not finite")


READERS: dict[str, Callable[[Path, Path], None]] = {
    "model": lambda path, folder: _used(Model.load(path, device="cpu"), folder),
    "classifier": lambda path, folder: _used(Classifier.load(path, device="cpu"), folder),
    "detector": _detector,
    "forecaster": _forecaster,
    "embedder": _embedder,
    "checkpoint": _checkpoint,
    "idx": lambda path, _: [read_idx(path).sum()],
    "npy": lambda path, _: [moving_mnist_test(path)[:1].sum()],
}
FORMATS = {"idx": "idx", "npy": "npy"}


def main(folder: Path, first: int, end: int) -> None:
    """Read the damaged files first..end; say what came of each."""
    warnings.simplefilter("ignore")
    whole = {name: (folder / name).read_bytes() for name in READERS}
    for name in READERS:
        READERS[name](folder / name, folder)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    path = folder / f"damaged-{os.getpid()}"
    print("ready", flush=True)
    for number in range(first, end):
        name = list(READERS)[number % len(READERS)]
        path.write_bytes(damaged(whole[name], FORMATS.get(name, "safetensors"), number))
        print(number, name, end=" ", flush=True)
        began = time.monotonic()
        try:
            READERS[name](path, folder)
            said = "read"
        except BackcastError as error:
            said = type(error).__name__
        except Exception as error:
            said = f"FOREIGN {type(error).__name__}: {error}"[:300].replace("\n", " ")
        print(f"{time.monotonic() - began:.2f} {said}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
