"""Around a training: validation, patience, callbacks, checkpoints, batches, advice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backcast import Classifier, Model
from backcast._engine.memory import available_bytes, count_weights
from backcast.errors import (
    ArgumentError,
    DataError,
    OutOfMemoryError,
    ShapeError,
    TrainingWarning,
)
from small import FUTURE, PAST, X, assert_same_weights, differ, small_model, windows

HELD_OUT = windows(6, seed=1)
QUIET = pytest.mark.filterwarnings("ignore::backcast.errors.TrainingWarning")

# -- validation and patience -----------------------------------------------------------------------


def test_validation_losses_come_into_the_history_as_at_inference() -> None:
    model = small_model(feedback="truth", max_iter=5).fit(X, validation=HELD_OUT)
    plain = small_model(feedback="truth", max_iter=5).fit(X)
    assert_same_weights(model, plain)
    last = model.history_[-1]
    losses = model.losses(HELD_OUT)
    assert last["validation_reconstruct"] == losses["reconstruct"]
    assert last["validation_predict"] == losses["predict"]
    assert last["validation_loss"] == -model.score(HELD_OUT)
    assert len(model.history_) == 5
    ours, theirs = ([r["loss"] for r in m.history_] for m in (model, plain))
    assert ours == theirs


def test_a_part_of_the_windows_may_be_held_out_the_last_ones() -> None:
    model = small_model().fit(X, validation=0.25)
    expected = small_model().fit(X[:9], validation=X[9:])
    assert_same_weights(model, expected)
    assert model.history_[-1]["validation_loss"] == expected.history_[-1]["validation_loss"]
    pair = small_model().fit(PAST, FUTURE, validation=(HELD_OUT[:, :5], HELD_OUT[:, 5:]))
    whole = small_model(horizon=3).fit(X, validation=HELD_OUT)
    assert pair.history_[-1]["validation_loss"] == whole.history_[-1]["validation_loss"]
    ragged = [x[i % 3 :] for i, x in enumerate(X)]
    model = small_model(horizon=2).fit(ragged, validation=0.5)
    assert_same_weights(model, small_model(horizon=2).fit(ragged[:6]))


def test_scaling_is_learnt_without_the_windows_held_out() -> None:
    far = np.concatenate([X[:9], X[9:] + 1000])
    model = small_model(scale="standard").fit(far, validation=0.25)
    np.testing.assert_allclose(model._fitted.scale[0], X[:9].mean((0, 1)), rtol=1e-5)


@QUIET
def test_patience_stops_and_keeps_the_best_weights() -> None:
    # Too large a rate for few windows: the validation loss falls, then rises.
    params = {"learning_rate": 0.05, "hidden_size": 16, "patience": 7}
    model = small_model(max_iter=500, **params).fit(X[:4], validation=HELD_OUT)
    found = [record["validation_loss"] for record in model.history_]
    best = int(np.argmin(found))
    assert len(found) == best + 1 + 7 < 100
    assert -model.score(HELD_OUT) == found[best]
    assert model.n_iter_ == model.history_[-1]["step"]


def test_a_classifier_stops_by_its_validation_loss_too() -> None:
    y = np.arange(12) % 3
    options: dict[str, Any] = {"hidden_size": 16, "learning_rate": 0.05, "random_state": 0}
    options |= {"device": "cpu", "verbose": 0, "max_iter": 500, "patience": 7}
    classifier = Classifier(**options).fit(X[:6], y[:6], validation=(X[6:], y[6:]))
    found = [record["validation_loss"] for record in classifier.history_]
    assert len(found) == int(np.argmin(found)) + 1 + 7
    with pytest.raises(DataError, match="y must hold labels that are in classes_, got also 7"):
        Classifier(**options).fit(X, y, validation=(X, y + 7))
    with pytest.raises(ArgumentError, match=r"validation must be a pair \(X, y\), got a float"):
        Classifier(**options).fit(X, y, validation=0.2)


REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (0.0, {}, ArgumentError, "validation must be a fraction of the 12 windows"),
    (1.0, {}, ArgumentError, "validation must be a fraction of the 12 windows"),
    (0.01, {}, ArgumentError, "validation must be a fraction of the 12 windows"),
    (HELD_OUT[..., :2], {}, ShapeError, r"validation must have frames of shape \(3,\), as past"),
    (HELD_OUT[:, :2], {}, ShapeError, "windows must be longer than the horizon of 4 frames"),
    (HELD_OUT[:0], {}, DataError, "must hold at least one window"),
    (None, {"patience": 3}, ArgumentError, "validation must be given to fit with a patience"),
    (np.full_like(HELD_OUT, np.inf), {}, DataError, "finite numbers"),
]


@pytest.mark.parametrize(("validation", "params", "error", "message"), REFUSED)
def test_a_validation_that_cannot_be_used_is_refused_and_the_model_is_as_it_was(
    validation: Any, params: dict[str, Any], error: type[Exception], message: str
) -> None:
    model = small_model().fit(X)
    before = model.encode(PAST)
    own = model.get_params()
    with pytest.raises(error, match=message):
        model.set_params(**params).fit(X, validation=validation)
    if "finite" not in message:  # that one is seen after the first updates
        np.testing.assert_array_equal(model.set_params(**own).encode(PAST), before)


# -- callbacks -------------------------------------------------------------------------------------


def test_a_callback_sees_every_record_and_may_use_the_model() -> None:
    seen = []

    def look(model: Model, record: dict[str, float]) -> None:
        seen.append((dict(record), model.n_iter_, model.losses(X)["predict"]))

    model = small_model(max_iter=6).fit(X, validation=HELD_OUT, callback=look)
    assert [record for record, _, _ in seen] == model.history_
    assert [step for _, step, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1][2] == model.losses(X)["predict"]
    assert_same_weights(model, small_model(max_iter=6).fit(X))


def test_a_callback_that_returns_true_stops_the_training() -> None:
    model = small_model(max_iter=6).fit(X, callback=lambda _, record: record["step"] == 4)
    assert model.n_iter_ == 4
    same = small_model(max_iter=6).fit(X, callback=lambda _, record: record["step"])
    assert same.n_iter_ == 6  # a number is not True


def test_an_error_in_a_callback_comes_out_and_the_updates_stay() -> None:
    model = small_model(max_iter=6)
    with pytest.raises(ZeroDivisionError):
        model.fit(X, callback=lambda _, record: 1 / (record["step"] - 3))
    assert model.n_iter_ == 3
    assert np.isfinite(model.encode(PAST)).all()


# -- checkpoints -----------------------------------------------------------------------------------

TRAINED: dict[str, Any] = {
    "num_layers": 2,
    "dropout": 0.2,
    "feedback": "scheduled",
    "schedule": "cosine",
    "max_grad_norm": 1.0,
    "max_iter": 300,
    "patience": 90,
}


class Stop(Exception):
    """Ends a training as a crash would: nothing is written on the way out."""


def stop_at(step: int) -> Any:
    def callback(_: Model, record: dict[str, float]) -> None:
        if record["step"] == step:
            raise Stop

    return callback


@QUIET
def test_a_resumed_training_ends_with_the_same_weights_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    unbroken = small_model(**TRAINED).fit(X, validation=HELD_OUT)
    options: dict[str, Any] = {"validation": HELD_OUT, "checkpoint": path}
    for step in (90, 201):
        with pytest.raises(Stop):
            small_model(**TRAINED).fit(X, **options, checkpoint_minutes=0.0, callback=stop_at(step))
    resumed = small_model(**TRAINED)
    resumed.fit(X, **options)
    assert_same_weights(resumed, unbroken)
    ours, theirs = (
        [{k: v for k, v in record.items() if k != "seconds"} for record in model.history_]
        for model in (resumed, unbroken)
    )
    assert ours == theirs
    # the file is that of the finished training now, and gives it without any update
    again = small_model(**TRAINED).fit(X, **options)
    assert_same_weights(again, unbroken)
    assert again.history_ == resumed.history_
    loaded = Model.load(path, device="cpu")
    np.testing.assert_array_equal(loaded.encode(PAST), unbroken.encode(PAST))


KILLED = """
import sys
import numpy as np
from backcast import Model
rng = np.random.default_rng(0)
X = rng.random((200, 12, 8), dtype=np.float32)
model = Model(64, max_iter=int(sys.argv[2]), batch_size=20, random_state=0, device="cpu", verbose=0)
callback = lambda model, record: print(record["step"], flush=True)
model.fit(X, checkpoint=sys.argv[1] or None, checkpoint_minutes=0.0, callback=callback)
np.savez(sys.argv[3], **model.state_dict())
"""


@QUIET
def test_a_training_that_is_killed_at_any_moment_resumes(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path / "run"), "400"]
    for lines in (7, 13):  # killed twice, in the middle of work or of writing
        process = subprocess.Popen(
            [*command, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        first = [int(process.stdout.readline()) for _ in range(lines)]
        time.sleep(0.003 * lines)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert first[0] > 4  # the second went on from where the first was
    subprocess.run([*command, str(tmp_path / "resumed.npz")], check=True, stdout=subprocess.DEVNULL)
    command[-2] = ""
    subprocess.run(
        [*command, str(tmp_path / "unbroken.npz")], check=True, stdout=subprocess.DEVNULL
    )
    with np.load(tmp_path / "resumed.npz") as one, np.load(tmp_path / "unbroken.npz") as other:
        for name in other:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == [
        "resumed.npz",
        "run",
        "unbroken.npz",
    ]


def test_ctrl_c_writes_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run"

    def interrupt(_: Model, record: dict[str, float]) -> None:
        if record["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small_model(max_iter=9).fit(X, checkpoint=path, callback=interrupt)
    assert Model.load(path).n_iter_ == 5
    assert_same_weights(
        small_model(max_iter=9).fit(X, checkpoint=path), small_model(max_iter=9).fit(X)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 7}, "hidden_size must be 6, as in the training of .*, got 7"),
        ({"max_iter": 5}, "max_iter must be 4"),
        ({"random_state": 1}, "random_state must be 0"),
    ],
)
def test_a_checkpoint_of_another_training_is_not_touched(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    small_model().fit(X, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ArgumentError, match=f"{message}.*; remove the file to train anew"):
        small_model(**change).fit(X, checkpoint=path)
    with pytest.raises(ShapeError, match="past must hold 12 windows of 4 \\+ 4 frames"):
        small_model().fit(X[:5], checkpoint=path)
    assert path.read_bytes() == before
    small_model().fit(X).save(path)
    with pytest.raises(ArgumentError, match="checkpoint must be the file of a training"):
        small_model().fit(X, checkpoint=path)
    with pytest.raises(FileNotFoundError, match="nowhere/run"):
        small_model().fit(X, checkpoint=tmp_path / "nowhere" / "run")


# -- batches ---------------------------------------------------------------------------------------


def test_an_iterable_of_batches_gives_an_update_each() -> None:
    batches = [X[:5], X[5:10], X[10:]]
    model = small_model(max_iter=5).fit(Again(batches))
    assert model.n_iter_ == 5
    expected = small_model(max_iter=5, batch_size=5)
    for batch in (*batches, *batches[:2]):
        expected.partial_fit(batch)
    assert_same_weights(model, expected)
    assert [record["step"] for record in model.history_] == [1, 2, 3, 4, 5]


class Again:
    """Batches that can be gone through again and again, and are no list."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def test_a_loader_of_torch_gives_pasts_and_futures() -> None:
    dataset = torch.utils.data.TensorDataset(torch.tensor(PAST), torch.tensor(FUTURE))
    model = small_model(max_iter=6).fit(torch.utils.data.DataLoader(dataset, batch_size=5))
    pairs = [(PAST[:5], FUTURE[:5]), (PAST[5:10], FUTURE[5:10]), (PAST[10:], FUTURE[10:])]
    assert_same_weights(model, small_model(max_iter=6).fit(Again(pairs)))
    assert model.horizon_ == 3


