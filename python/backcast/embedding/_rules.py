"""Rules that choose the window of an embedder and the parts of its sequences, with reasons."""

from __future__ import annotations

from backcast.embedding._views import PARTS

# The longest window that is chosen.
_WINDOW = 20
# Parts of a sequence, and numbers that their statistics take, at most.
MOST_PARTS, _STATISTICS = 8, 127


def auto_window(lengths: list[int]) -> tuple[int, str]:
    """Choose the rows of a window from those of the sequences; say why."""
    window = max(1, min(_WINDOW, (min(lengths) + 1) // 2))
    return window, f"half of the shortest sequence, at most {_WINDOW} rows"


def future_of(window: int) -> int:
    """Return the rows after a window that are predicted in training."""
    return max(1, window // 2)


def auto_parts(width: int) -> tuple[int, str]:
    """Choose the number of parts of a sequence by its columns; say why."""
    n_parts = min(MOST_PARTS, _STATISTICS // (len(PARTS) * width))
    return n_parts, f"at most {MOST_PARTS}, with {_STATISTICS} statistics in all at most"
