"""`to_torch`: the model's numbers and weights in a module that PyTorch trains and exports.

Tolerance 1e-6, as both sides compute in float32; gradients 1e-9 of their norm, both in float64.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backcast import Classifier, Model
from backcast.errors import ArgumentError, DataError, NotFittedError, ShapeError
from small import FUTURE, PAST, X, small_model, windows

Y = np.arange(12) % 3
MODELS: list[dict[str, Any]] = [
    {"feedback": feedback, "loss": loss, "num_layers": layers, "peepholes": peepholes}
    for feedback in ("output", "none", "truth")
    for loss in ("mse", "bce")
    for layers, peepholes in ((1, False), (2, False), (2, True))
] + [
    {"decoders": "reconstruct", "peepholes": True},
    {"decoders": "predict", "feedback": "none"},
    {"feedback": {"reconstruct": "none", "predict": "scheduled"}, "dropout": 0.5, "num_layers": 2},
    {"hidden_size": 1},
]
CLASSIFIERS: list[dict[str, Any]] = [{}, {"num_layers": 2, "dropout": 0.5}, {"peepholes": True}]


def fitted(past: Any = X, **params: Any) -> Model:
    """A model whose updates have gone far enough that its outputs are not all alike."""
    return small_model(**{"learning_rate": 0.1} | params).fit(past)


def fitted_classifier(**params: Any) -> Classifier:
    options = {"max_iter": 4, "learning_rate": 0.1, "device": "cpu", "random_state": 0}
    return Classifier(hidden_size=6, verbose=0, **options | params).fit(X, Y)


def close(found: Tensor, expected: Any) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=1e-6)


def assert_outputs_are_the_models(module: nn.Module, model: Model, past: Any, steps: int) -> None:
    frames = torch.tensor(past)
    outputs = module(frames, steps)
    expected = {}
    if model.decoders != "predict":
        expected["reconstruct"] = model.reconstruct(past)
    if model.decoders != "reconstruct":
        expected["predict"] = model.predict(past, steps=steps)
    assert set(outputs) == set(expected)
    for name, frames_expected in expected.items():
        close(outputs[name], frames_expected)
    close(module.encode(frames), model.encode(past))


def assert_weights_are(module: nn.Module, arrays: Mapping[str, Any]) -> None:
    weights = module.state_dict()
    assert list(weights) == list(arrays)
    for name, weight in weights.items():
        np.testing.assert_array_equal(weight.numpy(), arrays[name], err_msg=name)


@pytest.mark.parametrize("params", MODELS, ids=str)
def test_outputs_are_the_models_and_weights_travel_both_ways(params: dict[str, Any]) -> None:
    model = fitted(**params)
    module = model.to_torch()
    assert_weights_are(module, model.state_dict())
    for steps in (1, 4, 9):
        assert_outputs_are_the_models(module, model, PAST, steps)
    again = Model.from_state_dict(module.state_dict(), device="cpu", **params)
    assert_weights_are(module, again.state_dict())
    np.testing.assert_array_equal(again.encode(PAST), model.encode(PAST))
    assert_outputs_are_the_models(module.eval(), again, PAST, 3)


@pytest.mark.parametrize("frame_shape", [(1,), (2, 3), (2, 1, 2)])
def test_frames_may_have_any_shape(frame_shape: tuple[int, ...]) -> None:
    frames = windows(frame_shape=frame_shape)
    model = fitted(frames)
    assert_outputs_are_the_models(model.to_torch(), model, frames[:, :5], 6)


def test_the_horizon_is_the_default_number_of_steps() -> None:
    module = small_model().fit(PAST, FUTURE).to_torch()
    assert module(torch.tensor(PAST))["predict"].shape == (12, 3, 3)
    unknown = Model.from_state_dict(module.state_dict(), device="cpu").to_torch()
    with pytest.raises(ArgumentError, match="steps must be given, as the model was fitted without"):
        unknown(torch.tensor(PAST))


@pytest.mark.parametrize("params", MODELS, ids=str)
def test_it_works_in_float64(params: dict[str, Any]) -> None:
    module = fitted(**params).to_torch()
    single = module(torch.tensor(PAST), 4)
    for name, frames in module.double()(torch.tensor(PAST, dtype=torch.float64), 4).items():
        assert frames.dtype == torch.float64
        close(frames, single[name].detach())


def loss_of(outputs: Mapping[str, Tensor], past: Tensor, future: Tensor, loss: str) -> Tensor:
    measure = {"mse": nn.functional.mse_loss, "bce": nn.functional.binary_cross_entropy}[loss]
    truths = {"reconstruct": past, "predict": future}
    return sum((measure(outputs[name], truths[name]) for name in outputs), start=torch.zeros(()))


def assert_gradients_are(module: nn.Module, expected: Mapping[str, Any]) -> None:
    for name, parameter in module.named_parameters():
        error = np.linalg.norm(parameter.grad.numpy() - expected[name])
        assert error <= 1e-9 * np.linalg.norm(expected[name]), name


@pytest.mark.parametrize("params", [p for p in MODELS if p.get("feedback") == "none"], ids=str)
def test_gradients_are_the_models_where_nothing_is_fed_back(params: dict[str, Any]) -> None:
    model = fitted(**params)
    _, expected, _ = model._gradients(PAST, FUTURE)
    module = model.to_torch().double()
    past, future = (torch.tensor(frames, dtype=torch.float64) for frames in (PAST, FUTURE))
    loss_of(module(past, 3), past, future, params.get("loss", "mse")).backward()
    assert_gradients_are(module, expected)


@pytest.mark.parametrize("peepholes", [False, True])
def test_gradients_flow_through_outputs_that_are_fed_back(peepholes: bool) -> None:
    module = fitted(hidden_size=2, peepholes=peepholes).to_torch().double()
    past = torch.tensor(PAST[:2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda past: tuple(module(past, 3).values()), past)


@pytest.mark.parametrize("params", MODELS, ids=str)
def test_it_trains_on_in_pytorch_and_comes_back(params: dict[str, Any]) -> None:
    model = fitted(**params)
    before = model.state_dict()
    module = model.to_torch()
    past, future = torch.tensor(PAST), torch.tensor(FUTURE)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        loss = loss_of(module(past, 3), past, future, params.get("loss", "mse"))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
    assert_weights_are(model.to_torch(), before)  # the model keeps its own
    again = Model.from_state_dict(module.state_dict(), device="cpu", **params)
    assert_outputs_are_the_models(module, again, PAST, 3)


def exported(module: nn.Module, *inputs: Any) -> Any:
    """The module as a program for any number of windows, by way of a file."""
    shapes = ({0: torch.export.Dim("n")}, *(None for _ in inputs[1:]))
    program = torch.export.export(module, inputs, dynamic_shapes=shapes)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file).module()


# What PyTorch says of every nn.LSTM that it exports, and of every program that it loads.
exports = pytest.mark.filterwarnings(
    "ignore:The tensor attributes .*_flat_weights:UserWarning",
    "ignore:The given buffer is not writable:UserWarning",
)


@exports
@pytest.mark.parametrize(
    "params",
    [{}, {"feedback": "none", "loss": "bce"}, {"peepholes": True, "num_layers": 2}],
    ids=str,
)
def test_torch_export_takes_it_for_any_number_of_windows(params: dict[str, Any]) -> None:
    module = fitted(**params).to_torch()
    past = torch.tensor(PAST)
    program = exported(module, past, 4)
    for n in (12, 5):
        expected = module(past[:n], 4)
        for name, frames in program(past[:n], 4).items():
            close(frames, expected[name].detach())


def test_torch_saves_and_copies_it() -> None:
    module = fitted().to_torch()
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    for other in (torch.load(file, weights_only=False), copy.deepcopy(module)):
        assert_weights_are(other, module.state_dict())
        close(other.encode(torch.tensor(PAST)), module.encode(torch.tensor(PAST)).detach())


def test_it_draws_no_random_number() -> None:
    model, classifier = fitted(peepholes=True), fitted_classifier()
    before = torch.get_rng_state()
    model.to_torch()
    classifier.to_torch()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("params", CLASSIFIERS, ids=str)
def test_a_classifier_gives_its_probabilities_and_gradients(params: dict[str, Any]) -> None:
    classifier = fitted_classifier(**params)
    module = classifier.to_torch()
    assert_weights_are(module, classifier.state_dict())
    close(module(torch.tensor(X)), classifier.predict_proba(X))
    close(module.logits(torch.tensor(X)).softmax(2).mean(1), classifier.predict_proba(X))

    _, expected = classifier.set_params(dropout=0.0)._gradients(X, Y)
    logits = module.double().logits(torch.tensor(X, dtype=torch.float64))
    assert logits.shape == (12, 8, 3)
    labels = torch.tensor(Y)[:, None].expand(-1, 8)
    nn.functional.cross_entropy(logits.mT, labels).backward()
    assert_gradients_are(module, expected)


@exports
def test_a_classifier_starts_from_a_models_encoder_and_is_exported() -> None:
    classifier = Classifier(fitted(num_layers=2), max_iter=2, device="cpu", verbose=0).fit(X, Y)
    module = classifier.to_torch()
    program = exported(module, torch.tensor(X))
    close(program(torch.tensor(X[:7])), classifier.predict_proba(X[:7]))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(NotFittedError, match="this Model is not fitted yet"):
        small_model().to_torch()
    with pytest.raises(NotFittedError, match="this Classifier is not fitted yet"):
        Classifier().to_torch()
    model, classifier = fitted().to_torch(), fitted_classifier().to_torch()
    for call in (model, model.encode):
        with pytest.raises(ShapeError, match=r"past must be of shape \(n, T, \*\(3,\)\), got"):
            call(torch.tensor(PAST[..., :2]))
        with pytest.raises(DataError, match="past must be floats .*, got torch.uint8"):
            call(torch.tensor(PAST).byte())
    with pytest.raises(ArgumentError, match="steps must be at least 1, got 0"):
        model(torch.tensor(PAST), 0)
    with pytest.raises(ShapeError, match="X must be of shape"):
        classifier(torch.tensor(X[0]))
    with pytest.raises(DataError, match="X must be floats"):
        classifier.logits(torch.tensor(X).long())


@pytest.mark.parametrize("scale", ["standard", "minmax"])
def test_scaling_is_part_of_the_module(scale: str) -> None:
    raw = (X * np.array([100.0, 0.01, 3.0]) + np.array([50.0, -2.0, 0.0])).astype(np.float32)
    model = fitted(raw, scale=scale)
    module = model.to_torch()
    assert_weights_are(module, model.state_dict())
    outputs = module(torch.tensor(raw[:, :5]), 4)
    for name, expected in (
        ("predict", model.predict(raw[:, :5], steps=4)),
        ("reconstruct", model.reconstruct(raw[:, :5])),
    ):
        np.testing.assert_allclose(outputs[name].detach().numpy(), expected, rtol=1e-5, atol=1e-4)
    close(module.encode(torch.tensor(raw)), model.encode(raw))
    close(copy.deepcopy(module).double().encode(torch.tensor(raw).double()), model.encode(raw))
    classifier = Classifier(model, max_iter=3, verbose=0).fit(raw, Y)
    close(classifier.to_torch()(torch.tensor(raw)), classifier.predict_proba(raw))


def test_the_mean_over_all_frames_is_an_embedding_too(tmp_path: Path) -> None:
    model = fitted(pooling="mean", num_layers=2)
    close(model.to_torch().encode(torch.tensor(PAST)), model.encode(PAST))
    np.testing.assert_array_equal(model.transform(PAST), model.encode(PAST))
    model.save(tmp_path / "model.safetensors")
    again = Model.load(tmp_path / "model.safetensors", device="cpu")
    np.testing.assert_array_equal(again.encode(PAST), model.encode(PAST))
    last = again.set_params(pooling="last").encode(PAST)
    assert np.abs(last - model.encode(PAST)).max() > 1e-3
    with pytest.raises(ArgumentError, match="pooling must be .* got 'max'"):
        again.set_params(pooling="max").encode(PAST)
