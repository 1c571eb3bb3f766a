"""Units: their weights as images, and their gates over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backcast.errors import ArgumentError, DataError, DecoderError, ShapeError
from backcast.plot._figure import FUTURE, figure_with, new_figure, panels_of
from backcast.plot._pixels import as_montage, as_shades, draw_pixels, show_pixels, zoom

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from backcast.model import Model

# In the order of the weights.
GATES = ("input gate", "forget gate", "candidate", "output gate")


def weights(
    model: Model,
    part: Literal["encoder", "reconstruct", "predict"] = "encoder",
    *,
    units: int | ArrayLike = 49,
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Draw the weights between each unit and the pixels of a frame, as images.

    For the encoder: the weights from a frame to each of the four gates of its first layer. In the
    paper, thin strips locate an object and strips of high frequency measure its motion. For a
    decoder: the weights from its last layer to a frame; in the paper, larger blobs and shorter
    strips. Images like noise belong to units that learnt little from the pixels.

    Parameters
    ----------
    model : Model
        A fitted model of frames that are pictures, grey or RGB.
    part : {"encoder", "reconstruct", "predict"}, default="encoder"
        The encoder or one of the decoders.
    units : int or sequence of int, default=49
        Number of units (or all, if there are fewer): in each panel those whose weights have the
        greatest L2 norm, greatest first. Or the indices of units, the same for all panels. The
        paper shows 200.
    ax : matplotlib.axes.Axes or sequence of them, default=None
        Axes to draw on, one for each panel, instead of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`. One panel for each gate, or one for the decoder, with one
        image for each unit, row by row. Zero is mid-grey; the largest absolute weight of an image
        is white or black. Each image has its own scale, so that the form of small weights is
        visible too.

    Raises
    ------
    NotFittedError
        If the model was not fitted.
    DecoderError
        If the model has no such decoder.
    ShapeError
        If the model's frames are not pictures.
    ArgumentError
        If `part` is none of the three, or `units` is neither a number of units nor indices.
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
        output = arrays.get(f"{part}_decoder.fc.weight")
        if output is None:
            raise DecoderError(
                f"the model has no {part} decoder (decoders={model.decoders!r}) to draw"
            )
        panels = {f"{part} decoder": output.T}
    else:
        raise ArgumentError(f'part must be "encoder", "reconstruct" or "predict", got {part!r}')
    shape = model.frame_shape_
    if len(shape) < 2 or shape[2:] not in ((), (1,), (3,)):
        raise ShapeError(
            "model must be fitted on pictures, (height, width) or (height, width, 3), "
            f"got frame_shape_ {shape}"
        )
    montages = {}
    for name, vectors in panels.items():
        chosen = vectors[_chosen(units, np.linalg.norm(vectors, axis=1))]
        largest = np.abs(chosen).max(axis=1, keepdims=True)
        images = (chosen / np.maximum(largest, 1e-30)).reshape(-1, *shape[:2], *shape[2:] or (1,))
        (shades,) = as_shades([np.array([-1.0, 1.0])], images)
        scale = zoom(shape[:2], min(64, 480 // math.ceil(math.sqrt(len(shades)))))
        gap = max(1, round(shape[1] / 32))
        columns = int(480 // (scale * (shape[1] + gap)))
        rows = [shades[i : i + columns] for i in range(0, len(shades), columns)]
        montages[name] = as_montage(rows, min(columns, len(shades)), 1, gap)

    note = "grey: zero, light: positive, dark: negative; each image has its own scale"
    panels_given = panels_of(ax, [*montages], "panel")
    if panels_given is not None:
        for axes, (name, montage) in zip(panels_given, montages.items(), strict=True):
            show_pixels(axes, montage).set_title(name, fontsize=13)
        panels_given[-1].set_xlabel(note, fontsize=9)
        return figure_with(panels_given[0])
    height, width = (scale * side for side in montages[name].shape[:2])
    across = min(2, len(montages))
    down = len(montages) // across
    figure = new_figure(across * 500, down * (height + 44) + 30)
    for i, (name, montage) in enumerate(montages.items()):
        left = i % across * 500 + (500 - width) / 2
        bottom = (down - 1 - i // across) * (height + 44) + 40
        axes = draw_pixels(figure, left, bottom, width, height, montage)
        axes.set_title(name, fontsize=13)
    figure.text(0.5, 18 / figure.bbox.height, note, ha="center", va="center", fontsize=9)
    return figure


def activity(
    traces: Mapping[str, ArrayLike],
    units: int | ArrayLike = 40,
    *,
    window: int = 0,
    layer: int = -1,
    mark: int | None = None,
    ax: Sequence[Axes] | None = None,
) -> Figure:
    """Draw gates, cell and output of units over time, for one window.

    Parameters
    ----------
    traces : mapping of str to array_like of shape (n, steps, num_layers, hidden_size)
        One part of what `Model.trace` returns: ``input_gate``, ``forget_gate``, ``candidate``,
        ``output_gate``, ``cell`` and ``hidden``.
    units : int or sequence of int, default=40
        Number of units (or all, if there are fewer): those whose ``hidden`` varies most over
        time, most variable first. Or the indices of units.
    window : int, default=0
        Index of the window.
    layer : int, default=-1
        Index of the layer; the last by default.
    mark : int, default=None
        Number of steps that the model was trained for; a line is drawn after them.
    ax : sequence of matplotlib.axes.Axes, default=None
        Six axes to draw on, instead of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`. One panel for each of the six: steps, from 1, on x, and
        units, labelled by their indices, on y, in the same order in all panels. Gates range from 0
        (black, closed) to 1 (white, open), candidate and hidden from -1 (blue) to 1 (red), and the
        cell to its greatest absolute value on both sides.

    Raises
    ------
    DataError
        If one of the six is missing in `traces`, or they hold no step.
    ShapeError
        If the six do not have the same four dimensions.
    ArgumentError
        If `units`, `window`, `layer` or `mark` is out of range.
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

    beyond = "" if mark is None else "; beyond the line, the model was never trained"
    panels = panels_of(ax, names, "panel")
    if panels is None:
        figure = new_figure(1000, 560)
        figure.set_layout_engine("constrained")
        grid = figure.subplots(2, 3, sharex=True, sharey=True)
        panels, firsts = [*grid.flat], [*grid[:, 0]]
        figure.supxlabel(f"step{beyond}")
    else:
        figure, firsts = figure_with(panels[0]), panels
        panels[-1].set_xlabel(f"step{beyond}")
    for name, panel, numbers in zip(names, panels, shown, strict=True):
        pixels = numbers[chosen]
        if name.endswith("gate"):
            low, high, colours = 0.0, 1.0, "Greys_r"
        else:
            high = float(np.abs(pixels).max()) if name == "cell" else 1.0
            low, colours = -high, "RdBu_r"
        image = panel.imshow(
            pixels,
            cmap=colours,
            vmin=low,
            vmax=high,
            aspect="auto",
            interpolation="nearest",
            extent=(0.5, steps + 0.5, len(chosen) - 0.5, -0.5),
        )
        panel.set_title(name, fontsize=13)
        figure.colorbar(image, ax=panel, ticks=[low, (low + high) / 2, high])
        if mark is not None:
            panel.axvline(mark + 0.5, color=FUTURE, linewidth=1.5)
    rows = np.arange(0, len(chosen), math.ceil(len(chosen) / 10))
    for panel in firsts:
        panel.set_yticks(rows, chosen[rows])
        total = len(shown[-1])
        panel.set_ylabel("unit" if len(chosen) == total else f"unit ({len(chosen)} of {total})")
    return figure


def _chosen(units: int | ArrayLike, merit: NDArray[Any]) -> NDArray[np.intp]:
    """Return the given units, or that number of units, those of the greatest merit first."""
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
