"""How much memory a training needs, and how much is free."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backcast.errors import OutOfMemoryError

# Weights, gradients, two moments, and weights packed for the kernels, forward and back.
_COPIES = 6


def count_weights(architecture: Mapping[str, Any]) -> int:
    """Count the trained numbers."""
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
    """Estimate the bytes of an update: for the weights, and for the trace of a batch."""
    frame, hidden = architecture["frame_size"], architecture["hidden_size"]
    # h, c, four gates and their gradients of each layer, and the gradient from above.
    cells = hidden * (10 * architecture["num_layers"] + 1)
    steps = past * (cells + 2 * frame)
    for feedback, length in zip(architecture["feedback"], (past, future), strict=True):
        if feedback is not None:
            # Target, truth, input, outputs and their gradient.
            steps += length * (cells + 5 * frame)
    weights = count_weights(architecture)
    return {"weights": 4 * _COPIES * weights, "batch": 4 * batch * steps}


def available_bytes() -> int | None:
    """Return how many bytes this process may still allocate; None if unknown."""
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
        # The system reclaims pages of files when memory is short.
        cache = sum(int(value) for name, value in stat if name in ("inactive_file", "active_file"))
        found.append(limit - usage + cache)
    except (OSError, ValueError):
        pass
    return min(found, default=None)


def check_memory(architecture: Mapping[str, Any], batch: int, past: int, future: int) -> None:
    """Refuse a training that does not fit into the memory of the CPU.

    Parameters
    ----------
    architecture : mapping
        The architecture of the engine.
    batch, past, future : int
        Windows in an update, and frames of the longest window.

    Raises
    ------
    OutOfMemoryError
        If less memory is free than an update needs.
    """
    needed = training_bytes(architecture, batch, past, future)
    total, free = sum(needed.values()), available_bytes()
    if free is not None and total > free:
        raise OutOfMemoryError(
            f"training needs about {readable(total)} of memory ({readable(needed['weights'])} "
            f"for the weights and their moments, {readable(needed['batch'])} for a batch), and "
            f"{readable(free)} are free; try a smaller batch_size, hidden_size or num_layers, "
            "or shorter windows"
        )


def readable(n: int) -> str:
    """Format a number of bytes with a unit."""
    power = min(len(str(n)) - 1, 14) // 3
    size = n / 1000**power
    return f"{size:{'.2g' if size < 10 else '.0f'}} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"
