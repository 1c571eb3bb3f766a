"""The table of a fitted estimator in a notebook, below scikit-learn's view of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from backcast._engine.memory import count_weights, readable, training_bytes
from backcast._estimator.fitted import Fitted
from backcast.errors import BackcastError

# Notebooks choose the colours of tables, light or dark.
_STYLE = 'style="text-align: left"'


def view(estimator: object, fitted: Fitted | None, theirs: Callable[[], str]) -> str:
    """Return scikit-learn's view, in HTML, and a table of what was fitted below it."""
    try:
        shown = theirs()
    except BackcastError:  # It reads all attributes, which fails while another thread trains.
        shown = f"<pre>{escape(repr(estimator))}</pre>"
    try:
        rows = _rows(fitted) if fitted is not None else {}
    except Exception:  # A display must not raise, whatever a file contained.
        rows = {}
    cells = "".join(
        f"<tr><th {_STYLE}>{escape(name)}</th><td {_STYLE}>{escape(value)}</td></tr>"
        for name, value in rows.items()
        if value
    )
    return shown + (f'<table style="margin: 0.5em 0">{cells}</table>' if cells else "")


def _rows(fitted: Fitted) -> dict[str, str]:
    """Return the rows by their names; empty ones are not shown."""
    built, trained = fitted.architecture, fitted.trained_on
    weights = count_weights(built)
    horizon, classes = fitted.horizon, built["classes"]
    frame = " × ".join(map(str, fitted.frame_shape))
    rows = {
        "weights": f"{weights:,} ({readable(4 * weights)})",
        "layers": f"{built['num_layers']} × {built['hidden_size']} units",
        "frame": f"{frame} number{'s' if built['frame_size'] > 1 else ''}",
        "horizon": f"{horizon} frames" if horizon else "",
        "classes": f"{classes}" if classes else "",
        "trained on": _windows(trained) if trained else "",
    }
    try:
        done, end = fitted.core.progress[0], fitted.end
        interrupted = trained and trained["windows"] and done < end
        rows["updates"] = f"{done:,} of {end:,}" if interrupted else f"{done:,}"
        rows["device"] = fitted.core.device
    except BackcastError as error:
        rows["note"] = str(error)
    last = fitted.history[-1] if fitted.history else {}
    rows["training loss"] = _losses(last, "")
    rows["validation loss"] = _losses(last, "validation_")
    rows["memory"] = _memory(built, trained) if trained else ""
    return rows


def _windows(trained: Mapping[str, Any]) -> str:
    spans = [f"{least}–{most}" if least < most else f"{most}" for least, most in _sides(trained)]
    frames = " + ".join(span for span in spans if span != "0")
    if trained["windows"] is None:
        return f"windows of {frames} frames, in parts"
    return f"{trained['windows']:,} windows of {frames} frames"


def _sides(trained: Mapping[str, Any]) -> list[list[int]]:
    return [trained["past"], trained["future"]]


def _losses(record: Mapping[str, float], prefix: str) -> str:
    """Return the total loss, and its parts if there are two decoders."""
    names = [name for name in ("reconstruct", "predict") if prefix + name in record]
    parts = ", ".join(f"{name} {record[prefix + name]:.4g}" for name in names)
    total = f"{record[prefix + 'loss']:.4g}" if prefix + "loss" in record else ""
    return f"{total} ({parts})" if len(names) > 1 else total


def _memory(built: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    past, future = (most for _, most in _sides(trained))
    needed = training_bytes(built, trained["batch"], past, future)
    return (
        f"about {readable(sum(needed.values()))} in training: {readable(needed['weights'])} for "
        f"the weights, {readable(needed['batch'])} for a batch of {trained['batch']}"
    )
