"""Several processes train one model: the numbers of one process, and no hang when one fails."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backcast import AnomalyDetector, Classifier, Model
from backcast.errors import ArgumentError, TrainingWarning
from processes import Groups, Processes, Raised
from small import X, small_model, windows

SIZES = (2, 3)
# 23 windows: five batches an epoch, of parts that are not equal.
MANY = windows(23, 9)


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Groups]:
    """Groups of processes, by size."""
    started = Groups(tmp_path_factory.mktemp("group"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def pair(groups: Groups) -> Processes:
    """Two processes."""
    return groups[2]


def result(model: Model | Classifier) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Weights and records; each process has a clock of its own."""
    records = [{k: v for k, v in r.items() if k != "seconds"} for r in model.history_]
    return model.state_dict(), records


def trained(_: int, params: dict[str, Any], x: Any, group: Any = "world", **more: Any) -> Any:
    """Weights and records of a training."""
    return result(small_model(**params).fit(x, group=group, **more))


def norm(arrays: Iterator[NDArray[Any]]) -> float:
    return float(np.sqrt(sum((array.astype(float) ** 2).sum() for array in arrays)))


def assert_same(all_results: list[Any]) -> None:
    """All processes have the same numbers, to the bit."""
    weights, records = all_results[0]
    for others, other_records in all_results[1:]:
        assert other_records == records
        for name, array in weights.items():
            np.testing.assert_array_equal(array, others[name])


def assert_as_one(results: list[Any], expected: Any, tolerance: float = 1e-6) -> None:
    """All processes have the same numbers, which are about those of one process."""
    assert_same(results)
    (weights, records), (alone, alone_records) = results[0], expected
    difference = norm(weights[name] - array for name, array in alone.items())
    assert difference < tolerance * norm(iter(alone.values()))
    assert [record["step"] for record in records] == [r["step"] for r in alone_records]
    for ours, theirs in zip(records, alone_records, strict=True):
        assert ours == pytest.approx(theirs, rel=tolerance)


def with_gaps() -> NDArray[Any]:
    random = np.random.default_rng(0)
    return np.where(random.uniform(size=MANY.shape) < 0.2, np.nan, MANY).astype(np.float32)


def ragged() -> list[NDArray[Any]]:
    lengths = np.random.default_rng(0).integers(7, 10, len(MANY))
    return [window[:n] for window, n in zip(MANY, lengths, strict=True)]


CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "plain": ({}, MANY),
    "missing numbers": ({}, with_gaps()),
    "unequal lengths": ({"horizon": 3}, ragged()),
    "bytes": ({}, (MANY * 255).astype(np.uint8)),
    "dropout": ({"num_layers": 2, "dropout": 0.3}, MANY),
    "scheduled": ({"feedback": "scheduled"}, MANY),
    "bce": ({"feedback": "truth", "loss": "bce"}, MANY),
    "adamw": (
        {"optimizer": "adamw", "weight_decay": 0.01, "max_grad_norm": 0.05, "schedule": "cosine"},
        MANY,
    ),
    "scale": ({"scale": "standard", "peepholes": True}, MANY),
    "reconstruct": ({"decoders": "reconstruct"}, MANY),
    "fewer windows than processes": ({"batch_size": 2}, MANY[:5]),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", CASES)
def test_the_number_of_processes_changes_no_number(case: str, size: int, groups: Groups) -> None:
    params, x = CASES[case]
    params = params | {"max_iter": 12}
    assert_as_one(groups[size].run(trained, params, x), trained(0, params, x, None))


def rounded(_: int, params: dict[str, Any]) -> Any:
    return trained(0, params, MANY)


@pytest.mark.parametrize("params", [{"precision": "bf16"}, {"optimizer": "rmsprop"}], ids=str)
def test_rounding_is_amplified_where_it_always_is(params: Any, pair: Processes) -> None:
    # A factor of 16 bits flips; RMSProp divides by roots of tiny numbers.
    assert_as_one(pair.run(rounded, params), trained(0, params, MANY, None), 2e-2)


