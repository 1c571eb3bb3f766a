"""Damage files of every kind and read them: no crash, no hang, no foreign exception, no odd number.

``python tests/fuzz [--files 20000] [--seed 0] [--minutes 60] [--processes 2]`` ends with 1 if
anything else came of a file than its contents or an error of backcast; the number of such a file
makes it again (`mutate.damaged`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from queue import Empty, Queue

import numpy as np

from backcast import AnomalyDetector, Classifier, Embedder, Forecaster, Model

HERE = Path(__file__).parent
# Files that one process reads, and the seconds after which one has hung, or a process at its start.
ROUND = 1000
SECONDS = 60
START = 600
EXPECTED = {"read", "FileFormatError", "OutOfMemoryError"}


def make(folder: Path) -> None:
    """Write a whole file of each kind."""
    x = np.sin(np.arange(8) / 2 + np.arange(12)[:, None])[..., None] * np.ones(3)
    small = {"hidden_size": 6, "max_iter": 4, "device": "cpu", "random_state": 0, "verbose": 0}
    Model(scale="minmax", num_layers=2, **small).fit(x).save(folder / "model")
    Classifier(**small).fit(x, np.arange(12) % 3).save(folder / "classifier")
    model = {name: value for name, value in small.items() if name != "max_iter"}
    detector = AnomalyDetector(model | {"max_iter": 3}, past=5, future=2)
    detector.fit(np.sin(np.arange(90) / 3)[:, None] * np.ones(2)).save(folder / "detector")
    rows = np.sin(np.arange(120) / 2)[:, None] * [1, 2] + np.arange(120)[:, None] / 99
    forecaster = Forecaster(6, 3, model | {"max_iter": 3}, future_columns=[1])
    forecaster.fit(rows).save(folder / "forecaster")
    Embedder(model | {"max_iter": 3}).fit([rows[:20], rows[20:50]]).save(folder / "embedder")
    Model(patience=2, **small).fit(x, validation=0.25, checkpoint=folder / "checkpoint")
    sizes = np.array([4, 3, 2], ">u4").tobytes()
    (folder / "idx").write_bytes(b"\0\0\x08\3" + sizes + bytes(24))
    with (folder / "npy").open("wb") as file:
        np.save(file, np.zeros((20, 1, 64, 64), np.uint8))


def run(files: int, seed: int, minutes: float, processes: int) -> Counter[str]:
    """Read damaged files until all are read or the time is over; count the outcomes."""
    found: Counter[str] = Counter()
    rounds: Queue[tuple[int, int]] = Queue()
    start = seed * 10**9
    for first in range(start, start + files, ROUND):
        rounds.put((first, min(first + ROUND, start + files)))
    deadline = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)

        def work() -> None:
            while time.monotonic() < deadline:
                try:
                    first, end = rounds.get_nowait()
                except Empty:
                    return
                while first < end and time.monotonic() < deadline:
                    first = _round(folder, first, end, found)

        threads = [threading.Thread(target=work) for _ in range(processes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return found


def _round(folder: Path, first: int, end: int, found: Counter[str]) -> int:
    """Read files in a process of its own; return the first that is still to be read."""
    command = [sys.executable, HERE / "worker.py", folder, str(first), str(end)]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        watch = _Watch(process)
        process.stdout.readline()
        watch.fed()
        done = first
        for line in process.stdout:
            watch.fed()
            fields = line.split(maxsplit=3)
            done = int(fields[0]) + 1
            said = fields[3].strip()
            found[said if said in EXPECTED else f"{fields[1]} {fields[0]}: {said}"] += 1
        watch.stop()
        process.wait()
        if done < end:
            errors.seek(0)
            why = "hung" if watch.hung else f"ended with {process.returncode}"
            found[f"file {done}: {why} {errors.read()[-300:]!r}"] += 1
            done += 1
    return done


class _Watch:
    """Kills a process that says nothing for too long."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.hung = False
        self._process = process
        self._timer: threading.Timer | None = None
        self.fed(START)

    def fed(self, seconds: float = SECONDS) -> None:
        """Begin anew."""
        self.stop()
        self._timer = threading.Timer(seconds, self._kill)
        self._timer.start()

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _kill(self) -> None:
        self.hung = True
        self._process.kill()


def unexpected(found: Counter[str]) -> list[str]:
    """Return what should not have come of a file."""
    return sorted(set(found) - EXPECTED)


def main() -> None:
    """Read the command line, run, and print what came of the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--processes", type=int, default=2)
    found = run(**vars(parser.parse_args()))
    print(
        f"{found.total():,} files:",
        ", ".join(f"{found[name]:,} {name}" for name in sorted(EXPECTED)),
    )
    for line in unexpected(found):
        print(line)
    sys.exit(bool(unexpected(found)))


if __name__ == "__main__":
    main()
