"""The check of the import order finds a planted violation of each kind."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TABLE = "//! | module | purpose |\n//! | --- | --- |\n//! | `low` | a |\n//! | `high` | b |\n"


@pytest.fixture(scope="module")
def lint() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lint", ROOT / "tests/lint/import_order.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_this_repository_is_in_order(lint: ModuleType) -> None:
    assert lint.main() == 0


CLEAN_RUST = {
    "lib.rs": TABLE + "pub mod high;\npub mod low;\n",
    "low.rs": "// use crate::high::Thing;\npub struct Low;\n",
    "high/mod.rs": "mod a;\nmod b;\npub use b::{B, Other};\npub struct Base;\n",
    "high/a.rs": "use super::{B, Base};\nuse crate::low::Low;\n",
    "high/b.rs": "use super::Base;\npub struct B;\npub struct Other;\n",
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"low.rs": "use crate::high::Thing;\n"}, "`low` imports `high::Thing`"),
        (
            {"low.rs": "use crate::{\n    low::X, high::{self, Y as Z},\n};\n"},
            "`low` imports `high",
        ),
        ({"low.rs": "fn f() { crate::high::call(); }\n"}, "`low` imports `high::call`"),
        ({"low.rs": "use super::high::Thing;\n"}, "`low` imports `high::Thing`"),
        ({"high/b.rs": "use super::a::A;\n"}, "cycle a -> b -> a"),
        ({"high/b.rs": "use crate::high::a::A;\n"}, "cycle a -> b -> a"),
        ({"high/b/mod.rs": "mod c;\n", "high/b/c.rs": "use super::super::a::A;\n"}, "a -> b -> a"),
        ({"middle.rs": "\n"}, "`middle` is missing in the table"),
        ({"lib.rs": TABLE + "//! | `gone` | c |\n"}, "`gone` is no module"),
    ],
)
def test_rust(
    lint: ModuleType, tmp_path: Path, change: dict[str, str], message: str | None
) -> None:
    files = CLEAN_RUST | change
    if "high/b/mod.rs" in files:
        files = {name: text for name, text in files.items() if name != "high/b.rs"}
    problems = lint.check_rust(write(tmp_path, files))
    if message is None:
        assert problems == []
    else:
        assert message in "\n".join(problems)


CLEAN_PYTHON = {
    "__init__.py": "from package.high import one\n",
    "low.py": "import os\n",
    "high/__init__.py": "",
    "high/one.py": "from package import low\nfrom package.high.two import x\n",
    "high/two.py": "x = 1\n",
}
GUARDED = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from package.high import one\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"low.py": "import package.high\n"}, "`low` imports `high`"),
        ({"low.py": "from package import high\n"}, "`low` imports `high`"),
        ({"low.py": "from .high import one\n"}, "`low` imports `high`"),
        ({"low.py": "def f():\n    from package.high.one import x\n"}, "`low` imports `high`"),
        ({"low.py": GUARDED}, "`low` imports `high`"),
        ({"low.py": "from package import one\n"}, "`low` imports `__init__`"),
        (
            {"high/two.py": "from package.high import one\n"},
            "high: cycle one -> two -> one",
        ),
        ({"high/two.py": "from . import one\n"}, "high: cycle one -> two -> one"),
        ({"middle.py": ""}, "package.middle has no place in the order"),
    ],
)
def test_python(
    lint: ModuleType, tmp_path: Path, change: dict[str, str], message: str | None
) -> None:
    package = write(tmp_path / "package", CLEAN_PYTHON | change)
    problems = lint.check_python(package, ("low", "high", "__init__"))
    if message is None:
        assert problems == []
    else:
        assert message in "\n".join(problems)


def test_modules_of_one_line_form_no_cycle(lint: ModuleType, tmp_path: Path) -> None:
    files = {"a.py": "from package import b\n", "b.py": "from package import a\n"}
    problems = lint.check_python(write(tmp_path / "package", files), ("a b",))
    assert problems == ["package: cycle a -> b -> a"]
