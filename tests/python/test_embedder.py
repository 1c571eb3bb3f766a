"""Embeddings of whole sequences: windows of views, pooled; tables, files, pipelines."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from backcast import Embedder, Model
from backcast.embedding._prototypes import Prototypes
from backcast.embedding._views import thinning
from backcast.errors import (
    ArgumentError,
    BackcastError,
    DataError,
    FileFormatError,
    NotFittedError,
    ShapeError,
)

QUICK: dict[str, Any] = {
    "hidden_size": 5,
    "max_iter": 3,
    "random_state": 0,
    "device": "cpu",
    "verbose": 0,
}


def waves(n: int = 6, width: int = 2, seed: int = 0) -> list[NDArray[np.float64]]:
    """Noisy waves of unequal length."""
    random = np.random.default_rng(seed)
    times = [np.arange(length)[:, None] / 3 for length in random.integers(12, 30, n)]
    return [np.sin(t + np.arange(width)) + random.normal(size=(len(t), width)) for t in times]


def table_of(sequences: list[NDArray[np.float64]]) -> pd.DataFrame:
    """Recordings named r0, r1, ... with a time, of columns a, b, ...; rows in no order."""
    parts = [
        pd.DataFrame(x, columns=list("abcd"[: x.shape[1]])).assign(
            name=f"r{i}", at=pd.date_range("2026-01-01", periods=len(x), freq="min")
        )
        for i, x in enumerate(sequences)
    ]
    return pd.concat(parts).sample(frac=1, random_state=0)


@pytest.fixture(scope="module")
def fitted() -> Embedder:
    return Embedder(QUICK).fit(waves())


def test_features_are_statistics_of_windows_of_the_series_and_of_its_differences(
    fitted: Embedder,
) -> None:
    sequences = waves(3, seed=1)
    found = fitted.transform(sequences)
    rows, names = np.concatenate(waves()), list(fitted.get_feature_names_out())
    steps = np.concatenate([np.diff(x, axis=0) for x in waves()])
    assert found.shape == (3, len(names)) and found.dtype == np.float32
    for x, embedding in zip(sequences, found, strict=True):
        expected: list[Any] = []
        for name, view in {
            "series": (x - rows.mean(0)) / rows.std(0),
            "differences": (np.diff(x, axis=0) - steps.mean(0)) / steps.std(0),
        }.items():
            length = fitted.window_
            cut = np.lib.stride_tricks.sliding_window_view(view, length, axis=0).swapaxes(1, 2)
            states = fitted.model_.encode(cut.astype(np.float32))
            known = fitted._prototypes[name]
            centres = known.centres * known.deviation + known.mean
            away = (states[:, np.newaxis] - centres) / known.deviation
            expected += [(states > 0).mean(0), np.linalg.norm(away, axis=2).min(0)]
        scaled = (x - rows.mean(0)) / rows.std(0)
        edges = np.linspace(0, len(x), 9).round().astype(int)
        for a, b in zip(edges[:-1], edges[1:], strict=True):
            part = scaled[a:b]
            expected += [part.mean(0), part.std(0), part.min(0), part.max(0)]
        expected.append([np.log(len(x))])
        np.testing.assert_allclose(embedding, np.concatenate(expected), rtol=1e-4, atol=1e-5)
    assert names[0] == "series_positive_h0" and names[-2:] == ["part7_most_1", "log_rows"]
    assert names.index("differences_near_0") == 2 * 5 + len(fitted._prototypes["series"].centres)


def test_prototypes_are_near_the_states_that_they_were_learnt_from_and_far_from_others() -> None:
    random = np.random.default_rng(0)
    corners = random.normal(size=(200, 3)).round(1)
    states = np.repeat(corners, 5, axis=0) + random.normal(0, 1e-3, (1000, 3))
    learnt = Prototypes.learn(states.astype(np.float32))
    assert learnt.centres.shape == (128, 3)
    assert np.median(learnt.near(states)) < 0.01 < 5 < np.median(learnt.near(states + 20))
    again = Prototypes.learn(states.astype(np.float32))
    np.testing.assert_array_equal(learnt.centres, again.centres)


def test_there_are_as_many_prototypes_as_different_states() -> None:
    same = Prototypes.learn(np.ones((50, 4), np.float32))
    assert same.centres.tolist() == [[0.0] * 4] and same.near(np.ones((3, 4))).tolist() == [0]
    assert len(Prototypes.learn(np.arange(12, dtype=np.float32).reshape(6, 2)).centres) == 6


def test_the_default_has_at_most_512_features() -> None:
    for width in (1, 3, 12, 40):
        embedder = Embedder(QUICK | {"hidden_size": 64, "max_iter": 1}).fit(waves(3, width))
        assert embedder.transform(waves(2, width)).shape[1] <= 512


def test_an_embedding_is_that_of_its_own_sequence_alone(fitted: Embedder) -> None:
    sequences = waves(5, seed=2)
    together = fitted.transform(sequences)
    for x, embedding in zip(sequences, together, strict=True):
        np.testing.assert_allclose(fitted.transform([x])[0], embedding, rtol=1e-5, atol=1e-6)
    array = np.stack([x[:12] for x in sequences])
    np.testing.assert_array_equal(
        fitted.transform(array), fitted.transform([x[:12] for x in sequences])
    )


def test_a_table_has_one_row_for_each_recording_on_its_label() -> None:
    sequences = waves()
    table = table_of(sequences)
    embedder = Embedder(QUICK, group="name", time="at").fit(table)
    found = embedder.transform(table)
    assert found.index.tolist() == [f"r{i}" for i in range(6)] and found.index.name == "name"
    assert found.columns.tolist() == list(embedder.get_feature_names_out())
    assert found.columns[-2] == "part7_most_b"
    np.testing.assert_array_equal(found, Embedder(QUICK).fit(sequences).transform(sequences))
    assert embedder.feature_names_in_.tolist() == ["a", "b"]
    alone = Embedder(QUICK, time="at").fit(table[table.name == "r0"].drop(columns="name"))
    assert alone.transform(table[table.name == "r1"].drop(columns="name")).shape[0] == 1
    by_two = table.assign(site="x").set_index(["site", "name", "at"])
    assert Embedder(QUICK).fit_transform(by_two).index[1] == ("x", "r1")


def test_no_window_lies_across_a_gap() -> None:
    x = np.sin(np.arange(40.0) / 2)[:, None]
    table = table_of([x, x]).sort_values(["name", "at"])
    cut = table.drop(table.index[(table.name == "r1") & (table["a"].index.isin([20]))][:0])
    late = cut["at"].where((cut.name == "r0") | (cut.index < 20), cut["at"] + pd.Timedelta("1h"))
    embedder = Embedder(QUICK, group="name", time="at", window=5, parts=False).fit(table)
    whole, broken = embedder.transform(cut.assign(at=late)).to_numpy()
    states = [
        embedder.model_.encode(
            np.lib.stride_tricks.sliding_window_view((run - x.mean()) / x.std(), 5, axis=0)
            .swapaxes(1, 2)
            .astype(np.float32)
        )
        for run in (x[:20], x[20:])
    ]
    share = (np.concatenate(states) > 0).mean(0)
    np.testing.assert_allclose(broken[:5], share, rtol=1e-4, atol=1e-5)
    assert not np.allclose(whole, broken)


def test_missing_numbers_and_short_sequences_give_finite_features(fitted: Embedder) -> None:
    x = waves(1, seed=3)[0]
    holes = x.copy()
    holes[3:9] = np.nan
    holes[:, 1] = np.nan
    for odd in (holes, x[:1], x[:2]):
        assert np.isfinite(fitted.transform([odd])).all()
    trained = Embedder(QUICK).fit([*waves(), holes])
    assert np.isfinite(trained.transform([x, holes])).all()


def test_long_sequences_are_looked_at_evenly(fitted: Embedder) -> None:
    long = np.sin(np.arange(200_000.0) / 3)[:, None] * [1, 1]
    assert np.isfinite(fitted.transform([long])).all()


def test_sequences_of_very_different_sizes_have_units_of_their_own(tmp_path: Path) -> None:
    sequences = [x * 10.0**-i for i, x in enumerate(waves())]
    embedder = Embedder(QUICK).fit(sequences)
    assert embedder.decisions_["units"].startswith("of each sequence: 67% vary by less than 10%")
    names = embedder.get_feature_names_out()
    found = pd.DataFrame(embedder.transform(sequences), columns=names)
    larger = pd.DataFrame(embedder.transform([100 * x + 3 for x in sequences]), columns=names)
    own = [f"{unit}_{column}" for unit in ("mean", "log_deviation") for column in (0, 1)]
    np.testing.assert_allclose(larger.drop(columns=own), found.drop(columns=own), atol=2e-3)
    np.testing.assert_allclose(larger[own[:2]], 100 * found[own[:2]] + 3, atol=1e-4)
    np.testing.assert_allclose(larger[own[2:]], found[own[2:]] + np.log(100), atol=1e-4)
    # The choice does not depend on the unit, nor on sequences in which nothing happens.
    flat = [np.zeros((20, 2))] * 9
    others = Embedder(QUICK).fit([1e6 * x for x in [*sequences, *flat]])
    assert others.decisions_["units"] == embedder.decisions_["units"]
    holes = np.where(np.arange(2) == 1, np.nan, sequences[0])
    expected = embedder.transform([*sequences, *flat, holes])
    assert np.isfinite(expected).all()
    embedder.save(tmp_path / "embedder")
    for same in (Embedder.load(tmp_path / "embedder"), pickle.loads(pickle.dumps(embedder))):
        np.testing.assert_array_equal(same.transform([*sequences, *flat, holes]), expected)
    # A sequence alone has the numbers that it has beside others.
    np.testing.assert_allclose(embedder.transform(sequences[2:3])[0], found.iloc[2], atol=1e-5)


def test_sequences_of_about_one_size_have_units_of_all(fitted: Embedder) -> None:
    assert fitted.decisions_["units"] == (
        "of all sequences: 0% vary by less than 10% of the deviation of all"
    )
    assert not any(name.startswith(("mean_", "log_dev")) for name in fitted.get_feature_names_out())


def test_files_pickles_and_copies_give_the_same_numbers(fitted: Embedder, tmp_path: Path) -> None:
    sequences = waves(4, seed=4)
    expected = fitted.transform(sequences)
    fitted.save(tmp_path / "embedder")
    loaded = Embedder.load(tmp_path / "embedder", device="cpu")
    assert (loaded.window_, loaded.decisions_) == (fitted.window_, fitted.decisions_)
    for same in (loaded, pickle.loads(pickle.dumps(fitted)), clone(loaded).fit(waves())):
        np.testing.assert_array_equal(same.transform(sequences), expected)
    assert Model.load(tmp_path / "embedder", device="cpu").hidden_size == 5
    fitted.model_.save(tmp_path / "model")
    with pytest.raises(FileFormatError, match="must be a backcast Embedder"):
        Embedder.load(tmp_path / "model")


def test_a_damaged_file_is_refused(fitted: Embedder, tmp_path: Path) -> None:
    fitted.save(tmp_path / "embedder")
    whole = (tmp_path / "embedder").read_bytes()
    for old, new in ((b'"n_parts\\": 8', b'"n_parts\\": 9'), (b'"width\\": 2', b'"width\\": 3')):
        assert old in whole
        (tmp_path / "damaged").write_bytes(whole.replace(old, new))
        with pytest.raises(FileFormatError, match="damaged backcast embedder"):
            Embedder.load(tmp_path / "damaged")


def test_it_works_in_a_pipeline_and_tells_waves_apart() -> None:
    random = np.random.default_rng(0)
    sequences = [
        np.sin(np.arange(n)[:, None] / (2 + i % 2) + random.uniform(0, 6))
        for i, n in enumerate(random.integers(25, 50, 40))
    ]
    labels = np.arange(40) % 2
    pipeline = make_pipeline(
        Embedder(QUICK | {"max_iter": 20}), StandardScaler(), RidgeClassifierCV()
    )
    assert cross_val_score(pipeline, sequences, labels, cv=3).mean() > 0.9
    pandas = Embedder(QUICK).set_output(transform="pandas").fit_transform(sequences)
    assert pandas.shape[0] == 40 and pandas.columns[0] == "series_positive_h0"


@pytest.mark.parametrize(
    ("parameters", "given", "error", "message"),
    [
        ({"window": 0}, waves(), ArgumentError, "window must be at least 1"),
        ({"parts": 3}, waves(), ArgumentError, "parts must be True or False"),
        ({"model": 3}, waves(), ArgumentError, "model must be a backcast.Model, its parameters"),
        ({"model": {"scale": "standard"}}, waves(), ArgumentError, "scale of the model must be"),
        ({}, np.zeros((3, 4)), ShapeError, "at least 3 dimensions"),
        ({}, np.zeros((3, 4, 2, 2)), ShapeError, "frames of one dimension"),
        ({}, [np.full((5, 1), np.inf)], DataError, "finite numbers or NaN"),
        ({}, [np.full((5, 1), np.nan)], DataError, "every sequence must hold a number"),
    ],
)
def test_what_cannot_be_used_is_refused_and_changes_nothing(
    parameters: dict[str, Any], given: Any, error: type[BackcastError], message: str
) -> None:
    embedder = Embedder(QUICK).fit(waves())
    expected = embedder.transform(waves())
    with pytest.raises(error, match=message):
        embedder.set_params(**parameters).fit(given)
    np.testing.assert_array_equal(embedder.transform(waves()), expected)


def test_other_columns_are_refused(fitted: Embedder) -> None:
    with pytest.raises(ShapeError, match="sequences must have 2 columns, as in fit, got 3"):
        fitted.transform(waves(2, 3))
    with pytest.raises(NotFittedError, match="call fit or load first"):
        Embedder().transform(waves())
    table = table_of(waves())
    embedder = Embedder(QUICK, group="name", time="at").fit(table)
    np.testing.assert_array_equal(
        embedder.transform(table[["b", "at", "a", "name"]]), embedder.transform(table)
    )
    with pytest.raises(ArgumentError, match="'b'"):
        embedder.transform(table.drop(columns="b"))


def test_windows_of_long_sequences_are_thinned_once() -> None:
    long = [np.zeros((50_000, 1))] * 5
    # Of each sequence 1,000 windows are looked at.
    assert thinning([[each] for each in long], 10_000) == 1
    assert thinning([[each[:300], each[:300]] for each in long], 1_000) == 3
