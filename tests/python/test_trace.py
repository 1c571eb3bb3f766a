"""`Model.trace` tells what every unit did, and it is what the model did."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backcast.errors import ArgumentError, NotFittedError, ShapeError
from small import PAST, X, small_model

NAMES = {"input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden"}


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("peepholes", [False, True])
def test_every_step_follows_from_the_one_before_by_the_cells_equations(peepholes: bool) -> None:
    model = small_model(num_layers=2, peepholes=peepholes, learning_rate=0.1).fit(X)
    weights = model.state_dict()
    traced = model.trace(PAST)
    assert set(traced) == {"encoder", "reconstruct", "predict"}
    for part, prefix in (("encoder", "encoder"), ("predict", "predict_decoder")):
        trace = traced[part]
        assert set(trace) == NAMES
        steps = 5 if part == "encoder" else model.horizon_
        assert {array.shape for array in trace.values()} == {(12, steps, 2, 6)}
        below, t, layer = trace["hidden"][:, 2, 0], 2, 1
        before = {name: trace[name][:, t - 1, layer] for name in ("hidden", "cell")}
        named = {
            name.removeprefix(f"{prefix}.lstm.").removesuffix("_l1"): array
            for name, array in weights.items()
            if name.startswith(prefix) and name.endswith("_l1")
        }
        sums = below @ named["weight_ih"].T + before["hidden"] @ named["weight_hh"].T
        i, f, g, o = np.split(sums + named["bias_ih"] + named["bias_hh"], 4, axis=1)
        if peepholes:
            to_i, to_f, to_o = np.split(named["weight_ch"], 3)
            i, f = i + to_i * before["cell"], f + to_f * before["cell"]
        c = sigmoid(f) * before["cell"] + sigmoid(i) * np.tanh(g)
        if peepholes:
            o = o + to_o * c
        expected = {
            "input_gate": sigmoid(i),
            "forget_gate": sigmoid(f),
            "candidate": np.tanh(g),
            "output_gate": sigmoid(o),
            "cell": c,
            "hidden": sigmoid(o) * np.tanh(c),
        }
        for name, array in expected.items():
            np.testing.assert_allclose(trace[name][:, t, layer], array, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("feedback", ["output", "none", "truth"])
def test_the_trace_is_of_what_the_model_does(feedback: str) -> None:
    model = small_model(feedback=feedback, batch_size=5).fit(X)
    traced = model.trace(PAST, steps=7)
    hidden = traced["encoder"]["hidden"][:, -1, -1]
    np.testing.assert_allclose(hidden, model.encode(PAST), atol=1e-6)
    weights = model.state_dict()
    for part, frames in (
        ("predict", model.predict(PAST, steps=7)),
        ("reconstruct", model.reconstruct(PAST)[:, ::-1]),
    ):
        top = traced[part]["hidden"][:, :, -1]
        readout = weights[f"{part}_decoder.fc.weight"], weights[f"{part}_decoder.fc.bias"]
        np.testing.assert_allclose(top @ readout[0].T + readout[1], frames, atol=1e-6)


def test_sequences_of_unequal_length_are_traced_as_each_alone() -> None:
    model = small_model(decoders="reconstruct").fit(X)
    traced = model.trace([PAST[0], PAST[1, 2:]])
    assert [len(array) for array in traced["encoder"]["cell"]] == [5, 3]
    alone = model.trace(PAST[1:2, 2:])
    for part in ("encoder", "reconstruct"):
        for name in NAMES:
            np.testing.assert_array_equal(traced[part][name][1], alone[part][name][0])


def test_what_cannot_be_traced_is_refused() -> None:
    with pytest.raises(NotFittedError):
        small_model().trace(PAST)
    model = small_model().fit(X)
    with pytest.raises(ArgumentError, match="steps must be at least 1, got 0"):
        model.trace(PAST, steps=0)
    with pytest.raises(ShapeError, match="past must have frames of shape"):
        model.trace(PAST[..., :2])
