"""The test of a trained model: its errors and its pictures."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backcast import Model, plot
from backcast.errors import TrainingWarning
from backcast.experiments._tiles import tile
from backcast.experiments.paper._sources import LONGER, TEST, Bytes, HeldOut, Source
from backcast.experiments.paper._windows import (
    decoders_of,
    errors_of,
    last_frame_error,
    outputs,
    squared_error,
)
from backcast.experiments.paper.models import NOTE, Row, Size

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGER_STEPS, LONGER_WINDOWS = 100, 100


def results_of(
    model: Model, row: Row, size: Size, source: Source, plan: Mapping[str, Any], target: Path
) -> dict[str, Any]:
    """Test the model and draw its outputs."""
    reported = None
    if size.name == "full" and row.reported:
        reported = {"predict": row.reported[size.on], "note": NOTE}
    results = {
        "title": _title(row, model),
        "on": size.on,
        "size": size.name,
        "measured": errors_of(model, source.test, size.past),
        "last_frame": last_frame_error(source.test, size.past),
        "as_reported": reported,
        "updates": model.n_iter_,
        "seconds": round(float(model.history_[-1]["seconds"]), 3),
        "device": model.device_,
        "data": source.description,
        "test_set": source.test_set,
        "plan": plan,
    }
    _draw(model, source.test, size.past, target)
    if source.held_out and "predict" in decoders_of(model):
        results["longer"] = _longer(model, source.held_out, size.past, target)
        results["out_of_domain"] = _out_of_domain(model, source.held_out, size, target)
    return results


def _title(row: Row, model: Model) -> str:
    """Return the row's title, with the input of a conditional decoder."""
    if not row.conditional or isinstance(model.feedback, str):
        return row.title
    return f"{row.title} (fed {model.feedback[row.conditional[0]]})"


def _longer(model: Model, held_out: HeldOut, past: int, target: Path) -> dict[str, Any]:
    """Predict far beyond the trained horizon; return the error of each step."""
    windows = held_out(LONGER_WINDOWS, LONGER, longer=LONGER_STEPS)[:, : past + LONGER_STEPS]
    before, after = windows[:, :past], windows[:, past:]
    with warnings.catch_warnings():
        # A warning that this is beyond the horizon: it is the purpose.
        warnings.simplefilter("ignore", TrainingWarning)
        made = np.asarray(model.predict(before, steps=LONGER_STEPS))
    pasts = outputs(model, before).get("reconstruct", before / np.float32(255))
    truth, film = tile(windows), tile(np.concatenate([pasts, made], axis=1))
    plot.animate(truth, film, target / "longer.gif", past=past, titles=("truth", "model"), fps=10)
    rebuilt = pasts[0] if "reconstruct" in decoders_of(model) else None
    strip = plot.strip(before[0], rebuilt, after[0], made[0], every=5)
    strip.savefig(target / "longer.png")
    traces = model.trace(before[:1], steps=LONGER_STEPS)["predict"]
    plot.activity(traces, mark=model.horizon_).savefig(target / "activity.png")
    steps = [
        squared_error(after[:, t : t + 1], made[:, t : t + 1]) / len(windows)
        for t in range(LONGER_STEPS)
    ]
    return {"windows": len(windows), "squared_error_by_step": steps}


def _out_of_domain(model: Model, held_out: HeldOut, size: Size, target: Path) -> dict[str, Any]:
    """Test on windows of one, two and three digits; return the errors of each."""
    errors, strips = {}, []
    for k in (1, 2, 3):
        windows = held_out(size.test_windows, TEST, num_digits=k)
        errors[str(k)] = errors_of(model, windows, size.past)
        strips.append(_strip(model, windows, size.past))
    _stack(strips, target / "out_of_domain.png")
    return errors


def _draw(model: Model, windows: Bytes, past: int, target: Path) -> None:
    """Draw the first windows of the test set, the loss and the weights."""
    if "predict" not in decoders_of(model):
        windows = windows[:, :past]
    made = outputs(model, windows[:4, :past])
    before, after = np.split(windows[:4] / np.float32(255), [past], axis=1)
    whole = [made.get("reconstruct", before), made.get("predict", after)]
    truth, film = tile(windows), tile(np.concatenate(whole, axis=1))
    plot.animate(truth, film, target / "animation.gif", past=past, titles=("truth", "model"))
    _strip(model, windows, past).savefig(target / "strip.png")
    plot.loss_curve(model).figure.savefig(target / "loss.png")  # type: ignore[union-attr]
    plot.weights(model).savefig(target / "weights_encoder.png")
    for name in decoders_of(model):
        plot.weights(model, name).savefig(target / f"weights_{name}.png")


def _strip(model: Model, windows: Bytes, past: int) -> Figure:
    """Draw the first window frame by frame."""
    before, after = windows[0, :past], windows[0, past:]
    made = {name: frames[0] for name, frames in outputs(model, windows[:1, :past]).items()}
    if "predict" not in made:
        return plot.strip(before, made["reconstruct"])
    return plot.strip(before, made.get("reconstruct"), after, made["predict"])


def _stack(figures: Sequence[Figure], file: Path) -> None:
    """Write figures of equal width to one file, below each other."""
    from matplotlib.image import imread, imsave

    pictures = []
    for figure in figures:
        png = io.BytesIO()
        figure.savefig(png, format="png")
        png.seek(0)
        pictures.append(imread(png))
    imsave(file, np.concatenate(pictures))
