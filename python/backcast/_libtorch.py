"""Find and load libtorch, so that the extension imports without importing Python's torch."""

from __future__ import annotations

import ctypes
import sys
from importlib import metadata, util
from pathlib import Path

from backcast.errors import MissingPackageError

# The C++ interface changes with each minor version; tch 0.24 is made for this one.
WANTED = "2.11.0"
REMEDY = f"Install the one that backcast is built for: pip install torch=={WANTED}"


def load() -> None:
    """Load libtorch from the installed torch.

    Raises
    ------
    MissingPackageError
        If torch is missing, is of another version, or has no libtorch.
    """
    spec = util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise MissingPackageError(f"backcast needs torch {WANTED}, got none. {REMEDY}")
    found = _version()
    if found.split("+")[0] != WANTED:
        raise MissingPackageError(f"backcast needs torch {WANTED}, got torch {found}. {REMEDY}")
    library = Path(spec.origin).parent / "lib" / "libtorch.so"
    try:
        # RTLD_LOCAL: the extension finds it by name, and MKL's symbols stay hidden from others.
        ctypes.CDLL(str(library), mode=ctypes.RTLD_LOCAL)
    except OSError as error:
        raise MissingPackageError(
            f"backcast needs torch's library, and {library} does not load: {error}. {REMEDY}"
        ) from error


def _version() -> str:
    torch = sys.modules.get("torch")
    return str(torch.__version__) if torch else metadata.version("torch")
