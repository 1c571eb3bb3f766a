"""The table of a fitted estimator in a notebook, below scikit-learn's view of its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

from backcast._engine.memory import count_weights, readable, training_bytes
from backcast._estimator.fitted import Fitted
from backcast._training.baselines import names_of
from backcast.errors import BackcastError

# Notebooks choose the colours of tables, light or dark.
_STYLE = 'style="text-align: left"'


# The learning curve, in pixels: width and height of the picture, and the margin around it.
_WIDTH, _HEIGHT, _MARGIN = 360, 120, 6


class Shown:
    """Adds what was fitted to scikit-learn's view of an estimator in a notebook."""

    def _shown(self) -> tuple[Fitted | None, Mapping[str, str]]:
        """Return the record of the model, and lines that say what was chosen and why, by name."""
        raise NotImplementedError

    @property
    def _repr_html_(self) -> Callable[[], str]:
        """Scikit-learn's view with our table below; absent if scikit-learn's is switched off."""
        return partial(view, self, *self._shown(), super()._repr_html_)  # type: ignore[misc]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Return the representations that a notebook chooses from."""
        bundle = {"text/plain": repr(self)}
        if hasattr(self, "_repr_html_"):
            bundle["text/html"] = self._repr_html_()
        return bundle


def view(
    estimator: object,
    fitted: Fitted | None,
    choices: Mapping[str, str],
    theirs: Callable[[], str],
) -> str:
    """Return scikit-learn's view, in HTML; below it a table of what was fitted, and its losses."""
    try:
        shown = theirs()
    except BackcastError:  # It reads all attributes, which fails while another thread trains.
        shown = f"<pre>{escape(repr(estimator))}</pre>"
    try:
        rows = _rows(fitted) if fitted is not None else {}
        curve = _curve(fitted.history) if fitted is not None else ""
    except Exception:  # A display must not raise, whatever a file contained.
        rows, curve = {}, ""
    rows |= choices
    cells = "".join(
        f"<tr><th {_STYLE}>{escape(name)}</th><td {_STYLE}>{escape(value)}</td></tr>"
        for name, value in rows.items()
        if value
    )
    return shown + (f'<table style="margin: 0.5em 0">{cells}</table>' if cells else "") + curve


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
    rows["simple models"] = _simple(fitted)
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


def _simple(fitted: Fitted) -> str:
    """Return the losses of simple models, beside which those of the training stand."""
    names = names_of(fitted.architecture["loss"])
    found = fitted.baselines or {}
    return ", ".join(f"{decoder} {loss:.4g} ({names[decoder]})" for decoder, loss in found.items())


def _curve(history: Sequence[Mapping[str, float]]) -> str:
    """Draw the training loss, and dashed the validation loss, in the colour of the text.

    The axis of the loss is logarithmic where all losses are above 0.
    """
    losses = {
        name: [
            (one["step"], one[name]) for one in history if math.isfinite(one.get(name, math.nan))
        ]
        for name in ("loss", "validation_loss")
    }
    every = [point for points in losses.values() for point in points]
    steps, values = [step for step, _ in every], [loss for _, loss in every]
    if len(history) < 2 or not values:
        return ""
    height = math.log if min(values) > 0 else float
    first, last, low, high = min(steps), max(steps), height(min(values)), height(max(values))

    def place(step: float, loss: float) -> str:
        right, down = (
            (step - first) / (last - first or 1),
            (high - height(loss)) / (high - low or 1),
        )
        x, y = right * (_WIDTH - 2 * _MARGIN), down * (_HEIGHT - 2 * _MARGIN)
        return f"{_MARGIN + x:.1f},{_MARGIN + y:.1f}"

    lines = "".join(
        f'<polyline points="{" ".join(place(*point) for point in points)}" {dashes}/>'
        for points, dashes in zip(losses.values(), ("", 'stroke-dasharray="5 3"'), strict=True)
        if points
    )
    dashed = ", dashed: validation loss" if losses["validation_loss"] else ""
    told = (
        f"training loss{dashed}; updates {first:,.0f} to {last:,.0f}, from {max(values):.4g} "
        f"to {min(values):.4g}" + (" (logarithmic)" if height is math.log else "")
    )
    return (
        f'<figure style="margin: 0.5em 0"><svg width="{_WIDTH}" height="{_HEIGHT}" fill="none" '
        f'stroke="currentColor" stroke-width="1.5" role="img"><title>{told}</title>'
        f'<rect x="0.5" y="0.5" width="{_WIDTH - 1}" height="{_HEIGHT - 1}" stroke-width="1" '
        f'opacity="0.3"/>{lines}</svg><figcaption>{told}</figcaption></figure>'
    )


def _memory(built: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    past, future = (most for _, most in _sides(trained))
    needed = training_bytes(built, trained["batch"], past, future)
    return (
        f"about {readable(sum(needed.values()))} in training: {readable(needed['weights'])} for "
        f"the weights, {readable(needed['batch'])} for a batch of {trained['batch']}"
    )
