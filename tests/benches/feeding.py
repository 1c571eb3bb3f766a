"""Where the windows come from: float32 or bytes in memory, or a memory-mapped file of bytes.

A small model of large frames, so that feeding is as great a part of the time as it gets. A round is
one pass over all windows; as float32 only a quarter of them, which takes as much memory as all in
bytes. The file is in the page cache (it was just written): this measures the mapping, not the disk.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from problem import Problem
from rounds import interleaved
from sizes import Size
from worker import Worker

SIZE = Size(64, 10, 1024, 64, 1)
KINDS = ("float32", "uint8", "mapped uint8")
TIMES_THE_BOUND = 4
# A pass takes seconds.
MOST_ROUNDS = 5


class Feeder:
    """backcast, trained on the file that `variant` names after the kind: "kind: path"."""

    def __init__(self, problem: Problem, variant: str) -> None:
        # Only in the contestant's own process.
        from backcast import Model

        kind, _, path = variant.partition(": ")
        self.windows: NDArray[Any] = np.load(path, mmap_mode="r" if "mapped" in kind else None)
        if kind == "float32":
            self.windows = self.windows[::4].astype(np.float32)
            self.windows /= 255
        size = problem.size
        self.model = Model(
            size.hidden,
            size.layers,
            batch_size=size.batch,
            device=problem.device,
            precision=problem.precision,
            random_state=0,
            verbose=0,
        )
        self.model.partial_fit(self.windows[: size.batch])

    def train(self) -> int:
        """Make one pass over the windows, and give the number of updates."""
        before = self.model.n_iter_
        return self.model.partial_fit(self.windows).n_iter_ - before


def measure(device: str, precision: str, rounds: int, bound: int) -> dict[str, Any]:
    """Seconds an update, and memory, by kind of windows; the file is 4 times `bound` bytes."""
    windows = TIMES_THE_BOUND * bound // (2 * SIZE.steps * SIZE.frame)
    problem = Problem(SIZE, windows // SIZE.batch, device, precision)
    workers: dict[str, Worker] = {}
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "windows.npy")
        length = write(path, problem)
        for kind in KINDS:
            worker = workers[kind] = Worker("feeding:Feeder", problem, f"{kind}: {path}")
            worker.forget_peak()
            found[kind] = {"resident": worker.resident}
        clocks = {kind: lambda worker=worker: clock(worker) for kind, worker in workers.items()}
        for kind, times in interleaved(clocks, min(rounds, MOST_ROUNDS)).items():
            found[kind] |= times.record() | {"peak": workers[kind].peak}
            workers[kind].close()
    return {
        "size": str(SIZE),
        "precision": precision,
        "file": length,
        "bound": bound,
        "kinds": found,
    }


def clock(worker: Worker) -> tuple[float, float]:
    """Seconds and CPU seconds an update, in one pass."""
    answer = worker.call("train")
    return answer.seconds / answer.value, answer.cpu_seconds / answer.value


def write(path: Path, problem: Problem) -> int:
    """Random windows (n, 2 T, D) of bytes, batch by batch; gives the file's length."""
    size, random = problem.size, np.random.default_rng(0)
    shape = (problem.updates * size.batch, 2 * size.steps, size.frame)
    windows = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    for first in range(0, len(windows), size.batch):
        windows[first : first + size.batch] = random.integers(
            256, size=(size.batch, *shape[1:]), dtype=np.uint8
        )
    windows.flush()
    return path.stat().st_size
