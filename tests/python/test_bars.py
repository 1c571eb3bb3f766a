"""Calls that take seconds show a bar; shorter ones, and silent estimators, show none."""

import numpy as np
import pytest

from backcast import AnomalyDetector, Classifier, Model
from backcast._training import progress

X = np.random.default_rng(0).normal(size=(64, 6, 2)).astype(np.float32)
# In batches of one window these calls take longer than the engine waits from report to report.
MANY = np.tile(X, (150, 1, 1))
CALLS = {
    "encode": lambda model: model.encode(MANY),
    "decode": lambda model: model.decode(np.zeros((len(MANY), 8), np.float32), steps=6),
    "reconstruct": lambda model: model.reconstruct(MANY),
    "predict": lambda model: model.predict(MANY, steps=2),
    "losses": lambda model: model.losses(MANY, MANY[:, :2]),
    "trace": lambda model: model.trace(MANY),
}


@pytest.fixture(scope="module")
def model():
    return Model(4, horizon=2, max_iter=2, batch_size=1, device="cpu", verbose=0).fit(X, X[:, :2])


@pytest.mark.parametrize("call", CALLS)
def test_a_long_call_shows_a_bar(model, monkeypatch, capsys, call):
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    CALLS[call](model.set_params(verbose=1))
    assert "window" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "verbose"), [(0.0, 0), (60.0, 1)])
def test_a_silent_or_a_short_call_shows_none(model, monkeypatch, capsys, seconds, verbose):
    monkeypatch.setattr(progress, "_PATIENCE", seconds)
    CALLS["encode"](model.set_params(verbose=verbose))
    assert "window" not in capsys.readouterr().err


def test_training_shows_no_bar_beside_its_own(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    Model(4, max_iter=4, device="cpu", verbose=1).fit(X, X, validation=(X, X))
    y = np.arange(len(X)) % 2
    Classifier(hidden_size=4, max_iter=4, device="cpu", verbose=1).fit(X, y, validation=(X, y))
    assert "window" not in capsys.readouterr().err


def test_scores_show_one_bar_for_all_pieces(monkeypatch, capsys):
    rows = np.random.default_rng(0).normal(size=(400, 2))
    detector = AnomalyDetector({"hidden_size": 4, "max_iter": 2, "device": "cpu", "verbose": 0})
    detector.fit(rows)
    detector.model_.set_params(verbose=1)
    monkeypatch.setattr("backcast.anomaly._scorer._PIECE", 2000)
    expected = np.asarray(detector.score_samples(rows))
    assert "window" not in capsys.readouterr().err
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    assert np.array_equal(np.asarray(detector.score_samples(rows)), expected)
    assert "window" in capsys.readouterr().err
