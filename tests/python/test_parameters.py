"""The table of parameters: what the constructors, the docstrings and the engine say of them."""

from __future__ import annotations

import inspect
import re

import pytest

from backcast import Classifier, Model
from backcast._parameters import PARAMETERS, WORDS


@pytest.mark.parametrize("estimator", [Model, Classifier])
def test_constructors_have_the_defaults_of_the_table(estimator: type) -> None:
    signature = inspect.signature(estimator).parameters
    found = {name: parameter.default for name, parameter in signature.items()}
    found.pop("model", None)
    assert found == {name: PARAMETERS[name].default for name in found}


def test_the_table_has_no_parameter_that_no_constructor_has() -> None:
    both = set(inspect.signature(Model).parameters) | set(inspect.signature(Classifier).parameters)
    assert both - {"model"} == set(PARAMETERS)


def test_the_docstring_names_the_words_of_the_table() -> None:
    for name, parameter in PARAMETERS.items():
        doc = Classifier.__doc__ if name == "train" else Model.__doc__
        assert doc is not None
        line = re.search(rf"^    {name} : (.*)$", doc, re.MULTILINE)
        assert line is not None, name
        for word in parameter.words or WORDS.get(name, ()):
            assert repr(word).replace("'", '"') in line[1], (name, word)


def test_the_words_of_the_table_are_those_of_the_engine() -> None:
    assert set(WORDS) - {"decoder"} <= set(PARAMETERS)
    for name in set(WORDS) - {"decoder", "feedback"}:
        words = [word for word in PARAMETERS[name].words if word is not None]
        assert words == list(WORDS[name])
    check = PARAMETERS["feedback"].check
    for word in WORDS["feedback"]:
        assert check("feedback", word) == {"reconstruct": word, "predict": word}


def test_a_default_passes_its_own_check() -> None:
    for name, parameter in PARAMETERS.items():
        parameter.check(name, parameter.default)
