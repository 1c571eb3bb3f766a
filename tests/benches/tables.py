"""The bench's results as Markdown tables, printed or put into a page, so that they cannot drift.

python tests/benches/tables.py [FILE.json ...] [--write [PAGE] | --check [PAGE]]

In a page, a table stands between the lines `<!-- bench NAME -->` and `<!-- end of bench -->`, where
NAME is training, training_cpu, memory, inference, inference_cpu, feeding, imports, anomalies,
embeddings, more_embeddings, forecasts, forecasters or published. The default page is
tests/benches/README.md, the default files are those in tests/benches/results.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import fmean, median, quantiles, stdev
from typing import Any

from published import HEADER, summary
from sizes import Size

COLUMNS = {
    "backcast": "backcast",
    "eager": "PyTorch eager",
    "compile": "torch.compile",
    "jax": "JAX",
    "by_hand": "JAX by hand",
}
JAX = ("jax", "by_hand")
MISSING = "–"
PAGE = Path(__file__).with_name("README.md")

Results = dict[str, Any]
Record = dict[str, Any]


def training(results: Results) -> str:
    """Milliseconds of a step, and ratios."""
    header = [
        "B T D H L",
        "precision",
        *(f"{name}, ms" for name in COLUMNS.values()),
        "to eager",
        "to best JAX",
        "GFLOP/s",
    ]
    rows, notes = [], []
    for row in results["training"]:
        found = row["contestants"]
        best = min((found.get(name, {}) for name in JAX), key=middle)
        rate = Size.parse(row["size"]).flops / middle(found.get("backcast", {})) / 1e9
        rows.append(
            [
                row["size"],
                row["precision"],
                *(spread(found.get(name, {})) for name in COLUMNS),
                ratio(found, found.get("eager", {})),
                ratio(found, best),
                figure(rate) if rate else MISSING,
            ]
        )
        variants = [
            f"{COLUMNS[name]} `{record['variant']}`"
            for name, record in found.items()
            if record.get("variant") and name != "eager"
        ]
        notes.append(f"{row['size']}, {row['precision']}: {', '.join(variants)}")
    caption = (
        "One training step: median (quartiles) of "
        f"{results['rounds']} interleaved rounds of {results['updates']} updates. GFLOP/s: the "
        "arithmetic that the step needs, by backcast's time."
    )
    return "\n\n".join(
        [caption, table(header, rows), "Fastest variants: " + "; ".join(notes) + "."]
    )


def training_cpu(results: Results) -> str:
    """Milliseconds of CPU time of a step, and rates."""
    header = [
        "B T D H L",
        *(f"{name}, ms" for name in COLUMNS.values()),
        "to eager",
        "to best JAX",
        "GFLOP/s",
        "sgemm, GFLOP/s",
        "of it",
    ]
    rows = []
    for row in results["training"]:
        found = {name: on_cpu(record) for name, record in row["contestants"].items()}
        best = min((found.get(name, {}) for name in JAX), key=middle)
        flops = Size.parse(row["size"]).flops / 1e9
        ours, sgemm = found.get("backcast", {}), found.get("sgemm", {})
        rows.append(
            [
                row["size"],
                *(spread(found.get(name, {})) for name in COLUMNS),
                ratio(found, found.get("eager", {})),
                ratio(found, best),
                *(figure(flops / middle(record)) for record in (ours, sgemm)),
                f"{middle(sgemm) / middle(ours):.2f}" if ours and sgemm else MISSING,
            ]
        )
    caption = (
        "The same steps in CPU time, of all cores together: it holds on a busy machine. sgemm: "
        "the step's products alone, by libtorch."
    )
    return "\n\n".join([caption, table(header, rows)])


def inference_cpu(results: Results) -> str:
    """Milliseconds of CPU time of a call, and the ratio."""
    header = ["B T D H L", "call", "backcast, ms", "PyTorch, ms", "ratio"]
    rows = []
    for row in results["inference"]:
        found = {name: on_cpu(record) for name, record in row["contestants"].items()}
        cells = [spread(found[name]) for name in ("backcast", "eager")]
        rows.append([row["size"], row["call"], *cells, ratio(found, found["eager"])])
    return "\n\n".join(["The same calls in CPU time.", table(header, rows)])


def on_cpu(record: Record) -> Record:
    """The record with CPU seconds as its seconds."""
    return {"seconds": record.get("cpu_seconds", [])}


def memory(results: Results) -> str:
    """Peak memory of a training process."""
    where = "on the device" if results["device"] == "cuda" else "resident"
    rows = []
    for row in results["training"]:
        found = row["contestants"]
        records = [found.get(name, {}) for name in COLUMNS]
        cells = [f"{r['memory'] / 2**20:,.0f}" if "memory" in r else MISSING for r in records]
        rows.append([row["size"], row["precision"], *cells])
    header = ["B T D H L", "precision", *(f"{name}, MiB" for name in COLUMNS.values())]
    caption = f"Peak memory {where} of a process that trains, interpreter and libraries included."
    return "\n\n".join([caption, table(header, rows)])


def inference(results: Results) -> str:
    """Milliseconds of a call, and ratios."""
    header = [
        "B T D H L",
        "precision",
        "call",
        "backcast, ms",
        "PyTorch, ms",
        "PyTorch without copies, ms",
        "ratio",
        "ratio without copies",
    ]
    rows = []
    for row in results["inference"]:
        found = row["contestants"]
        rows.append(
            [
                row["size"],
                row["precision"],
                row["call"],
                *(spread(found[name]) for name in ("backcast", "eager", "eager_kept")),
                *(ratio(found, found[name]) for name in ("eager", "eager_kept")),
            ]
        )
    caption = (
        "Inference of one batch, from NumPy arrays to NumPy arrays; PyTorch under inference_mode, "
        "and with its tensors left on the device (without copies)."
    )
    return "\n\n".join([caption, table(header, rows)])


def feeding(results: Results) -> str:
    """Updates a second and memory by kind of windows."""
    found = results["feeding"]
    rows = []
    for kind, record in found["kinds"].items():
        grown = (record["peak"] - record["resident"]) / 2**20
        rows.append(
            [
                kind,
                figure(1 / middle(record)),
                f"{middle(found['kinds']['uint8']) / middle(record):.2f}",
                f"{record['peak'] / 2**20:,.0f}",
                f"{grown:,.0f}",
            ]
        )
    header = ["windows", "updates/s", "to uint8 in memory", "peak resident, MiB", "grown by, MiB"]
    caption = (
        f"Training at {found['size']} on {found['file'] / 2**20:,.0f} MiB of bytes "
        f"({found['precision']}); `grown by` is what training added to the process that held the "
        f"windows, and shall be below {found['bound'] / 2**20:,.0f} MiB for the mapped file."
    )
    return "\n\n".join([caption, table(header, rows)])


def imports(results: Results) -> str:
    """Seconds of an import."""
    found = results["imports"]
    labels = {"backcast": "backcast, above sklearn.base"}
    rows = [
        [labels.get(name, name), f"{median(seconds):.2f}"]
        for name, seconds in found["seconds"].items()
    ]
    torch = "imports" if found["imports_torch"] else "does not import"
    caption = f"Import in a fresh process; backcast {torch} torch's Python."
    return "\n\n".join([caption, table(["import", "seconds"], rows)])


def anomalies(results: Results) -> str:
    """Average precision and VUS-PR by series, their means, and seconds of all series together."""
    found = results["anomalies"]
    names = list(found["series"])
    measures = ("average_precision", "vus_pr")
    rows = []
    for contestant, of_series in found["contestants"].items():
        if of_series is None:
            rows.append([contestant, *[MISSING] * (len(names) + 3)])
            continue
        cells = [
            " / ".join(
                mean_and_spread([run[measure] for run in of_series[name]]) for measure in measures
            )
            for name in names
        ]
        means = " / ".join(
            f"{fmean(fmean(run[measure] for run in of_series[name]) for name in names):.2f}"
            for measure in measures
        )
        seconds = [
            figure(sum(median(run[part] for run in of_series[name]) for name in names))
            for part in ("fit", "score")
        ]
        rows.append([contestant, *cells, means, *seconds])
    header = ["", *names, "mean of all", "fit, s", "score, s"]
    caption = (
        "Average precision / VUS-PR; mean ± standard deviation of "
        f"{results['seeds']} seeds where seeds matter. Seconds: all series together, one thread."
    )
    return "\n\n".join([caption, table(header, rows)])


def embeddings(results: Results, part: str = "embeddings") -> str:
    """Accuracy by data set and in the mean, most features, and seconds of all sets together."""
    found = results[part]
    names = list(next(filter(None, found.values())))
    rows = []
    for contestant, of_data in found.items():
        if of_data is None:
            rows.append([contestant, *[MISSING] * (len(names) + 3)])
            continue
        found_by_set = [[100 * run["accuracy"] for run in of_data[name]] for name in names]
        cells = [mean_and_spread(accuracies, 1) for accuracies in found_by_set]
        of_seeds = [fmean(accuracies) for accuracies in zip(*found_by_set, strict=True)]
        features = f"{max(of_data[name][0]['features'] for name in names):,}"
        seconds = sum(median(run["seconds"] for run in of_data[name]) for name in names)
        rows.append([contestant, *cells, mean_and_spread(of_seeds, 1), features, figure(seconds)])
    header = ["", *(f"{name}, %" for name in names), "mean, %", "most features", "CPU s"]
    caption = (
        "Accuracy of one linear classifier on test sequences; mean ± standard deviation of "
        f"{results['seeds']} seeds where seeds matter. Seconds: features of all data sets, one "
        "thread; rows that share the fit of a row above have none."
    )
    return "\n\n".join([caption, table(header, rows)])


def forecasts(results: Results) -> str:
    """Errors by set and forecast, coverage of intervals, and CPU seconds of a fit."""
    header = ["", "naive", "seasonal naive", "ridge regression", "`Forecaster`"]
    header += ["80 % intervals hold, %", "95 % intervals hold, %", "fit, CPU s"]
    rows = []
    for name, runs in results["forecasts"].items():
        # Only the network has a seed.
        cells = [f"{runs[0]['errors'][k]:.3f}" for k in ("naive", "seasonal", "linear")]
        cells.append(mean_and_spread([run["errors"]["model"] for run in runs], 3))
        held = zip(*(run["coverage"] for run in runs), strict=True)
        cells += [mean_and_spread([100 * part for part in parts], 1) for parts in held]
        rows.append([name, *cells, figure(median(run["seconds"] for run in runs))])
    caption = (
        "Errors on the test part; mean ± standard deviation of "
        f"{results['seeds']} seeds where seeds matter. One thread."
    )
    return "\n\n".join([caption, table(header, rows)])


def forecasters(results: Results) -> str:
    """Errors and CPU seconds of other packages' forecasts, by set."""
    found = results["forecasters"]
    rows = []
    for name in next(iter(found.values())):
        cells = [name]
        for peers in found.values():
            runs = peers[name]
            cells += [MISSING] * 3 if runs is None else _of_peer(runs)
        rows.append(cells)
    header = [""]
    for name in found:
        header += [name, "windows", "CPU s"]
    caption = (
        "Errors on the test part; mean ± standard deviation where there are several seeds. CPU "
        "seconds of training and forecasts together, one thread."
    )
    return "\n\n".join([caption, table(header, rows)])


