"""Suggestions are what the estimators choose themselves, and can be passed on as they are."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import backcast
from backcast import AnomalyDetector, Embedder, Forecaster, Model, suggest
from backcast.data import windows

QUICK = {"hidden_size": 4, "max_iter": 2, "random_state": 0, "device": "cpu", "verbose": 0}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Two columns of a week of half hours, with a period of 12 rows."""
    rows = np.arange(336)
    random = np.random.default_rng(0)
    values = np.sin(2 * np.pi * rows[:, None] / 12 + [0, 1]) + 0.1 * random.normal(size=(336, 2))
    index = pd.date_range("2026-01-05", periods=336, freq="30min", name="time")
    return pd.DataFrame(values, index, ["a", "b"])


def with_quick_model(parameters: dict[str, Any]) -> dict[str, Any]:
    return parameters | {"model": parameters.get("model", {}) | QUICK}


def quiet_fit(estimator: Any, given: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(given)


def test_the_detector_chooses_what_is_suggested(table: pd.DataFrame) -> None:
    found = suggest(table, "anomalies")
    fitted = quiet_fit(AnomalyDetector(QUICK), table)
    parameters = found["parameters"]
    assert parameters["past"] == fitted.past_ == 42
    assert (parameters["future"], parameters["center"]) == (fitted.future_, fitted.center_)
    for name in ("past", "future", "center"):
        assert found["reasons"][name] == fitted.decisions_[name]
    without_updates = {name: value for name, value in QUICK.items() if name != "max_iter"}
    by_rule = AnomalyDetector(without_updates | {"hidden_size": 1})
    by_rule.fit(table, callback=lambda *_: True)
    assert found["reasons"]["max_iter"] == by_rule.decisions_["max_iter"]
    assert quiet_fit(AnomalyDetector(**with_quick_model(parameters)), table).past_ == 42


def test_a_forecaster_takes_what_is_suggested(table: pd.DataFrame) -> None:
    found = suggest(table, "forecasts")
    assert found["windows"] == {"past": 24, "future": 12}
    fitted = quiet_fit(Forecaster(**with_quick_model(found["parameters"])), table)
    assert fitted.segment_ == found["parameters"]["segment"] == 12
    assert fitted.predict(table).shape == (12, 2)
    noise = np.random.default_rng(0).normal(size=120)
    found = suggest(noise, "forecasts")
    assert found["windows"] == {"past": 20, "future": 5}
    assert found["reasons"]["past"] == "20: a sixth of the longest run, as no period was found"


def test_an_embedder_takes_what_is_suggested(table: pd.DataFrame) -> None:
    days = table.assign(day=table.index.day)
    found = suggest(days, "embeddings", group="day")
    assert found["parameters"] == {"window": 20, "parts": True, "group": "day"}
    embedder = quiet_fit(Embedder(**with_quick_model(found["parameters"])), days)
    assert found["reasons"]["window"].split(":")[0] == str(embedder.window_)
    assert found["reasons"]["parts"] == embedder.decisions_["parts"]
    assert found["reasons"]["units"] == embedder.decisions_["units"]
    assert len(embedder.transform(days)) == 7
    assert suggest([np.zeros((9, 1)), np.ones((30, 1))], "embeddings")["windows"]["past"] == 5


def test_a_model_takes_windows_as_suggested(table: pd.DataFrame) -> None:
    found = suggest(table, "windows")
    w = windows(table, **found["windows"])
    model = quiet_fit(Model(**(found["parameters"] | QUICK)), w)
    assert model.horizon_ == found["windows"]["future"]
    assert found["parameters"]["scale"] == "standard"


def test_what_was_given_is_passed_on(table: pd.DataFrame) -> None:
    named = table.reset_index()
    found = suggest(named, "anomalies", time="time", columns=["a"], gap="3h")
    assert found["parameters"].items() >= {"time": "time", "columns": ["a"], "gap": "3h"}.items()
    assert len(windows(named, **found["windows"])) > 0


def test_what_is_odd_in_a_table_is_said(table: pd.DataFrame) -> None:
    odd = table.assign(still=1.0).drop(table.index[100:110])
    odd.iloc[:34, 0] = np.nan
    reasons = suggest(odd)["reasons"]
    assert reasons["constant columns"].startswith("'still': nothing can be learnt")
    assert reasons["missing numbers"].startswith("3.5%")
    assert reasons["gaps"].startswith("1 cut the table into runs of about 163 rows")


@pytest.mark.parametrize(
    ("series", "options", "advice"),
    [
        (np.arange(9.0), {}, "at least past . future = 20 frames .* got 9"),
        (np.ones(50), {}, r"a column that changes, .* columns=\[...\]"),
        (np.full(50, np.nan), {}, "a column that changes"),
        (np.append(np.arange(50.0), np.inf), {}, "finite numbers or NaN"),
        (np.arange(50.0)[None, :, None], {"task": "embeddings"}, "at least two sequences"),
        (np.arange(50.0), {"task": "cats"}, 'task must be "anomalies", "forecasts"'),
        (pd.DataFrame({"word": ["a", "b"]}), {}, "a column of numbers"),
    ],
)
def test_a_table_that_is_of_no_use_is_refused_with_advice(
    series: Any, options: dict[str, Any], advice: str
) -> None:
    with pytest.raises(backcast.errors.BackcastError, match=advice):
        suggest(series, **options)
