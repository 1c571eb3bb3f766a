"""A type checker of a user, who has the package installed, finds what is wrong.

`typing_examples.py` has what is right; `make lint` checks it.
"""

from __future__ import annotations

from pathlib import Path

from mypy import api

WRONG = """
from backcast import Model

model = Model(hidden_size="large")
model.encode([], state="some")
length: int = model.predict([])
"""


def test_a_type_checker_finds_what_is_wrong(tmp_path: Path) -> None:
    user = tmp_path / "user.py"
    user.write_text(WRONG)
    told, trouble, status = api.run(["--strict", str(user)])
    assert (trouble, status) == ("", 1)
    lines = [line for line in told.splitlines() if ": error: " in line]
    assert [line.partition("user.py:")[2].partition(":")[0] for line in lines] == ["4", "5", "6"]
