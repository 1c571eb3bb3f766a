"""The classifier: its gradients are PyTorch's, it starts from a model, it keeps to scikit-learn."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from torch import nn

import backcast
from backcast import Classifier, Model
from backcast.errors import (
    ArgumentError,
    DataError,
    DivergedError,
    FileFormatError,
    NotFittedError,
    ShapeError,
)
from reference import lstm, pad
from small import X, small_model

Y = np.array(["up", "down", "level"])[np.arange(12) % 3]
RAGGED = [x[: 3 + i % 6] for i, x in enumerate(X)]


def small_classifier(model: Model | None = None, **params: Any) -> Classifier:
    defaults: dict[str, Any] = {
        "hidden_size": 6,
        "max_iter": 4,
        "batch_size": 5,
        "learning_rate": 0.01,
        "device": "cpu",
        "random_state": 0,
        "verbose": 0,
    }
    return Classifier(model, **(defaults | params))


class Reference(nn.Module):
    """An LSTM, a linear layer on h of every step, the mean of the steps' cross entropies."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        built = classifier._fitted.architecture
        self.encoder = nn.Module()
        sizes = (built["frame_size"], built["hidden_size"], built["num_layers"])
        self.encoder.lstm = lstm(*sizes, built["peepholes"])
        self.encoder.fc = nn.Linear(built["hidden_size"], built["classes"])
        arrays = classifier.state_dict()
        self.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        self.double()

    def logits(self, sequence: torch.Tensor) -> torch.Tensor:
        """One sequence (T, D) alone: (T, K)."""
        layers, hidden = self.encoder.lstm.num_layers, self.encoder.lstm.hidden_size
        h = torch.zeros(2, layers, 1, hidden, dtype=torch.float64)
        steps, state = [], (h[0], h[1])
        for frame in sequence:
            output, state = self.encoder.lstm(frame[None, None], state)
            steps.append(self.encoder.fc(output[0, 0]))
        return torch.stack(steps)


CASES = [
    {},
    {"num_layers": 3},
    {"peepholes": True, "num_layers": 2},
    {"hidden_size": 17},
]


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("windows", [X, RAGGED], ids=["equal", "unequal"])
@pytest.mark.parametrize("params", CASES, ids=str)
def test_gradients_losses_and_probabilities_are_those_of_pytorch(
    params: dict[str, Any], windows: Any, double: bool
) -> None:
    classifier = small_classifier(**params, learning_rate=0.1).fit(windows, Y)
    reference = Reference(classifier)
    classes = torch.tensor(np.searchsorted(classifier.classes_, Y))
    each, probabilities = [], []
    for sequence, label in zip(windows, classes, strict=True):
        logits = reference.logits(torch.tensor(sequence, dtype=torch.float64))
        each.append(nn.functional.cross_entropy(logits, label.expand(len(logits))))
        probabilities.append(logits.softmax(1).mean(0))
    loss = torch.stack(each).mean()
    loss.backward()

    losses, gradients = classifier._gradients(windows, Y, double=double)
    tolerance = 1e-9 if double else 1e-5
    assert losses == {"classify": pytest.approx(loss.item(), rel=tolerance)}
    named = dict(reference.named_parameters())
    assert set(gradients) == set(named)
    for name, parameter in named.items():
        error = np.linalg.norm(gradients[name] - parameter.grad.numpy())
        assert error <= tolerance * parameter.grad.norm().item(), name
    expected = torch.stack(probabilities).detach().numpy()
    np.testing.assert_allclose(classifier.predict_proba(windows), expected, atol=1e-6)
    best = classifier.classes_[expected.argmax(1)]
    np.testing.assert_array_equal(classifier.predict(windows), best)


def test_it_learns_what_can_be_learnt() -> None:
    rng = np.random.default_rng(0)
    speed = rng.choice([0.3, 0.6, 1.0], size=300)
    t = np.arange(20) * speed[:, None] + rng.uniform(0, 6, size=(300, 1))
    waves = np.sin(t)[..., None].astype(np.float32)
    classifier = small_classifier(hidden_size=16, learning_rate=0.02, max_iter=300, batch_size=50)
    classifier.fit(waves[:200], speed[:200].astype(str))
    assert classifier.score(waves[200:], speed[200:].astype(str)) > 0.9
    losses = [record["classify"] for record in classifier.history_]
    assert losses[-1] < 0.5 * losses[0]
    assert [record["loss"] for record in classifier.history_] == losses