def _of_peer(runs: list[Results]) -> list[str]:
    error = mean_and_spread([run["error"] for run in runs], 3)
    return [error, f"{runs[0]['windows']:,}", figure(median(run["seconds"] for run in runs))]


def published(results: Results) -> str:
    """Result of the detector by set, beside that of untrained weights."""
    caption = (
        "Means over series and seeds, with every setting at its default. SKAB: rows after the "
        "first 400 of all files together. CPU seconds of a fit on one thread."
    )
    return "\n\n".join([caption, table(HEADER, summary(results["published"]))])


# What is shown, and the results that it is made from.
TABLES: dict[str, tuple[str, Callable[[Results], str]]] = {
    "training": ("training", training),
    "training_cpu": ("training", training_cpu),
    "memory": ("training", memory),
    "inference": ("inference", inference),
    "inference_cpu": ("inference", inference_cpu),
    "feeding": ("feeding", feeding),
    "imports": ("imports", imports),
    "anomalies": ("anomalies", anomalies),
    "embeddings": ("embeddings", embeddings),
    "more_embeddings": ("more_embeddings", partial(embeddings, part="more_embeddings")),
    "forecasts": ("forecasts", forecasts),
    "forecasters": ("forecasters", forecasters),
    "published": ("published", published),
}


def machine(results: Results) -> str:
    """What it was measured on."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    isa = f", {results['instruction_set']}" if "instruction_set" in results else ""
    return f"{results['machine']}{isa}; {versions}."


def section(name: str, files: Iterable[Results]) -> str:
    """One table of every file that has it."""
    source, make = TABLES[name]
    return "\n\n".join(
        f"{machine(results)}\n\n{make(results)}" for results in files if source in results
    )


def middle(record: Record) -> float:
    """Median of the seconds; infinite where there are none."""
    return median(record["seconds"]) if record.get("seconds") else float("inf")


def spread(record: Record) -> str:
    """Median and quartiles in milliseconds."""
    if not record.get("seconds"):
        return MISSING
    seconds = record["seconds"]
    low, _, high = quantiles(seconds, method="inclusive") if len(seconds) > 1 else seconds * 3
    return f"{figure(1e3 * middle(record))} ({figure(1e3 * low)}–{figure(1e3 * high)})"


def mean_and_spread(numbers: list[float], digits: int = 2) -> str:
    """Mean, with the standard deviation where there is more than one number."""
    mean = f"{fmean(numbers):.{digits}f}"
    return f"{mean} ± {stdev(numbers):.{digits}f}" if len(numbers) > 1 else mean


def ratio(found: dict[str, Record], other: Record) -> str:
    """backcast's time by another's."""
    ours, theirs = middle(found.get("backcast", {})), middle(other)
    return f"{ours / theirs:.2f}" if max(ours, theirs) < float("inf") else MISSING


def figure(number: float) -> str:
    """Three digits that count."""
    digits = max(0, 2 - len(str(int(number))) + 1) if number >= 1 else 3
    return f"{number:,.{digits}f}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def filled(page: str, files: list[Results]) -> str:
    """The page, with every marked table made anew."""
    marked = re.compile(r"(<!-- bench (\w+) -->\n).*?(<!-- end of bench -->)", re.DOTALL)
    return marked.sub(lambda m: f"{m[1]}\n{section(m[2], files)}\n\n{m[3]}", page)


def main() -> None:
    """Print the tables, or put them into a page, or see whether they are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--write", metavar="PAGE", type=Path, nargs="?", const=PAGE)
    parser.add_argument("--check", metavar="PAGE", type=Path, nargs="?", const=PAGE)
    options = parser.parse_args()
    paths = options.files or sorted(Path(__file__).parent.glob("results/*.json"))
    files = [json.loads(path.read_text()) for path in paths]
    page = options.write or options.check
    if page is None:
        print("\n\n".join(filter(None, (section(name, files) for name in TABLES))))
        return
    now = page.read_text()
    new = filled(now, files)
    if options.write:
        page.write_text(new)
    elif now != new:
        raise SystemExit(f"the tables in {page} are not those of the results; use --write")


if __name__ == "__main__":
    main()
