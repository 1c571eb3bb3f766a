"""The contract of `Model`: what its methods promise, whatever the engine does inside."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from backcast import Model
from backcast._training.progress import Progress
from backcast.errors import ArgumentError, ShapeError
from small import FUTURE, PAST, X, assert_same_weights, differ, small_model, windows

Array = NDArray[Any]


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Make the next training stop after update `step`, as Ctrl-C does."""
    report = Progress.on_report

    def interrupted(self: Progress, at: int, *rest: Any) -> None:
        report(self, at, *rest)
        if at == step:
            monkeypatch.undo()
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "on_report", interrupted)


# -- training --------------------------------------------------------------------------------------


def test_fit_returns_the_model_and_leaves_parameters_alone() -> None:
    model = small_model()
    before = model.get_params()
    assert model.fit(X) is model
    assert model.partial_fit(X) is model
    assert model.get_params() == before
    assert model.device_ == "cpu"


def test_max_iter_counts_updates() -> None:
    assert small_model(max_iter=7).fit(X).n_iter_ == 7
    assert small_model(max_iter=2, batch_size=1000).fit(X).n_iter_ == 2


def test_a_second_fit_forgets_the_first() -> None:
    other = windows(n=7, length=6, frame_shape=(2, 2), seed=1)
    model = small_model().fit(X).fit(other)
    fresh = small_model().fit(other)
    assert_same_weights(model, fresh)
    assert model.frame_shape_ == (2, 2)
    assert model.horizon_ == fresh.horizon_ == 3
    assert model.n_iter_ == 4
    assert [record["step"] for record in model.history_] == [1, 2, 3, 4]


@pytest.mark.parametrize("params", [{}, {"schedule": "cosine", "feedback": "scheduled"}])
def test_a_warm_start_finishes_what_was_interrupted(
    monkeypatch: pytest.MonkeyPatch, params: dict[str, Any]
) -> None:
    params = {"max_iter": 9, "dropout": 0.5, "num_layers": 2, "warm_start": True} | params
    unbroken = small_model(**params).fit(X)
    model = small_model(**params)
    interrupt_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert model.n_iter_ == 4
    model.fit(X)
    assert model.n_iter_ == 9
    assert_same_weights(model, unbroken)
    assert [record["step"] for record in model.history_] == list(range(1, 10))


def test_a_warm_start_continues_what_was_finished() -> None:
    model = small_model(max_iter=4, warm_start=True).fit(X)
    model.fit(X)
    assert model.n_iter_ == 8
    assert_same_weights(model, small_model(max_iter=8).fit(X))
    model.set_params(max_iter=1).fit(X)
    assert model.n_iter_ == 9