@pytest.mark.parametrize("params", [{}, {"peepholes": True, "num_layers": 2}], ids=str)
def test_it_starts_from_the_models_encoder_and_leaves_the_model_as_it_is(
    params: dict[str, Any],
) -> None:
    model = small_model(**params).fit(X)
    before = model.state_dict()
    still = small_classifier(model, hidden_size=99, learning_rate=0.0).fit(X, Y)
    for name, array in still.state_dict().items():
        if name.startswith("encoder.lstm"):
            np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert still.state_dict()["encoder.fc.weight"].shape == (3, 6)
    trained = small_classifier(model).fit(X, Y).state_dict()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
        if name.startswith("encoder"):
            assert not np.array_equal(trained[name], array), name


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop"])
def test_the_head_alone_may_be_trained(optimizer: str) -> None:
    model = small_model(num_layers=2).fit(X)
    options = {"optimizer": optimizer, "weight_decay": 0.1, "max_grad_norm": 0.1}
    classifier = small_classifier(model, train="head", **options)
    start = clone(classifier).set_params(learning_rate=0.0).fit(X, Y).state_dict()
    trained = classifier.fit(X, Y).state_dict()
    for name, array in trained.items():
        same = np.array_equal(array, start[name])
        assert same == name.startswith("encoder.lstm"), name
    # and by the gradients that it gets when everything is trained
    _, head = classifier._gradients(X, Y)
    _, every = classifier.set_params(train="all")._gradients(X, Y)
    for name in ("encoder.fc.weight", "encoder.fc.bias"):
        np.testing.assert_allclose(head[name], every[name], rtol=1e-12)


