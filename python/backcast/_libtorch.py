"""Find and load libtorch, so that the extension imports without importing Python's torch."""

from __future__ import annotations

import ctypes
import re
import sys
from importlib import metadata, util
from pathlib import Path

from backcast.errors import MissingPackageError

# The first release that has all of the stable C interface that the extension uses.
OLDEST = (2, 11)
WANTED = "2.11 or later"
REMEDY = 'Install one: pip install "torch>=2.11"'


def load() -> None:
    """Load libtorch from the installed torch.

    Raises
    ------
    MissingPackageError
        If torch is missing, is too old, or has no library that loads.
    """
    spec = util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise MissingPackageError(f"backcast needs torch {WANTED}, got none. {REMEDY}")
    found = _version()
    if _release(found) < OLDEST:
        raise MissingPackageError(f"backcast needs torch {WANTED}, got torch {found}. {REMEDY}")
    library = Path(spec.origin).parent / "lib" / "libtorch.so"
    try:
        # RTLD_LOCAL: the extension finds it by name, and MKL's symbols stay hidden from others.
        ctypes.CDLL(str(library), mode=ctypes.RTLD_LOCAL)
    except OSError as error:
        raise MissingPackageError(
            f"backcast needs torch's library, and {library} does not load: {error}. {REMEDY}"
        ) from error


def _release(version: str) -> tuple[int, int]:
    """Read major and minor from a version; builds from source have suffixes of all kinds."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def _version() -> str:
    torch = sys.modules.get("torch")
    return str(torch.__version__) if torch else metadata.version("torch")
