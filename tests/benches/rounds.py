"""Timing in interleaved rounds: what slows the machine down for a while slows everybody down."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Idle threads of the one that ran last spin for some milliseconds before they sleep.
REST = 0.02  # seconds


@dataclass
class Times:
    """One contestant's timings in seconds, one for each round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # of all cores together

    def record(self) -> dict[str, Any]:
        """What the results keep."""
        return {"seconds": self.wall, "cpu_seconds": self.cpu}


def interleaved(
    clocks: Mapping[str, Callable[[], tuple[float, float]]], rounds: int
) -> dict[str, Times]:
    """Wall time and CPU time by name; who begins changes from round to round."""
    times = {name: Times() for name in clocks}
    names = list(clocks)
    for number in range(rounds):
        first = number % len(names) if names else 0
        for name in names[first:] + names[:first]:
            time.sleep(REST)
            wall, cpu = clocks[name]()
            times[name].wall.append(wall)
            times[name].cpu.append(cpu)
    return times
