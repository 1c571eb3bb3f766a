"""Measure `backcast embed` on files: rates and peak memory by kind of file and number of processes.

``python tests/benches/archives.py`` prints a table in Markdown. It needs 400 MB in /tmp.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from backcast import Model
from backcast.data import windows

ROWS, COLUMNS, PAST = 2_000_000, 8, 60
# All windows of few rows are a matter of computing, few windows of many rows one of reading.
CASES = [("few rows, all windows", 200_000, 1), ("many rows, few windows", ROWS, 600)]

_RUN = """\
import resource, sys, time
from backcast.experiments.cli import main
start = time.perf_counter()
assert main(sys.argv[1:]) == 0
seconds = time.perf_counter() - start
both = (resource.getrusage(kind) for kind in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(seconds, sum(each.ru_utime + each.ru_stime for each in both))
"""


def write(folder: Path, n: int) -> None:
    """Write rows as .parquet, .npy and .csv, whose names are the number of rows."""
    noise = np.random.default_rng(0).standard_normal((n, COLUMNS), np.float32)
    x = (np.sin(np.arange(n)[:, None] / np.arange(5, 5 + COLUMNS)) + 0.1 * noise).astype(np.float32)
    np.save(folder / f"{n}.npy", x)
    table = pa.table({f"s{i}": x[:, i].round(5) for i in range(COLUMNS)})
    pq.write_table(table, folder / f"{n}.parquet", row_group_size=n, compression="none")
    pyarrow.csv.write_csv(table, folder / f"{n}.csv")


def peaks(process: int) -> dict[int, float]:
    """Return the peak memory of a process and of its children until now, in MB."""
    found = {}
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        for each in [process, *map(int, children)]:
            status = Path(f"/proc/{each}/status").read_text()
            found[each] = int(status.partition("VmHWM:")[2].split()[0]) / 1e3
    except (OSError, IndexError):
        pass  # it has ended
    return found


def run(words: list[str]) -> tuple[float, float, float, float]:
    """Run the command; return its seconds, those of CPUs, and the peaks of it and of a worker."""
    command = [sys.executable, "-W", "ignore", "-c", _RUN, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    found: dict[int, float] = {}
    while process.poll() is None:
        found |= peaks(process.pid)
        time.sleep(0.1)
    assert process.stdout is not None
    seconds, cpu = map(float, process.stdout.read().split())
    own = found.pop(process.pid)
    return seconds, cpu, own, max(found.values(), default=0)


def main() -> None:
    """Print the table."""
    print("| | file | processes | windows/s | MB/s | CPU, s | peak, MB | of a worker, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        x = np.sin(np.arange(20_000)[:, None] / np.arange(5, 5 + COLUMNS))
        model = Model(64, horizon=10, max_iter=20, scale="standard", device="cpu", verbose=0)
        model.fit(windows(x, PAST, 10, stride=10)).save(folder / "model")
        for n in sorted({n for _, n, _ in CASES}):
            write(folder, n)
        for case, n, stride in CASES:
            for kind in ("parquet", "npy", "csv"):
                for processes in (1, 2):
                    file, out = folder / f"{n}.{kind}", folder / f"{n}.{kind}.{processes}"
                    words = ["embed", file, "--model", folder / "model", "--out", out, "--quiet"]
                    words += ["--past", PAST, "--stride", stride]
                    words += ["--processes", processes, "--threads", 1, "--part-rows", 25_000]
                    seconds, cpu, own, worker = run([*map(str, words)])
                    rate = ((n - PAST) // stride + 1) / seconds
                    read = file.stat().st_size / seconds / 1e6
                    print(
                        f"| {case} | .{kind} | {processes} | {rate:,.0f} | {read:.1f} | "
                        f"{cpu:.1f} | {own:.0f} | {worker:.0f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
