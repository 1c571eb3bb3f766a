"""One training step (forward, both losses, backward, Adam), side by side with the peers.

Semantics are the seed's: both decoders fed their own outputs, mean squared error, Adam. Everybody
starts from the same weights and sees the same batches; before anything is timed, the losses of the
first updates are compared. A round is one untimed update and then `updates` timed ones in a row.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from machine import used_on_gpu
from problem import Problem
from rounds import interleaved
from worker import Failed, Worker

CURVE = 4  # updates whose losses are compared
TRIALS = 3  # timings by which the best variant is chosen
# Relative; each against the seed's program, eager, in float32.
TOLERANCE = {"fp32": 1e-4, "tf32": 1e-4, "fp16": 1e-3, "bf16": 1e-2}

SGEMM = "sgemm"  # the step's products alone, in the process of the seed's program

COMMAND_BUFFERS = ("XLA_FLAGS", "--xla_gpu_enable_command_buffer=+WHILE")


@dataclass(frozen=True)
class Variant:
    """One way to run a contestant; the fastest is taken."""

    name: str
    device: str | None = None  # where it makes sense; everywhere by default
    flags: tuple[tuple[str, str], ...] = ()  # added to variables of the environment


@dataclass(frozen=True)
class Contestant:
    """A column of the table."""

    name: str
    where: str
    variants: tuple[Variant, ...]


def with_command_buffers(*names: str) -> tuple[Variant, ...]:
    """Each variant, and on a GPU each with its loops recorded too."""
    plain = [Variant(name) for name in names]
    return (*plain, *(Variant(name, "cuda", (COMMAND_BUFFERS,)) for name in names))


SEED = Contestant("eager", "pytorch:PyTorch", (Variant("eager"),))
CONTESTANTS = (
    Contestant("backcast", "ours:Backcast", (Variant(""),)),
    SEED,
    Contestant(
        "compile",
        "pytorch:PyTorch",
        (
            Variant("default"),
            Variant("default, cells", "cpu"),
            Variant("max-autotune-no-cudagraphs", "cpu"),
            Variant("reduce-overhead", "cuda"),
            Variant("reduce-overhead, cells", "cuda"),
            Variant("max-autotune, cells", "cuda"),
        ),
    ),
    Contestant("jax", "jax_autodiff:JaxAutodiff", with_command_buffers("1", "2")),
    Contestant("by_hand", "jax_by_hand:JaxByHand", with_command_buffers("lockstep", "in turn")),
)


def measure(problem: Problem, rounds: int, contestants: Iterable[Contestant]) -> dict[str, Any]:
    """One row: by contestant its seconds an update, variant, memory, and distance of its losses."""
    expected = reference_curve(problem)
    found: dict[str, dict[str, Any]] = {}
    workers: dict[str, Worker] = {}
    try:
        for contestant in contestants:
            try:
                worker, record = best_variant(contestant, problem, expected)
            except Failed as failure:
                found[contestant.name] = {"missing": str(failure)}
                print(f"{problem.size}: no {contestant.name}: {failure}", file=sys.stderr)
                continue
            workers[contestant.name], found[contestant.name] = worker, record
        clocks = {
            name: lambda worker=worker: clock(worker, problem.updates)
            for name, worker in workers.items()
        }
        if problem.device == "cpu":
            for name, worker in workers.items():
                found[name]["memory"] = worker.peak
            if SEED.name in workers:
                clocks[SGEMM] = lambda: products(workers[SEED.name], problem.updates)
                clocks[SGEMM]()  # warm-up
        for name, times in interleaved(clocks, rounds).items():
            found.setdefault(name, {}).update(times.record())
    finally:
        for worker in workers.values():
            worker.close()
    return {"size": str(problem.size), "precision": problem.precision, "contestants": found}


def reference_curve(problem: Problem) -> list[list[float]]:
    """The losses that all are compared with."""
    worker = Worker(SEED.where, replace(problem, precision="fp32"), "eager")
    curve: list[list[float]] = worker.call("loss_curve", updates=CURVE).value
    worker.close()
    return curve


def best_variant(
    contestant: Contestant, problem: Problem, expected: list[list[float]]
) -> tuple[Worker, dict[str, Any]]:
    """A worker, checked and warm, with the variant that was fastest in a short trial."""
    best: tuple[float, Worker, dict[str, Any]] | None = None
    failure = Failed("it has no variant for this device")
    for variant in contestant.variants:
        if variant.device not in (None, problem.device):
            continue
        try:
            worker, record = start(contestant, variant, problem, expected)
            seconds = min(clock(worker, problem.updates)[0] for _ in range(TRIALS))
        except Failed as error:
            failure = error
            continue
        if best is not None and best[0] <= seconds:
            worker.close()
            continue
        if best is not None:
            best[1].close()
        best = seconds, worker, record
    if best is None:
        raise failure
    return best[1:]


def start(
    contestant: Contestant, variant: Variant, problem: Problem, expected: list[list[float]]
) -> tuple[Worker, dict[str, Any]]:
    """A worker whose losses were found right."""
    environment = {name: f"{os.environ.get(name, '')} {value}" for name, value in variant.flags}
    # JAX would else take most of the GPU's memory at once.
    environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    before = used_on_gpu() if problem.device == "cuda" else 0
    worker = Worker(contestant.where, problem, variant.name, environment)
    curve = worker.call("loss_curve", updates=CURVE).value
    distance = float(np.abs(np.array(curve) / np.array(expected) - 1).max())
    if not distance <= TOLERANCE[problem.precision]:
        worker.close()
        raise SystemExit(
            f"{contestant.name} ({variant.name}) computes other losses at {problem.size}, "
            f"{problem.precision}: {curve}, expected {expected}"
        )
    clock(worker, problem.updates)  # warm-up
    name = " ".join([variant.name, *(value for _, value in variant.flags)])
    record: dict[str, Any] = {"variant": name, "losses_differ_by": distance}
    if problem.device == "cuda":
        record["memory"] = used_on_gpu() - before
    return worker, record


def clock(worker: Worker, updates: int) -> tuple[float, float]:
    """Seconds and CPU seconds an update."""
    worker.call("train", batches=1)
    answer = worker.call("train", batches=updates)
    return answer.seconds / updates, answer.cpu_seconds / updates


def products(worker: Worker, times: int) -> tuple[float, float]:
    """Seconds and CPU seconds of the products of an update by libtorch's sgemm."""
    answer = worker.call("products", times=times)
    return answer.seconds, answer.cpu_seconds
