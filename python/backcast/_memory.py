"""How much memory a training takes, and how much there is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backcast.errors import OutOfMemoryError

# Weights, gradients, two moments, and weights packed for the kernels, forward and back.
_COPIES = 6


def count_weights(architecture: Mapping[str, Any]) -> int:
    """Count the numbers that are learnt."""
    frame, hidden = architecture["frame_size"], architecture["hidden_size"]
    layers = architecture["num_layers"]
    # Recurrent weights and both biases, peepholes, and the input of the layers above the first.
    stack = layers * 4 * hidden * (hidden + 2) + (layers - 1) * 4 * hidden * hidden
    stack += 3 * hidden * layers if architecture["peepholes"] else 0
    total = stack + 4 * hidden * frame
    for feedback in architecture["feedback"]:
        if feedback is not None:
            total += stack + (hidden + 1) * frame
            total += 4 * hidden * frame if feedback != "none" else 0
    return int(total + (architecture["classes"] or 0) * (hidden + 1))


def training_bytes(
    architecture: Mapping[str, Any], batch: int, past: int, future: int
) -> dict[str, int]:
    """Estimate what an update takes: for the weights, and for what a batch leaves behind."""
    frame, hidden = architecture["frame_size"], architecture["hidden_size"]
    # h, c, four gates and their gradients of each layer, and the gradient from above.
    cells = hidden * (10 * architecture["num_layers"] + 1)
    steps = past * (cells + 2 * frame)
    for there, length in zip(architecture["feedback"], (past, future), strict=True):
        if there is not None:
            # Target, truth, what is fed, outputs and their gradient.
            steps += length * (cells + 5 * frame)
    weights = count_weights(architecture)
    return {"weights": 4 * _COPIES * weights, "batch": 4 * batch * steps}


def available_bytes() -> int | None:
    """Return how much memory this process may still take; None where nobody says."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        found.append(int(fields["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError):
        pass
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        usage = int((group / "memory.current").read_text())
        stat = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        # Pages of files are given back when they are needed.
        cache = sum(int(value) for name, value in stat if name in ("inactive_file", "active_file"))
        found.append(limit - usage + cache)
    except (OSError, ValueError):
        pass
    return min(found, default=None)


def check_memory(needed: Mapping[str, int]) -> None:
    """Refuse a training that there is no room for."""
    total, there = sum(needed.values()), available_bytes()
    if there is not None and total > there:
        raise OutOfMemoryError(
            f"training needs about {readable(total)} of memory ({readable(needed['weights'])} "
            f"for the weights and their moments, {readable(needed['batch'])} for a batch), and "
            f"{readable(there)} are free; try a smaller batch_size, hidden_size or num_layers, "
            "or shorter windows"
        )


def readable(n: int) -> str:
    """Write a number of bytes for people."""
    power = min(len(str(n)) - 1, 14) // 3
    size = n / 1000**power
    return f"{size:{'.2g' if size < 10 else '.0f'}} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"
