"""The wheel runs on every torch from 2.11 on, and says nothing about the machine that built it."""

import ctypes
import re
import shutil
import subprocess
import zipfile
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest

from backcast import _core

ROOT = Path(__file__).parents[2]
CORE = Path(_core.__file__)
LIBTORCH = Path(find_spec("torch").submodule_search_locations[0]) / "lib"
WHEELS = sorted((ROOT / "target" / "wheels").glob("*.whl"))


def stable_names():
    source = (ROOT / "src" / "libtorch" / "stable.rs").read_text()
    return set(re.findall(r"^ +pub fn (\w+)\(", source, re.MULTILINE))


def optional_names():
    """The names that are looked up at run time, by the constants that hold them."""
    source = (ROOT / "src" / "libtorch" / "platform.rs").read_text()
    found = re.findall(r"pub const (\w+): &CStr =\s+c\"(\w+)\";", source)
    return {constant: name for constant, name in found}


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm reads the symbols")
def test_the_core_needs_stable_names_of_libtorch_alone():
    command = ["nm", "--dynamic", "--undefined-only", CORE]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    needed = {line.split()[-1] for line in lines if line.split()[-2] != "w"}
    # The C, C++ and unwinding libraries give their names a version, and Python marks its own.
    others = {name for name in needed if re.search(r"@(GLIBC|GLIBCXX|CXXABI|GCC)_|^_?Py", name)}
    assert needed - others == stable_names()


def test_contributing_lists_every_optional_name_and_no_other():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    section = page[page.index("## One wheel") : page.index("## Where things are")]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert listed == set(optional_names().values())


def test_optional_names_are_in_this_torch():
    names = optional_names()
    since_2_13 = names.pop("WHAT")
    names.pop("MEMORY_INFO")  # of the CUDA runtime
    cuda = {c for c in names if c.startswith(("GRAPH", "STREAM", "DEVICE_GUARD", "CURRENT"))}
    libraries = [("libtorch_cpu.so", set(names) - cuda)]
    if (LIBTORCH / "libtorch_cuda.so").exists():
        libraries.append(("libtorch_cuda.so", cuda))
    for library, constants in libraries:
        assert constants
        handle = ctypes.CDLL(str(LIBTORCH / library))
        assert [c for c in constants if not hasattr(handle, names[c])] == []
    import torch

    release = tuple(map(int, torch.__version__.split(".")[:2]))
    cpu = ctypes.CDLL(str(LIBTORCH / "libtorch_cpu.so"))
    assert hasattr(cpu, since_2_13) == (release >= (2, 13))


@pytest.mark.skipif(not WHEELS, reason="`make build` builds the wheel")
def test_the_wheel_is_small_and_names_no_folder_of_its_builder():
    with zipfile.ZipFile(WHEELS[-1]) as wheel:
        core = wheel.read("backcast/_core.abi3.so")
        [metadata] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        requirements = Parser().parsestr(wheel.read(metadata).decode()).get_all("Requires-Dist")
        everything = b"".join(wheel.read(name) for name in wheel.namelist())
    assert len(core) < 3_000_000
    for folder in [ROOT, Path.home() / ".cargo"]:
        assert bytes(folder) not in everything
    assert "torch>=2.11" in requirements
