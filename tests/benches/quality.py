"""Measure anomaly scores, embeddings and forecasts beside other packages, and what they cost.

python tests/benches/quality.py                              anomalies and embeddings, 3 seeds
python tests/benches/quality.py anomalies                    one of them
python tests/benches/quality.py --data FOLDER                series there: the detector, forecasts
python tests/benches/quality.py --data FOLDER nab forecasts  some of its sets

Prints Markdown tables and writes a JSON file. aeon is needed, for its data and its measure; another
package that is not installed is a dash, and its series are left out. All run on one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

# Before NumPy is imported, which reads it.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import anomalies
import embeddings
import forecasters
import forecasts
import published
from machine import device_name, versions
from tables import TABLES, machine

PARTS = {
    "anomalies": anomalies.measure,
    "embeddings": embeddings.measure,
    "more_embeddings": partial(embeddings.measure, more=True),
}
# What is measured on the series in the folder that --data names.
FORECASTS = {"forecasts": forecasts.measure, "forecasters": forecasters.measure}
OF_FOLDER = (*published.SETS, *FORECASTS)
PACKAGES = (
    *("backcast", "pyod", "aeon", "sktime", "statsforecast", "neuralforecast"),
    *("scikit-learn", "torch", "numpy"),
)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help="parts, or sets of the folder; all by default")
    add("--data", type=Path, help="folder of series, as published.py and forecasts.py describe it")
    add("--seeds", type=int, default=3, help="of what is random, 3 by default")
    add("--json", type=Path, default=Path("out/quality.json"), help="out/quality.json by default")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": device_name("cpu"), "versions": versions(*PACKAGES)}
    results["seeds"] = options.seeds
    print(machine(results))
    known = OF_FOLDER if options.data else PARTS
    parts = options.parts or [*known]
    for part in parts:
        if part not in known:
            hint = "" if options.data or part not in OF_FOLDER else "; it needs --data"
            parser.error(f"{part!r} is none of {', '.join(known)}{hint}")
    if sets := [part for part in parts if part in published.SETS]:
        measure_published(sets, options, results)
    for part in parts:
        if part in PARTS:
            results[part] = PARTS[part](options.seeds)
        elif part in FORECASTS:
            results[part] = FORECASTS[part](options.seeds, options.data)
        else:
            continue
        print(f"\n{TABLES[part][1](results)}", flush=True)
        write(options.json, results)


def measure_published(
    sets: list[str], options: argparse.Namespace, results: dict[str, Any]
) -> None:
    """Measure the detector on published series; an interrupted run leaves what it has."""
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
