"""The help of the commands, which is also a page of the site."""

import argparse
import re
import shlex

import pytest

from backcast.experiments.cli import main, parser

(COMMANDS,) = (action.choices for action in parser()._actions if isinstance(action.choices, dict))


def examples(name: str) -> list[list[str]]:
    """Return the words of each command among the examples of a help."""
    text = COMMANDS[name].epilog.partition("examples:\n")[2].replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in re.findall(r"^ +backcast .*", text, re.MULTILINE)]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_has_an_example_that_is_understood(name: str) -> None:
    for words in examples(name):
        parser().parse_args(words)
        assert words[0] == name
    given = {word for words in examples(name) for word in words}
    missing = [
        action.option_strings
        for action in COMMANDS[name]._actions
        if action.option_strings and not given & {*action.option_strings}
    ]
    assert missing == [["-h", "--help"]]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_fits_into_lines_of_a_hundred_characters(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5"])
def test_counts_are_whole_numbers(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["score", "t.csv", "--model", "m", "--out", "o", f"--processes={value}"])
    message = "argument --processes: must be a whole number of at least 1, got"
    assert f"{message} '{value}'" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "character"), [("tab", "\t"), (r"\t", "\t"), (";", ";")])
def test_a_separator_may_be_named(text: str, character: str) -> None:
    words = ["score", "t.csv", "--model", "m", "--out", "o", "--sep"]
    given: argparse.Namespace = parser().parse_args([*words, text])
    assert given.sep == character
