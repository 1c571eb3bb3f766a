"""Every set of CPU kernels gives the numbers of the reference path.

The kernels are chosen when the library is loaded, so each set runs in a process of its own:
libtorch's operators step by step ("plain"), and our kernels with each instruction set that this
processor has. What a GPU runs ("lockstep") runs on the CPU too, except the fused cell.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# One thread of libtorch's own pool, whose threads wait by spinning: minutes beside other work.
KERNELS = {
    "plain": {"BACKCAST_KERNELS": "plain", "OMP_NUM_THREADS": "1"},
    "lockstep": {"BACKCAST_KERNELS": "lockstep", "OMP_NUM_THREADS": "1"},
    "portable": {"BACKCAST_ISA": "portable"},
    "avx2": {"BACKCAST_ISA": "avx2"},
    "best": {},
}

# Losses, gradients and outputs of models whose sizes fill vectors and tiles, or do not.
WORK = """
import sys
import numpy as np
from backcast import Model

found = {}
for case, (B, T, F, D, H, L, params) in enumerate([
    (1, 3, 2, 1, 1, 1, {}),
    (7, 5, 4, 33, 17, 2, {"loss": "bce"}),
    (64, 6, 6, 40, 16, 1, {}),
    (13, 4, 5, 70, 64, 3, {"dropout": 0.3}),
    (5, 4, 4, 9, 130, 1, {"feedback": "none"}),
    (6, 5, 3, 20, 24, 2, {"feedback": "scheduled", "loss": "bce"}),
    (6, 5, 3, 20, 24, 2, {"feedback": "truth"}),
    (9, 7, 4, 18, 20, 2, {"ragged": True}),
    (7, 5, 4, 33, 17, 2, {"peepholes": True}),
    (9, 7, 4, 18, 32, 1, {"peepholes": True, "ragged": True, "feedback": "none"}),
    # Both decoders of one length, which may go side by side.
    (6, 4, 4, 20, 24, 3, {"dropout": 0.3}),
    (6, 4, 4, 20, 24, 2, {"feedback": "none", "peepholes": True}),
    (6, 4, 4, 20, 24, 2, {"feedback": "truth"}),
    (6, 4, 4, 20, 24, 1, {"feedback": "scheduled", "loss": "bce"}),
    (6, 4, 4, 20, 24, 1, {"feedback": {"reconstruct": "none", "predict": "output"}}),
]):
    rng = np.random.default_rng(case)
    past = rng.random((B, T, D), dtype=np.float32)
    future = rng.random((B, F, D), dtype=np.float32)
    if params.pop("ragged", False):
        past = [p[rng.integers(T):] for p in past]
        future = [f[: 1 + rng.integers(F)] for f in future]
    params |= {"random_state": case, "device": "cpu", "verbose": 0}
    model = Model(H, L, max_iter=3, batch_size=4, **params)
    model.fit(past, future)
    weights = model.state_dict()
    start = Model(H, L, max_iter=1, learning_rate=0.0, **params)
    start.fit(past, future)
    losses, gradients, _ = start._gradients(past, future, double=False, truth_probability=0.5)
    found |= {f"{case} loss {name}": value for name, value in losses.items()}
    found |= {f"{case} gradient {name}": value for name, value in gradients.items()}
    found |= {f"{case} trained {name}": value for name, value in weights.items()}
    found[f"{case} state"] = start.encode(past, state="full")
    found[f"{case} prediction"] = np.stack(list(start.predict(past, steps=9)))
np.savez(sys.argv[1], **found)
"""


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("kernels")
    found = {}
    for name, variables in KERNELS.items():
        path = folder / f"{name}.npz"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BACKCAST_")}
        subprocess.run(
            [sys.executable, "-c", WORK, str(path)],
            env=environment | variables | {"OMP_NUM_THREADS": "2"},
            cwd=Path(__file__).parent,
            check=True,
            timeout=200,
        )
        with np.load(path) as arrays:
            found[name] = dict(arrays)
    return found


@pytest.mark.parametrize("kernels", [name for name in KERNELS if name != "plain"])
def test_kernels_agree_with_the_reference_path(
    numbers: dict[str, dict[str, np.ndarray]], kernels: str
) -> None:
    reference = numbers["plain"]
    assert set(numbers[kernels]) == set(reference)
    for name, expected in reference.items():
        found = numbers[kernels][name]
        # Adam's first steps make signs of tiny gradients' last digits; weights move by 5e-4 a step.
        tolerance = 2e-6 * np.sqrt(expected.size) if "trained" in name else 0.0
        error = np.linalg.norm(found.astype(np.float64) - expected)
        assert error <= 1e-5 * np.linalg.norm(expected) + tolerance, name


def test_the_same_kernels_give_the_same_bits_twice(
    numbers: dict[str, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    path = tmp_path / "again.npz"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BACKCAST_")}
    subprocess.run(
        [sys.executable, "-c", WORK, str(path)],
        env=environment | {"OMP_NUM_THREADS": "2"},
        check=True,
        timeout=200,
    )
    with np.load(path) as again:
        for name, expected in numbers["best"].items():
            np.testing.assert_array_equal(again[name], expected, err_msg=name)
