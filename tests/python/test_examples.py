"""The examples in the docstrings run and give what they say."""

import doctest
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

import backcast

# Private modules too.
MODULES = [
    "backcast",
    *(
        module.name
        for module in pkgutil.walk_packages(backcast.__path__, "backcast.")
        if not module.name.endswith(("._core", ".__main__"))
    ),
]


def test_all_packages_are_walked() -> None:
    expected = {"backcast.model", "backcast.anomaly.detector", "backcast.data.series"}
    assert expected | {"backcast.plot.units", "backcast.experiments.demo"} <= {*MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(import_module(name))
    assert result.failed == 0


def test_there_are_examples() -> None:
    """Each public function and class has one; a module that is not walked would hide its own."""
    found = sum(
        1
        for name in MODULES
        for test in doctest.DocTestFinder().find(import_module(name))
        if test.examples
    )
    assert found >= 20
