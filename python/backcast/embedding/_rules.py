"""Rules that choose the units, the window and the parts of an embedder's sequences."""

from __future__ import annotations

import numpy as np

from backcast.embedding._sequences import Given, varies
from backcast.embedding._views import PARTS, UNITS

# The longest window that is chosen.
_WINDOW = 20
# Parts of a sequence, and numbers that their statistics take, at most.
MOST_PARTS, _STATISTICS = 8, 127
# Sequences are small whose deviation is less than this part of that of all.
_SMALL = 0.1


def auto_units(given: Given) -> tuple[bool, str]:
    """Choose whether each sequence has units of its own; say why.

    Where most sequences are small beside the largest, units of all hide what happens in them.
    """
    overall = given.moments().std
    moments = [one.moments() for one in given.each()]
    varying = np.stack([varies(own) for own in moments])
    small = np.stack([own.std < _SMALL * overall for own in moments])[varying]
    share = float(small.mean()) if small.size else 0.0
    why = f"{share:.0%} vary by less than {_SMALL:.0%} of the deviation of all"
    own = share > 0.5
    return own, f"of {'each sequence' if own else 'all sequences'}: {why}"


def auto_window(lengths: list[int]) -> tuple[int, str]:
    """Choose the rows of a window from those of the sequences; say why."""
    window = max(1, min(_WINDOW, (min(lengths) + 1) // 2))
    return window, f"half of the shortest sequence, at most {_WINDOW} rows"


def future_of(window: int) -> int:
    """Return the rows after a window that are predicted in training."""
    return max(1, window // 2)


def auto_parts(width: int, *, own_units: bool) -> tuple[int, str]:
    """Choose the number of parts of a sequence by its columns; say why."""
    left = _STATISTICS - (len(UNITS) * width if own_units else 0)
    n_parts = min(MOST_PARTS, max(0, left) // (len(PARTS) * width))
    return n_parts, f"at most {MOST_PARTS}, with {_STATISTICS} statistics in all at most"