def test_without_a_warm_start_an_interrupted_training_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = small_model()
    interrupt_at(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert_same_weights(model.fit(X), small_model().fit(X))


def test_partial_fit_is_one_pass_over_the_windows() -> None:
    model = small_model(batch_size=5)
    assert model.partial_fit(X).n_iter_ == 3
    assert model.partial_fit(X).n_iter_ == 6
    assert_same_weights(model, small_model(batch_size=5, max_iter=6).fit(X))
    assert model.partial_fit(X[:4]).n_iter_ == 7


def test_partial_fit_continues_a_fit() -> None:
    model = small_model(max_iter=3).fit(X).partial_fit(X)
    assert_same_weights(model, small_model(max_iter=6).fit(X))


def test_partial_fit_takes_a_new_learning_rate() -> None:
    model = small_model().fit(X)
    before = model.state_dict()
    model.set_params(learning_rate=0.0).partial_fit(X)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert model.history_[-1]["learning_rate"] == 0


def test_one_array_is_past_and_future() -> None:
    one = small_model(horizon=3).fit(X)
    two = small_model().fit(PAST, FUTURE)
    assert one.horizon_ == two.horizon_ == 3
    assert_same_weights(one, two)
    assert one.losses(X) == one.losses(PAST, FUTURE) == two.losses(X)
    assert one.score(X) == two.score(PAST, FUTURE)
    assert_same_weights(one.partial_fit(X), two.partial_fit(PAST, FUTURE))


@pytest.mark.parametrize(("length", "horizon"), [(8, 4), (9, 4), (2, 1)])
def test_the_horizon_of_one_array_is_half_of_it(length: int, horizon: int) -> None:
    assert small_model().fit(windows(length=length)).horizon_ == horizon


def test_the_horizon_is_that_of_the_future_given() -> None:
    model = small_model().fit(PAST, FUTURE[:, :2])
    assert model.horizon_ == 2
    assert model.predict(PAST).shape == (12, 2, 3)
    assert model.losses(X) == model.losses(X[:, :6], X[:, 6:])


@pytest.mark.parametrize("scale", [None, "standard"])
def test_a_decoder_that_predicts_needs_a_future(scale: str | None) -> None:
    for decoders in ("both", "predict"):
        model = small_model(horizon=0, scale=scale, decoders=decoders)
        with pytest.raises(ArgumentError, match='got 0: decoders="reconstruct" takes windows that'):
            model.fit(X)
        with pytest.raises(ShapeError, match="future must have at least 1 frame, got 0"):
            model.set_params(horizon=None).fit(X, X[:, :0])
        with pytest.raises(ShapeError, match="future must have at least 1 frame, got 0"):
            model.fit(X[:, :1])
    for horizon in (0, None):
        model = small_model(horizon=horizon, scale=scale, decoders="reconstruct").fit(X)
        assert model.horizon_ == 0
        assert set(model.losses(X)) == {"reconstruct"}


def test_an_autoencoder_takes_whole_windows_as_past() -> None:
    model = small_model(decoders="reconstruct").fit(X)
    assert model.horizon_ == 0
    assert set(model.losses(X)) == {"reconstruct"}
    assert not any(name.startswith("predict") for name in model.state_dict())
    assert model.reconstruct(X).shape == X.shape


def test_a_future_predictor_has_no_other_loss() -> None:
    model = small_model(decoders="predict").fit(X)
    assert set(model.losses(X)) == {"predict"}
    assert not any(name.startswith("reconstruct") for name in model.state_dict())
    assert model.predict(X[:, :4]).shape == (12, 4, 3)


# -- what is the same whatever one hands over ------------------------------------------------------

BYTES = np.random.default_rng(0).integers(0, 256, X.shape, dtype=np.uint8)
WHOLE = np.random.default_rng(0).integers(0, 2, X.shape)


def mapped(x: Array) -> Array:
    """Give `x` as a memory map of a file that is gone when the map is."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", x)
        return np.load(Path(folder) / "x.npy", mmap_mode="r")


def unaligned(x: Array) -> Array:
    records = np.zeros(x.shape, dtype=[("odd", "i1"), ("x", x.dtype)])
    records["x"] = x
    return records["x"]


def read_only(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


def padded(x: Array) -> Array:
    """A view of every other number of every other frame."""
    big = np.full((x.shape[0], 2 * x.shape[1], 2 * x.shape[2]), np.nan, x.dtype)
    big[:, ::2, 1::2] = x
    return big[:, ::2, 1::2]


LAYOUTS: dict[str, Callable[[Array], Any]] = {
    "float64": lambda x: x.astype(np.float64),
    "float16": lambda x: x.astype(np.float16),
    "long double": lambda x: x.astype(np.longdouble),
    "big-endian float": lambda x: x.astype(">f4"),
    "big-endian double": lambda x: x.astype(">f8"),
    "Fortran order": np.asfortranarray,
    "time first in memory": lambda x: x.swapaxes(0, 1).copy().swapaxes(0, 1),
    "every other number": padded,
    "negative strides": lambda x: x[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
    "unaligned": unaligned,
    "read-only": read_only,
    "memory map": mapped,
    "memory map of float64": lambda x: mapped(x.astype(np.float64)),
    "a list of arrays": list,
    "a tuple of arrays": tuple,
    "lists of lists": lambda x: x.tolist(),
    "a tensor": torch.tensor,
    "a list of tensors": lambda x: list(torch.tensor(x)),
    "a subclass": lambda x: x.view(type("Sub", (np.ndarray,), {})),
}
INTEGERS = ["bool", "i1", "i2", "i4", "i8", "u2", "u4", "u8", ">i2", ">u4", ">i8"]


def assert_same_numbers(given: Any, floats: Array) -> None:
    """Training and inference see the same numbers."""
    expected = small_model().fit(floats)
    model = small_model().fit(given)
    assert_same_weights(model, expected)
    np.testing.assert_array_equal(model.encode(given), expected.encode(floats))
    np.testing.assert_array_equal(np.stack(model.reconstruct(given)), expected.reconstruct(floats))
    assert model.losses(given) == expected.losses(floats)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_numbers_are_the_same_in_any_layout(layout: str) -> None:
    assert_same_numbers(LAYOUTS[layout](X), X)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_taken_as_they_are(dtype: str) -> None:
    assert_same_numbers(WHOLE.astype(dtype), WHOLE.astype(np.float32))


def test_one_window_may_be_shown_many_times_without_a_copy() -> None:
    assert_same_numbers(np.broadcast_to(X[:1], X.shape), np.repeat(X[:1], len(X), axis=0))


def test_what_is_handed_over_stays_as_it_is() -> None:
    given = X.copy()
    model = small_model().fit(given)
    model.encode(given)
    np.testing.assert_array_equal(given, X)


def test_frames_may_have_any_shape() -> None:
    images = windows(frame_shape=(2, 3, 1))
    flat = images.reshape(12, 8, 6)
    model, expected = small_model().fit(images), small_model().fit(flat)
    assert_same_weights(model, expected)
    assert model.frame_shape_ == (2, 3, 1)
    assert model.reconstruct(images).shape == images.shape
    assert model.predict(images, steps=11).shape == (12, 11, 2, 3, 1)
    np.testing.assert_array_equal(
        model.reconstruct(images).reshape(flat.shape), expected.reconstruct(flat)
    )


def test_bytes_are_scaled_and_that_is_remembered() -> None:
    floats = BYTES.astype(np.float32) / 255
    model, expected = small_model().fit(BYTES), small_model().fit(floats)
    assert_same_weights(model, expected)
    for given in (BYTES, floats):  # 0..255 as bytes, 0..1 as floats
        np.testing.assert_array_equal(model.encode(given), expected.encode(floats))
        assert model.losses(given) == expected.losses(floats)
    frames = model.reconstruct(BYTES)
    assert frames.dtype == np.float32
    np.testing.assert_array_equal(frames, expected.reconstruct(floats))


def test_bytes_and_scaled_floats_may_be_mixed() -> None:
    floats = BYTES.astype(np.float32) / 255
    mixed = small_model().fit(BYTES[:, :5], floats[:, 5:])
    assert_same_weights(mixed, small_model().fit(BYTES[:, :5], BYTES[:, 5:]))
    listed = [BYTES[0], floats[1], BYTES[2]]
    np.testing.assert_array_equal(
        small_model().fit(BYTES).encode(listed), small_model().fit(BYTES).encode(BYTES[:3])
    )


def test_lists_hold_sequences_of_unequal_length() -> None:
    past = [X[0], X[1, :3], X[2, :1], X[3, :6]]
    future = [X[4, :2], X[5, :4], X[6, :1], X[7, :3]]
    model = small_model(horizon=4).fit(past, future)
    assert model.horizon_ == 4
    assert model.encode(past).shape == (4, 6)
    assert model.encode(past, state="full").shape == (4, 12)
    assert [frames.shape for frames in model.reconstruct(past)] == [(8, 3), (3, 3), (1, 3), (6, 3)]
    assert [frames.shape for frames in model.predict(past)] == [(4, 3)] * 4
    assert [frames.shape for frames in model.predict(past, steps=2)] == [(2, 3)] * 4
    assert all(math.isfinite(loss) for loss in model.losses(past, future).values())
    assert model.partial_fit(past, future).n_iter_ == 5


def test_the_future_of_unequal_windows_is_their_end() -> None:
    whole = [X[0], X[1, :5], X[2, :4], X[3, :6]]
    one = small_model(horizon=3).fit(whole)
    two = small_model().fit([w[:-3] for w in whole], [w[-3:] for w in whole])
    assert_same_weights(one, two)
    assert one.losses(whole) == two.losses([w[:-3] for w in whole], [w[-3:] for w in whole])


# -- inference -------------------------------------------------------------------------------------


@pytest.mark.parametrize("feedback", ["output", "none"])
@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize("layers", [1, 3])
def test_encode_decode_reconstruct_and_predict_agree(layers: int, loss: str, feedback: str) -> None:
    model = small_model(num_layers=layers, loss=loss, feedback=feedback).fit(PAST, FUTURE)
    state = model.encode(PAST, state="full")
    assert state.shape == (12, 2 * layers * 6)
    np.testing.assert_array_equal(model.encode(PAST), state[:, (layers - 1) * 6 : layers * 6])
    np.testing.assert_array_equal(
        model.decode(state, steps=5, decoder="reconstruct"), model.reconstruct(PAST)
    )
    np.testing.assert_array_equal(model.decode(state, steps=9), model.predict(PAST, steps=9))
    np.testing.assert_array_equal(model.decode(state), model.predict(PAST))


def test_results_are_float32_of_the_shapes_promised() -> None:
    model = small_model(num_layers=2).fit(PAST, FUTURE)
    embeddings = model.encode(PAST)
    assert embeddings.shape == (12, 6)
    assert np.abs(embeddings).max() < 1
    assert model.reconstruct(PAST).shape == PAST.shape
    assert model.predict(PAST).shape == FUTURE.shape
    assert model.predict(PAST, steps=100).shape == (12, 100, 3)
    for result in (embeddings, model.reconstruct(PAST), model.predict(PAST)):
        assert result.dtype == np.float32
        assert result.flags.c_contiguous
        assert result.flags.owndata or result.base is not None
        result[...] = 0  # the caller's own


def test_a_longer_prediction_begins_as_a_shorter_one() -> None:
    model = small_model().fit(PAST, FUTURE)
    np.testing.assert_array_equal(model.predict(PAST, steps=40)[:, :3], model.predict(PAST))


def test_a_reconstruction_is_in_the_order_of_the_past() -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, 6)[:, None], (8, 6, 1))
    model = small_model(decoders="reconstruct", hidden_size=16, max_iter=300).fit(ramp)
    assert (np.diff(model.reconstruct(ramp)[0, :, 0]) > 0).all()


def test_a_batch_of_any_size_gives_the_same() -> None:
    model = small_model(num_layers=2).fit(PAST, FUTURE)
    expected = model.encode(PAST), model.reconstruct(PAST), model.predict(PAST)
    losses = model.losses(PAST, FUTURE)
    for batch_size in (1, 7, 1000):
        model.set_params(batch_size=batch_size)
        found = model.encode(PAST), model.reconstruct(PAST), model.predict(PAST)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
        assert model.losses(PAST, FUTURE) == pytest.approx(losses, rel=1e-5)


def test_transform_encodes_all_the_frames_given() -> None:
    model = small_model().fit(X)
    np.testing.assert_array_equal(model.transform(X), model.encode(X))
    again = small_model()
    np.testing.assert_array_equal(again.fit_transform(X, y=np.arange(12)), model.encode(X))


def test_losses_are_those_of_the_frames_that_come_out() -> None:
    model = small_model().fit(PAST, FUTURE)
    losses = model.losses(PAST, FUTURE)
    squared = {
        "reconstruct": (model.reconstruct(PAST) - PAST) ** 2,
        "predict": (model.predict(PAST) - FUTURE) ** 2,
    }
    assert losses == pytest.approx({name: x.mean() for name, x in squared.items()}, rel=1e-5)
    per_frame = model.losses(PAST, FUTURE, per="frame")
    assert per_frame == pytest.approx({name: x.sum(2).mean() for name, x in squared.items()}, 1e-5)


def test_the_paper_counts_nats_per_frame() -> None:
    model = small_model(loss="bce").fit(PAST, FUTURE)
    y, p = PAST.astype(np.float64), model.reconstruct(PAST).astype(np.float64)
    nats = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=2).mean()
    assert model.losses(PAST, FUTURE, per="frame")["reconstruct"] == pytest.approx(nats, rel=1e-5)


def test_score_is_minus_the_weighted_loss() -> None:
    model = small_model(loss_weights=(0.25, 3.0)).fit(PAST, FUTURE)
    losses = model.losses(PAST, FUTURE)
    expected = -(0.25 * losses["reconstruct"] + 3 * losses["predict"])
    assert model.score(PAST, FUTURE) == pytest.approx(expected)


def test_training_makes_the_score_better() -> None:
    model = small_model(max_iter=1, hidden_size=16).fit(X)
    before = model.score(X)
    assert model.set_params(max_iter=200).fit(X).score(X) > 0.5 * before > before


def test_dropout_is_for_training_alone() -> None:
    params = {"num_layers": 2, "learning_rate": 0.0, "max_iter": 1, "batch_size": 12}
    model = small_model(dropout=0.5, **params).fit(X)
    plain = small_model(**params).fit(X)
    assert_same_weights(model, plain)  # nothing was learnt
    np.testing.assert_array_equal(model.encode(X), plain.encode(X))
    assert model.losses(X) == plain.losses(X)
    assert plain.history_[0]["predict"] == pytest.approx(plain.losses(X)["predict"], rel=1e-5)
    assert model.history_[0]["predict"] != pytest.approx(plain.losses(X)["predict"], rel=1e-5)


def test_dropout_is_drawn_afresh_at_every_update() -> None:
    model = small_model(dropout=0.5, num_layers=2, learning_rate=0.0, batch_size=12).fit(X)
    assert len({record["predict"] for record in model.history_}) == 4


# -- order, seeds and reports ----------------------------------------------------------------------


def test_every_window_is_seen_once_an_epoch_in_a_fresh_order() -> None:
    model = small_model(learning_rate=0.0, batch_size=1, max_iter=36).fit(PAST, FUTURE)
    seen = [record["predict"] for record in model.history_]
    alone = [model.losses(PAST[i : i + 1], FUTURE[i : i + 1])["predict"] for i in range(12)]
    epochs = [seen[i : i + 12] for i in (0, 12, 24)]
    for epoch in epochs:
        assert sorted(epoch) == pytest.approx(sorted(alone), rel=1e-5)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_the_short_last_batch_is_not_dropped() -> None:
    model = small_model(learning_rate=0.0, batch_size=5, max_iter=3).fit(PAST, FUTURE)
    means = [record["predict"] for record in model.history_]  # of 5, 5 and 2 windows
    whole = model.losses(PAST, FUTURE)["predict"]
    assert np.average(means, weights=[5, 5, 2]) == pytest.approx(whole, rel=1e-5)
    assert [record["epoch"] for record in small_model(max_iter=7).fit(X).history_][-1] == 2


def test_the_same_seed_gives_the_same_weights() -> None:
    params = {"dropout": 0.3, "num_layers": 2, "feedback": "scheduled"}
    model = small_model(**params).fit(X)
    assert_same_weights(model, small_model(**params).fit(X))
    assert differ(model, small_model(**params, random_state=1).fit(X))


def test_the_seed_may_come_from_a_random_state() -> None:
    one = small_model(random_state=np.random.RandomState(3)).fit(X)
    assert_same_weights(one, small_model(random_state=np.random.RandomState(3)).fit(X))
    assert_same_weights(one, small_model(random_state=one.seed_).fit(X))
    assert small_model(random_state=np.int64(7)).fit(X).seed_ == 7


def test_without_a_seed_every_fit_is_another() -> None:
    model = small_model(random_state=None)
    first = model.fit(X).seed_
    assert model.fit(X).seed_ != first
    assert differ(model, small_model(random_state=None).fit(X))


def test_the_random_numbers_of_others_are_left_alone() -> None:
    state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    small_model(dropout=0.5, num_layers=2, feedback="scheduled").fit(X).predict(PAST)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_the_seed_of_torch_changes_nothing() -> None:
    torch.manual_seed(1)
    model = small_model(dropout=0.5, num_layers=2).fit(X)
    torch.manual_seed(2)
    assert_same_weights(model, small_model(dropout=0.5, num_layers=2).fit(X))


def test_the_threads_of_torch_are_given_back() -> None:
    before = torch.get_num_threads()
    small_model(num_threads=before + 1).fit(X).encode(X)
    assert torch.get_num_threads() == before


def test_any_number_of_threads_gives_the_same() -> None:
    many = windows(n=40, frame_shape=(17,))
    one, other = (
        small_model(num_threads=n, hidden_size=32, batch_size=16).fit(many) for n in (1, 2)
    )
    for name, array in one.state_dict().items():
        np.testing.assert_allclose(other.state_dict()[name], array, rtol=0, atol=1e-6)
    np.testing.assert_allclose(other.predict(many), one.predict(many), rtol=0, atol=1e-5)
    assert_same_weights(other, small_model(**other.get_params()).fit(many))


def test_history_is_a_table() -> None:
    model = small_model(max_iter=250, loss_weights=(2.0, 0.5)).fit(X)
    table = pd.DataFrame(model.history_)
    names = ["step", "epoch", "loss", "reconstruct", "predict", "learning_rate", "seconds"]
    assert list(table.columns) == names
    assert 80 <= len(table) <= 100
    assert table["step"].iloc[-1] == 250
    assert table["step"].is_monotonic_increasing
    assert table["seconds"].is_monotonic_increasing
    assert table["epoch"].iloc[-1] == 250 // 3
    assert (table["learning_rate"] == 0.01).all()
    total = 2 * table["reconstruct"] + 0.5 * table["predict"]
    np.testing.assert_allclose(table["loss"], total, rtol=1e-6)
    assert table["loss"].iloc[-1] < table["loss"].iloc[0]


@pytest.mark.filterwarnings("ignore:the loss did not fall", "ignore:.*nearly the same")
def test_a_record_is_the_mean_since_the_last_one() -> None:
    frozen = {"learning_rate": 0.0, "batch_size": 1}
    each = small_model(max_iter=24, **frozen).fit(X).history_
    pairs = small_model(max_iter=200, **frozen).fit(X).history_
    assert [record["step"] for record in pairs[:3]] == [2, 4, 6]
    for i, record in enumerate(pairs[:12]):
        mean = (each[2 * i]["predict"] + each[2 * i + 1]["predict"]) / 2
        assert record["predict"] == pytest.approx(mean, rel=1e-6)


def test_history_tells_the_schedule() -> None:
    model = small_model(max_iter=10, schedule="cosine", warmup=2, learning_rate=0.1).fit(X)
    rates = [record["learning_rate"] for record in model.history_]
    cosine = [0.05 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert rates == pytest.approx([0.05, 0.1, *cosine])


def test_verbose_0_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    small_model(verbose=0).fit(X).predict(PAST)
    assert capfd.readouterr() == ("", "")


def test_verbose_1_shows_a_bar_with_both_losses(capfd: pytest.CaptureFixture[str]) -> None:
    small_model(verbose=1, max_iter=30).fit(X)
    out, err = capfd.readouterr()
    assert out == ""
    last = err.replace("\r", "\n").strip().splitlines()[-1]
    for word in ("100%", "30/30", "step/s", "reconstruct=", "predict="):
        assert word in last


# -- weights ---------------------------------------------------------------------------------------


def test_a_state_dict_is_a_copy_with_the_names_of_the_seed() -> None:
    model = small_model(num_layers=2).fit(X)
    weights = model.state_dict()
    layers = [
        f"lstm.{kind}_l{layer}"
        for layer in (0, 1)
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    decoder = [*layers, "fc.weight", "fc.bias"]
    assert list(weights) == [
        *(f"encoder.{name}" for name in layers),
        *(f"reconstruct_decoder.{name}" for name in decoder),
        *(f"predict_decoder.{name}" for name in decoder),
    ]
    assert weights["encoder.lstm.weight_ih_l0"].shape == (24, 3)
    before = model.encode(X)
    for array in weights.values():
        array[...] = 0
    np.testing.assert_array_equal(model.encode(X), before)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"num_layers": 3, "loss": "bce"},
        {"decoders": "reconstruct"},
        {"decoders": "predict", "feedback": "none"},
        {"feedback": {"reconstruct": "none", "predict": "truth"}},
    ],
)
def test_a_model_of_given_weights_is_the_same_model(params: dict[str, Any]) -> None:
    model = small_model(**params).fit(X)
    given = {k: v for k, v in params.items() if k in ("loss", "feedback")}
    again = Model.from_state_dict(model.state_dict(), device="cpu", verbose=0, **given)
    assert_same_weights(model, again)
    np.testing.assert_array_equal(again.encode(X), model.encode(X))
    assert again.get_params()["decoders"] == model.decoders
    assert again.get_params()["num_layers"] == model.num_layers
    again.partial_fit(X)
    assert again.n_iter_ == 1


def test_weights_may_be_tensors_of_torch() -> None:
    model = small_model().fit(X)
    tensors = {
        name: torch.nn.Parameter(torch.tensor(array)) for name, array in model.state_dict().items()
    }
    assert_same_weights(model, Model.from_state_dict(tensors, device="cpu"))


def test_first_weights_are_those_of_pytorch_or_of_the_paper() -> None:
    def first_weights(**params: Any) -> dict[str, Array]:
        model = small_model(learning_rate=0.0, max_iter=1, hidden_size=25, **params)
        return model.fit(X).state_dict()

    everything = np.concatenate([array.ravel() for array in first_weights().values()])
    assert 0.19 < np.abs(everything).max() <= 0.2  # 1 / sqrt(25)
    assert abs(everything.mean()) < 0.01
    for name, array in first_weights(init="paper").items():
        if "bias" in name:
            assert not array.any()
        else:
            assert 0.009 < np.abs(array).max() <= 0.01
    for name, array in first_weights(forget_bias=1.5).items():
        if "lstm.bias" in name:
            assert (array[25:50] == (1.5 if "bias_ih" in name else 0)).all()
            assert array[:25].any()


def test_inference_sees_the_weights_of_now() -> None:
    # What was made of them for one call is kept for the next.
    model = small_model(horizon=3).fit(X)

    def same_as_a_new_one() -> None:
        for _ in range(2):
            new = Model.from_state_dict(
                model.state_dict(), horizon=3, batch_size=5, device="cpu", verbose=0
            )
            np.testing.assert_array_equal(model.encode(PAST), new.encode(PAST))
            assert model.losses(PAST, FUTURE) == new.losses(PAST, FUTURE)

    same_as_a_new_one()
    before = model.encode(PAST)
    model.partial_fit(X)
    same_as_a_new_one()
    assert (model.encode(PAST) != before).all()
    model._fitted.core.set_weights(
        {name: 0.5 * array for name, array in model.state_dict().items()}
    )
    same_as_a_new_one()
    model.encode(PAST[:1])
    model.encode(X)
    same_as_a_new_one()
    same = copy.deepcopy(model)
    model.partial_fit(X)
    assert (same.encode(PAST) != model.encode(PAST)).any()
    same_as_a_new_one()


def test_completion_lists_public_names_alone() -> None:
    import backcast
    from backcast import anomaly, data, forecast, plot

    for module in (backcast, data, plot, anomaly, forecast):
        names = set(dir(module))
        assert set(module.__all__) <= names
        assert all(hasattr(module, name) for name in names)
        assert not names & {"annotations", "TYPE_CHECKING", "Any", "import_module", "series"}
    assert {"fit", "encode"} <= set(dir(small_model()))
    foreign = {"np", "Any", "core", "fitted", "architecture"}
    assert not {name for name in dir(small_model()) if name[0] != "_"} & foreign