def test_records_of_many_batches_are_means() -> None:
    frozen = {"learning_rate": 0.0, "batch_size": 3}
    every = small_model(max_iter=40, **frozen).fit(Again([X[:3], X[3:6]])).history_
    assert len(every) == 40
    two = small_model(max_iter=150, **frozen)
    with pytest.warns(TrainingWarning, match="used up after 40 of 150 updates"):
        two.fit(batch for batch in [X[:3], X[3:6]] * 20)
    assert [record["step"] for record in two.history_] == list(range(2, 41, 2))
    mean = (every[0]["loss"] + every[1]["loss"]) / 2
    assert two.history_[0]["loss"] == pytest.approx(mean, rel=1e-6)


def test_batches_are_validated_watched_and_stopped_as_windows_are() -> None:
    batches, seen = Again([X[:5], X[5:10], X[10:]]), []
    options: dict[str, Any] = {"validation": HELD_OUT}
    model = small_model(max_iter=6).fit(batches, callback=lambda _, r: seen.append(r), **options)
    assert seen == model.history_
    assert model.history_[-1]["validation_loss"] == -model.score(HELD_OUT)
    assert [record["epoch"] for record in model.history_] == [0, 0, 0, 1, 1, 1]
    stopped = small_model(max_iter=6).fit(batches, callback=lambda _, r: r["step"] == 4)
    assert stopped.n_iter_ == 4


