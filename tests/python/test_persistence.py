"""What is saved comes back, to the bit; what cannot be saved leaves the old file alone."""

import copy
import io
import json
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from backcast import Model, _core
from small import FUTURE, PAST, X, assert_same_weights, differ, small_model

BYTES = (X * 255).astype(np.uint8)
MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with peepholes": {"peepholes": True, "num_layers": 2},
    "deep, of bytes": {"num_layers": 3, "dropout": 0.25, "loss": "bce"},
    "an autoencoder": {"decoders": "reconstruct", "feedback": "none"},
    "a predictor": {"decoders": "predict", "optimizer": "rmsprop", "horizon": 3},
    "mixed feedback": {"feedback": {"reconstruct": "none", "predict": "scheduled"}},
    "every option": {
        "horizon": 2,
        "loss_weights": (0.5, 2.0),
        "forget_bias": 1.0,
        "init": "paper",
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "schedule": "cosine",
        "warmup": 2,
        "num_threads": 1,
        "random_state": 7,
        "warm_start": True,
    },
}


def fitted(name: str) -> Model:
    return small_model(**MODELS[name]).fit(BYTES if "bytes" in name else X)


def assert_same_model(one: Model, other: Model) -> None:
    """The same parameters, weights and numbers, to the bit."""
    assert one.get_params() == other.get_params()
    assert_same_weights(one, other)
    np.testing.assert_array_equal(one.encode(PAST, state="full"), other.encode(PAST, state="full"))
    assert one.losses(X) == other.losses(X)
    for name in ("frame_shape_", "horizon_", "seed_", "n_iter_", "history_", "device_"):
        assert getattr(one, name) == getattr(other, name), name


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_is_the_same_to_the_bit(name: str, tmp_path: Path) -> None:
    model = fitted(name)
    model.save(tmp_path / "model.safetensors")
    assert_same_model(Model.load(tmp_path / "model.safetensors", device="cpu"), model)


@pytest.mark.parametrize("path", [str, Path, os.fspath, lambda p: p.with_name("dígitos 数字.st")])
def test_a_path_may_be_a_string_or_a_path(path: Callable[[Path], Any], tmp_path: Path) -> None:
    place = path(tmp_path / "model.safetensors")
    model = small_model().fit(X)
    model.save(place)
    assert_same_model(Model.load(place, device="cpu"), model)


def test_a_model_is_loaded_in_another_process(tmp_path: Path) -> None:
    model = small_model(num_layers=2).fit(X)
    model.save(tmp_path / "model")
    np.save(tmp_path / "past.npy", PAST)
    code = (
        "import sys, numpy as np; from backcast import Model; folder = sys.argv[1];"
        "model = Model.load(folder + '/model', device='cpu');"
        "np.save(folder + '/found.npy', model.predict(np.load(folder + '/past.npy')))"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, env=environment, timeout=120)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), model.predict(PAST))


def test_where_a_model_was_trained_does_not_matter(tmp_path: Path) -> None:
    model = small_model().fit(X)
    model.set_params(device="cuda:7").save(tmp_path / "model")
    assert Model.load(tmp_path / "model", device="cpu").device_ == "cpu"
    assert Model.load(tmp_path / "model").device == "auto"


def test_bytes_are_remembered(tmp_path: Path) -> None:
    small_model().fit(BYTES).save(tmp_path / "model")
    again = Model.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(again.encode(BYTES), again.encode(BYTES.astype(np.float32) / 255))
    with pytest.raises(ValueError, match="fitted on uint8 frames"):
        again.encode(X * 2)


def test_any_safetensors_reader_finds_the_weights_by_the_names_of_the_seed(tmp_path: Path) -> None:
    model = small_model().fit(X)
    model.save(tmp_path / "model")
    arrays = load_file(tmp_path / "model")
    weights = model.state_dict()
    assert set(arrays) == set(weights)
    for name, array in weights.items():
        assert arrays[name].dtype == np.float32
        np.testing.assert_array_equal(arrays[name], array)
    with safe_open(tmp_path / "model", "numpy") as file:
        metadata = file.metadata()
    assert metadata["format"] == "backcast"
    parameters = json.loads(metadata["parameters"])
    assert parameters["hidden_size"] == 6
    assert set(parameters) == set(model.get_params())


def test_a_random_state_is_saved_as_its_seed(tmp_path: Path) -> None:
    model = small_model(random_state=np.random.RandomState(5)).fit(X)
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model", device="cpu")
    assert again.random_state == again.seed_ == model.seed_
    assert_same_weights(again.fit(X), model)


def test_loading_draws_no_random_number(tmp_path: Path) -> None:
    model = small_model(random_state=None).fit(X)
    model.save(tmp_path / "model")
    before = np.random.get_state()[1].copy()
    assert Model.load(tmp_path / "model", device="cpu").random_state is None
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_saving_again_replaces_the_file(tmp_path: Path) -> None:
    model = small_model().fit(X)
    model.save(tmp_path / "model")
    model.partial_fit(X).save(tmp_path / "model")
    assert_same_model(Model.load(tmp_path / "model", device="cpu"), model)
    assert os.listdir(tmp_path) == ["model"]


