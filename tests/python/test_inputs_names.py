"""Columns go by name wherever the input has names, and users' names never collide with ours."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backcast import AnomalyDetector, Classifier, Model, forecast_errors
from backcast.data import windows
from backcast.errors import ArgumentError
from small import small_model

N = 60


def table(columns: tuple[Any, ...] = ("a", "b"), n: int = N) -> pd.DataFrame:
    t = np.arange(n)
    index = pd.date_range("2026-01-01", periods=n, freq="h", name="time")
    return pd.DataFrame({c: i + np.sin(t / (3 + i)) for i, c in enumerate(columns)}, index=index)


RIGHT = table()
WRONG = {
    "order": (RIGHT[["b", "a"]], "in the order of fit"),
    "names": (RIGHT.rename(columns={"a": "flow", "b": "pressure"}), "as in fit"),
    "one of them": (RIGHT.rename(columns={"b": "B"}), "as in fit"),
    "fewer": (RIGHT[["a"]], "as in fit"),
    "more": (RIGHT.assign(c=0.0), "as in fit"),
}
USES: dict[str, Callable[[Model, Any], Any]] = {
    "encode": lambda m, t: m.encode(windows(t, 8)),
    "transform": lambda m, t: m.transform(windows(t, 8)),
    "predict": lambda m, t: m.predict(windows(t, 8)),
    "reconstruct": lambda m, t: m.reconstruct(windows(t, 8)),
    "trace": lambda m, t: m.trace(windows(t, 8)[:2]),
    "losses": lambda m, t: m.losses(windows(t, 8, 2)),
    "losses of a pair": lambda m, t: m.losses(windows(t, 8, 2).past, windows(t, 8, 2).future),
    "score": lambda m, t: m.score(windows(t, 8, 2)),
    "partial_fit": lambda m, t: m.partial_fit(windows(t, 8, 2)),
    "warm fit": lambda m, t: m.set_params(warm_start=True).fit(windows(t, 8, 2)),
    "validation": lambda m, t: m.fit(windows(RIGHT, 8, 2), validation=windows(t, 8, 2)),
    "forecast_errors": lambda m, t: forecast_errors(m, windows(t, 8, 2)),
    "a list": lambda m, t: m.encode([t, t]),
    "classifier": lambda m, t: Classifier(m, max_iter=2, verbose=0).fit(
        windows(t, 8), np.arange(N - 7) % 2
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("use", USES)
def test_other_columns_than_those_of_the_fit_are_refused(use: str, wrong: str) -> None:
    model = small_model(horizon=2).fit(windows(RIGHT, 8, 2))
    USES[use](copy.deepcopy(model), RIGHT)
    given, message = WRONG[wrong]
    before = model.state_dict()
    with pytest.raises(ArgumentError, match=message):
        USES[use](model, given)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    "columns", [("a", "b"), (0, 1), (("top", "a"), ("top", "b")), (1.5, "x")], ids=str
)
def test_names_are_saved_copied_and_pickled(columns: tuple[Any, ...], tmp_path: Path) -> None:
    rows = table(columns)
    model = small_model(horizon=2).fit(windows(rows, 8, 2))
    assert model.feature_names_in_.tolist() == list(columns)
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m", device="cpu")
    for same in (loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert same.feature_names_in_.tolist() == list(columns)
        with pytest.raises(ArgumentError, match="in the order of fit"):
            same.encode(windows(rows[list(columns)[::-1]], 8))


def test_arrays_have_no_names() -> None:
    model = small_model(horizon=2).fit(np.asarray(windows(RIGHT, 8, 2)))
    assert not hasattr(model, "feature_names_in_")
    model.encode(windows(RIGHT, 8))
    named = small_model(horizon=2).fit(windows(RIGHT, 8, 2))
    named.encode(np.asarray(windows(RIGHT, 8)))


def test_tables_in_a_list_have_the_same_columns() -> None:
    with pytest.raises(ArgumentError, match=r"columns of past\[1\] must be in the order"):
        small_model(horizon=2).fit([RIGHT, RIGHT[["b", "a"]]])
    with pytest.raises(ArgumentError, match=r"columns of past\[1\] must be \['a', 'b'\]"):
        small_model(horizon=2).fit([RIGHT, RIGHT[["a"]]])


def test_a_fitted_model_in_a_detector_takes_its_columns_by_name() -> None:
    model = small_model(horizon=2).fit(windows(RIGHT, 8, 2))
    options: dict[str, Any] = {"past": 8, "future": 2}
    one = AnomalyDetector(model, **options).fit(RIGHT)
    other = AnomalyDetector(model, **options).fit(RIGHT[["b", "a"]].assign(c=1.0))
    assert other.columns_ == ["a", "b"]
    pd.testing.assert_frame_equal(one.scores(RIGHT), other.scores(RIGHT[["b", "a"]]))
    with pytest.raises(ArgumentError, match="columns must be in the table, got 'b'"):
        AnomalyDetector(model, **options).fit(RIGHT.rename(columns={"b": "B"}))
    with pytest.raises(ArgumentError, match="in the order of the fit of model"):
        AnomalyDetector(model, columns=["b", "a"], **options).fit(RIGHT)


@pytest.mark.parametrize("name", ["window", "step", "time", "group", "score", "time_"])
def test_a_group_of_any_name_keeps_it(name: str) -> None:
    rows = pd.concat([table().assign(**{name: g}) for g in "pq"])
    w = windows(rows.rename_axis("t"), 8, 2, group=name)
    model = small_model(horizon=2).fit(w)
    predicted = model.predict(w.past)
    assert predicted.index.names[0] == name
    assert predicted.index.nlevels == len(set(predicted.index.names)) == 3
    assert set(predicted.index.get_level_values(name)) == {"p", "q"}
    assert model.predict(windows(rows.rename_axis("t"), 8, group=name).last).shape == (4, 2)


def test_a_group_named_as_a_column_of_events_is_refused() -> None:
    rows = pd.concat([table().assign(start=g) for g in "pq"])
    model = {"hidden_size": 4, "max_iter": 2, "device": "cpu", "verbose": 0}
    found = AnomalyDetector(model, past=8, future=2, group="start").fit(rows)
    with pytest.raises(ArgumentError, match="group must have another name than 'start'"):
        found.events(rows)


COLUMNS: list[tuple[Any, Any]] = [
    ("a", ["a"]),
    (("a", "b"), ["a", "b"]),
    (["b", "a"], ["b", "a"]),
    ({"b", "a"}, ["a", "b"]),
    (pd.Index(["b"]), ["b"]),
    (np.array(["a", "b"]), ["a", "b"]),
    (dict.fromkeys("ba").keys(), ["b", "a"]),
]


@pytest.mark.parametrize(("columns", "expected"), COLUMNS, ids=str)
def test_columns_are_any_labels(columns: Any, expected: list[str], tmp_path: Path) -> None:
    assert windows(RIGHT, 8, columns=columns).columns == expected
    model = {"hidden_size": 4, "max_iter": 2, "device": "cpu", "verbose": 0}
    found = AnomalyDetector(model, past=8, future=2, columns=columns).fit(RIGHT)
    found.save(tmp_path / "d")
    assert AnomalyDetector.load(tmp_path / "d").columns_ == expected


def test_columns_that_cannot_be_are_refused() -> None:
    assert windows(RIGHT, 8, columns=(c for c in "ab")).columns == ["a", "b"]  # type: ignore[call-overload]
    twice = RIGHT.set_axis(["x", "x"], axis=1)
    for rows, columns, message in (
        (RIGHT, [], "columns must name at least one"),
        (RIGHT, "temp", "columns must be in the table, got 'temp'"),
        (RIGHT, [["a"]], "columns must be in the table"),
        (RIGHT, ["a", "a"], "different names, got 'a' twice"),
        (twice, None, "different names, got 'x' twice"),
        (twice, ["x"], "different names, got 'x' twice"),
    ):
        with pytest.raises(ArgumentError, match=message):
            windows(rows, 8, columns=columns)


def test_an_upper_level_of_columns_is_all_of_its_columns() -> None:
    rows = table((("top", "a"), ("top", "b"), ("low", "a")))
    rows.columns = pd.MultiIndex.from_tuples(rows.columns)
    assert windows(rows, 8, columns=["top"]).columns == [("top", "a"), ("top", "b")]
