"""What only a CUDA device can show; without one all of it is skipped.

`pytest tests/python/test_gpu.py tests/python/test_precision.py` is the check to be run on a GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backcast import Model, _core
from backcast.errors import DeviceError
from small import FUTURE, PAST, assert_same_weights, small_model

pytestmark = pytest.mark.skipif(not _core.cuda_device_count(), reason="no CUDA device is seen")

MODELS: list[dict[str, Any]] = [
    {},
    {"num_layers": 2, "dropout": 0.3},
    {"feedback": "none", "loss": "bce"},
    {"feedback": "truth", "peepholes": True},
    {"feedback": "scheduled", "optimizer": "rmsprop"},
]


@pytest.mark.parametrize("params", MODELS, ids=str)
def test_a_gpu_trains_as_the_cpu_does(params: dict[str, Any]) -> None:
    params = params | {"precision": "fp32", "max_iter": 12, "max_grad_norm": 1.0}
    here = small_model(**params).fit(PAST, FUTURE)
    there = small_model(**params | {"device": "cuda"}).fit(PAST, FUTURE)
    assert there.device_ == "cuda:0"
    for name, array in here.state_dict().items():
        np.testing.assert_allclose(there.state_dict()[name], array, rtol=1e-3, atol=1e-4)
    for ours, theirs in zip(here.history_, there.history_, strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-3)
    for method in ("encode", "reconstruct", "predict"):
        one, other = (getattr(model, method)(PAST) for model in (here, there))
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_one_seed_gives_the_same_bits(precision: str) -> None:
    params = {"device": "cuda", "precision": precision, "num_layers": 2, "max_iter": 20}
    assert_same_weights(
        small_model(**params).fit(PAST, FUTURE), small_model(**params).fit(PAST, FUTURE)
    )


def test_windows_that_are_placed_train_as_those_that_are_sent() -> None:
    params = {"device": "cuda", "precision": "fp32", "max_iter": 20}
    placed = small_model(**params).fit(PAST, FUTURE)
    sent = small_model(**params).fit(list(PAST), list(FUTURE))
    for name, array in placed.state_dict().items():
        np.testing.assert_allclose(sent.state_dict()[name], array, rtol=1e-3, atol=1e-4)
    as_bytes = (255 * PAST).astype(np.uint8), (255 * FUTURE).astype(np.uint8)
    as_floats = [side.astype(np.float32) / 255 for side in as_bytes]
    one, other = small_model(**params).fit(*as_bytes), small_model(**params).fit(*as_floats)
    for name, array in one.state_dict().items():
        np.testing.assert_allclose(other.state_dict()[name], array, rtol=1e-3, atol=1e-4)


def test_a_model_moves_between_devices(tmp_path: Path) -> None:
    there = small_model(device="cuda").fit(PAST, FUTURE)
    there.save(tmp_path / "model.safetensors", training=True)
    here = Model.load(tmp_path / "model.safetensors", device="cpu")
    assert_same_weights(there, here)
    np.testing.assert_allclose(here.encode(PAST), there.encode(PAST), rtol=1e-2, atol=1e-3)


def test_a_device_that_is_not_there_is_refused() -> None:
    count = _core.cuda_device_count()
    with pytest.raises(DeviceError, match="one of the"):
        small_model(device=f"cuda:{count}").fit(PAST, FUTURE)


# Epochs of five whole batches and a short one, with validation and a second training of another
# rate, so that recorded updates, others and inference take turns.
WORK = """
import sys
import numpy as np
from backcast import Model

rng = np.random.default_rng(0)
past, future = rng.random((2, 170, 7, 12), dtype=np.float32)
found = {}
for precision in ("fp32", "tf32", "fp16", "bf16"):
    for case, params in enumerate([{}, {"num_layers": 2, "feedback": "none"},
                                   {"feedback": "truth", "loss": "bce", "max_grad_norm": 0.1}]):
        model = Model(24, batch_size=32, max_iter=60, random_state=0, device="cuda",
                      precision=precision, schedule="cosine", verbose=0, **params)
        model.fit(past, future, validation=(past[:9], future[:9]))
        model.set_params(learning_rate=1e-4, warm_start=True, max_iter=80)
        model.fit(past, future)
        assert model._fitted.core.records == (sys.argv[2] == "1")
        for name, array in model.state_dict().items():
            found[f"{precision} {case} {name}"] = array
        found[f"{precision} {case} loss"] = [record["loss"] for record in model.history_]
np.savez(sys.argv[1], **found)
"""


def test_recorded_updates_are_those_that_are_not_recorded(tmp_path: Path) -> None:
    found = []
    for graph in ("0", "1"):
        path = tmp_path / f"{graph}.npz"
        subprocess.run(
            [sys.executable, "-c", WORK, str(path), graph],
            env=os.environ | {"BACKCAST_GRAPH": graph},
            check=True,
            timeout=300,
        )
        with np.load(path) as arrays:
            found.append(dict(arrays))
    for name, expected in found[0].items():
        np.testing.assert_allclose(found[1][name], expected, rtol=1e-4, atol=1e-5, err_msg=name)
