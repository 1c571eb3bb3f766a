"""Measure how good anomaly scores and embeddings are beside other packages', and what they cost.

python tests/benches/quality.py                 both, 3 seeds
python tests/benches/quality.py anomalies       one of them
python tests/benches/quality.py --data FOLDER   the detector on published series in that folder
python tests/benches/quality.py --data FOLDER nab skab          some of its sets

Prints Markdown tables and writes a JSON file. aeon is needed, for its data and its measure; another
package that is not installed is a dash, and its series are left out. All run on one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

# Before NumPy is imported, which reads it.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import anomalies
import embeddings
import published
from machine import device_name, versions
from tables import TABLES, machine

PARTS = {"anomalies": anomalies.measure, "embeddings": embeddings.measure}
PACKAGES = ("backcast", "pyod", "aeon", "sktime", "scikit-learn", "torch", "numpy")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help="anomalies, embeddings, or sets; all by default")
    add("--data", type=Path, help="folder of published series, as published.py describes it")
    add("--seeds", type=int, default=3, help="of what is random, 3 by default")
    add("--json", type=Path, default=Path("out/quality.json"), help="out/quality.json by default")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": device_name("cpu"), "versions": versions(*PACKAGES)}
    results["seeds"] = options.seeds
    print(machine(results))
    if options.data:
        measure_published(options, results)
        return
    for part in options.parts or PARTS:
        if part not in PARTS:
            parser.error(f"{part!r} is none of {', '.join(PARTS)}")
        results[part] = PARTS[part](options.seeds)
        print(f"\n{TABLES[part][1](results)}", flush=True)
        write(options.json, results)


def measure_published(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Measure the detector on published series; an interrupted run leaves what it has."""
    sets = options.parts or [*published.SETS]
    if not set(sets) <= set(published.SETS):
        raise SystemExit(f"sets must be among {', '.join(published.SETS)}, got {', '.join(sets)}")
    results["published"] = []
    for record in published.measure(options.data, sets, options.seeds):
        results["published"].append(record)
        write(options.json, results)
    print(f"\n{TABLES['published'][1](results)}", flush=True)


def write(path: Path, results: dict[str, Any]) -> None:
    """Write the results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
