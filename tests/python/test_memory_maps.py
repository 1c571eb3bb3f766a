"""Memory maps, their copies, slices and pickles stay as they were and give the same numbers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backcast import AnomalyDetector, Model
from small import small_model

# Enough rows that pages are released many times, and windows of several pages each.
WINDOWS = np.random.default_rng(0).random((80, 12, 512), dtype=np.float32)
SERIES = np.sin(np.arange(6000, dtype=np.float32) / 5)[:, None] * np.ones(4, np.float32)

Taken = Callable[[NDArray[Any]], NDArray[Any]]
WAYS: dict[str, Taken] = {
    "the map itself": lambda m: m,
    "a copy": lambda m: m.copy(),
    "a deep copy": copy.deepcopy,
    "a pickle": lambda m: pickle.loads(pickle.dumps(m)),
    "a slice": lambda m: m[5:],
    "a pickled slice": lambda m: pickle.loads(pickle.dumps(m[5:])),
    "a copied slice": lambda m: m[5:].copy(),
    "a view as an array": np.asarray,
    "a view of a copy": lambda m: np.asarray(m.copy())[3:],
    "chosen rows": lambda m: m[np.arange(len(m))],
    "what arithmetic gives": lambda m: m * 1,
}


def opened(folder: Path, array: NDArray[Any], mode: Any) -> NDArray[Any]:
    """Map a file that holds `array`, in this mode."""
    path = folder / "array"
    if mode == "w+":
        mapped = np.memmap(path, array.dtype, mode, shape=array.shape)
        mapped[:] = array
        return mapped
    array.tofile(path)
    mapped = np.memmap(path, array.dtype, mode, shape=array.shape)
    if mode == "c":
        mapped[0] = array[1]  # lives in memory alone
    return mapped


def model() -> Model:
    return small_model(batch_size=40, max_iter=4)


def use(x: NDArray[Any]) -> list[NDArray[Any]]:
    """Read an array in every way that a model does."""
    fitted = model().fit(x, validation=x[:10])
    found = [fitted.encode(x), fitted.predict(x), fitted.reconstruct(x), fitted.encode(x)]
    scaled = model().set_params(scale="standard").fit(x).partial_fit(x)
    return [*found, scaled.encode(x), *fitted.state_dict().values(), np.array(fitted.score(x))]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["r", "r+", "w+", "c"])
def test_a_model_leaves_a_map_as_it_was(mode: str, way: str, tmp_path: Path) -> None:
    x = WAYS[way](opened(tmp_path, WINDOWS, mode))
    plain = np.array(x, subok=False)
    expected = use(plain.copy())
    for found, wanted in zip(use(x), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(x, plain)


@pytest.mark.parametrize("way", ["the map itself", "a copy", "a pickle", "a slice"])
@pytest.mark.parametrize("mode", ["r", "r+", "w+", "c"])
def test_a_detector_leaves_a_map_as_it_was(mode: str, way: str, tmp_path: Path) -> None:
    series = WAYS[way](opened(tmp_path, SERIES, mode))
    plain = np.array(series, subok=False)
    options: dict[str, Any] = {"hidden_size": 6, "max_iter": 4, "batch_size": 40, "random_state": 0}
    options |= {"device": "cpu", "verbose": 0}
    expected = AnomalyDetector(options, past=8, future=2).fit(plain.copy())
    detector = AnomalyDetector(options, past=8, future=2).fit(series)
    np.testing.assert_array_equal(detector.scores(series), expected.scores(plain))
    np.testing.assert_array_equal(series, plain)