def with_validation(_: int, group: Any) -> Any:
    model = small_model(max_iter=200, learning_rate=0.05, patience=2)
    return result(model.fit(MANY[:10], validation=MANY[10:], group=group))


def test_patience_ends_at_the_same_update(groups: Groups) -> None:
    expected = with_validation(0, None)
    assert expected[1][-1]["step"] < 200
    assert_as_one(groups[3].run(with_validation, "world"), expected, 1e-3)


def classified(_: int, group: Any) -> Any:
    return result(Classifier(**CLASSIFIER).fit(MANY, np.arange(len(MANY)) % 3, group=group))


CLASSIFIER: dict[str, Any] = {
    "hidden_size": 6,
    "max_iter": 6,
    "batch_size": 5,
    "device": "cpu",
    "random_state": 0,
    "verbose": 0,
}


def test_a_classifier_trains_in_a_group(groups: Groups) -> None:
    assert_as_one(groups[3].run(classified, "world"), classified(0, None))


def detected(_: int, group: Any) -> Any:
    rows = np.sin(np.arange(300) / 3)
    model = {"hidden_size": 6, "max_iter": 6, "random_state": 0, "device": "cpu", "verbose": 0}
    return AnomalyDetector(model, past=8, future=2).fit(rows, group=group).offset_


def test_a_detector_trains_in_a_group(pair: Processes) -> None:
    assert pair.run(detected, "world") == pytest.approx(2 * [detected(0, None)], rel=1e-4)


# -- windows of its own in each process ------------------------------------------------------------


def of_its_own(rank: int) -> Any:
    mine = (MANY[:16], MANY[16:])[rank]
    model = small_model(scale="standard", max_iter=10).fit(mine, group="world", shared=False)
    return result(model)


def test_each_process_may_have_windows_of_its_own(pair: Processes) -> None:
    results = pair.run(of_its_own)
    assert_same(results)
    # 23 windows in batches of 5: the epoch has five updates, whoever has the windows.
    assert [record["epoch"] for record in results[0][1]] == 5 * [0] + 5 * [1]
    # The first record is a mean over 16 + 7 windows, that of one process over other batches.
    alone = small_model(scale="standard", max_iter=1, batch_size=23).fit(MANY).history_[0]["loss"]
    assert np.mean([r["loss"] for r in results[0][1][:5]]) == pytest.approx(alone, rel=0.1)


def classes_of_its_own(rank: int) -> Any:
    mine, labels = ((MANY[:16], np.arange(16) % 2), (MANY[16:], 2 + np.arange(7) % 2))[rank]
    return Classifier(**CLASSIFIER).fit(mine, labels, group="world", shared=False).classes_.tolist()


def test_classes_are_those_of_all_processes(pair: Processes) -> None:
    assert pair.run(classes_of_its_own) == 2 * [[0, 1, 2, 3]]


def in_batches(rank: int, group: Any) -> Any:
    batches = [[MANY[:3], MANY[6:9]], [MANY[3:6], MANY[9:12], MANY[12:15]]]
    whole = [np.concatenate([MANY[:3], MANY[3:6]]), np.concatenate([MANY[6:9], MANY[9:12]])]
    mine = batches[rank] if group else [*whole, MANY[12:15]]
    return result(small_model().partial_fit(iter(mine), group=group))


def test_each_process_has_batches_of_its_own_until_all_are_used_up(pair: Processes) -> None:
    # The order of rows within a batch decides that of the sums only.
    results, (_, records) = pair.run(in_batches, "world"), in_batches(0, None)
    assert_same(results)
    assert [r["step"] for r in results[0][1]] == [r["step"] for r in records] == [1, 2, 3]
    for ours, theirs in zip(results[0][1], records, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)


# -- agreement -------------------------------------------------------------------------------------


