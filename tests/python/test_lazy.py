"""What has a shape and slices is read batch by batch, and never copied whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from backcast import Classifier
from backcast.errors import DataError, ShapeError
from small import FUTURE, PAST, X, assert_same_weights, small_model

Y = np.arange(12) % 3


class Counted:
    """An array that can only be sliced, and tells how much was read at a time."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.reads: list[int] = []

    def __getitem__(self, key: Any) -> NDArray[Any]:
        rows, frames = key
        assert (np.diff(rows) > 0).all()  # as files want them
        self.reads.append(len(rows))
        return self.array[rows, frames]


def test_it_is_read_by_the_batch_and_gives_the_numbers_of_the_array() -> None:
    lazy = Counted(X)
    model = small_model(max_iter=7).fit(lazy)
    assert_same_weights(model, small_model(max_iter=7).fit(X))
    assert max(lazy.reads) == 5
    assert sum(lazy.reads) == 2 * (12 + 12 + 5)  # past and future of seven batches
    past = Counted(PAST)
    for method in ("encode", "reconstruct", "predict"):
        np.testing.assert_array_equal(getattr(model, method)(past), getattr(model, method)(PAST))
    assert model.losses(Counted(PAST), Counted(FUTURE)) == model.losses(PAST, FUTURE)
    assert max(past.reads) == 5


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, np.float16, np.int16])
def test_a_dataset_of_hdf5_is_read_from_its_file(dtype: Any, tmp_path: Path) -> None:
    array = (X * 200).astype(dtype)
    with h5py.File(tmp_path / "windows.h5", "w") as file:
        dataset = file.create_dataset("x", data=array, chunks=(2, *array.shape[1:]))
        options: dict[str, Any] = {"scale": None if dtype == np.uint8 else "standard"}
        model = small_model(**options).fit(dataset, validation=0.25)
        same = small_model(**options).fit(array, validation=0.25)
        assert_same_weights(model, same)
        np.testing.assert_array_equal(model.predict(dataset), same.predict(array))
        classifier = Classifier(hidden_size=4, max_iter=3, random_state=0, verbose=0, device="cpu")
        found = classifier.fit(dataset, Y).predict_proba(dataset)
        np.testing.assert_array_equal(found, classifier.fit(array, Y).predict_proba(array))


def test_a_file_much_larger_than_what_is_taken_stays_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "windows.h5"
    with h5py.File(path, "w") as file:  # 320 MB of zeros, of which the file holds none
        file.create_dataset("x", (20_000, 20, 200), np.float32, chunks=(50, 20, 200))
    work = f"""
import resource, h5py
from backcast import Model
with h5py.File({str(path)!r}) as file:
    Model(8, max_iter=5, batch_size=32, device="cpu", verbose=0).fit(file["x"][:64])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    Model(8, max_iter=200, batch_size=32, device="cpu", verbose=0).fit(file["x"]).losses(file["x"])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    command = [sys.executable, "-W", "ignore", "-c", work]
    kilobytes = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert kilobytes < 100_000


def test_tensors_and_frames_are_taken_as_they_are() -> None:
    tensor = torch.tensor(X, requires_grad=True)
    model = small_model().fit(tensor)
    same = small_model().fit(X)
    assert_same_weights(model, same)
    np.testing.assert_array_equal(model.encode(tensor), same.encode(X))
    assert_same_weights(small_model().fit([torch.tensor(x) for x in X]), small_model().fit(X))
    frames = [pd.DataFrame(x, columns=list("abc")) for x in X]
    assert_same_weights(small_model().fit(frames), small_model().fit(list(X)))


class Broken(Counted):
    def __getitem__(self, key: Any) -> NDArray[Any]:
        raise OSError("the disk is gone")


def test_an_error_in_reading_comes_out_and_the_model_is_as_it_was() -> None:
    model = small_model().fit(X)
    before = model.encode(PAST)
    for action in (model.fit, model.encode, model.partial_fit):
        with pytest.raises(OSError, match="the disk is gone"):
            action(Broken(X))
    np.testing.assert_array_equal(model.encode(PAST), before)


def test_an_error_names_the_window_of_bad_numbers() -> None:
    spoilt = X.copy()
    spoilt[7] = np.inf
    with pytest.raises(DataError, match="got an infinite number in window 7"):
        small_model(max_iter=3).fit(Counted(spoilt))
    with pytest.raises(ShapeError, match="past must be of at least 3 dimensions"):
        small_model().fit(Counted(X[0]))
    with pytest.raises(DataError, match="past must hold real numbers"):
        small_model().fit(Counted(X.astype(complex)))
    with pytest.raises(DataError, match="past must hold at least one window"):
        small_model().fit(Counted(X[:0]))
