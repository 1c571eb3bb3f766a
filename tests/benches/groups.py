"""Training by several processes on one machine: numbers, costs of sums, and time of an update.

python tests/benches/groups.py [numbers] [sums] [updates]

Prints Markdown tables; without a name, all of them. The processes use gloo, and one thread each.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from sizes import Size

COMMON = {"device": "cpu", "random_state": 0, "verbose": 0}
SIZES = ("64 30 16 64 1", "64 10 1024 256 1")
SUMS = (16, 100_000, 1_000_000, 10_000_000, 100_000_000)

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "NaN 20 %": {"data": "nan"},
    "ragged list": {"data": "ragged"},
    "bytes": {"data": "bytes"},
    "two layers, dropout 0.3": {"num_layers": 2, "dropout": 0.3},
    "scheduled": {"feedback": "scheduled"},
    "truth, bce": {"feedback": "truth", "loss": "bce"},
    "adamw, clip, cosine, warmup": {
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "max_grad_norm": 0.05,
        "schedule": "cosine",
        "warmup": 5,
    },
    "scale": {"scale": "standard"},
    "reconstruct only": {"decoders": "reconstruct", "horizon": None},
    "peepholes, rmsprop, scale": {"peepholes": True, "optimizer": "rmsprop", "scale": "standard"},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "batches of 1": {"batch_size": 1},
    "validation, patience": {"patience": 3, "max_iter": 400, "data": "held out"},
}


def waves(n: int, steps: int, width: int) -> Any:
    phase = np.random.default_rng(0).uniform(0, 6, (n, 1, width))
    return (0.5 + 0.5 * np.sin(phase + 0.7 * np.arange(steps)[:, None])).astype(np.float32)


def data(kind: str) -> tuple[Any, dict[str, Any]]:
    x, random = waves(203, 14, 5), np.random.default_rng(1)
    if kind == "ragged":
        return [window[: random.integers(8, 15)] for window in x], {}
    if kind == "bytes":
        return (x * 255).astype(np.uint8), {}
    if kind == "nan":
        return np.where(random.uniform(size=x.shape) < 0.2, np.nan, x).astype(np.float32), {}
    return (x[:60], {"validation": x[60:110]}) if kind == "held out" else (x, {})


def numbers(group: Any) -> dict[str, Any]:
    """Weights and losses of every case."""
    from backcast import Model

    found = {}
    for name, params in CASES.items():
        x, more = data(params.get("data", ""))
        given = {"hidden_size": 24, "max_iter": 60, "batch_size": 32, "learning_rate": 1e-2}
        given |= {"horizon": 4} | {k: v for k, v in params.items() if k != "data"}
        model = Model(**given, **COMMON).fit(x, group=group, **more)
        losses = [[r["loss"], r.get("validation_loss", 1.0)] for r in model.history_]
        found[name] = np.concatenate([w.ravel() for w in model.state_dict().values()]), losses
    return found


def sums(_: Any) -> dict[int, list[float]]:
    """Seconds of sums of float32 numbers, by their count."""
    import torch
    import torch.distributed as dist

    found = {}
    for n in SUMS:
        x, seconds = torch.zeros(n), []
        for _ in range(101 if n < 10**6 else 11):
            began = time.perf_counter()
            dist.all_reduce(x)
            seconds.append(time.perf_counter() - began)
        found[n] = seconds[1:]
    return found


def updates(group: Any, threads: int = 1) -> dict[str, list[float]]:
    """Milliseconds of an update, by size: the mean of each record."""
    from backcast import Model

    found = {}
    for name in SIZES:
        size = Size.parse(name)
        x, most = waves(4 * size.batch, 2 * size.steps, size.frame), max(30, int(2e11 / size.flops))
        sizes = {"hidden_size": size.hidden, "num_layers": size.layers, "batch_size": size.batch}
        params = sizes | {"max_iter": most}
        model = Model(**params, num_threads=threads, **COMMON).fit(x, group=group)
        steps, seconds = ([0, *(r[key] for r in model.history_)] for key in ("step", "seconds"))
        found[name] = (1e3 * np.diff(seconds) / np.diff(steps)).tolist()[1:]
    return found


def by_processes(size: int, work: Callable[[Any], Any]) -> list[Any]:
    """Call ``work("world")`` in `size` processes; return the results by rank."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        results = context.Queue()
        args = (size, f"{folder}/store", work, results)
        processes = [context.Process(target=_serve, args=(rank, *args)) for rank in range(size)]
        for process in processes:
            process.start()
        found = dict(results.get(timeout=600) for _ in processes)
        for process in processes:
            process.join()
    return [found[rank] for rank in range(size)]


def _serve(rank: int, size: int, path: str, work: Callable[[Any], Any], results: Any) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    store = dist.FileStore(path, size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    results.put((rank, work("world")))
    dist.destroy_process_group()


def show_numbers() -> None:
    alone, several = numbers(None), {n: by_processes(n, numbers) for n in (2, 3)}
    print("| case | 2 processes | 3 processes |\n| --- | --- | --- |")
    for name, (weights, losses) in alone.items():
        cells = []
        for results in several.values():
            first = results[0][name]
            for other in results[1:]:
                assert np.array_equal(first[0], other[name][0]), f"{name}: ranks differ"
                assert first[1] == other[name][1], f"{name}: records differ"
            apart = np.linalg.norm(first[0] - weights) / np.linalg.norm(weights)
            worst = np.max(np.abs(np.divide(first[1], losses) - 1))
            cells.append(f"{apart:.1e} / {worst:.1e}")
        print(f"| {name} | {' | '.join(cells)} |")


def show_sums() -> None:
    print("| numbers | median, ms | best, ms |\n| --- | --- | --- |")
    for n, seconds in by_processes(2, sums)[0].items():
        print(f"| {n:,} | {1e3 * median(seconds):.3g} | {1e3 * min(seconds):.3g} |")


def show_updates() -> None:
    one, two, both = updates(None, 1), updates(None, 2), by_processes(2, updates)[0]
    header = ("B T D H L", "one thread, ms", "two threads, ms", "two processes, ms", "to threads")
    print(f"| {' | '.join(header)} |\n|{len(header) * ' --- |'}")
    for name in SIZES:
        # Other programs only add to the time.
        ms = [min(each[name]) for each in (one, two, both)]
        print(f"| {name} | {' | '.join(f'{m:.3g}' for m in ms)} | {ms[2] / ms[1]:.2f} |")


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    tables = {"numbers": show_numbers, "sums": show_sums, "updates": show_updates}
    for table in sys.argv[1:] or tables:
        print(f"\n{table}\n")
        tables[table]()
