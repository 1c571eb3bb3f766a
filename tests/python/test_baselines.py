"""Losses beside those of simple models, and advice on numbers that are far from unit scale."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backcast import Model
from backcast._training.advice import Comparison, advise_on_baselines
from backcast.data import windows
from backcast.errors import TrainingWarning
from small import X, small_model


def told_by(model: Model, *args: Any, **kwargs: Any) -> list[str]:
    """Return the warnings of a training."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(*args, **kwargs)
    return [str(warning.message) for warning in caught]


def test_a_model_that_is_no_better_than_the_last_value_warns() -> None:
    walks = np.random.default_rng(0).normal(size=(200, 12, 2)).cumsum(1)
    model = small_model(max_iter=100, hidden_size=8)
    (told,) = told_by(model, walks[:100], validation=walks[100:])
    assert told.startswith(
        "on held-out windows the model is no better than the last value (predict "
    )
    some = walks[100::2]
    assert model.baselines_ == pytest.approx(model.baselines(some))
    assert model.losses(some)["predict"] > model.baselines(some)["predict"]
    (told,) = told_by(model, walks)
    assert told.startswith("on training windows the model is no better than the last value")


def test_a_warning_names_each_error_that_is_no_better() -> None:
    errors = [Comparison(*row) for row in (("a", 2, "m", 1), ("b", 3, "m", 1), ("c", 1, "l", 2))]
    with pytest.warns(TrainingWarning, match=r"no better than m \(a 2, m 1; b 3, m 1\). Try rest"):
        advise_on_baselines(errors, "windows", "rest")


def test_a_short_training_is_not_compared() -> None:
    walks = np.random.default_rng(0).normal(size=(20, 12, 2)).cumsum(1)
    model = small_model(max_iter=99)
    assert not told_by(model, walks)
    assert model.baselines_ == {}


@pytest.mark.parametrize("scale", [None, "standard"])
def test_baselines_are_the_losses_of_the_mean_and_of_the_last_value(scale: str | None) -> None:
    past = np.random.default_rng(0).normal(3, 2, (20, 5, 3))
    future = 1 + past[:, :2]
    future[3, 1, 1] = past[2, -1, 0] = past[4, :, 2] = np.nan
    model = small_model(scale=scale).fit(past, future)
    frames = np.concatenate([past, future], 1)
    std = np.nanstd(frames, (0, 1)) if scale else 1.0
    zero = np.nanmean(frames, (0, 1)) if scale else np.zeros(3)
    last = past[:, -1].copy()
    last[2, 0], last[4, 2] = past[2, -2, 0], zero[2]
    expected = {
        "reconstruct": np.nanmean(((past - np.nanmean(past, (0, 1))) / std) ** 2),
        "predict": np.nanmean(((future - last[:, None]) / std) ** 2),
    }
    assert model.baselines(past, future) == pytest.approx(expected)
    by_frame = model.baselines(past, future, per="frame")
    assert by_frame == pytest.approx({name: 3 * loss for name, loss in expected.items()})
    ragged = model.baselines(list(past), list(future))
    assert ragged == pytest.approx(expected)


def test_the_baseline_of_probabilities_is_the_entropy_of_their_mean() -> None:
    model = small_model(loss="bce").fit(X)
    mean = X[:, :4].mean((0, 1))
    entropy = -(mean * np.log(mean) + (1 - mean) * np.log(1 - mean))
    assert model.baselines(X)["reconstruct"] == pytest.approx(entropy.mean())
    assert model.baselines((255 * X).astype(np.uint8))["predict"] < np.log(2)


@pytest.mark.parametrize(("factor", "offset"), [(1.0, 1013.0), (500.0, 0.0), (1e-3, 0.0)])
def test_numbers_far_from_unit_scale_warn_before_the_training(factor: float, offset: float) -> None:
    table = pd.DataFrame({"wave": np.sin(np.arange(80) / 3), "p": np.cos(np.arange(80) / 3)})
    raw = windows(table * {"wave": min(factor, 1.0), "p": factor} + [0, offset], past=6, future=2)

    def stop(*_: Any) -> bool:
        assert seen
        return True

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        small_model(max_iter=100).fit(raw, callback=stop)
    (told,) = (str(warning.message) for warning in seen)
    assert ("numbers of 'p' are far from unit scale" in told) == (factor != 1e-3)
    assert 'scale="standard"' in told
    for quiet in ({"scale": "standard"}, {"max_iter": 99}):
        assert not told_by(small_model(**({"max_iter": 100} | quiet)), raw, callback=stop)


def test_files_and_pickles_keep_the_baselines(tmp_path: Path) -> None:
    model = small_model(max_iter=100, hidden_size=8).fit(X)
    assert set(model.baselines_) == {"reconstruct", "predict"}
    model.save(tmp_path / "model")
    assert Model.load(tmp_path / "model", device="cpu").baselines_ == model.baselines_
    assert pickle.loads(pickle.dumps(model)).baselines_ == model.baselines_
    assert "simple models" in model._repr_html_()


def test_windows_that_are_read_on_demand_are_taken_evenly() -> None:
    series = pd.DataFrame({"x": np.sin(np.arange(300) / 5)})
    lazy = windows(series, past=6, future=2)
    model = small_model(max_iter=100, hidden_size=8).fit(lazy)
    every = -(-len(lazy) // 64)
    assert model.baselines_ == model.baselines(np.asarray(lazy)[::every])
