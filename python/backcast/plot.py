"""Pictures: frames, the loss, weights and gates; series with scores or forecasts; embeddings.

matplotlib draws them: an optional dependency, imported when the first picture is drawn. No
function touches pyplot's global state, so none opens a window or leaves a figure open.
"""

from __future__ import annotations

import base64
import functools
import io
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backcast.anomaly import _of_rows
from backcast.errors import (
    ArgumentError,
    DataError,
    MissingPackageError,
    NotFittedError,
    ShapeError,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.animation import AbstractMovieWriter
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from backcast.data import Windows
    from backcast.model import Model

__all__ = [
    "Gif",
    "activity",
    "animate",
    "embedding_map",
    "forecast",
    "loss_curve",
    "scores",
    "strip",
    "weights",
]

DPI = 100
PAST, FUTURE = "#1f77b4", "#d95f02"  # each keeps its colour in all pictures
GATES = ("input gate", "forget gate", "candidate", "output gate")  # in the order of the weights


class Trained(Protocol):
    """What has a `history_`: a fitted `backcast.Model`."""

    @property
    def history_(self) -> Sequence[Mapping[str, Any]]: ...  # noqa: D102


@dataclass(frozen=True, repr=False)
class Gif:
    """An animation, held in memory, that a notebook shows as an endless loop."""

    data: bytes
    """The contents of a GIF file."""

    def _repr_html_(self) -> str:
        return f'<img src="data:image/gif;base64,{base64.b64encode(self.data).decode()}">'

    def __repr__(self) -> str:
        """Say how large the file is."""
        return f"<Gif of {len(self.data):,} bytes>"


@overload
def animate(
    original: ArrayLike,
    generated: ArrayLike,
    path: None = None,
    *,
    past: int | None = None,
    titles: tuple[str, str] = ("Original", "Generated"),
    fps: int = 5,
) -> Gif: ...
@overload
def animate(
    original: ArrayLike,
    generated: ArrayLike,
    path: str | os.PathLike[str],
    *,
    past: int | None = None,
    titles: tuple[str, str] = ("Original", "Generated"),
    fps: int = 5,
) -> Path: ...
def animate(
    original: ArrayLike,
    generated: ArrayLike,
    path: str | os.PathLike[str] | None = None,
    *,
    past: int | None = None,
    titles: tuple[str, str] = ("Original", "Generated"),
    fps: int = 5,
) -> Gif | Path:
    """Play two runs of frames side by side: what was, and what the model made of it.

    Parameters
    ----------
    original, generated : array_like of shape (n_frames, height, width) or (..., 3)
        Frames of one window, grey or RGB. uint8 is taken as 0..255 and floats as 0..1, unless
        `original` goes beyond: then its least number is black and its greatest white.
    path : path, optional
        File to write: ``.gif``, or ``.mp4`` where the program ffmpeg is installed. Without it,
        the animation comes back for a notebook to show.
    past : int, optional
        How many of the frames are past, the others being future: the caption and the colour of
        the borders then tell the two apart.
    titles : pair of str, default ("Original", "Generated")
        What stands above the two.
    fps : int, default 5
        Frames a second.

    Returns
    -------
    Gif or pathlib.Path
        A `Gif`, or the path, when one was given.

    Raises
    ------
    ShapeError
        If the frames are not pictures, or the two runs differ in shape.
    DataError
        If the frames do not hold numbers, or there are none.
    ArgumentError
        If the path ends in neither .gif nor .mp4, or `past` or `fps` is out of its range.
    MissingPackageError
        If matplotlib is not installed, or ffmpeg for an .mp4.
    FileNotFoundError
        If the folder to write to does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.plot import animate
    >>> frames = np.eye(8)[:, :, np.newaxis] * np.ones(8)  # a line that moves down
    >>> animate(frames, frames / 2, past=5)  # doctest: +ELLIPSIS
    <Gif of ... bytes>
    """
    truth, model = _frames("original", original), _frames("generated", generated)
    if truth.shape != model.shape:
        raise ShapeError(
            f"generated must have as many frames of the same size as original, {truth.shape}, "
            f"got {model.shape}"
        )
    if past is not None and not 0 <= past <= len(truth):
        raise ArgumentError(f"past must be in 0..{len(truth)}, the frames given, got {past}")
    if not fps > 0:
        raise ArgumentError(f"fps must be greater than 0, got {fps}")
    left, right = _shades([truth], truth, model)
    if path is not None:
        return _play(left, right, Path(path), past, titles, fps)
    with tempfile.TemporaryDirectory() as folder:
        file = _play(left, right, Path(folder) / "animation.gif", past, titles, fps)
        return Gif(file.read_bytes())


def strip(
    past: ArrayLike,
    reconstruction: ArrayLike | None = None,
    future: ArrayLike | None = None,
    prediction: ArrayLike | None = None,
    *,
    every: int | None = None,
) -> Figure:
    """Lay a window's frames out in time, and below them what the model made of them.

    Past and reconstruction stand on the left, future and prediction on the right, the truth in
    the upper row and the model's frames in the lower one, each below the frame it should equal.

    Parameters
    ----------
    past : array_like of shape (T, height, width) or (T, height, width, 3)
        Frames of one window, grey or RGB. uint8 is taken as 0..255 and floats as 0..1, unless the
        truth goes beyond: then its least number is black and its greatest white.
    reconstruction : array_like of past's shape, optional
        As `Model.reconstruct` gives it for this window, in the past's own order.
    future, prediction : array_like of shape (F, height, width) or (F, height, width, 3), optional
        The frames that followed, and those that `Model.predict` gives. One may be the longer.
    every : int, optional
        Show one frame in so many, of each side its first. Without it all are shown, or, of long
        windows, as many as fit (20 columns of 64 pixels).

    Returns
    -------
    matplotlib.figure.Figure
        A notebook shows it, ``figure.savefig(path)`` writes it. Frames of up to 96 pixels are
        drawn in whole pixels, at the figure's own resolution (100 dpi) and its multiples.

    Raises
    ------
    ShapeError
        If frames are not pictures, differ in size, or past and reconstruction in number.
    DataError
        If frames do not hold numbers, or there are none.
    ArgumentError
        If `every` is less than 1.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.plot import strip
    >>> frames = np.eye(8)[:, :, np.newaxis] * np.ones(8)  # a line that moves down
    >>> figure = strip(frames[:5], frames[:5] / 2, frames[5:], frames[5:] / 2)
    """
    names = ("past", "reconstruction", "future", "prediction")
    given = {
        name: _frames(name, frames)
        for name, frames in zip(names, (past, reconstruction, future, prediction), strict=True)
        if frames is not None
    }
    size = given["past"].shape[1:3]
    for name, frames in given.items():
        if frames.shape[1:3] != size:
            raise ShapeError(
                f"{name} must have frames of past's size, {size}, got {frames.shape[1:3]}"
            )
    n_past = len(given["past"])
    if len(given.get("reconstruction", given["past"])) != n_past:
        raise ShapeError(
            f"reconstruction must have as many frames as past, {n_past}, "
            f"got {len(given['reconstruction'])}"
        )
    truth = [given[name] for name in ("past", "future") if name in given]
    shades = dict(zip(given, _shades(truth, *given.values()), strict=True))
    n_future = max(len(given.get(name, ())) for name in ("future", "prediction"))

    scale = _scale(size, 64)
    gap = max(1, round(size[1] / 32))
    cell = size[1] + gap  # from a frame to the next, in pixels of the frames, as the gap
    if every is None:
        every = math.ceil((n_past + n_future) / (1360 // (scale * cell)))
    elif every < 1:
        raise ArgumentError(f"every must be at least 1, got {every}")

    rows = 1 if given.keys() <= {"past", "future"} else 2
    sides = [("past", "reconstruction", PAST, 1, n_past)]
    if n_future:
        sides.append(("future", "prediction", FUTURE, n_past + 1, n_future))
    montages = [
        _montage([shades.get(upper), shades.get(lower)][:rows], count, every, gap)
        for upper, lower, _, _, count in sides
    ]
    height = scale * montages[0].shape[0]
    bottom = 36 if rows == 2 else 8
    slots = [max(scale * montage.shape[1], 170) for montage in montages]  # room for the words
    figure = _figure(sum(slots) + 24 * len(slots) + 56, bottom + height + 56)
    left = 68.0
    for (upper, lower, colour, first, count), montage, slot in zip(
        sides, montages, slots, strict=True
    ):
        width = scale * montage.shape[1]
        axes = _picture(figure, left + (slot - width) / 2, bottom, width, height, montage)
        left += slot + 24
        shown = np.arange(0, count, every * math.ceil(30 / (scale * cell)))  # 30: a label's width
        axes.set_xticks(shown / every * cell + (size[1] - 1) / 2, first + shown, fontsize=11)
        axes.tick_params(length=0, top=False, labeltop=True, labelbottom=False, pad=2)
        axes.set_title(upper, color=colour, fontsize=15, fontweight="bold", pad=6)
        if lower in given:
            axes.set_xlabel(lower, color=colour, fontsize=15, fontweight="bold", labelpad=6)
        if upper == "past":
            middles = np.arange(rows) * (size[0] + gap) + (size[0] - 1) / 2
            axes.set_yticks(middles, ["truth", "model"][:rows], fontsize=13)
    return figure


def loss_curve(history: Trained | Sequence[Mapping[str, Any]], *, ax: Axes | None = None) -> Figure:
    """Draw the training loss, and each decoder's part in it, over the optimizer's updates.

    Validation losses are drawn too where there are some, dashed, in the same colours.

    Parameters
    ----------
    history : Model or list of dict
        A fitted model, or its `history_`: records with ``step``, ``loss`` and, where there is
        such a decoder, ``reconstruct`` and ``predict``; with ``validation_`` before these names
        where windows were held out.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on, instead of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`. The loss has a logarithmic axis where it fell to less
        than a tenth.

    Raises
    ------
    NotFittedError
        If the model has no `history_` yet.
    DataError
        If there is no record in it, or one without a step or a loss.
    ArgumentError
        If `history` is neither.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> from backcast.plot import loss_curve
    >>> figure = loss_curve([{"step": 50, "loss": 0.9}, {"step": 100, "loss": 0.4}])
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
    if ax is None:
        figure = _figure(640, 400)
        figure.set_layout_engine("constrained")
        ax = figure.add_subplot()
    else:
        figure = cast("Figure", ax.get_figure(root=True))
    steps = [record["step"] for record in records]
    shown: list[float] = []
    for key, label, colour, width in (
        ("loss", "total", "0.6", 3.0),
        ("reconstruct", "reconstruct", PAST, 1.5),
        ("predict", "predict", FUTURE, 1.5),
    ):
        for name, told, style in (
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
                ax.plot(steps, losses, label=told, **look)
                shown += [loss for loss in losses if np.isfinite(loss)]
    if shown and 0 < 10 * min(shown) < max(shown):
        ax.set_yscale("log")
    ax.set_xlabel("optimizer updates")
    ax.set_ylabel("loss")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return figure


def scores(
    series: Any,
    scores: Any,
    threshold: float | None = None,
    events: Any = None,
    *,
    time: Any = None,
) -> Figure:
    """Draw a series, how anomalous each of its rows is, the threshold and the events.

    Parameters
    ----------
    series : array_like of shape (n_rows,) or (n_rows, n_columns), or DataFrame
        One recording, in the order of time. A table is drawn on its index.
    scores : array_like of shape (n_rows,) or (n_rows, n_columns), or DataFrame
        As `AnomalyDetector.scores` gives them for the series; or one number a row, the higher the
        more anomalous. NaN is left out.
    threshold : float, optional
        Above which a row is an outlier: ``-detector.offset_``.
    events : DataFrame, optional
        As `AnomalyDetector.events` gives them: they are shaded from ``start`` to ``end``.
    time : label, optional
        Column of the table to draw it on, instead of its index.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each column, of more than 8 for those of the highest scores, in the table's
        order; and the rows' score below them, on a logarithmic axis.

    Raises
    ------
    ShapeError
        If there is not one score, or one a column, for each row.
    DataError
        If there is no column of numbers, or no row.
    ArgumentError
        If `time` is not a column of the table, or `events` have no start or end.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.plot import scores
    >>> wave = np.sin(np.arange(300) / 10)
    >>> wave[200:210] += 1
    >>> figure = scores(wave, np.exp(-((np.arange(300) - 205) ** 2) / 50) + 0.1, threshold=0.5)
    """
    values, names, index = _table(series, time, getattr(scores, "columns", None))
    x = _axis(index, index)
    each = np.asarray(scores, dtype=np.float64)
    if each.shape not in ((len(values),), (len(values), each.shape[-1])):
        raise ShapeError(
            f"scores must be one a row, ({len(values)},), or one a number, {values.shape}, "
            f"got {each.shape}"
        )
    rows = each if each.ndim == 1 else _of_rows(each)
    shown = np.arange(values.shape[1])
    if len(shown) > 8:
        merit = each if each.shape == values.shape else np.abs(values - np.nanmean(values, 0))
        shown = np.sort(np.argsort(-np.nan_to_num(merit).max(0), kind="stable")[:8])
    spans = []
    if events is not None:
        if not {"start", "end"} <= set(events):
            raise ArgumentError(f"events must have a start and an end, got {[*events]}")
        ends = [_axis(events[name], index) for name in ("start", "end")]
        spans = [*zip(*ends, strict=True)]

    lane = 220 if len(shown) == 1 else 110
    figure = _figure(1000, lane * len(shown) + 220)
    figure.set_layout_engine("constrained")
    ratios = [lane] * len(shown) + [180]
    axes = figure.subplots(len(ratios), sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
    for ax, column in zip(axes, shown, strict=False):
        ax.plot(x, values[:, column], color=PAST, linewidth=1)
        ax.set_title(names[column], fontsize=11, loc="left", pad=3)
    below = axes[-1]
    below.plot(x, rows, color="0.35", linewidth=1)
    known = rows[np.isfinite(rows) & (rows > 0)]
    if known.size:
        below.set_yscale("log")
        # The least scores, of rows that are very well rebuilt, tell nothing.
        below.set_ylim(bottom=float(np.median(known)) / 10)
    below.set_title("score", fontsize=11, loc="left", pad=3)
    if threshold is not None:
        below.axhline(threshold, color=FUTURE, linewidth=1.2, linestyle="--")
        below.set_title("threshold", fontsize=11, loc="right", pad=3, color=FUTURE)
    for ax in axes:
        ax.margins(x=0.01)
        # Events before or after the series do not make it narrow.
        ax.set_xlim(ax.get_xlim())
        for start, end in spans:
            # With an edge, so that one row is seen too.
            ax.axvspan(start, end, color=FUTURE, alpha=0.25, linewidth=1.5)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.3)
    unit = "seconds" if getattr(index, "dtype", x.dtype).kind == "m" else "row"
    below.set_xlabel("" if x.dtype.kind == "M" else unit if time is None else str(time))
    return figure


def _table(series: Any, time: Any, columns: Any) -> tuple[NDArray[np.float64], list[str], Any]:
    """Return numbers (n, D), what the columns are called, and the labels of the rows."""
    if not hasattr(series, "iloc"):
        if time is not None:
            raise ArgumentError("time must be None for an array; a DataFrame has columns")
        values = np.asarray(series)
        values = values[:, np.newaxis] if values.ndim == 1 else values
        if values.ndim != 2 or values.dtype.kind not in "buif" or values.size == 0:
            raise DataError(
                "series must hold numbers, (n_rows,) or (n_rows, n_columns), "
                f"got shape {values.shape} of {values.dtype}"
            )
        names = ["series"] if values.shape[1] == 1 else [f"{i}" for i in range(values.shape[1])]
        return values.astype(np.float64), names, np.arange(len(values))
    table = series.to_frame() if series.ndim == 1 else series
    if time is not None and time not in table.columns:
        raise ArgumentError(f"time must be a column of the table, got {time!r}")
    if columns is not None and set(columns) <= set(table.columns):
        numbers = table[list(columns)]
    else:
        numbers = table.select_dtypes(["number", "bool"]).drop(columns=[time], errors="ignore")
    if numbers.size == 0:
        raise DataError(f"series must have a column of numbers, got {list(table.columns)}")
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    labels = table.index if time is None else table[time]
    return values, [*map(str, numbers.columns)], labels


def _axis(labels: Any, of: Any) -> NDArray[Any]:
    """Return where labels, some `of` the rows', lie on the x axis."""
    if isinstance(of, np.ndarray):
        return np.asarray(labels)
    import pandas as pd

    index: Any = pd.Index(labels)
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    if isinstance(index, pd.DatetimeIndex):
        return np.asarray(index.tz_localize(None))
    if isinstance(index, pd.TimedeltaIndex):
        return np.asarray(index.total_seconds())
    if index.dtype.kind in "biuf":
        return np.asarray(index)
    return np.asarray(pd.Index(of).get_indexer(index))


def weights(
    model: Model,
    part: Literal["encoder", "reconstruct", "predict"] = "encoder",
    *,
    units: int | ArrayLike = 49,
) -> Figure:
    """Draw what each unit looks for in a frame, or paints into one, as images.

    Of the encoder: the weights from a frame to each of the four gates of its first layer. In the
    paper, thin strips tell a gate where something is, and strips of a high frequency how it moves.
    Of a decoder: the weights from its last layer to a frame; larger blobs and shorter strips.
    Images that look like noise are of units that learnt little from the frame's pixels.

    Parameters
    ----------
    model : Model
        A fitted model of frames that are pictures, grey or RGB.
    part : {"encoder", "reconstruct", "predict"}, default "encoder"
        The encoder, or one of the decoders.
    units : int or sequence of int, default 49
        So many units (or all, if there are fewer), those of each panel that have the weights of
        the greatest L2 norm, the greatest first; or the indices of units, the same for all
        panels. The paper shows 200.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each gate, or the decoder's one; in it an image for each unit, row by row.
        Zero is mid-grey, and the largest weight of the image, by absolute value, white or black:
        a scale of its own, so that units with small weights show their form too.

    Raises
    ------
    NotFittedError
        If the model was not fitted.
    DecoderError
        If the model has no such decoder.
    ShapeError
        If the model's frames are not pictures.
    ArgumentError
        If `part` is none of the three, or `units` are neither a number of units nor indices.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast import Model
    >>> from backcast.plot import weights
    >>> frames = np.eye(8)[:, :, np.newaxis] * np.ones(8)  # a line that moves down
    >>> model = Model(hidden_size=16, max_iter=50, device="cpu", verbose=0).fit(frames[np.newaxis])
    >>> figure = weights(model)
    >>> figure = weights(model, "predict", units=4)
    """
    arrays = model.state_dict()
    if part == "encoder":
        gates = np.split(arrays["encoder.lstm.weight_ih_l0"], 4)
        panels = dict(zip(GATES, gates, strict=True))
    elif part in ("reconstruct", "predict"):
        model._has(part)
        panels = {f"{part} decoder": arrays[f"{part}_decoder.fc.weight"].T}
    else:
        raise ArgumentError(f'part must be "encoder", "reconstruct" or "predict", got {part!r}')
    shape = model.frame_shape_
    if len(shape) < 2 or shape[2:] not in ((), (1,), (3,)):
        raise ShapeError(
            "model must be of frames that are pictures, (height, width) or (height, width, 3), "
            f"got frame_shape_ {shape}"
        )
    montages = {}
    for name, vectors in panels.items():
        chosen = vectors[_chosen(units, np.linalg.norm(vectors, axis=1))]
        largest = np.abs(chosen).max(axis=1, keepdims=True)
        images = (chosen / np.maximum(largest, 1e-30)).reshape(-1, *shape[:2], *shape[2:] or (1,))
        (shades,) = _shades([np.array([-1.0, 1.0])], images)
        scale = _scale(shape[:2], min(64, 480 // math.ceil(math.sqrt(len(shades)))))
        gap = max(1, round(shape[1] / 32))
        columns = int(480 // (scale * (shape[1] + gap)))
        rows = [shades[i : i + columns] for i in range(0, len(shades), columns)]
        montages[name] = _montage(rows, min(columns, len(shades)), 1, gap)

    height, width = (scale * side for side in montages[name].shape[:2])
    across = min(2, len(montages))
    down = len(montages) // across
    figure = _figure(across * 500, down * (height + 44) + 30)
    for i, (name, montage) in enumerate(montages.items()):
        left = i % across * 500 + (500 - width) / 2
        bottom = (down - 1 - i // across) * (height + 44) + 40
        axes = _picture(figure, left, bottom, width, height, montage)
        axes.set_title(name, fontsize=13)
    note = "grey: zero, light: positive, dark: negative; each image has its own scale"
    figure.text(0.5, 18 / figure.bbox.height, note, ha="center", va="center", fontsize=9)
    return figure


def activity(
    traces: Mapping[str, ArrayLike],
    units: int | ArrayLike = 40,
    *,
    window: int = 0,
    layer: int = -1,
    mark: int | None = None,
) -> Figure:
    """Draw what the gates, the cell and the output of units do over time, for one window.

    Parameters
    ----------
    traces : mapping of str to array_like of shape (n, steps, num_layers, hidden_size)
        One part of what `Model.trace` gives: ``input_gate``, ``forget_gate``, ``candidate``,
        ``output_gate``, ``cell`` and ``hidden``.
    units : int or sequence of int, default 40
        So many units (or all, if there are fewer), those whose ``hidden`` varies most over time,
        the most variable first; or the indices of units.
    window : int, default 0
        Which of the n windows.
    layer : int, default -1
        Which layer; the last by default.
    mark : int, optional
        How many of the steps the model was trained for: a line is drawn after them.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each of the six, with steps on x, from 1, and units on y, by their indices
        and in the same rows in all panels. Gates go from 0 (black, closed) to 1 (white, open),
        candidate and hidden from -1 (blue) to 1 (red), the cell as far to both sides as it went.

    Raises
    ------
    DataError
        If one of the six is not in `traces`, or there is not one step in them.
    ShapeError
        If the six are not of the same four dimensions.
    ArgumentError
        If `units`, `window`, `layer` or `mark` is out of its range.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.plot import activity
    >>> names = ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden")
    >>> wave = np.sin(np.arange(100)[:, np.newaxis] / np.arange(2, 34))  # of 32 units
    >>> figure = activity({name: wave[np.newaxis, :, np.newaxis] for name in names}, mark=10)
    """
    names = (*GATES, "cell", "hidden")
    keys = [name.replace(" ", "_") for name in names]
    if not set(keys) <= set(traces):
        raise DataError(f"traces must hold {', '.join(keys)}, got {', '.join(traces) or 'nothing'}")
    arrays = [np.asarray(traces[key]) for key in keys]
    for key, array in zip(keys, arrays, strict=True):
        if array.ndim != 4 or array.shape != arrays[0].shape:
            raise ShapeError(
                f"{key} must be of shape (n, steps, num_layers, hidden_size), the same as "
                f"input_gate, got {array.shape}"
            )
    n, steps, layers, _ = shape = arrays[0].shape
    if arrays[0].size == 0:
        raise DataError(f"traces must have at least one window, step and unit, got {shape}")
    for name, value, low, high in (
        ("window", window, -n, n - 1),
        ("layer", layer, -layers, layers - 1),
        ("mark", mark, 0, steps),
    ):
        if value is not None and not low <= value <= high:
            raise ArgumentError(f"{name} must be in {low}..{high}, got {value}")
    shown = [array[window, :, layer].T for array in arrays]
    chosen = _chosen(units, shown[-1].std(axis=1))

    figure = _figure(1000, 560)
    figure.set_layout_engine("constrained")
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    for name, ax, numbers in zip(names, axes.flat, shown, strict=True):
        pixels = numbers[chosen]
        if name.endswith("gate"):
            low, high, colours = 0.0, 1.0, "Greys_r"
        else:
            high = float(np.abs(pixels).max()) if name == "cell" else 1.0
            low, colours = -high, "RdBu_r"
        image = ax.imshow(
            pixels,
            cmap=colours,
            vmin=low,
            vmax=high,
            aspect="auto",
            interpolation="nearest",
            extent=(0.5, steps + 0.5, len(chosen) - 0.5, -0.5),
        )
        ax.set_title(name, fontsize=13)
        figure.colorbar(image, ax=ax, ticks=[low, (low + high) / 2, high])
        if mark is not None:
            ax.axvline(mark + 0.5, color=FUTURE, linewidth=1.5)
    rows = np.arange(0, len(chosen), math.ceil(len(chosen) / 10))
    axes[0, 0].set_yticks(rows, chosen[rows])
    for ax in axes[:, 0]:
        ax.set_ylabel("unit")
    beyond = "" if mark is None else "; beyond the line, the model was never trained"
    figure.supxlabel(f"step{beyond}")
    return figure


def forecast(
    past: Windows | ArrayLike,
    prediction: pd.DataFrame | ArrayLike,
    errors: pd.DataFrame | None = None,
    *,
    future: ArrayLike | None = None,
    window: int = -1,
    columns: Sequence[Any] | None = None,
    frames: int | None = None,
    axes: Sequence[Axes] | None = None,
) -> Figure:
    """Draw one window's forecast after its past, with a band of how far forecasts are off.

    Parameters
    ----------
    past : Windows, or array_like of shape (T, D)
        Pasts of a table, or the past of one window.
    prediction : DataFrame, or array_like of shape (steps, D)
        What `Model.predict` gave for those windows, or for that one.
    errors : DataFrame, optional
        What `forecast_errors` gave for held-out windows; of several columns with
        ``per="column"``. The band is the forecast plus and minus the model's RMSE at that step,
        about two in three of the truths where errors are normal.
    future : array_like of shape (F, D), optional
        The frames that followed; of windows of a table those in it are drawn.
    window : int, default -1
        Which of several windows; the last by default.
    columns : sequence of labels, optional
        Columns to draw, of an array by their numbers; the first four by default.
    frames : int, optional
        Draw so many frames of the past, the last; by default four times as many as of the forecast.
    axes : sequence of matplotlib.axes.Axes, optional
        Axes to draw on, one for each column, instead of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `axes`, with one axes a column, below each other. On x are the
        windows' times, of durations in the largest unit that fits; or steps, of which the
        first after the past is 1.

    Raises
    ------
    ShapeError
        If past, prediction and future are not of as many columns, or not of these windows.
    ArgumentError
        If a column is not there, `window` or `frames` is out of its range, there is not an axes for
        each column, or `errors` are means over several columns.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.plot import forecast
    >>> wave = np.sin(np.arange(40) / 3)
    >>> figure = forecast(wave[:30, np.newaxis], wave[30:, np.newaxis] * 0.9)
    """
    stretch = _stretch(past, prediction, future, window)
    names = [*stretch.columns[:4]] if columns is None else [*columns]
    if not names or not set(names) <= set(stretch.columns):
        raise ArgumentError(f"columns must be some of {stretch.columns}, got {names}")
    steps = len(stretch.prediction)
    frames = 4 * steps if frames is None else frames
    if frames < 1:
        raise ArgumentError(f"frames must be at least 1, got {frames}")
    if axes is None:
        figure = _figure(800, 100 + (260 if len(names) == 1 else 170 * len(names)))
        figure.set_layout_engine("constrained")
        axes = [*figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]]
        inner = axes[:-1]
    elif len(axes) != len(names):
        raise ArgumentError(f"axes must be one for each of {len(names)} columns, got {len(axes)}")
    else:
        figure, inner = cast("Figure", axes[0].get_figure(root=True)), []

    n_past = len(stretch.past)
    before, after = slice(max(0, n_past - frames), n_past), slice(n_past, n_past + steps)
    for ax, name in zip(axes, names, strict=True):
        x = _time_axis(ax, stretch.times, n_past, n_past + steps)
        at = stretch.columns.index(name)
        ax.plot(x[before], stretch.past[before, at], color=PAST, label="past")
        known = stretch.future[:steps, at]
        if len(known):
            there = slice(n_past, n_past + len(known))
            ax.plot(x[there], known, color="0.35", linestyle="--", label="truth")
        made = stretch.prediction[:, at]
        marker = "o" if steps < 13 else None
        ax.plot(x[after], made, color=FUTURE, label="forecast", marker=marker, markersize=4)
        if errors is not None:
            off = _rmse(errors, name, len(stretch.columns))[:steps]
            band, middle = slice(n_past, n_past + len(off)), made[: len(off)]
            ax.fill_between(
                x[band],
                middle - off,
                middle + off,
                color=FUTURE,
                alpha=0.2,
                linewidth=0,
                label="forecast ± RMSE at its step",
            )
        ax.set_ylabel(str(name) if stretch.times is not None else f"column {name}")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.3)
    for ax in inner:
        ax.set_xlabel("")
    if stretch.group is not None:
        axes[0].set_title(str(stretch.group), loc="left", fontsize=12)
    axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False)
    return figure


def embedding_map(
    embeddings: ArrayLike, labels: ArrayLike | None = None, *, ax: Axes | None = None
) -> Figure:
    """Draw embeddings as points of a plane, in the colours of their labels.

    Parameters
    ----------
    embeddings : array_like of shape (n, D)
        A row each, as `Model.encode` gives them, or already of two dimensions. Of more than two,
        the first two principal components are drawn.
    labels : array_like of shape (n,), optional
        What each is: words or whole numbers of at most 20 kinds, which a legend names; or numbers
        or dates, which a colour bar tells. Points whose label is missing are grey.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on, instead of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`. Its axes tell the variance that each component explains.

    Raises
    ------
    ShapeError
        If embeddings are not rows of at least two numbers, or there is not a label for each.
    DataError
        If embeddings are not finite, or labels are words of more than 20 kinds.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.plot import embedding_map
    >>> rows = np.random.default_rng(0).normal(size=(100, 8))
    >>> figure = embedding_map(rows, np.where(rows[:, 0] > 0, "right", "left"))
    """
    points = np.asarray(embeddings)
    if points.ndim != 2 or points.shape[1] < 2 or len(points) < 2:
        raise ShapeError(
            f"embeddings must be of shape (n, D), n and D at least 2, got {points.shape}"
        )
    if points.dtype.kind not in "buif" or not np.isfinite(points).all():
        raise DataError("embeddings must be finite numbers, got others")
    names = ["dimension 1", "dimension 2"]
    if points.shape[1] > 2:
        from sklearn.decomposition import PCA

        pca = PCA(2, svd_solver="full").fit(points)
        points = pca.transform(points)
        parts = pca.explained_variance_ratio_
        names = [f"component {i} ({part:.0%} of variance)" for i, part in enumerate(parts, 1)]
    if ax is None:
        figure = _figure(720, 520)
        figure.set_layout_engine("constrained")
        ax = figure.add_subplot()
    figure = cast("Figure", ax.get_figure(root=True))
    style = {"s": np.clip(4000 / len(points), 8, 36), "linewidths": 0, "alpha": 0.8}

    if labels is None:
        ax.scatter(points[:, 0], points[:, 1], color=PAST, **style)
    else:
        _coloured(ax, points, np.asarray(labels), style)
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.set_aspect("equal", adjustable="datalim")
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def _coloured(ax: Axes, points: NDArray[Any], labels: NDArray[Any], style: dict[str, Any]) -> None:
    """Draw points in the colours of their labels, and what the colours mean beside them."""
    from matplotlib import colormaps

    if labels.shape != points.shape[:1]:
        raise ShapeError(
            f"labels must be one for each of {len(points)} embeddings, got shape {labels.shape}"
        )
    if labels.dtype == object:
        missing = np.isin(labels.astype(str), ["None", "nan", "NaT", "<NA>"])
    else:
        missing = labels != labels
    if missing.any():
        grey = points[missing]
        ax.scatter(grey[:, 0], grey[:, 1], color="0.8", label="unknown", **style)
    points, known = points[~missing], labels[~missing]
    if known.dtype.kind == "f" and (np.abs(known) < 2**53).all() and (known % 1 == 0).all():
        known = known.astype(np.int64)  # whole numbers, of which some were missing
    kinds, kind = np.unique(
        known.astype(str) if known.dtype == object else known, return_inverse=True
    )
    figure = cast("Figure", ax.get_figure(root=True))
    if known.dtype.kind in "fM" or (known.dtype.kind in "iu" and len(kinds) > 20):
        numbers = _date_numbers(known) if known.dtype.kind == "M" else known
        drawn = ax.scatter(points[:, 0], points[:, 1], c=numbers, cmap="viridis", **style)
        bar = figure.colorbar(drawn, ax=ax)
        if known.dtype.kind == "M":
            _date_axis(bar.ax.yaxis)
        return
    if len(kinds) > 20:
        raise DataError(f"labels must be numbers, or words of at most 20 kinds, got {len(kinds)}")
    colours = colormaps["tab10" if len(kinds) <= 10 else "tab20"]
    for i, name in enumerate(kinds):
        own = points[kind == i]
        ax.scatter(own[:, 0], own[:, 1], color=colours(i), label=str(name), **style)
    legend = ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    for handle in cast("list[Any]", legend.legend_handles):
        handle.set(sizes=[36], alpha=1)


@dataclass(frozen=True)
class _Stretch:
    """One past and what comes after it, frame by frame, with the times of both."""

    past: NDArray[Any]
    prediction: NDArray[Any]
    future: NDArray[Any]
    columns: list[Any]
    times: Any = None
    group: Any = None


def _stretch(past: Any, prediction: Any, future: Any, window: int) -> _Stretch:
    """Take one window with its forecast, and with the truth as far as it is known."""
    from backcast.data import Windows

    if isinstance(past, Windows):
        n, _, width = past.shape
        if not -n <= window < n:
            raise ArgumentError(f"window must be in {-n}..{n - 1}, got {window}")
        made = np.asarray(prediction)
        if made.ndim not in (2, 3) or made.shape[-1] != width or made.size % (n * width):
            raise ShapeError(
                f"prediction must be what a model predicted of these {n} windows of {width} "
                f"columns, got shape {made.shape}"
            )
        made = made.reshape(n, -1, width)[window]
        one = past[[window]]
        rows, ends = one._rows_after(len(made))
        known = past.values[rows[rows < ends]] if future is None else np.asarray(future)
        times = one._labels().append(one.after(len(made)).get_level_values(-1))
        group = None if one.groups is None else one.groups[0]
        stretch = _Stretch(one[0], made, known, past.columns, times, group)
    else:
        sides = [np.asarray(past), np.asarray(prediction)]
        sides.append(sides[0][:0] if future is None else np.asarray(future))
        first, made, known = (side[:, np.newaxis] if side.ndim == 1 else side for side in sides)
        stretch = _Stretch(first, made, known, [*range(first.shape[-1])])
    shape = np.shape(stretch.past)
    for name in ("past", "prediction", "future"):
        side = getattr(stretch, name)
        if side.ndim != 2 or side.shape[1:] != shape[1:] or not (len(side) or name == "future"):
            raise ShapeError(
                f"{name} must be frames of one window, (n, D), of as many numbers as past's, "
                f"got shape {side.shape}"
            )
    return stretch


def _rmse(errors: Any, column: Any, width: int) -> Any:
    """Return the model's error of a column at each step."""
    if errors.index.nlevels == 1:
        if width > 1:
            raise ArgumentError(
                'errors must be of each column, as forecast_errors(..., per="column") gives, '
                "got means over columns"
            )
        return errors["RMSE", "model"].to_numpy()
    own = errors[errors.index.get_level_values(0) == column]
    if not len(own):
        raise ArgumentError(f"errors must be of column {column!r} too, got others")
    return own["RMSE", "model"].to_numpy()


def _date_axis(axis: Any, zone: Any = None) -> None:
    """Write dates as short as can be."""
    from matplotlib import dates

    locator: Any = dates.AutoDateLocator(zone, minticks=4, maxticks=8)  # type: ignore[no-untyped-call]
    axis.set_major_locator(locator)
    axis.set_major_formatter(dates.ConciseDateFormatter(locator, zone))  # type: ignore[no-untyped-call]


def _date_numbers(times: Any) -> NDArray[np.float64]:
    """Return datetime64 as the numbers that matplotlib takes for them."""
    from matplotlib import dates

    return np.asarray(dates.date2num(times))  # type: ignore[no-untyped-call]


def _time_axis(ax: Axes, times: Any, n_past: int, n: int) -> NDArray[Any]:
    """Say times on x, or steps if there are none, and return where each frame is."""
    steps = np.arange(n) - n_past + 1
    ax.set_xlabel("step")
    if times is None:
        return steps
    import pandas as pd

    if isinstance(times, pd.PeriodIndex):
        times = times.to_timestamp()
    if isinstance(times, pd.DatetimeIndex):
        _date_axis(ax.xaxis, times.tz)
        ax.set_xlabel(f"{times.name} ({times.tz})" if times.tz else str(times.name))
        utc = times if times.tz is None else times.tz_convert(None)
        return _date_numbers(utc.to_numpy())
    if isinstance(times, pd.TimedeltaIndex):
        units = {"days": 86400.0, "hours": 3600.0, "minutes": 60.0, "seconds": 1.0, "ms": 1e-3}
        seconds = times.total_seconds().to_numpy()
        span = float(np.ptp(seconds))
        unit = next((name for name in units if span > 3 * units[name]), "ms")
        ax.set_xlabel(f"{times.name} ({unit})")
        return np.asarray(seconds / units[unit])
    if times.dtype.kind in "iuf" and times.is_monotonic_increasing:
        ax.set_xlabel(str(times.name))
        return np.asarray(times.to_numpy())
    return steps


def _chosen(units: int | ArrayLike, merit: NDArray[Any]) -> NDArray[np.intp]:
    """Return the units given, or as many as were asked for, those of the greatest merit first."""
    if isinstance(units, Integral):
        if units < 1:
            raise ArgumentError(f"units must be at least 1, got {units}")
        return np.argsort(-merit, kind="stable")[: int(units)]
    chosen = np.asarray(units)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or chosen.size == 0:
        raise ArgumentError(f"units must be a number of units, or their indices, got {units!r}")
    if chosen.min() < 0 or chosen.max() >= len(merit):
        raise ArgumentError(f"units must be in 0..{len(merit) - 1}, got {units!r}")
    return chosen.astype(np.intp)


def _play(
    left: NDArray[np.uint8],
    right: NDArray[np.uint8],
    file: Path,
    past: int | None,
    titles: tuple[str, str],
    fps: int,
) -> Path:
    """Write the two runs of frames, side by side, to a file."""
    writer = _writer(file, fps)
    import matplotlib

    scale = _scale(left.shape[1:3], 200)
    height, width = scale * left.shape[1], scale * left.shape[2]
    figure = _figure(max(2 * width + 60, 320), height + 84)
    middle = figure.bbox.width / 2
    axes = [
        _picture(figure, x, 44, width, height, frames[0])
        for x, frames in ((middle - 10 - width, left), (middle + 10, right))
    ]
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, color="black", fontsize=13)
    caption = figure.text(0.5, 22 / figure.bbox.height, "", ha="center", va="center", fontsize=12)

    # All frames of a movie are of one size: a user's "tight" would be an error.
    with matplotlib.rc_context({"savefig.bbox": None}), writer.saving(figure, str(file), DPI):
        for t, pair in enumerate(zip(left, right, strict=True), 1):
            part, colour = "", "black"
            if past is not None:
                part, colour = ("past, ", PAST) if t <= past else ("future, ", FUTURE)
            caption.set(text=f"{part}frame {t} of {len(left)}", color=colour)
            for ax, frame in zip(axes, pair, strict=True):
                ax.images[0].set_data(frame)
                ax.spines[:].set(color=colour, linewidth=2, visible=True)
            writer.grab_frame(facecolor="white", transparent=False)
    return file


def _writer(file: Path, fps: int) -> AbstractMovieWriter:
    """Return matplotlib's writer of that kind of file."""
    _matplotlib()
    from matplotlib.animation import FFMpegWriter, PillowWriter

    if file.suffix.lower() == ".gif":
        return PillowWriter(fps)
    if file.suffix.lower() != ".mp4":
        raise ArgumentError(f"path must end in .gif or .mp4, got {str(file)!r}")
    if not FFMpegWriter.isAvailable():
        raise MissingPackageError(
            "writing an .mp4 needs the program ffmpeg: install it, name it in "
            "matplotlib.rcParams['animation.ffmpeg_path'], or write a .gif"
        )
    return FFMpegWriter(fps)


def _frames(name: str, frames: ArrayLike) -> NDArray[np.float64]:
    """Return frames as floats of shape (n_frames, height, width, 1 or 3)."""
    pictures = np.asarray(frames)
    if pictures.dtype.kind not in "buif":
        raise DataError(f"{name} must hold real numbers, got dtype {pictures.dtype}")
    if pictures.ndim == 3:
        pictures = pictures[..., np.newaxis]
    if pictures.ndim != 4 or pictures.shape[-1] not in (1, 3):
        raise ShapeError(
            f"{name} must be the frames of one window, each a picture: (n_frames, height, width) "
            f"or (n_frames, height, width, 3), got {np.shape(frames)}"
        )
    if pictures.size == 0:
        raise DataError(f"{name} must have at least one frame, got shape {np.shape(frames)}")
    return pictures / 255 if pictures.dtype == np.uint8 else pictures.astype(np.float64)


def _shades(
    truth: Sequence[NDArray[np.float64]], *runs: NDArray[np.float64]
) -> list[NDArray[np.uint8]]:
    """Turn runs of frames into RGB, all of them from the same black to the same white."""
    known = np.concatenate([frames[np.isfinite(frames)] for frames in truth])
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    if 0 <= low and high <= 1:
        low, high = 0.0, 1.0
    elif low == high:
        high = low + 1
    shades = [np.nan_to_num(255 * np.clip((frames - low) / (high - low), 0, 1)) for frames in runs]
    return [np.repeat(s.astype(np.uint8), 3 // s.shape[-1], axis=-1) for s in shades]


def _montage(
    rows: Sequence[NDArray[np.uint8] | None], count: int, every: int, gap: int
) -> NDArray[np.uint8]:
    """Put each `every`-th of `count` frames side by side, one row for each run, as RGBA."""
    height, width = next(row for row in rows if row is not None).shape[1:3]
    columns = -(-count // every)
    montage = np.zeros((len(rows) * (height + gap), columns * (width + gap), 4), np.uint8)
    for i, row in enumerate(rows):
        for j, frame in enumerate(() if row is None else row[::every]):
            y, x = i * (height + gap), j * (width + gap)
            montage[y : y + height, x : x + width, :3] = frame
            montage[y : y + height, x : x + width, 3] = 255
    return montage[:-gap, :-gap]


def _scale(size: Sequence[int], target: int) -> float:
    """Return by how much to enlarge frames: a whole number, or a part of 1 for large frames."""
    side = max(size)
    return max(1.0, target // side) if side <= 1.5 * target else 1.5 * target / side


def _matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "backcast.plot needs matplotlib: pip install 'backcast[plot]'"
        ) from error


@functools.cache
def _figure_class() -> type[Figure]:
    _matplotlib()
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A figure that a notebook shows even where nothing has imported pyplot."""

        def _repr_png_(self) -> bytes:
            png = io.BytesIO()
            self.savefig(png, format="png")
            return png.getvalue()

    return NotebookFigure


def _figure(width: float, height: float) -> Figure:
    """Return a figure of so many pixels, unknown to pyplot."""
    return _figure_class()(figsize=(round(width) / DPI, round(height) / DPI), dpi=DPI)


def _picture(
    figure: Figure, x: float, y: float, width: float, height: float, pixels: NDArray[np.uint8]
) -> Axes:
    """Draw pixels on a part of the figure, itself given in pixels from the lower left."""
    across, up = figure.bbox.size
    axes = figure.add_axes((round(x) / across, round(y) / up, width / across, height / up))
    interpolation = "nearest" if width >= pixels.shape[1] else "antialiased"
    axes.imshow(pixels, interpolation=interpolation, aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes
