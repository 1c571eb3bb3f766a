"""Frames as pixels: one range of greys for all runs, montages, zoom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backcast.errors import DataError, ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def as_pictures(name: str, frames: ArrayLike) -> NDArray[np.float64]:
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


def as_shades(
    truth: Sequence[NDArray[np.float64]], *runs: NDArray[np.float64]
) -> list[NDArray[np.uint8]]:
    """Turn runs of frames into RGB; all share the black and the white of `truth`."""
    known = np.concatenate([frames[np.isfinite(frames)] for frames in truth])
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    if 0 <= low and high <= 1:
        low, high = 0.0, 1.0
    elif low == high:
        high = low + 1
    shades = [np.nan_to_num(255 * np.clip((frames - low) / (high - low), 0, 1)) for frames in runs]
    return [np.repeat(s.astype(np.uint8), 3 // s.shape[-1], axis=-1) for s in shades]


def as_montage(
    rows: Sequence[NDArray[np.uint8] | None], count: int, every: int, gap: int
) -> NDArray[np.uint8]:
    """Put every `every`-th of `count` frames side by side, one row for each run, as RGBA."""
    height, width = next(row for row in rows if row is not None).shape[1:3]
    columns = -(-count // every)
    montage = np.zeros((len(rows) * (height + gap), columns * (width + gap), 4), np.uint8)
    for i, row in enumerate(rows):
        for j, frame in enumerate(() if row is None else row[::every]):
            y, x = i * (height + gap), j * (width + gap)
            montage[y : y + height, x : x + width, :3] = frame
            montage[y : y + height, x : x + width, 3] = 255
    return montage[:-gap, :-gap]


def zoom(size: Sequence[int], target: int) -> float:
    """Return the factor that enlarges frames to about `target` pixels.

    It is a whole number, except for large frames: they shrink, by a factor below 1.
    """
    side = max(size)
    return max(1.0, target // side) if side <= 1.5 * target else 1.5 * target / side


def draw_pixels(
    figure: Figure, x: float, y: float, width: float, height: float, pixels: NDArray[np.uint8]
) -> Axes:
    """Draw pixels on new axes; position and size are in pixels, from the figure's lower left."""
    across, up = figure.bbox.size
    axes = figure.add_axes((round(x) / across, round(y) / up, width / across, height / up))
    interpolation = "nearest" if width >= pixels.shape[1] else "antialiased"
    return show_pixels(axes, pixels, interpolation=interpolation, aspect="auto")


def show_pixels(axes: Axes, pixels: NDArray[np.uint8], **options: Any) -> Axes:
    """Draw pixels on axes, without ticks and borders."""
    axes.imshow(pixels, **options)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes
