"""The examples in the docstrings run and give what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

MODULES = [
    "backcast",
    "backcast.model",
    "backcast.classifier",
    "backcast.anomaly",
    "backcast.forecast",
    "backcast.plot",
    "backcast.demo",
    "backcast.data",
    "backcast.data.mnist",
    "backcast.data.moving",
    "backcast.data.series",
    "backcast.data.videos",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(import_module(name))
    assert result.failed == 0
