"""Timing in interleaved rounds: what slows the machine down for a while slows everybody down."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

# Idle threads of the one that ran last spin for some milliseconds before they sleep.
REST = 0.02  # seconds


def interleaved(clocks: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds by name, one for each round; who begins changes from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in clocks}
    names = list(clocks)
    for number in range(rounds):
        first = number % len(names) if names else 0
        for name in names[first:] + names[:first]:
            time.sleep(REST)
            seconds[name].append(clocks[name]())
    return seconds
