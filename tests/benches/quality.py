"""Measure anomaly scores, embeddings and forecasts beside other packages, and what they cost.

python tests/benches/quality.py                 both, 3 seeds
python tests/benches/quality.py anomalies       one of them
python tests/benches/quality.py forecasts --data FOLDER

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
import forecasts
from machine import device_name, versions
from tables import TABLES, machine

PARTS = {"anomalies": anomalies.measure, "embeddings": embeddings.measure}
# Parts whose data are in the folder that --data names.
OF_FOLDER = {"forecasts": forecasts.measure}
PACKAGES = ("backcast", "pyod", "aeon", "sktime", "scikit-learn", "torch", "numpy")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help="anomalies, embeddings, forecasts")
    add("--seeds", type=int, default=3, help="of what is random, 3 by default")
    add("--data", type=Path, help="folder of the series for forecasts: ETTh1.npz, m4_hourly.npz")
    add("--json", type=Path, default=Path("out/quality.json"), help="out/quality.json by default")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": device_name("cpu"), "versions": versions(*PACKAGES)}
    results["seeds"] = options.seeds
    print(machine(results))
    for part in options.parts or PARTS:
        if part not in PARTS | OF_FOLDER:
            parser.error(f"{part!r} is none of {', '.join(PARTS | OF_FOLDER)}")
        if part in OF_FOLDER:
            if options.data is None:
                parser.error(f"--data must name a folder for {part}")
            results[part] = OF_FOLDER[part](options.seeds, options.data)
        else:
            results[part] = PARTS[part](options.seeds)
        print(f"\n{TABLES[part][1](results)}", flush=True)
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
