"""What the README and the docstrings print runs as printed."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
MODULES = ["backcast", "backcast.data", "backcast.demo", "backcast.model", "backcast.plot"]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)


def test_readme_examples_run_in_their_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = blocks("python")
    assert examples
    names = {}
    for example in examples:
        exec(compile(example, README.name, "exec"), names)


def test_readme_names_files_that_are_there():
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text())
    local = [link for link in links if "://" not in link]
    assert local
    assert [link for link in local if not (README.parent / link).exists()] == []


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_print_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(import_module(name)).failed == 0