def test_the_same_seed_gives_the_same_numbers_and_another_others() -> None:
    one, same = (small_classifier().fit(X, Y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, small_classifier(random_state=1).fit(X, Y).predict_proba(X))


@pytest.mark.parametrize(
    "labels",
    [Y, np.arange(12) % 3 + 5, np.arange(12) % 2 == 0, list(Y), Y.astype(object)],
    ids=["words", "numbers", "flags", "list", "objects"],
)
def test_labels_come_back_as_they_were_given_also_from_a_file(labels: Any, tmp_path: Path) -> None:
    classifier = small_classifier(max_iter=60, learning_rate=0.05).fit(X, labels)
    predicted = classifier.predict(X)
    assert set(predicted) <= set(labels)
    assert classifier.score(X, labels) == np.mean(predicted == np.asarray(labels))
    classifier.save(tmp_path / "classifier")
    loaded = Classifier.load(tmp_path / "classifier", device="cpu")
    np.testing.assert_array_equal(loaded.predict(X), predicted)
    assert loaded.classes_.dtype == classifier.classes_.dtype


def test_a_saved_classifier_is_the_same_to_the_bit_without_its_model(tmp_path: Path) -> None:
    model = small_model(hidden_size=9, num_layers=2, peepholes=True).fit(X)
    classifier = small_classifier(model, train="head").fit(X, Y)
    classifier.save(tmp_path / "classifier", training=True)
    loaded = Classifier.load(tmp_path / "classifier", device="cpu")
    assert loaded.model is None
    assert (loaded.hidden_size, loaded.num_layers, loaded.peepholes) == (9, 2, True)
    assert loaded.history_ == classifier.history_
    for other in (loaded, copy.deepcopy(classifier), pickle.loads(pickle.dumps(classifier))):
        np.testing.assert_array_equal(other.predict_proba(X), classifier.predict_proba(X))


def test_a_file_of_the_other_class_is_refused_with_the_right_way(tmp_path: Path) -> None:
    small_classifier().fit(X, Y).save(tmp_path / "classifier")
    small_model().fit(X).save(tmp_path / "model")
    with pytest.raises(FileFormatError, match=r"got a Classifier; load it with backcast\.Class"):
        Model.load(tmp_path / "classifier")
    with pytest.raises(FileFormatError, match=r"got a Model; load it with backcast\.Model\.load"):
        Classifier.load(tmp_path / "model")


def test_a_clone_starts_from_the_same_fitted_model() -> None:
    model = small_model().fit(X)
    classifier = small_classifier(model, weight_decay=0.25)
    copied = clone(classifier)
    assert copied.model is model
    assert copied.get_params(deep=False) == classifier.get_params(deep=False)
    assert not hasattr(clone(classifier.fit(X, Y)), "classes_")
    search = GridSearchCV(classifier, {"train": ["all", "head"]}, cv=2).fit(X, Y)
    assert search.best_estimator_.model is model
    assert len(cross_val_score(small_classifier(), X, Y, cv=2)) == 2


def test_bytes_are_scaled_as_the_model_has_them() -> None:
    as_bytes = (X * 255).astype(np.uint8)
    model = small_model().fit(as_bytes)
    classifier = small_classifier(model).fit(as_bytes, Y)
    found = classifier.predict_proba(as_bytes)
    np.testing.assert_allclose(found, classifier.predict_proba(as_bytes / 255), atol=1e-6)
    with pytest.raises(DataError, match="X must hold numbers from 0 to 1"):
        classifier.predict_proba(X * 255)
    with pytest.raises(DataError, match="X must be floats in the units the model was fitted on"):
        small_classifier(small_model().fit(X)).fit(as_bytes, Y)


def test_it_is_part_of_the_package_and_of_what_scikit_learn_knows() -> None:
    assert backcast.Classifier is Classifier
    tags = small_classifier().__sklearn_tags__()
    assert tags.estimator_type == "classifier"
    assert tags.target_tags.required


REFUSED: list[tuple[Any, Any, dict[str, Any], type[Exception], str]] = [
    (X[:, :, 0], Y, {}, ShapeError, "X must be of at least 3 dimensions"),
    (X[:, :0], Y, {}, ShapeError, "X must have at least 1 frame in every window, got 0"),
    (X, Y[:5], {}, ShapeError, r"y must be of shape \(12,\), one label a window, got \(5,\)"),
    (X, Y[:, None], {}, ShapeError, "y must be of shape"),
    (X, ["up"] * 12, {}, DataError, "y must hold at least 2 classes, got 1"),
    (X, np.arange(12) / 7, {}, DataError, "y must hold labels of classes"),
    (np.where(X > 0.9, np.inf, X), Y, {}, DataError, "X must hold finite numbers, got an inf"),
    (X, Y, {"train": "tail"}, ArgumentError, 'train must be "all" or "head", got \'tail\''),
    (X, Y, {"model": 3}, ArgumentError, r"model must be a backcast\.Model or None, got a int"),
    (X, Y, {"model": small_model()}, NotFittedError, "model must be fitted before"),
    (X, Y, {"hidden_size": 0}, ArgumentError, "hidden_size must be at least 1, got 0"),
    (X, Y, {"max_iter": 0}, ArgumentError, "max_iter must be at least 1, got 0"),
]


@pytest.mark.parametrize(("windows", "labels", "params", "error", "message"), REFUSED)
def test_what_cannot_be_used_is_refused_and_nothing_is_lost(
    windows: Any, labels: Any, params: dict[str, Any], error: type[Exception], message: str
) -> None:
    classifier = small_classifier().fit(X, Y)
    before = classifier.predict_proba(X)
    own = classifier.get_params(deep=False)
    with pytest.raises(error, match=message):
        classifier.set_params(**params).fit(windows, labels)
    classifier.set_params(**own)
    np.testing.assert_array_equal(classifier.predict_proba(X), before)


def test_what_does_not_fit_the_model_or_the_classifier_is_refused() -> None:
    with pytest.raises(NotFittedError, match="this Classifier is not fitted yet; call fit or load"):
        small_classifier().predict(X)
    model = small_model().fit(X)
    with pytest.raises(ShapeError, match=r"X must have frames of shape \(3,\), as the model was"):
        small_classifier(model).fit(X[..., :2], Y)
    with pytest.raises(ShapeError, match="X must have frames of shape"):
        small_classifier().fit(X, Y).predict(X[..., :2])


def test_a_loss_that_is_not_finite_leaves_the_last_finite_weights() -> None:
    classifier = small_classifier(learning_rate=1e38, max_iter=50)
    with pytest.raises(DivergedError, match="smaller learning_rate"):
        classifier.fit(X * 1e3, Y)
    assert hasattr(classifier, "classes_")


def test_the_reference_pads_nothing_that_it_should_not() -> None:
    """`RAGGED` is of unequal length, or the tests above would not be of that."""
    padded, valid = pad([torch.tensor(x) for x in RAGGED], "left")
    assert padded.shape == (12, 8, 3)
    assert not valid.all()