def without_seed(_: int) -> Any:
    model = small_model(random_state=None).fit(X, group="world")
    return *result(model), model.seed_


def test_the_seed_is_that_of_process_0(pair: Processes) -> None:
    results = pair.run(without_seed)
    assert results[0][2] == results[1][2]
    assert_same([one[:2] for one in results])


def different(rank: int, what: str) -> Any:
    x = X if what != "windows" or not rank else X[:-1]
    x = x if what != "numbers of past" or not rank else x[::-1].copy()
    params = {what: 10.0**-rank} if what == "learning_rate" else {}
    params |= {what: 6 - 7 * rank} if what == "hidden_size" else {}
    more = {what: X} if what == "validation" and rank else {}
    small_model(**params).fit(x, group="world", **more)


@pytest.mark.parametrize(
    "what", ["learning_rate", "hidden_size", "windows", "numbers of past", "validation"]
)
def test_what_differs_is_refused_everywhere(what: str, pair: Processes) -> None:
    first, second = pair.run(different, what)
    assert first == second
    assert first.name == "ArgumentError"
    assert first.message.startswith(f"{what} must be the same in all processes of the group, got ")


class Failing:
    """Windows that fail in one process when they are read for the n-th time."""

    def __init__(self, rank: int, error: BaseException) -> None:
        self.shape, self.dtype = MANY.shape, MANY.dtype
        self._reads, self._error = 0 if rank == 1 else -(10**6), error

    def __getitem__(self, key: Any) -> Any:
        self._reads += 1
        if self._reads == 9:
            raise self._error
        return MANY[key[0]][:, key[1]]


def with_failing_windows(rank: int, error: BaseException) -> Any:
    model = small_model(max_iter=50)
    try:
        model.fit(Failing(rank, error), group="world")
    except BaseException as raised:
        return Raised(type(raised).__name__, str(raised)), result(model)


def test_windows_that_fail_in_one_process_end_all(pair: Processes) -> None:
    (first, _), (second, _) = results = pair.run(with_failing_windows, OSError("no such disk"))
    assert second == Raised("OSError", "no such disk")
    assert first.name == "GroupError"
    assert first.message == "process 1 of the group failed: OSError: no such disk"
    # Both have the weights of the same update, and a record of it.
    assert_same([one[1] for one in results])


def test_ctrl_c_in_one_process_stops_all(pair: Processes) -> None:
    results = pair.run(with_failing_windows, KeyboardInterrupt())
    assert [one[0].name for one in results] == 2 * ["KeyboardInterrupt"]
    assert {one[0].message for one in results} == {
        "training stopped after update 3; its weights are kept"
    }
    assert_same([one[1] for one in results])


def in_memory(rank: int) -> Any:
    x = X.copy()
    x[3, :5] = np.nan if rank else x[3, :5]
    small_model().fit(x, group="world", shared=False)


def test_windows_refused_in_one_process_are_refused_everywhere(pair: Processes) -> None:
    first, second = pair.run(in_memory)
    assert (first.name, second.name) == ("GroupError", "DataError")
    assert "at least one number in every window" in first.message


def with_callback(rank: int, what: str) -> Any:
    model = small_model(max_iter=300)

    def callback(_: Any, record: dict[str, float]) -> bool:
        if rank == 1 and record["step"] == 6:
            if what == "raise":
                raise ValueError("a bug")
            return True
        return False

    model.fit(X, group="world", callback=callback if rank else None)
    return model.n_iter_


def test_a_callback_of_one_process_stops_all(pair: Processes) -> None:
    assert pair.run(with_callback, "stop") == [6, 6]


def test_a_callback_that_fails_in_one_process_ends_all(pair: Processes) -> None:
    assert pair.run(with_callback, "raise") == [
        Raised("GroupError", "process 1 of the group failed: ValueError: a bug"),
        Raised("ValueError", "a bug"),
    ]


def diverging(_: int) -> Any:
    small_model(learning_rate=1e25).fit(X, group="world")


