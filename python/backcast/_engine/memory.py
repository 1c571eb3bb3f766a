"""How much memory a training needs, and how much is free."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
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


def available_bytes(proc: Path = Path("/proc")) -> int | None:
    """Return how many bytes this process may still allocate; None if unknown."""
    found = [*_of_machine(proc), *_of_groups(proc), *_of_addresses(proc)]
    return min(found, default=None)


def _of_machine(proc: Path) -> Iterator[int]:
    """Yield the memory that nobody uses, or whose contents the system can read again."""
    with suppress(OSError, LookupError, ValueError):
        lines = (proc / "meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        yield int(fields["MemAvailable"].split()[0]) * 1024


def _of_addresses(proc: Path) -> Iterator[int]:
    """Yield what `ulimit -v` leaves."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        with suppress(OSError, LookupError, ValueError):
            pages = int((proc / "self/statm").read_text().split()[0])
            yield max(0, limit - pages * resource.getpagesize())


@dataclass(frozen=True)
class _Files:
    """What the kernel calls a group's files and numbers, by version of cgroups."""

    limit: str
    usage: str
    cache: tuple[str, str]


_V1 = _Files(
    "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")
)
_V2 = _Files("memory.max", "memory.current", ("inactive_file", "active_file"))


def _of_groups(proc: Path) -> Iterator[int]:
    """Yield what each control group leaves that this process lies in."""
    for folder, top, files in _groups(proc):
        while True:
            with suppress(OSError, LookupError, ValueError):
                limit = int((folder / files.limit).read_text())
                usage = int((folder / files.usage).read_text())
                stat = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
                # The system reclaims pages of files when memory is short.
                cache = sum(int(value) for name, value in stat if name in files.cache)
                yield max(0, limit - usage + cache)
            if folder == top or top not in folder.parents:
                break
            folder = folder.parent


def _groups(proc: Path) -> Iterator[tuple[Path, Path, _Files]]:
    """Return the folder of each group that this process is in, and where its tree begins."""
    with suppress(OSError, LookupError, ValueError):
        lines = (proc / "self/cgroup").read_text().splitlines()
        paths = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}
        for line in (proc / "self/mountinfo").read_text().splitlines():
            # number parent device root place options [more] - kind source options
            first, last = line.split(" - ", 1)
            (root, place), (kind, _, options) = first.split()[3:5], last.split()[:3]
            if kind == "cgroup2":
                path, files = paths.get(""), _V2
            elif kind == "cgroup" and "memory" in options.split(","):
                named = (path for names, path in paths.items() if "memory" in names.split(","))
                path, files = next(named, None), _V1
            else:
                continue
            if path is None:
                continue
            # In a container the root of what is mounted is often the group itself.
            below = path.removeprefix(root) if root != "/" else path
            folder = Path(place, below.lstrip("/"))
            yield folder if folder.is_dir() else Path(place), Path(place), files


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