@QUIET
def test_patience_keeps_the_best_weights_of_batches() -> None:
    params = {"learning_rate": 0.05, "hidden_size": 16, "patience": 7, "max_iter": 500}
    model = small_model(**params).fit(Again([X[:4]]), validation=HELD_OUT)
    found = [record["validation_loss"] for record in model.history_]
    assert len(found) == int(np.argmin(found)) + 1 + 7 < 100
    assert -model.score(HELD_OUT) == min(found)


class From(Again):
    """Batches of which a pass may start anywhere."""

    def __init__(self, batches: Any) -> None:
        super().__init__(batches)
        self.starts: list[int] = []

    def from_batch(self, k: int) -> Iterator[Any]:
        self.starts.append(k)
        return iter(self.batches[k:])


@QUIET
@pytest.mark.parametrize("kind", [Again, From])
@pytest.mark.parametrize("step", [90, 201, 3])
def test_a_resumed_training_on_batches_ends_with_the_same_weights_to_the_bit(
    kind: type[Again], step: int, tmp_path: Path
) -> None:
    path, batches = tmp_path / "run", kind([X[:5], X[5:7], X[7:], X[:9]])
    options: dict[str, Any] = {"validation": HELD_OUT}
    unbroken = small_model(**TRAINED).fit(batches, **options)
    options |= {"checkpoint": path, "checkpoint_minutes": 0.0}
    with pytest.raises(Stop):
        small_model(**TRAINED).fit(batches, callback=stop_at(step), **options)
    done = Model.load(path).n_iter_ if path.exists() else 0
    resumed = small_model(**TRAINED).fit(batches, **options)
    assert_same_weights(resumed, unbroken)
    assert [r["loss"] for r in resumed.history_] == [r["loss"] for r in unbroken.history_]
    if isinstance(batches, From):
        # After the last batch of a pass, its end is yet to be read.
        assert batches.starts == ([done % 4 or 4] if done else [])


