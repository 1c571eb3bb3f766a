"""Errors as IPython shows them: down to the caller's last line, without our own frames."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from types import TracebackType

_OURS = (str(Path(__file__).parent), contextlib.__file__)


def brief(error: BaseException) -> list[str]:
    """Render an error for IPython; Python itself, logs and debuggers show the whole traceback."""
    return rendered(error, _theirs(error.__traceback__))


def rendered(error: BaseException, traceback: TracebackType | None) -> list[str]:
    """Render an error as IPython does."""
    shell = sys.modules["IPython"].get_ipython()
    lines: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, traceback)
    return lines


def _theirs(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the package's own frames at its end."""
    if traceback is None:
        return None
    rest, frame = _theirs(traceback.tb_next), traceback.tb_frame
    if rest is None and frame.f_code.co_filename.startswith(_OURS):
        return None
    return TracebackType(rest, frame, traceback.tb_lasti, traceback.tb_lineno)
