"""Training on windows that are drawn while the model trains."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from backcast import Model
from backcast.experiments._console import say
from backcast.experiments.paper._batches import Batches
from backcast.experiments.paper._sources import Source
from backcast.experiments.paper.models import Size


def train(
    target: Path,
    source: Source,
    size: Size,
    plan: Mapping[str, Any],
    place: Mapping[str, Any],
    checkpoint_seconds: float,
) -> Model:
    """Train to the end of the plan, or resume from the folder's checkpoint."""
    done, checkpoint = target / "model.safetensors", target / "checkpoint.safetensors"
    if done.exists():
        model = Model.load(done, device=place["device"])
        model.set_params(**place)
    else:
        model = Model(**plan["model"], **place, max_iter=plan["updates"])
        origin = "from the checkpoint" if checkpoint.exists() else "from new weights"
        say("training", f"{plan['row']}, {size.name}: {model.max_iter:,} updates, {origin}")
        say("", "Ctrl-C writes a checkpoint and stops; the same command resumes")
        batches = batches_of(model, source, size, plan["updates"])
        model.fit(batches, checkpoint=checkpoint, checkpoint_minutes=checkpoint_seconds / 60)
        model.save(done)
        seconds = model.history_[-1]["seconds"]
        say("trained", f"{model.n_iter_:,} updates on {model.device_}, {seconds:.0f} s")
    checkpoint.unlink(missing_ok=True)
    return model


def speed(source: Source, size: Size, parameters: Mapping[str, Any], seconds: float) -> float:
    """Train a model for `seconds`; return the updates per second, without the first two."""
    model = Model(**parameters, verbose=0)
    start, done = time.monotonic(), -2
    with closing(iter(batches_of(model, source, size, sys.maxsize))) as batches:
        for batch in batches:
            if done == 0:
                start = time.monotonic()
            model.partial_fit(*batch)
            done += 1
            if done > 0 and time.monotonic() - start >= seconds:
                break
    return done / (time.monotonic() - start)


def batches_of(model: Model, source: Source, size: Size, updates: int) -> Batches:
    """Return the training batches of a model."""
    return Batches(
        source,
        size,
        seed=model.random_state,
        decoders=model.decoders,
        batch_size=model.batch_size,
        updates=updates,
    )
