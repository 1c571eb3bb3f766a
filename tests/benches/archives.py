"""Measure `backcast embed` on files: rates and peak memory by kind of file and number of processes.

``python tests/benches/archives.py`` prints a table in Markdown. It needs 1 GB in /tmp.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from backcast import Model
from backcast.data import windows

ROWS, COLUMNS, PAST = 5_000_000, 8, 60
# Every window of a tenth of a million rows is a matter of computing, few of many one of reading.
CASES = [("few rows, all windows", 100_000, 1), ("many rows, few windows", ROWS, 600)]

_RUN = """\
import json, resource, sys, time
from backcast.experiments.cli import main
start = time.perf_counter()
assert main(sys.argv[1:]) == 0
seconds = time.perf_counter() - start
own, workers = (resource.getrusage(k) for k in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
cpu = sum(each.ru_utime + each.ru_stime for each in (own, workers))
print(json.dumps([seconds, cpu, own.ru_maxrss, workers.ru_maxrss]))
"""


def write(folder: Path, n: int) -> None:
    """Write rows as .parquet, .npy and .csv, whose names are the number of rows."""
    noise = np.random.default_rng(0).standard_normal((n, COLUMNS), np.float32)
    x = (np.sin(np.arange(n)[:, None] / np.arange(5, 5 + COLUMNS)) + 0.1 * noise).astype(np.float32)
    np.save(folder / f"{n}.npy", x)
    table = pa.table({f"s{i}": x[:, i].round(5) for i in range(COLUMNS)})
    pq.write_table(table, folder / f"{n}.parquet", row_group_size=n, compression="none")
    pyarrow.csv.write_csv(table, folder / f"{n}.csv")


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
                    words += ["--processes", processes, "--threads", 1]
                    command = [sys.executable, "-c", _RUN, *map(str, words)]
                    ran = subprocess.run(command, check=True, capture_output=True, text=True)
                    seconds, cpu, own, children = json.loads(ran.stdout)
                    rate = ((n - PAST) // stride + 1) / seconds
                    read = file.stat().st_size / seconds / 1e6
                    worker = f"{children / 1e3:.0f}" if processes > 1 else "–"
                    print(
                        f"| {case} | .{kind} | {processes} | {rate:,.0f} | {read:.1f} | "
                        f"{cpu:.1f} | {own / 1e3:.0f} | {worker} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
