"""Measure backcast beside its peers, print Markdown tables and write the results to a JSON file.

python tests/benches                                       everything, at all sizes
python tests/benches training --size "64 30 16 64 1"       one case

A peer that is not installed is a dash. Nothing else should run on the machine meanwhile; where it
must, `taskset -c 0 python tests/benches training inference` and its tables of CPU time hold.
`BACKCAST_ISA=avx2` measures a processor with AVX-512 as one without it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import feeding
import imports
import inference
import training
from machine import device_name, has_gpu, instruction_set, versions
from problem import Problem
from sizes import SIZES, Size
from tables import TABLES, machine
from worker import Failed

PARTS = ("training", "inference", "feeding", "imports")


def main() -> None:
    """Measure what the command line asks for."""
    options = parse()
    device = options.device
    if device == "auto":
        device = "cuda" if has_gpu() else "cpu"
    elif device == "cuda" and not has_gpu():
        raise SystemExit("there is no GPU here that nvidia-smi knows of")
    sizes = options.size or SIZES[device]
    precisions = options.precision or ["tf32" if device == "cuda" else "fp32"]
    problems = [
        Problem(size, max(options.updates, training.CURVE), device, precision)
        for size in sizes
        for precision in precisions
    ]
    path = options.json or Path("out", f"speed-{device}.json")
    results: dict[str, Any] = {
        "machine": device_name(device),
        "device": device,
        "versions": versions(),
        "rounds": options.rounds,
        "updates": max(options.updates, training.CURVE),
    }
    if device == "cpu":
        results["instruction_set"] = instruction_set()
    print(machine(results))
    for part in options.parts or PARTS:
        if part == "training":
            contestants = chosen(options.contestants, options.compile)
            results[part] = [training.measure(p, options.rounds, contestants) for p in problems]
        elif part == "inference":
            rows = [inference.measure(problem, options.rounds) for problem in problems]
            results[part] = [row for of_problem in rows for row in of_problem]
        elif part == "feeding":
            bound = options.bound * 2**20
            results[part] = feeding.measure(device, precisions[0], options.rounds, bound)
        else:
            results[part] = imports.measure(options.rounds)
        for source, make in TABLES.values():
            if source == part:
                print(f"\n{make(results)}", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")


def chosen(names: list[str], modes: list[str] | None) -> list[training.Contestant]:
    """The contestants of these names; torch.compile in these modes only."""
    contestants = []
    for contestant in training.CONTESTANTS:
        if contestant.name == "compile" and modes:
            variants = tuple(v for v in contestant.variants if v.name in modes)
            contestant = replace(contestant, variants=variants)
        if contestant.name in names:
            contestants.append(contestant)
    return contestants


def parse() -> argparse.Namespace:
    """Read the command line."""
    names = [contestant.name for contestant in training.CONTESTANTS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("parts", nargs="*", help=f"some of {', '.join(PARTS)}; all by default")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--size", type=Size.parse, action="append", help='"B T D H L"; may be given repeatedly')
    add("--precision", nargs="+", choices=list(training.TOLERANCE), help="fp32, on CUDA tf32")
    add("--rounds", type=int, default=15, help="timings of each contestant, 15 by default")
    add("--updates", type=int, default=10, help="updates in a timing, 10 by default")
    add("--contestants", nargs="+", choices=names, default=names)
    add("--compile", nargs="+", metavar="MODE", help="modes of torch.compile, all by default")
    add("--bound", type=int, default=256, help="MiB that a mapped file may add, 256 by default")
    add("--json", type=Path, help="where the results go, out/speed-DEVICE.json by default")
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"{part!r} is none of {', '.join(PARTS)}")
    return options


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        raise SystemExit(f"a contestant that cannot be missed failed: {failure}") from failure
