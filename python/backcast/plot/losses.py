"""Losses over the updates of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from backcast.errors import ArgumentError, DataError, NotFittedError
from backcast.plot._figure import FUTURE, PAST, axes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Trained(Protocol):
    """An object with a `history_`: a fitted `backcast.Model`."""

    @property
    def history_(self) -> Sequence[Mapping[str, Any]]: ...  # noqa: D102


def loss_curve(history: Trained | Sequence[Mapping[str, Any]], *, ax: Axes | None = None) -> Axes:
    """Draw the training loss, and the loss of each decoder, over the optimizer's updates.

    Validation losses are drawn dashed, in the same colours.

    Parameters
    ----------
    history : Model or list of dict
        A fitted model, or its `history_`: records with ``step``, ``loss`` and one loss for each
        decoder, ``reconstruct`` and ``predict``; validation losses have the same names after
        ``validation_``.
    ax : matplotlib.axes.Axes, default=None
        Axes to draw on, instead of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, or the axes of the new figure, which a notebook shows and
        ``.figure.savefig("loss.png")`` writes. The loss has a logarithmic axis if it fell to less
        than a tenth.

    Raises
    ------
    NotFittedError
        If the model has no `history_` yet.
    DataError
        If there is no record, or one without a step or a loss.
    ArgumentError
        If `history` is neither a fitted model nor records.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> from backcast.plot import loss_curve
    >>> ax = loss_curve([{"step": 50, "loss": 0.9}, {"step": 100, "loss": 0.4}])
    """
    records = getattr(history, "history_", history)
    if hasattr(records, "fit"):
        raise NotFittedError("model must be fitted before its loss can be drawn, got a new one")
    if not isinstance(records, Sequence) or not all(isinstance(r, Mapping) for r in records):
        raise ArgumentError(
            f"history must be a fitted model or its history_, got {type(history).__name__}"
        )
    if not records or not all({"step", "loss"} <= record.keys() for record in records):
        raise DataError("history must be records that have a step and a loss, got others, or none")
    ax = axes_of(ax, 640, 400)
    steps = [record["step"] for record in records]
    shown: list[float] = []
    for key, label, colour, width in (
        ("loss", "total", "0.6", 3.0),
        ("reconstruct", "reconstruct", PAST, 1.5),
        ("predict", "predict", FUTURE, 1.5),
    ):
        for name, legend, style in (
            (key, label, "-"),
            (f"validation_{key}", f"{label}, validation", "--"),
        ):
            if any(name in record for record in records):
                losses = [float(record.get(name, np.nan)) for record in records]
                marker = "o" if len(records) < 20 else None
                look: dict[str, Any] = {
                    "color": colour,
                    "linewidth": width,
                    "linestyle": style,
                    "marker": marker,
                }
                ax.plot(steps, losses, label=legend, **look)
                shown += [loss for loss in losses if np.isfinite(loss)]
    if shown and 0 < 10 * min(shown) < max(shown):
        ax.set_yscale("log")
    ax.set_xlabel("optimizer updates")
    ax.set_ylabel("loss")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return ax
