"""What each precision costs in accuracy, on the CPU, and on a GPU where there is one.

On the CPU factors are rounded as on a GPU and multiplied in float32, so that a model's gradients
and its training can be judged without one; TF32 is CUDA's alone.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backcast import Classifier, Model, _core
from backcast.errors import ArgumentError, DivergedError
from small import FUTURE, PAST, X, assert_same_weights, differ, small_model

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not _core.cuda_device_count(), reason="no CUDA device is seen"),
    ),
]
# Of the gradients' norm, against float64.
TOLERANCE = {"fp32": 1e-5, "tf32": 2e-3, "fp16": 2e-3, "bf16": 2e-2}
MODELS: list[dict[str, Any]] = [
    {},
    {"num_layers": 2, "loss": "bce"},
    {"feedback": "none", "peepholes": True},
    {"feedback": "truth", "num_layers": 2, "dropout": 0.3},
    {"decoders": "predict", "feedback": "scheduled"},
]


def skip_foreign(device: str, precision: str) -> None:
    if device == "cpu" and precision == "tf32":
        pytest.skip("TF32 is CUDA's alone")


def waves(n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    time = np.arange(16).reshape(1, -1, 1) / 3
    all_ = 0.5 + 0.5 * np.sin(time + random.uniform(0, 6, (n, 1, size))).astype(np.float32)
    return all_[:, :8], all_[:, 8:]


@pytest.mark.parametrize("params", MODELS, ids=str)
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("device", DEVICES)
def test_gradients_are_near_those_in_double_precision(
    device: str, precision: str, params: dict[str, Any]
) -> None:
    skip_foreign(device, precision)
    past, future = waves(12, 40)
    model = Model(
        48, max_iter=1, device=device, precision=precision, random_state=0, verbose=0, **params
    ).fit(past, future)
    losses, gradients, _ = model._gradients(past, future, double=False, truth_probability=0.5)
    exact_losses, exact, _ = model._gradients(past, future, truth_probability=0.5)
    for name, loss in exact_losses.items():
        assert losses[name] == pytest.approx(loss, rel=TOLERANCE[precision])
    distance = sum(((gradients[name] - array) ** 2).sum() for name, array in exact.items())
    norm = sum((array**2).sum() for array in exact.values())
    assert distance <= TOLERANCE[precision] ** 2 * norm
    if precision in ("bf16", "fp16"):
        # Or else nothing was rounded.
        assert distance > 1e-12 * norm


@pytest.mark.parametrize("precision", ["tf32", "fp16", "bf16"])
@pytest.mark.parametrize("device", DEVICES)
def test_training_ends_where_single_precision_does(device: str, precision: str) -> None:
    skip_foreign(device, precision)
    past, future = waves(64, 4)

    def trained(precision: str) -> float:
        model = Model(
            24,
            max_iter=150,
            batch_size=16,
            learning_rate=5e-3,
            schedule=None,
            forget_bias=None,
            device=device,
            precision=precision,
            random_state=0,
            verbose=0,
        ).fit(past, future)
        return sum(model.losses(past, future).values())

    untrained = 0.25
    reference = trained("fp32")
    assert reference < 0.2 * untrained
    assert trained(precision) == pytest.approx(reference, rel=0.02)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_one_seed_gives_one_result_also_when_saved_and_resumed(
    precision: str, optimizer: str, tmp_path: Path
) -> None:
    params = {"precision": precision, "optimizer": optimizer, "weight_decay": 0.01, "max_iter": 9}
    whole = small_model(**params).fit(PAST, FUTURE)
    assert_same_weights(whole, small_model(**params).fit(PAST, FUTURE))
    assert differ(whole, small_model(**params | {"precision": "fp32"}).fit(PAST, FUTURE))

    part = small_model(**params)
    part.partial_fit(PAST, FUTURE)
    part.save(tmp_path / "part.safetensors", training=True)
    again = Model.load(tmp_path / "part.safetensors", device="cpu")
    assert again.precision == precision
    for _ in range(2):
        again.partial_fit(PAST, FUTURE)
    assert again.n_iter_ == whole.n_iter_ == 9
    assert_same_weights(whole, again)
    np.testing.assert_array_equal(whole.encode(X), again.encode(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(again)).encode(X), again.encode(X))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_record_tells_what_single_precision_would(precision: str) -> None:
    ours = small_model(precision=precision, max_iter=6).fit(PAST, FUTURE).history_
    expected = small_model(max_iter=6).fit(PAST, FUTURE).history_
    assert len(ours) == len(expected) == 6
    for one, other in zip(ours, expected, strict=True):
        for name in ("step", "epoch", "learning_rate"):
            assert one[name] == other[name]
        for name in ("loss", "reconstruct", "predict"):
            assert one[name] == pytest.approx(other[name], rel=0.02)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
@pytest.mark.parametrize("max_grad_norm", [None, 1.0])
def test_no_update_counts_from_one_on_that_is_not_finite(
    optimizer: str, precision: str, max_grad_norm: float | None
) -> None:
    # Updates are asynchronous: they are queued before their results are known.
    model = small_model(precision=precision, optimizer=optimizer, max_grad_norm=max_grad_norm)
    model.set_params(max_iter=500).partial_fit(PAST, FUTURE)
    weights, updates = model.state_dict(), model.n_iter_
    poisoned = PAST.copy()
    poisoned[7] = 1e30 if precision == "bf16" else 1e9
    with pytest.raises(DivergedError, match=r"at update \d+; the weights are those of the last"):
        model.partial_fit(poisoned, FUTURE)
    # In the epoch's three batches the bad one may come first, second or third.
    assert updates <= model.n_iter_ <= updates + 2
    now = model.state_dict()
    assert all(np.isfinite(array).all() for array in now.values())
    moved = any((now[name] != array).any() for name, array in weights.items())
    assert moved == (model.n_iter_ > updates)
    assert model.history_[-1]["step"] == model.n_iter_
    # And training can continue.
    model.partial_fit(PAST, FUTURE)
    assert np.isfinite(model.history_[-1]["loss"])


def test_inference_rounds_too() -> None:
    exact = small_model().fit(PAST, FUTURE)
    for precision, far in (("fp16", 1e-3), ("bf16", 1e-2)):
        rounded = Model.from_state_dict(
            exact.state_dict(), horizon=3, device="cpu", precision=precision, verbose=0
        )
        for method in ("encode", "reconstruct", "predict"):
            one, other = (getattr(model, method)(PAST) for model in (exact, rounded))
            assert 0 < np.abs(one - other).max() < far, method
        # Weights come back as they were given.
        assert_same_weights(exact, rounded)


def test_tf32_wants_a_gpu() -> None:
    with pytest.raises(
        ArgumentError, match=r"precision must be .* on the CPU, got \"tf32\", which"
    ):
        small_model(precision="tf32").fit(PAST, FUTURE)


def test_a_file_of_a_gpu_is_read_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_core, "cuda_device_count", lambda: 1)
    model = small_model().fit(PAST, FUTURE)
    model.precision = "tf32"
    model.save(tmp_path / "model.safetensors")
    again = Model.load(tmp_path / "model.safetensors", device="cpu")
    assert again.precision == "auto"
    assert_same_weights(model, again)
    pickled = pickle.loads(pickle.dumps(model))
    assert pickled.precision == "auto"
    assert_same_weights(model, pickled)


def test_a_classifier_of_large_frames_fits_into_sixteen_bits() -> None:
    # Its loss is a mean over steps and windows, however large a frame is.
    random = np.random.default_rng(0)
    frames = random.random((8, 2, 100_000), dtype=np.float32)
    labels = np.arange(8) % 2
    classifier = Classifier(
        hidden_size=4, precision="fp16", max_iter=3, device="cpu", random_state=0, verbose=0
    ).fit(frames, labels)
    assert np.isfinite(classifier.history_[-1]["loss"])


OUT_OF_MEMORY = """
import resource
import numpy as np
from backcast import Model
from backcast.errors import OutOfMemoryError

rng = np.random.default_rng(0)
past, future = rng.random((2, 40, 6, 5), dtype=np.float32)
large = rng.random((20_000, 2, 6, 5), dtype=np.float32)

def trained(fails):
    model = Model(16, batch_size=8, precision=PRECISION, random_state=0, device="cpu", verbose=0)
    model.partial_fit(past, future)
    if fails:
        status = open("/proc/self/statm").read().split()
        limit = int(status[0]) * resource.getpagesize() + 30 * 2**20
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
        state = model._fitted.core.training_state()[2]
        try:
            model.set_params(batch_size=20_000).partial_fit(large[:, 0], large[:, 1])
            raise SystemExit("there was memory enough")
        except OutOfMemoryError:
            pass
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
        now = model._fitted.core.training_state()[2]
        assert now == state, (now, state)
        model.set_params(batch_size=8)
    model.partial_fit(past, future)
    return model

one, other = trained(True), trained(False)
assert one.n_iter_ == other.n_iter_ == 10
for name, array in one.state_dict().items():
    np.testing.assert_array_equal(array, other.state_dict()[name])
"""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_update_without_memory_leaves_nothing_behind(precision: str) -> None:
    program = OUT_OF_MEMORY.replace("PRECISION", repr(precision))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
