"""Files and pickles that release 0.1.0 wrote still load, to the bit.

`old_files` was written before the estimators were restructured, on a processor with AVX2 only;
`expected.npz` holds what its models gave there (the forecaster's file is of a later build, before
it learnt the units of errors). Other processors add numbers up in another order.
"""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from backcast import AnomalyDetector, Classifier, Forecaster, Model
from small import FUTURE, PAST, X, small_model

OLD = Path(__file__).parent / "old_files"
EXPECTED: dict[str, NDArray[Any]] = dict(np.load(OLD / "expected.npz"))
T = np.arange(120)
TABLE = pd.DataFrame(
    {"a": np.sin(T / 3), "b": 5 + np.cos(T / 4)},
    index=pd.date_range("2026-01-01", periods=120, freq="h", name="time"),
)


def same(found: Any, name: str) -> None:
    np.testing.assert_allclose(found, EXPECTED[name], rtol=1e-4, atol=1e-5, err_msg=name)


def unpickled(name: str) -> Any:
    return pickle.loads((OLD / f"{name}.pickle").read_bytes())


MODELS = {
    "a file": lambda: Model.load(OLD / "model.safetensors", device="cpu"),
    "a file of a training": lambda: Model.load(
        OLD / "model_with_training.safetensors", device="cpu"
    ),
    "a pickle": lambda: unpickled("model"),
}


@pytest.mark.parametrize("how", MODELS)
def test_an_old_model_gives_its_numbers(how: str) -> None:
    model = MODELS[how]()
    for method in ("encode", "predict", "reconstruct"):
        same(getattr(model, method)(PAST), method)
    assert (model.n_iter_, model.horizon_, model.frame_shape_) == (8, 3, (3,))
    assert [record["step"] for record in model.history_] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert model.feedback == {"reconstruct": "none", "predict": "scheduled"}


@pytest.mark.parametrize("how", ["a file of a training", "a pickle"])
def test_an_old_training_continues_as_it_did(how: str) -> None:
    model = MODELS[how]().partial_fit(PAST, FUTURE)
    for name, array in model.state_dict().items():
        same(array, f"continued.{name}")


def test_an_old_model_of_bytes_remembers_them() -> None:
    model = Model.load(OLD / "bytes.safetensors", device="cpu")
    same(model.encode(X), "bytes")
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        model.encode(X * 2)


@pytest.mark.filterwarnings("ignore::backcast.errors.TrainingWarning")
def test_an_old_checkpoint_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    shutil.copy(OLD / "checkpoint.safetensors", path)
    model = small_model(max_iter=8, patience=6).fit(X, validation=X[:4], checkpoint=path)
    for name, array in model.state_dict().items():
        same(array, f"checkpoint.{name}")
    assert model.n_iter_ == 8


@pytest.mark.parametrize("how", ["file", "pickle"])
def test_an_old_classifier_gives_its_numbers(how: str) -> None:
    file = OLD / "classifier.safetensors"
    classifier = Classifier.load(file, device="cpu") if how == "file" else unpickled("classifier")
    same(classifier.predict_proba(PAST), "classify")
    assert classifier.classes_.tolist() == ["a", "b", "c"]


def test_an_old_detector_gives_its_numbers() -> None:
    detector = AnomalyDetector.load(OLD / "detector.safetensors", device="cpu")
    same(detector.scores(TABLE), "scores")


def test_an_old_detector_continues_its_stream(tmp_path: Path) -> None:
    detector = unpickled("detector_with_stream")
    detector.save(tmp_path / "d.safetensors")
    same(AnomalyDetector.load(tmp_path / "d.safetensors", device="cpu").scores(TABLE), "scores")
    same(detector.scores(TABLE), "scores")
    same(detector.update(TABLE[20:30])[["a", "b"]], "stream")


def test_an_old_forecaster_gives_its_numbers() -> None:
    forecaster = Forecaster.load(OLD / "forecaster.safetensors", device="cpu")
    same(forecaster.predict(TABLE[:90], interval=0.8), "forecast")
