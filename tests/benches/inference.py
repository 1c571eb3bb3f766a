"""`encode`, `reconstruct` and `predict`, side by side with PyTorch under `inference_mode`.

One call is one batch. NumPy arrays go in and come out, as users of backcast call it; a third column
leaves PyTorch's tensors on the device, which is what it does without the copies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from problem import Problem
from rounds import interleaved
from worker import Worker

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "encode": ("encode", {}),
    "reconstruct": ("reconstruct", {}),
    "predict 10": ("predict", {"steps": 10}),
    "predict 100": ("predict", {"steps": 100}),
}
# Norm of the difference, as a part of the norm.
TOLERANCE = {"fp32": 1e-4, "tf32": 5e-3, "fp16": 5e-3, "bf16": 5e-2}
LEAST = 0.03  # seconds that a timing lasts at least, by calling more than once


def measure(problem: Problem, rounds: int) -> list[dict[str, Any]]:
    """One row a call: seconds by contestant."""
    ours = Worker("ours:Backcast", problem)
    theirs = Worker("pytorch:PyTorch", problem, "eager")
    rows = []
    for name, (method, arguments) in CALLS.items():
        expected = theirs.array(method, **arguments)
        difference = np.linalg.norm(ours.array(method, **arguments) - expected)
        distance = float(difference / np.linalg.norm(expected))
        if not distance <= TOLERANCE[problem.precision]:
            raise SystemExit(f"{name} at {problem.size} is {distance:.1e} away from PyTorch's")
        clocks = {
            "backcast": clock(ours, method, arguments),
            "eager": clock(theirs, method, arguments),
            "eager_kept": clock(theirs, method, arguments | {"kept": True}),
        }
        times = interleaved(clocks, rounds)
        rows.append(
            {
                "size": str(problem.size),
                "precision": problem.precision,
                "call": name,
                "differ_by": distance,
                "contestants": {name: t.record() for name, t in times.items()},
            }
        )
    ours.close()
    theirs.close()
    return rows


def clock(
    worker: Worker, method: str, arguments: dict[str, Any]
) -> Callable[[], tuple[float, float]]:
    """What times one call, by the clock and of all cores together, after an untimed one."""
    worker.call(method, **arguments)
    times = math.ceil(LEAST / worker.call(method, **arguments).seconds)

    def seconds() -> tuple[float, float]:
        worker.call(method, **arguments)
        answer = worker.call(method, times=times, **arguments)
        return answer.seconds, answer.cpu_seconds

    return seconds