def test_all_see_that_a_training_diverges(pair: Processes) -> None:
    results = pair.run(diverging)
    assert [one.name for one in results] == 2 * ["DivergedError"]


def drifting(rank: int) -> Any:
    def nudge(model: Model, record: dict[str, float]) -> None:
        if rank == 1 and record["step"] == 2:
            core = model._fitted.core  # type: ignore[union-attr]
            weights = core.weights()
            weights["encoder.lstm.bias_hh_l0"][0] += 1e-6
            core.set_weights(weights)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = small_model().fit(X, group="world", callback=nudge)
    found = [str(w.message) for w in caught if w.category is TrainingWarning]
    return *result(model), found


def test_processes_that_drift_apart_are_brought_together(pair: Processes) -> None:
    results = pair.run(drifting)
    assert_same([one[:2] for one in results])
    assert [len(one[2]) for one in results] == [1, 0]
    assert "had drifted apart at 1 of their reports" in results[0][2][0]


# -- checkpoints and processes that are gone -------------------------------------------------------


def until_stopped(rank: int, group: Any, folder: Path, stop: int | None) -> Any:
    """Train with a checkpoint that process 0 alone can see, until Ctrl-C in the last process."""

    def callback(_: Model, record: dict[str, float]) -> None:
        if record["step"] == stop:
            os.kill(os.getpid(), signal.SIGINT)

    mine = folder / f"{rank}"
    mine.mkdir(exist_ok=True)
    model = small_model(max_iter=12)
    more: dict[str, Any] = {"callback": callback} if stop and rank else {}
    return result(model.fit(MANY, group=group, checkpoint=mine / "run.safetensors", **more))


@pytest.mark.parametrize("size", [1, 3])
def test_another_number_of_processes_resumes(size: int, groups: Groups, tmp_path: Path) -> None:
    stopped = groups[2].run(until_stopped, "world", tmp_path, 7)
    assert [one.name for one in stopped] == 2 * ["KeyboardInterrupt"]
    assert os.listdir(tmp_path / "1") == []
    expected = trained(0, {"max_iter": 12}, MANY, None)
    if size == 1:
        results = [until_stopped(0, None, tmp_path, None)]
    else:
        results = groups[size].run(until_stopped, "world", tmp_path, None)
    assert_as_one(results, expected)


def test_a_group_is_refused_before_there_is_one() -> None:
    with pytest.raises(ArgumentError, match="after torch.distributed.init_process_group"):
        small_model().fit(X, group="world")
    with pytest.raises(ArgumentError, match="shared must be"):
        small_model().fit(X, shared="no")  # type: ignore[arg-type]


def of_a_word(_: int) -> Any:
    small_model().fit(X, group="all")


def test_a_group_of_another_kind_is_refused(pair: Processes) -> None:
    first, second = pair.run(of_a_word)
    assert first == second
    assert first.message == (
        "group must be None, \"world\" or a torch.distributed.ProcessGroup, got 'all'"
    )


def killed(rank: int, path: Path) -> Any:
    def callback(_: Model, record: dict[str, float]) -> None:
        if rank == 1 and record["step"] == 6:
            os.kill(os.getpid(), signal.SIGKILL)

    model, began = small_model(max_iter=300), time.monotonic()
    try:
        model.fit(X, group="world", checkpoint=path, callback=callback)
    except BaseException as error:
        return Raised(type(error).__name__, str(error)), model.n_iter_, time.monotonic() - began


def test_a_killed_process_ends_the_others_with_a_checkpoint(groups: Groups, tmp_path: Path) -> None:
    try:
        (raised, updates, seconds), gone = groups[2].run(killed, tmp_path / "run.safetensors")
    finally:
        groups.close(2)
    assert gone.name == "Killed"
    assert raised.name == "GroupError"
    assert "another process of the group is gone" in raised.message
    assert seconds < 10
    assert Model.load(tmp_path / "run.safetensors").n_iter_ == updates == 6
