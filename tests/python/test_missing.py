"""NaN is a missing number: inputs repeat the last one, losses and gradients ignore it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from backcast import Classifier, Model, data
from backcast.errors import DataError
from reference import Seq2Seq, gradients
from small import FUTURE, PAST, X, small_model

Array = NDArray[Any]


def with_gaps(x: Array, seed: int = 0, part: float = 0.3) -> Array:
    """Give `x` with gaps, the first frame of window 0 and a column of window 1 among them."""
    x = np.where(np.random.default_rng(seed).random(x.shape) < part, np.nan, x).astype(np.float32)
    x[0, 0] = np.nan
    x[1, :, 0] = np.nan
    x[:, -1, 1] = 0.5  # no window is missing whole
    return x


def held(x: Array) -> Array:
    """The last number that was seen in each place, zero before the first: slow and plain."""
    x = x.copy()
    for window in x:
        last = np.zeros(x.shape[2:], x.dtype)
        for frame in window:
            frame[...] = last = np.where(np.isnan(frame), last, frame)
    return x


@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize("feedback", ["output", "none", "truth"])
@pytest.mark.parametrize("double", [True, False])
def test_losses_and_gradients_are_those_of_the_known_numbers(
    feedback: str, loss: str, double: bool
) -> None:
    past, future = with_gaps(PAST), with_gaps(FUTURE, 1)
    torch.manual_seed(0)
    reference = Seq2Seq(3, 6, 2, feedback=feedback, loss=loss).double()
    params: dict[str, Any] = {"feedback": feedback, "loss": loss, "horizon": 3, "device": "cpu"}
    weights = {name: value.float().numpy() for name, value in reference.state_dict().items()}
    model = Model.from_state_dict(weights, verbose=0, **params)
    reference.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    known = {
        "reconstruct": torch.tensor(~np.isnan(past[:, ::-1])),
        "predict": torch.tensor(~np.isnan(future)),
    }
    frames = [torch.tensor(held(x), dtype=torch.float64) for x in (past, future)]
    expected = reference.train()(*frames, known=known)
    tolerance = 1e-9 if double else 1e-5
    losses, found, _ = model._gradients(past, future, double=double)
    for name, value in expected.losses.items():
        assert losses[name] == pytest.approx(value.item(), rel=tolerance), name
    for name, gradient in gradients(reference, expected.total).items():
        error = np.linalg.norm(found[name] - gradient.numpy())
        assert error <= tolerance * gradient.norm().item(), name
    as_used = reference.eval()(*frames, known=known).losses
    assert model.losses(past, future) == {
        name: pytest.approx(value.item(), rel=1e-5) for name, value in as_used.items()
    }


@pytest.mark.parametrize("backend", [None, "batched"])
@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_losses_of_windows_are_those_of_each_alone(
    loss: str, backend: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend:
        monkeypatch.setenv("BACKCAST_KERNELS", backend)
    past, future = with_gaps(PAST), with_gaps(FUTURE, seed=1)
    future[2] = np.nan
    model = small_model(loss=loss).fit(past, future)
    each, known = model.losses(past, future, per="window"), {"reconstruct": past, "predict": future}
    assert [*each] == ["reconstruct", "predict"]
    for i in (0, 1, 11):
        alone = model.losses(past[i : i + 1], future[i : i + 1])
        for decoder, loss_alone in alone.items():
            np.testing.assert_allclose(each[decoder][i], loss_alone, rtol=1e-5)
    assert np.isnan(each["predict"]).tolist() == [i == 2 for i in range(len(X))]
    for decoder, mean in model.losses(past, future).items():
        counts = (~np.isnan(known[decoder])).sum((1, 2))
        sums = np.nansum(each[decoder] * counts)
        np.testing.assert_allclose(sums / counts.sum(), mean, rtol=1e-5)


def test_losses_of_windows_of_a_table_are_on_their_index() -> None:
    day = pd.date_range("2026-01-01", periods=30, name="day")
    table = pd.DataFrame({"x": np.sin(np.arange(30.0)), "reconstruct": 1.0}, index=day)
    w = data.windows(table, past=5, future=2)
    model = small_model().fit(w)
    found = model.losses(w, per="window")
    assert found.columns.tolist() == ["reconstruct", "predict"]
    pd.testing.assert_index_equal(found.index, w.index)
    array = model.losses(np.asarray(w), per="window")
    np.testing.assert_array_equal(found["predict"], array["predict"])
    sequences = [table.to_numpy()[:9], table.to_numpy()]
    ragged = model.losses(sequences, per="window")
    alone = model.losses(sequences[:1])
    np.testing.assert_allclose(ragged["predict"][0], alone["predict"], rtol=1e-5)


def test_inputs_are_held_at_the_last_number_seen() -> None:
    model = small_model(num_layers=2).fit(X)
    past = with_gaps(PAST)
    for method in (model.encode, model.reconstruct, model.predict):
        np.testing.assert_array_equal(method(past), method(held(past)))
    sequences = [x[i % 3 :] for i, x in enumerate(past)]
    expected = model.encode([held(x[None])[0] for x in sequences])
    np.testing.assert_array_equal(model.encode(sequences), expected)
    classifier = Classifier(model, max_iter=3, verbose=0).fit(past, np.arange(12) % 2)
    same = classifier.predict_proba(held(past))
    np.testing.assert_array_equal(classifier.predict_proba(past), same)


@pytest.mark.parametrize("as_list", [False, True])
def test_unequal_and_equal_windows_are_treated_alike(as_list: bool) -> None:
    past, future = with_gaps(PAST), with_gaps(FUTURE, 1)
    model = small_model().fit(X)
    expected = model._gradients(past, future)
    found = model._gradients(list(past), list(future))
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    for name, gradient in expected[1].items():
        np.testing.assert_allclose(found[1][name], gradient, atol=1e-12, err_msg=name)


def test_a_series_with_gaps_is_learnt() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(30) / 3 + rng.uniform(0, 6, size=(300, 1))
    waves = np.sin(t)[..., None].astype(np.float32)
    gaps = np.where(rng.random(waves.shape) < 0.2, np.nan, waves)
    options = {"hidden_size": 32, "max_iter": 300, "learning_rate": 5e-3, "horizon": 10}
    model = small_model(**options, batch_size=50).fit(gaps[:250])
    assert model.losses(waves[250:])["predict"] < 0.1


def test_a_window_of_which_nothing_is_known_is_refused_by_its_number() -> None:
    past = PAST.copy()
    past[4] = np.nan
    model = small_model().fit(X)
    for action in (model.encode, model.predict, lambda x: model.fit(x, FUTURE)):
        with pytest.raises(DataError, match="past must hold at least one number in every window"):
            action(past)
        with pytest.raises(DataError, match="got NaN alone in window 4"):
            action(past)


def test_windows_of_a_table_of_which_nothing_is_known_are_refused_by_their_time() -> None:
    times = pd.date_range("2026-01-01", periods=40, freq="h")
    table = pd.DataFrame({"a": np.arange(40.0), "b": np.sin(np.arange(40.0))}, index=times)
    table.iloc[10:20] = np.nan
    w = data.windows(table, 6, 2)
    model = small_model(horizon=2)
    remedy = r"w\[~np.isnan\(w.past\).all\(\(1, 2\)\)\] leaves them out"
    said = "NaN alone in 5 of 33 windows, first in window 10, which ends at 2026-01-01 15:00:00; "
    said += remedy
    with pytest.raises(DataError, match=said):
        model.fit(w)
    known = w[~np.isnan(w.past).all((1, 2))]
    assert len(known) == 28
    model.fit(known)
    for method in (model.encode, model.predict, model.reconstruct):
        with pytest.raises(DataError, match=said):
            method(w.past)
    # Of the future nothing need be known.
    assert np.isfinite(model.predict(w[8:9].past)).all(axis=None)


def test_a_future_without_known_numbers_is_ignored() -> None:
    future = FUTURE.copy()
    future[4] = np.nan
    model = small_model().fit(PAST, future)
    rest = np.arange(12) != 4
    expected = model.losses(PAST[rest], FUTURE[rest])["predict"]
    assert model.losses(PAST, future)["predict"] == pytest.approx(expected, rel=1e-6)
    future[:] = np.nan
    assert model.losses(PAST, future)["predict"] == 0.0


def test_infinity_is_no_missing_number() -> None:
    past = with_gaps(PAST)
    past[3, 2, 1] = np.inf
    with pytest.raises(DataError, match="got an infinite number in window 3"):
        small_model().fit(X).encode(past)
