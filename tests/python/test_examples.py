"""The examples in the docstrings run and give what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

DATA = ["mnist", "moving", "series", "videos"]
NAMES = ["model", "classifier", "anomaly", "forecast", "plot"]
MODULES = [f"backcast.{name}" for name in NAMES] + [f"backcast.data.{name}" for name in DATA]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
