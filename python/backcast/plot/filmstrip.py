"""The frames of one window, laid out in time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from backcast.errors import ArgumentError, ShapeError
from backcast.plot._figure import FUTURE, PAST, figure_with, new_figure, panels_of
from backcast.plot._pixels import (
    as_montage,
    as_pictures,
    as_shades,
    draw_pixels,
    show_pixels,
    zoom,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def strip(
    past: ArrayLike,
    reconstruction: ArrayLike | None = None,
    future: ArrayLike | None = None,
    prediction: ArrayLike | None = None,
    *,
    every: int | None = None,
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Draw the frames of a window in a row, and the model's frames below them.

    Past and reconstruction are on the left, future and prediction on the right. The upper row is
    the truth, the lower one the model's output; each frame is below the one it should equal.

    Parameters
    ----------
    past : array_like of shape (T, height, width) or (T, height, width, 3)
        Frames of one window, grey or RGB. uint8 is taken as 0..255 and floats as 0..1. If floats
        of the truth leave this range, their minimum is black and their maximum white.
    reconstruction : array_like of past's shape, default=None
        As `Model.reconstruct` returns it for this window.
    future : array_like of shape (F, height, width) or (F, height, width, 3), default=None
        The frames that followed.
    prediction : array_like of shape (F, height, width) or (F, height, width, 3), default=None
        The frames that `Model.predict` returns; more or fewer than those of `future`.
    every : int, default=None
        Show every `every`-th frame of each side, starting with its first. By default all frames
        are shown, or as many of a long window as fit (20 columns of 64 pixels).
    ax : matplotlib.axes.Axes or sequence of them, default=None
        Axes to draw on, one for the past and, if there is one, one for the future, instead of a new
        figure.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of `ax`. A notebook shows it, ``figure.savefig(path)`` writes it.
        On a new figure, frames of up to 96 pixels are
        drawn at a whole multiple of their size, at 100 dpi and its multiples.

    Raises
    ------
    ShapeError
        If frames are not pictures or differ in size, or `past` and `reconstruction` differ in
        number.
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
        name: as_pictures(name, frames)
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
    shades = dict(zip(given, as_shades(truth, *given.values()), strict=True))
    n_future = max(len(given.get(name, ())) for name in ("future", "prediction"))

    scale = zoom(size, 64)
    gap = max(1, round(size[1] / 32))
    # From one frame to the next, in pixels of the frames, as the gap is.
    cell = size[1] + gap
    if every is None:
        every = math.ceil((n_past + n_future) / (1360 // (scale * cell)))
    elif every < 1:
        raise ArgumentError(f"every must be at least 1, got {every}")

    rows = 1 if given.keys() <= {"past", "future"} else 2
    sides = [("past", "reconstruction", PAST, 1, n_past)]
    if n_future:
        sides.append(("future", "prediction", FUTURE, n_past + 1, n_future))
    montages = [
        as_montage([shades.get(upper), shades.get(lower)][:rows], count, every, gap)
        for upper, lower, _, _, count in sides
    ]
    panels = panels_of(ax, [upper for upper, *_ in sides], "side")
    height = scale * montages[0].shape[0]
    bottom = 36 if rows == 2 else 8
    # At least as wide as the titles.
    slots = [max(scale * montage.shape[1], 170) for montage in montages]
    if panels is None:
        figure = new_figure(sum(slots) + 24 * len(slots) + 56, bottom + height + 56)
        panels, left = [], 68.0
        for montage, slot in zip(montages, slots, strict=True):
            width = scale * montage.shape[1]
            at = left + (slot - width) / 2
            panels.append(draw_pixels(figure, at, bottom, width, height, montage))
            left += slot + 24
    else:
        for axes, montage in zip(panels, montages, strict=True):
            show_pixels(axes, montage)
    for (upper, lower, colour, first, count), axes in zip(sides, panels, strict=True):
        # A label is about 30 pixels wide.
        shown = np.arange(0, count, every * math.ceil(30 / (scale * cell)))
        axes.set_xticks(shown / every * cell + (size[1] - 1) / 2, first + shown, fontsize=11)
        axes.tick_params(length=0, top=False, labeltop=True, labelbottom=False, pad=2)
        axes.set_title(upper, color=colour, fontsize=15, fontweight="bold", pad=6)
        if lower in given:
            axes.set_xlabel(lower, color=colour, fontsize=15, fontweight="bold", labelpad=6)
        if upper == "past":
            middles = np.arange(rows) * (size[0] + gap) + (size[0] - 1) / 2
            axes.set_yticks(middles, ["truth", "model"][:rows], fontsize=13)
    return figure_with(panels[0])
