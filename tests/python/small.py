"""A small model and small windows, shared by the tests of the contract."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast import Model


def windows(
    n: int = 12, length: int = 8, frame_shape: tuple[int, ...] = (3,), seed: int = 0
) -> NDArray[np.float32]:
    """Waves in 0..1, in steps of 1/64, so that float16 holds them exactly."""
    random = np.random.default_rng(seed)
    phase = random.uniform(0, 6, (n, 1, *frame_shape))
    time = np.arange(length).reshape(1, length, *(1 for _ in frame_shape))
    return (np.round(32 + 32 * np.sin(phase + 0.7 * time)) / 64).astype(np.float32)


X = windows()  # 12 windows of 8 frames of 3 numbers
PAST, FUTURE = X[:, :5], X[:, 5:]


def small_model(**params: Any) -> Model:
    """A silent model of a few units; three updates are an epoch of `X`."""
    defaults: dict[str, Any] = {
        "hidden_size": 6,
        "max_iter": 4,
        "batch_size": 5,
        "forget_bias": None,
        "learning_rate": 0.01,
        "max_grad_norm": None,
        "schedule": None,
        "device": "cpu",
        "random_state": 0,
        "verbose": 0,
    }
    return Model(**(defaults | params))


def assert_same_weights(one: Model, other: Model) -> None:
    """Both models have the same weights, to the bit."""
    ours, theirs = one.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def differ(one: Model, other: Model) -> bool:
    """Whether any weight differs."""
    theirs = other.state_dict()
    return any(not np.array_equal(array, theirs[name]) for name, array in one.state_dict().items())
