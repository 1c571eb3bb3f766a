"""Moving MNIST: images that move in straight lines and bounce."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from backcast._parameters import integer
from backcast.data._arguments import generator, pair, times
from backcast.errors import ArgumentError, DataError, ShapeError


@overload
def moving_digits(
    n: int,
    images: ArrayLike,
    labels: None = None,
    *,
    num_digits: int = 2,
    length: int = 20,
    canvas: int | tuple[int, int] = 64,
    digit_size: int | tuple[int, int] | None = None,
    speed: float | tuple[float, float] = 0.1,
    random_state: int | np.random.Generator | None = None,
) -> NDArray[np.uint8]: ...


@overload
def moving_digits(
    n: int,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    num_digits: int = 2,
    length: int = 20,
    canvas: int | tuple[int, int] = 64,
    digit_size: int | tuple[int, int] | None = None,
    speed: float | tuple[float, float] = 0.1,
    random_state: int | np.random.Generator | None = None,
) -> tuple[NDArray[np.uint8], NDArray[Any]]: ...


def moving_digits(
    n: int,
    images: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    num_digits: int = 2,
    length: int = 20,
    canvas: int | tuple[int, int] = 64,
    digit_size: int | tuple[int, int] | None = None,
    speed: float | tuple[float, float] = 0.1,
    random_state: int | np.random.Generator | None = None,
) -> NDArray[np.uint8] | tuple[NDArray[np.uint8], NDArray[Any]]:
    """Draw windows of digits that move in straight lines and bounce off the canvas's edges.

    The defaults are the paper's moving MNIST: two digits of 28 pixels on a 64x64 canvas.

    Parameters
    ----------
    n : int
        Number of windows.
    images : array_like of shape (n_images, height, width), uint8 or float in 0..1
        Images of the digits; 0 is background. They are drawn in random order, and in a new
        random order each time all of them have been drawn.
    labels : array_like of shape (n_images,), default=None
        If given, the labels of the images in each window are returned too.
    num_digits : int, default=2
        Images in a frame. They pass through each other; the brighter pixel is visible.
    length : int, default=20
        Frames in a window.
    canvas : int or (height, width), default=64
        Size of a frame, in pixels.
    digit_size : int or (height, width), default=None
        Size to which images are resized, as by `resize_digits`; by default they keep their own.
    speed : float or (low, high), default=0.1
        Distance moved in one frame, as a fraction of the free range (canvas minus digit). A pair
        gives each digit its own speed, uniform between the two.
    random_state : int, Generator or None, default=None
        Seed, or a generator to draw from; the next call with the same generator gives other
        windows. The same seed and arguments give the same windows.

    Returns
    -------
    windows : ndarray of shape (n, length, *canvas), uint8
    shown : ndarray of shape (n, num_digits), of the labels' dtype
        Only with `labels`: the label of each digit on the canvas.

    Raises
    ------
    ArgumentError
        If a size, number or speed is out of range, or digits do not fit in the canvas.
    ShapeError
        If `images` are not three-dimensional, or there is not one label for each image.
    DataError
        If there are no images, or they are neither uint8 nor floats in 0..1.

    Notes
    -----
    As in [1]_, position and direction of a digit are uniform at the start. At an edge its position
    is clamped and that component of its velocity is negated. The first frame is the one after the
    first step, and positions are truncated to whole pixels, as in the authors' program. According
    to the paper's text the speed is drawn from a range; the authors' program fixes it, as the
    default here does.

    The memory is that of the result, one byte per pixel, and a few per cent more: 10,000 windows of
    the paper's size take 819 MB, and about 3 s to draw.

    References
    ----------
    .. [1] Srivastava, Mansimov and Salakhutdinov, "Unsupervised Learning of Video Representations
       using LSTMs", ICML 2015, section 3.2 (arXiv 1502.04681).

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.data import moving_digits
    >>> squares = np.full((3, 8, 8), 255, np.uint8)
    >>> windows, shown = moving_digits(5, squares, [0, 1, 2], canvas=32, random_state=0)
    >>> windows.shape, windows.dtype, shown.shape
    ((5, 20, 32, 32), dtype('uint8'), (5, 2))
    """
    n, num_digits = integer("n", n, 1), integer("num_digits", num_digits, 1)
    length = integer("length", length, 1)
    low, high = _speeds(speed)
    rng = generator(random_state)
    sprites = _checked(images) if digit_size is None else resize_digits(images, digit_size)
    size = np.array(pair("canvas", canvas))
    free = size - sprites.shape[1:]
    if free.min() < 0:
        raise ArgumentError(
            f"canvas must be at least as large as a digit, {times(sprites.shape[1:])}, "
            f"got {times(size)}"
        )

    who = _cycle(len(sprites), n * num_digits, rng).reshape(n, num_digits)
    corners = _corners(n, num_digits, length, low, high, free, rng)
    frames = np.zeros((n, length, *size), np.uint8)
    # NumPy's types allow a single axis only.
    axes: Any = (2, 3)
    # Every place that a digit can take in every frame: (n, length, *(free + 1), *digit size).
    places = sliding_window_view(frames, sprites.shape[1:], axis=axes, writeable=True)
    window = np.arange(n)
    for t in range(length):
        for k in range(num_digits):
            place = (window, t, corners[t, :, k, 0], corners[t, :, k, 1])
            places[place] = np.maximum(places[place], sprites[who[:, k]])

    if labels is None:
        return frames
    labels = np.asarray(labels)
    if labels.shape != sprites.shape[:1]:
        raise ShapeError(f"labels must be of shape ({len(sprites)},), got {labels.shape}")
    return frames, labels[who]


def _cycle(n_images: int, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return `count` indices of images: all in random order, again and again."""
    rounds = [rng.permutation(n_images) for _ in range(-(-count // n_images))]
    return np.concatenate(rounds)[:count]


def _corners(
    n: int,
    num_digits: int,
    length: int,
    low: float,
    high: float,
    free: NDArray[np.integer],
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Move digits; return their upper left pixels, (length, n, num_digits, 2)."""
    position = rng.random((n, num_digits, 2))
    angle = rng.uniform(0, 2 * np.pi, (n, num_digits))
    size = rng.uniform(low, high, (n, num_digits, 1))
    velocity = size * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    corners = np.empty((length, n, num_digits, 2), np.intp)
    for t in range(length):
        position += velocity
        velocity[(position <= 0) | (position >= 1)] *= -1
        np.clip(position, 0, 1, out=position)
        # Assignment to integers truncates.
        corners[t] = free * position
    return corners


def resize_digits(images: ArrayLike, digit_size: int | tuple[int, int]) -> NDArray[np.uint8]:
    """Resize images: each output pixel is the mean of the area that it covers.

    `moving_digits` resizes its images in every call; resize them once before many calls.

    Parameters
    ----------
    images : array_like of shape (n_images, height, width), uint8 or float in 0..1
        The images.
    digit_size : int or (height, width)
        The new size, in pixels.

    Returns
    -------
    ndarray of shape (n_images, *digit_size), uint8
        The resized images, rounded.

    Raises
    ------
    ArgumentError
        If `digit_size` is not a size.
    ShapeError
        If `images` are not three-dimensional.
    DataError
        If there are no images, or they are neither uint8 nor floats in 0..1.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.data import resize_digits
    >>> resize_digits(np.array([[[0, 100], [200, 100]]], np.uint8), 1)
    array([[[100]]], dtype=uint8)
    """
    pixels = _checked(images, rounded=False)
    height, width = pair("digit_size", digit_size)
    rows, columns = _area(pixels.shape[1], height), _area(pixels.shape[2], width)
    return _rounded(rows @ pixels.astype(np.float32) @ columns.T)


def _rounded(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels).astype(np.uint8)


def _checked(images: ArrayLike, *, rounded: bool = True) -> NDArray[Any]:
    """Return images in 0..255, as uint8 unless `rounded` is False."""
    pixels = np.asarray(images)
    if pixels.ndim != 3:
        raise ShapeError(f"images must be of shape (n, height, width), got {pixels.shape}")
    if pixels.size == 0:
        raise DataError(f"images must not be empty, got shape {pixels.shape}")
    if pixels.dtype.kind == "f":
        # NaN fails both comparisons.
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise DataError(
                "images must be uint8, or floats in 0..1, "
                f"got floats in {pixels.min():g}..{pixels.max():g}"
            )
        pixels = 255 * pixels
    elif pixels.dtype != np.uint8:
        raise DataError(f"images must be uint8, or floats in 0..1, got {pixels.dtype}")
    return _rounded(pixels) if rounded else pixels


def _area(old: int, new: int) -> NDArray[np.float32]:
    """Return the matrix (new, old) that averages `old` pixels over the areas of `new` ones."""
    edges = np.linspace(0, old, new + 1)
    starts, ends = edges[:-1, np.newaxis], edges[1:, np.newaxis]
    pixel = np.arange(old)
    covered = np.maximum(np.minimum(ends, pixel + 1) - np.maximum(starts, pixel), 0)
    return np.asarray(covered * (new / old), np.float32)


def _speeds(speed: Any) -> tuple[float, float]:
    try:
        low, high = speed if isinstance(speed, tuple | list) else (speed, speed)
        if 0 <= low <= high <= 1:
            return float(low), float(high)
    except (TypeError, ValueError):
        pass
    raise ArgumentError(f"speed must be a number in 0..1, or (low, high), got {speed!r}")
