"""Animations: two runs of frames side by side."""

from __future__ import annotations

import base64
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backcast.errors import ArgumentError, MissingPackageError, ShapeError
from backcast.plot._figure import DPI, FUTURE, PAST, new_figure, require_matplotlib
from backcast.plot._pixels import as_pictures, as_shades, draw_pixels, zoom

if TYPE_CHECKING:
    from matplotlib.animation import AbstractMovieWriter


@dataclass(frozen=True, repr=False)
class Gif:
    """An animation in memory; a notebook shows it as an endless loop."""

    data: bytes
    """The contents of a GIF file."""

    def _repr_html_(self) -> str:
        return f'<img src="data:image/gif;base64,{base64.b64encode(self.data).decode()}">'

    def __repr__(self) -> str:
        """Return the size of the file."""
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
    """Play two runs of frames side by side: the truth and the model's output.

    Parameters
    ----------
    original, generated : array_like of shape (n_frames, height, width) or (..., 3)
        Frames of one window, grey or RGB. uint8 is taken as 0..255 and floats as 0..1. If floats
        of `original` leave this range, its minimum is black and its maximum white.
    path : str or path-like, default=None
        File to write: ``.gif``, or ``.mp4`` if the program ffmpeg is installed. By default, the
        animation is returned for a notebook to show.
    past : int, default=None
        Number of past frames; the others are future. The caption and the colour of the borders
        then distinguish the two.
    titles : pair of str, default=("Original", "Generated")
        Titles above the two runs.
    fps : int, default=5
        Frames per second.

    Returns
    -------
    Gif or pathlib.Path
        A `Gif`, or `path` if it was given.

    Raises
    ------
    ShapeError
        If the frames are not pictures, or the two runs have different shapes.
    DataError
        If the frames do not hold numbers, or there are none.
    ArgumentError
        If `path` ends in neither .gif nor .mp4, or `past` or `fps` is out of range.
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
    truth, model = as_pictures("original", original), as_pictures("generated", generated)
    if truth.shape != model.shape:
        raise ShapeError(
            f"generated must have as many frames of the same size as original, {truth.shape}, "
            f"got {model.shape}"
        )
    if past is not None and not 0 <= past <= len(truth):
        raise ArgumentError(f"past must be in 0..{len(truth)}, the frames given, got {past}")
    if not fps > 0:
        raise ArgumentError(f"fps must be greater than 0, got {fps}")
    left, right = as_shades([truth], truth, model)
    if path is not None:
        return _play(left, right, Path(path), past, titles, fps)
    with tempfile.TemporaryDirectory() as folder:
        file = _play(left, right, Path(folder) / "animation.gif", past, titles, fps)
        return Gif(file.read_bytes())


def _play(
    left: NDArray[np.uint8],
    right: NDArray[np.uint8],
    file: Path,
    past: int | None,
    titles: tuple[str, str],
    fps: int,
) -> Path:
    """Write two runs of frames, side by side, to a file."""
    writer = _writer(file, fps)
    import matplotlib

    scale = zoom(left.shape[1:3], 200)
    height, width = scale * left.shape[1], scale * left.shape[2]
    figure = new_figure(max(2 * width + 60, 320), height + 84)
    middle = figure.bbox.width / 2
    axes = [
        draw_pixels(figure, x, 44, width, height, frames[0])
        for x, frames in ((middle - 10 - width, left), (middle + 10, right))
    ]
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, color="black", fontsize=13)
    caption = figure.text(0.5, 22 / figure.bbox.height, "", ha="center", va="center", fontsize=12)

    # All frames of a movie have one size: savefig.bbox="tight" in the user's style would fail.
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
    """Return matplotlib's writer for this kind of file."""
    require_matplotlib()
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