def test_after_loading_the_optimizer_starts_anew(tmp_path: Path) -> None:
    model = small_model().fit(X)
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model", device="cpu")
    first, second, _ = loaded._fitted.core.training_state()
    assert not any(array.any() for array in [*first.values(), *second.values()])
    again = Model.load(tmp_path / "model", device="cpu")
    assert_same_weights(loaded.partial_fit(X), again.partial_fit(X))
    assert loaded.n_iter_ == model.n_iter_ + 3
    assert len(loaded.history_) == len(model.history_) + 3
    assert differ(loaded, model.partial_fit(X))  # that one still had its moments


@pytest.mark.parametrize("name", ["plain", "every option", "a predictor"])
def test_a_training_resumes_from_its_file_with_identical_results(name: str, tmp_path: Path) -> None:
    def train(model: Model, passes: int) -> Model:
        for _ in range(passes):
            model.partial_fit(X)
        return model

    unbroken = train(small_model(**MODELS[name]), 5)
    train(small_model(**MODELS[name]), 2).save(tmp_path / "model", training=True)
    resumed = Model.load(tmp_path / "model", device="cpu")
    assert resumed.n_iter_ == 6
    train(resumed, 3)
    assert_same_weights(resumed, unbroken)
    assert [record["loss"] for record in resumed.history_] == [
        record["loss"] for record in unbroken.history_
    ]


# -- files that cannot be written ------------------------------------------------------------------


def test_an_error_names_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing/model"):
        small_model().fit(X).save(tmp_path / "missing" / "model")


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(IsADirectoryError):
        small_model().fit(X).save(tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("path", ["", ".."])
def test_a_path_without_a_name_is_refused(path: str) -> None:
    with pytest.raises((OSError, ValueError), match="name of a file"):
        small_model().fit(X).save(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder_keeps_the_old_file(tmp_path: Path) -> None:
    model = small_model().fit(X)
    model.save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            model.partial_fit(X).save(tmp_path / "model")
    finally:
        tmp_path.chmod(0o700)
    assert (tmp_path / "model").read_bytes() == before


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    model = small_model().fit(X)
    model.save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    model.partial_fit(X)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))  # no file may be larger
    try:
        with pytest.raises(OSError, match="model"):
            model.save(tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "model").read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]


# -- pickles and copies ----------------------------------------------------------------------------


def by_joblib(model: Model) -> Model:
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


COPIES: dict[str, Callable[[Model], Model]] = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "the oldest pickle": lambda model: pickle.loads(pickle.dumps(model, protocol=2)),
    "copy.deepcopy": copy.deepcopy,
    "copy.copy": copy.copy,
    "joblib": by_joblib,
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", MODELS)
def test_a_copy_is_the_same_to_the_bit_and_trains_on(name: str, how: str) -> None:
    model = fitted(name)
    model.partial_fit(BYTES if "bytes" in name else X)
    twin = COPIES[how](model)
    assert_same_model(twin, model)
    for _ in range(2):
        twin.partial_fit(X)
        model.partial_fit(X)
    if "copy" in how:  # pickles go to workers, without the moments and the order
        assert_same_weights(twin, model)
    assert [record["step"] for record in twin.history_] == [r["step"] for r in model.history_]


@pytest.mark.parametrize("how", ["pickle", "joblib"])
def test_a_pickle_trains_on_as_a_saved_model_does(how: str, tmp_path: Path) -> None:
    model = small_model().fit(X)
    model.save(tmp_path / "model")
    saved = Model.load(tmp_path / "model", device="cpu")
    assert_same_weights(COPIES[how](model).partial_fit(X), saved.partial_fit(X))


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_a_model_of_its_own(how: str) -> None:
    model = small_model().fit(X)
    twin = COPIES[how](model)
    before = model.state_dict()
    twin.partial_fit(X)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert len(model.history_) == 4
    assert len(twin.history_) == 7


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_model_that_is_not_fitted_is_not_fitted(how: str) -> None:
    twin = COPIES[how](small_model(num_layers=2))
    assert twin.num_layers == 2
    assert not hasattr(twin, "n_iter_")
    twin.fit(X)


def test_an_interrupted_epoch_continues_in_the_copy() -> None:
    model = small_model(max_iter=4, warm_start=True).fit(PAST, FUTURE)  # one update into an epoch
    twin = copy.deepcopy(model)
    assert_same_weights(twin.fit(PAST, FUTURE), model.fit(PAST, FUTURE))
    assert_same_weights(twin, small_model(max_iter=8).fit(PAST, FUTURE))


def test_a_pickle_from_before_a_parameter_existed_gets_its_default() -> None:
    model = small_model(warmup=3).fit(X)
    state = model.__getstate__()
    del state["warmup"]
    old = Model.__new__(Model)
    old.__setstate__(state)
    assert old.warmup == 0
    assert_same_weights(old, model)
    old.partial_fit(X)


@pytest.mark.skipif(_core.cuda_device_count() > 0, reason="there is CUDA here")
def test_a_pickle_from_a_missing_gpu_loads_on_the_cpu_with_a_warning() -> None:
    model = small_model().fit(X)
    frozen = pickle.dumps(model.set_params(device="cuda"))
    with pytest.warns(RuntimeWarning, match="this model is now on the CPU"):
        thawed = pickle.loads(frozen)
    assert thawed.device_ == thawed.device == "cpu"
    assert_same_weights(thawed, model)