def test_a_scale_is_learnt_in_a_first_pass_over_batches() -> None:
    parts = [X[:5], X[5:10], X[10:]]
    model = small_model(scale="standard").fit(Again(parts))
    whole = small_model(scale="standard").fit(X)
    np.testing.assert_allclose(model._fitted.scale, whole._fitted.scale, rtol=1e-6, atol=1e-9)
    with pytest.raises(ArgumentError, match="scale must be None with an iterator of batches"):
        small_model(scale="standard").fit(iter(parts))


def test_partial_fit_takes_one_pass_of_batches() -> None:
    batches = Again([X[:5], X[5:10], X[10:]])
    model = small_model().partial_fit(batches)
    assert model.n_iter_ == 3
    assert_same_weights(model, small_model(max_iter=3).fit(batches))
    assert model.partial_fit(iter([X[:5]])).n_iter_ == 4


def test_a_batch_in_a_list_of_one_is_that_batch() -> None:
    parts = [[torch.tensor(X[:5])], [torch.tensor(X[5:])]]
    model = small_model().fit(Again(parts))
    assert model.frame_shape_ == (3,)
    assert_same_weights(model, small_model().fit(Again([X[:5], X[5:]])))


def test_a_bad_batch_keeps_the_updates_before_it() -> None:
    bad = X[:3].copy()
    bad[1, 2, 0] = np.inf
    model = small_model(max_iter=9)
    with pytest.raises(DataError, match="infinite number in window 1"):
        model.fit(Again([X[:5], X[5:10], bad]))
    assert model.n_iter_ == 2
    assert_same_weights(model, small_model(max_iter=2).fit(Again([X[:5], X[5:10]])))
    with pytest.raises(ShapeError, match="frames of shape"):
        small_model(max_iter=9).fit(Again([X[:5], X[5:, :, :2]]))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"future": FUTURE}, "future must be None with an iterable of batches"),
        ({"validation": 0.1}, "validation must be windows with an iterable of batches"),
    ],
)
def test_what_batches_cannot_have_is_refused(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        small_model().fit(iter([X]), **keywords)
    with pytest.raises(DataError, match="past must hold at least one batch"):
        small_model().fit(iter([]))


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_training(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()

    def remove(_: Model, record: dict[str, float]) -> None:
        if record["step"] == 2:
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()

    with pytest.warns(RuntimeWarning, match="checkpoint could not be written: .*gone/run"):
        model = small_model().fit(X, checkpoint=folder / "run", callback=remove)
    assert_same_weights(model, small_model().fit(X))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_training_writes_its_checkpoint(error: Any, tmp_path: Path) -> None:
    def interrupt(_: Model, record: dict[str, float]) -> None:
        if record["step"] == 3:
            raise error

    with pytest.raises(error):
        small_model().fit(X, checkpoint=tmp_path / "run", callback=interrupt)
    assert Model.load(tmp_path / "run").n_iter_ == 3
    y = np.arange(12) % 3
    options: dict[str, Any] = {"hidden_size": 6, "max_iter": 6, "random_state": 0, "verbose": 0}
    options |= {"device": "cpu", "batch_size": 5}
    with pytest.raises(error):
        Classifier(**options).fit(X, y, checkpoint=tmp_path / "c", callback=interrupt)
    resumed = Classifier(**options).fit(X, y, checkpoint=tmp_path / "c")
    expected = Classifier(**options).fit(X, y)
    np.testing.assert_array_equal(resumed.predict_proba(X), expected.predict_proba(X))


# -- advice ----------------------------------------------------------------------------------------


@QUIET
def test_a_loss_that_does_not_fall_warns() -> None:
    with pytest.warns(TrainingWarning, match="the loss did not fall: .* Try another"):
        small_model(max_iter=150, learning_rate=0.0, batch_size=12).fit(X)


@QUIET
def test_outputs_that_are_only_the_mean_warn() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(200, 8, 3)).astype(np.float32)
    params = {"max_iter": 120, "learning_rate": 1e-5, "batch_size": 200}
    with pytest.warns(
        TrainingWarning, match="predict and reconstruct give nearly the same"
    ) as all_:
        small_model(**params).fit(noise)
    assert len(all_) == 1
    with pytest.warns(TrainingWarning, match="predict gives nearly the same frames for every"):
        small_model(decoders="predict", **params).fit(noise)


def test_dropout_without_effect_warns() -> None:
    with pytest.warns(TrainingWarning, match=r"dropout=0.5 does nothing with num_layers=1"):
        small_model(dropout=0.5).fit(X)
    small_model(dropout=0.5, num_layers=2).fit(X)


@QUIET
def test_a_rising_validation_loss_warns_without_early_stopping() -> None:
    params = {"learning_rate": 0.05, "hidden_size": 16, "max_iter": 500}
    with pytest.warns(TrainingWarning, match=r"the validation loss rose from .* Try patience=10"):
        small_model(**params).fit(X[:4], validation=HELD_OUT)


def test_a_horizon_beyond_the_trained_one_warns_once() -> None:
    model = small_model().fit(X)
    with pytest.warns(TrainingWarning, match="steps=9 is beyond the 4 frames") as caught:
        model.predict(PAST, steps=9)
        model.predict(PAST, steps=10)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_training_that_goes_well_tells_nothing(recwarn: pytest.WarningsRecorder) -> None:
    t = np.arange(20) / 3 + np.random.default_rng(0).uniform(0, 6, size=(200, 1))
    waves = np.sin(t)[..., None]
    small_model(hidden_size=32, max_iter=300, batch_size=50).fit(waves, validation=0.2)
    assert not [str(warning.message) for warning in recwarn]


# -- memory ----------------------------------------------------------------------------------------


def test_a_training_that_does_not_fit_into_memory_is_refused_at_once() -> None:
    there = available_bytes()
    assert there is not None
    assert there > 2**28
    model = small_model().fit(X)
    before = model.encode(PAST)
    with pytest.raises(
        OutOfMemoryError, match=r"training needs about .* [GT]B of memory \(.* [GT]B for"
    ):
        model.set_params(hidden_size=200_000).fit(X)
    np.testing.assert_array_equal(model.set_params(hidden_size=6).encode(PAST), before)
    long = np.broadcast_to(np.float32(0), (100_000, 10_000, 64))
    with pytest.raises(OutOfMemoryError, match="try a smaller batch_size"):
        small_model(hidden_size=512, batch_size=100_000).fit(long)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"num_layers": 3, "peepholes": True},
        {"feedback": {"reconstruct": "none"}, "decoders": "both"},
        {"decoders": "predict", "feedback": "none"},
    ],
    ids=str,
)
def test_weights_are_counted_right(params: dict[str, Any]) -> None:
    model = small_model(**params).fit(X)
    counted = sum(array.size for array in model.state_dict().values())
    assert count_weights(model._fitted.architecture) == counted


def test_differ_tells_models_apart() -> None:
    assert differ(small_model().fit(X), small_model(random_state=1).fit(X))


def test_single_passes_keep_the_learning_rate_as_nobody_knows_where_they_end() -> None:
    falling, constant = (
        small_model(schedule=word, max_iter=3, batch_size=8) for word in ("cosine", None)
    )
    for _ in range(5):
        for model in (falling, constant):
            model.partial_fit(X)
    assert falling.n_iter_ > 3
    assert_same_weights(falling, constant)
    assert falling.history_[-1]["learning_rate"] == falling.learning_rate
