"""Windows from users, prepared for the engine: one array of windows, or a list of sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast.errors import DataError, ShapeError

# Kinds that libtorch reads in place; others are converted.
_IN_PLACE = "?bhilqBefd"


@dataclass(frozen=True)
class Lazy:
    """Windows of an object with a shape and slices, such as an h5py dataset, read on demand."""

    name: str
    source: Any
    # Which windows, and which frames of each.
    rows: range
    frames: range

    @property
    def length(self) -> int:
        """Number of windows."""
        return len(self.rows)

    @property
    def steps(self) -> int:
        """Number of frames in a window."""
        return len(self.frames)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an array of these windows."""
        return (self.length, self.steps, *self.source.shape[2:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        dtype: np.dtype[Any] = np.dtype(self.source.dtype)
        return dtype

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Read windows by their numbers."""
        # h5py reads rows in ascending order only.
        order = np.argsort(rows, kind="stable")
        frames = slice(self.frames.start, self.frames.stop)
        picked = self.source[rows[order] + self.rows.start, frames]
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return _array(self.name, np.asarray(picked)[back])

    def cut(self, rows: slice, frames: slice) -> Lazy:
        """Return a part of the windows and frames."""
        return replace(self, rows=self.rows[rows], frames=self.frames[frames])


Frames = NDArray[Any] | list[NDArray[Any]] | Lazy


class Column(NamedTuple):
    """One side of the windows (pasts or futures) as the engine takes it."""

    # The argument's name, for errors.
    name: str
    frames: Frames
    # Requires numbers in 0..1, and describes them in errors; None allows any number.
    unit_range: str | None
    # Whether the engine may release the pages after reading: a shared mapping of a file.
    pages: bool
    # Offset and factor, (D) each: the model sees (x - offset) / factor.
    scale: tuple[NDArray[np.float64], NDArray[np.float64]] | None


@dataclass(frozen=True)
class Sequences:
    """Windows of one side: an array (n, T, *frame_shape), or n arrays (T_i, *frame_shape)."""

    name: str
    frames: Frames

    @property
    def ragged(self) -> bool:
        """Whether these are sequences of unequal length, given as a list."""
        return isinstance(self.frames, list)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one frame."""
        if isinstance(self.frames, list):
            return tuple(self.frames[0].shape[1:])
        return tuple(self.frames.shape[2:])

    @property
    def lengths(self) -> list[int]:
        """Number of frames of each sequence."""
        if isinstance(self.frames, list):
            return [len(sequence) for sequence in self.frames]
        return [self.frames.shape[1]] * len(self)

    @property
    def span(self) -> tuple[int, int]:
        """The least and the most frames in a sequence."""
        if isinstance(self.frames, list):
            lengths = self.lengths
            return min(lengths), max(lengths)
        return self.frames.shape[1], self.frames.shape[1]

    @property
    def is_bytes(self) -> bool:
        """Whether some frames are bytes, 0..255, which the engine scales to 0..1."""
        return np.dtype(np.uint8) in self._dtypes

    @property
    def only_bytes(self) -> bool:
        """Whether all frames are bytes, which are never NaN or infinite."""
        return self._dtypes == {np.dtype(np.uint8)}

    @property
    def _dtypes(self) -> set[np.dtype[Any]]:
        arrays = self.frames if isinstance(self.frames, list) else [self.frames]
        return {array.dtype for array in arrays}

    @property
    def in_memory(self) -> bool:
        """Whether all frames are in memory and not in a file."""
        return isinstance(self.frames, list) or (
            isinstance(self.frames, np.ndarray) and _mapping(self.frames) is None
        )

    def column(self, unit_range: str | None, scale: Any = None) -> Column:
        """Return these frames as the engine takes them."""
        mapping = None if isinstance(self.frames, list) else _mapping(self.frames)
        # A private mapping ("c") may hold what the user wrote; a copied or unpickled memmap has
        # neither a mode nor a file, only memory of its own.
        shared = isinstance(mapping, np.memmap) and mapping.mode in ("r", "r+", "w+")
        pages = shared and getattr(mapping, "_mmap", None) is not None
        return Column(self.name, self.frames, unit_range, pages, scale)

    def __len__(self) -> int:
        return len(self.frames) if isinstance(self.frames, list) else self.frames.shape[0]

    def array(self) -> NDArray[Any]:
        """Return all windows, which have equal length, as one array."""
        if isinstance(self.frames, Lazy):
            return self.frames.read(np.arange(len(self)))
        return np.asarray(self.frames)

    def cut(self, rows: slice) -> Sequences:
        """Return some of the windows, without copying."""
        frames = self.frames
        part = frames.cut(rows, slice(None)) if isinstance(frames, Lazy) else frames[rows]
        return replace(self, frames=part)

    def split(self, horizon: int) -> tuple[Sequences, Sequences]:
        """Cut every window into a past and a future of `horizon` frames, without copying."""
        if isinstance(self.frames, list):
            cuts = [len(sequence) - horizon for sequence in self.frames]
            past: Frames = [s[:cut] for s, cut in zip(self.frames, cuts, strict=True)]
            future: Frames = [s[cut:] for s, cut in zip(self.frames, cuts, strict=True)]
        else:
            cut, every = self.frames.shape[1] - horizon, slice(None)
            first, rest = slice(cut), slice(cut, None)
            if isinstance(self.frames, Lazy):
                past, future = self.frames.cut(every, first), self.frames.cut(every, rest)
            else:
                past, future = self.frames[every, first], self.frames[every, rest]
        return Sequences("past", past), Sequences("future", future)


def sequences(name: str, given: Any) -> Sequences:
    """Return `given` as windows; copy it only if libtorch cannot read it in place.

    Raises
    ------
    ShapeError
        If it has fewer than 3 dimensions (2 for each of a list), or its frames differ in shape.
    DataError
        If there is no window, or it does not hold numbers.
    """
    if _is_list_of_arrays(given):
        frames = [_array(f"{name}[{i}]", sequence) for i, sequence in enumerate(given)]
        if not frames:
            raise DataError(f"{name} must hold at least one window, got an empty list")
        for i, sequence in enumerate(frames):
            if sequence.ndim < 2:
                raise ShapeError(
                    f"{name}[{i}] must be of at least 2 dimensions (T, *frame_shape), "
                    f"got shape {sequence.shape}; for one number a frame use x[:, None]"
                )
            if sequence.shape[1:] != frames[0].shape[1:]:
                raise ShapeError(
                    f"{name}[{i}] must have frames of shape {frames[0].shape[1:]}, as {name}[0], "
                    f"got {sequence.shape[1:]}"
                )
        _not_empty(name, frames[0].shape[1:])
        return Sequences(name, frames)

    array = given if _is_lazy(given) else _array(name, given)
    shape = tuple(int(size) for size in array.shape)
    if len(shape) < 3:
        ways = "for one number a frame use x[..., None], for one window x[None]"
        if hasattr(given, "columns"):
            ways = "windows of a table are made by backcast.data.windows"
        raise ShapeError(
            f"{name} must be of at least 3 dimensions (n, T, *frame_shape), got shape {shape}; "
            f"{ways}"
        )
    if shape[0] == 0:
        raise DataError(f"{name} must hold at least one window, got shape {shape}")
    _not_empty(name, shape[2:])
    if _is_lazy(given):
        _check_dtype(name, given, np.dtype(given.dtype))
        return Sequences(name, Lazy(name, given, range(shape[0]), range(shape[1])))
    return Sequences(name, array)


def with_frames(pasts: Sequences) -> Sequences:
    """Return pasts, each of which must have a frame."""
    if pasts.span[0] < 1:
        raise ShapeError(f"{pasts.name} must have at least 1 frame in every window, got 0")
    return pasts


def floats(frames: NDArray[Any]) -> NDArray[np.float64]:
    """Convert numbers as the engine does: bytes are 0..255 and become 0..1."""
    numbers = np.asarray(frames, dtype=np.float64)
    return numbers / 255 if frames.dtype == np.uint8 else numbers


def is_iterable(given: Any) -> bool:
    """Whether it is an iterable of batches: neither an array nor a list."""
    return (
        hasattr(given, "__iter__")
        and not isinstance(given, Sequence | Mapping | Set | np.ndarray)
        and not hasattr(given, "shape")
    )


def _is_lazy(given: Any) -> bool:
    """Whether it has a shape and slices, but is nothing that NumPy converts without reading."""
    return (
        all(hasattr(given, name) for name in ("shape", "dtype", "__getitem__"))
        and isinstance(given.shape, tuple)
        and not isinstance(given, np.ndarray | np.generic)
        # Tables, tensors and device arrays are in memory.
        and not any(hasattr(given, name) for name in ("iloc", "detach", "__array_interface__"))
        and not hasattr(given, "toarray")
    )


def _not_empty(name: str, frame_shape: tuple[int, ...]) -> None:
    if 0 in frame_shape:
        raise DataError(f"{name} must have frames of at least one number, got shape {frame_shape}")


def _is_list_of_arrays(given: Any) -> bool:
    if isinstance(given, np.ndarray):
        return given.dtype == object and given.ndim == 1 and all(map(_is_array, given))
    return isinstance(given, Sequence) and all(map(_is_array, given))


def _is_array(given: Any) -> bool:
    return hasattr(given, "shape") and hasattr(given, "__array__")


def _array(name: str, given: Any) -> NDArray[Any]:
    """Return an array that libtorch reads in place: aligned, native, without negative strides."""
    if hasattr(given, "toarray"):
        raise DataError(f"{name} must be dense, got a sparse {type(given).__name__}")
    if hasattr(given, "detach"):
        given = given.detach().cpu()
    try:
        array = np.asarray(given)
    except (ValueError, TypeError) as error:
        got = _kind(given)
        raise ShapeError(f"{name} must be an array of numbers, got {got}: {error}") from None
    if array.dtype.char not in _IN_PLACE:
        _check_dtype(name, given, array.dtype)
        array = array.astype(np.float32)
    if not array.dtype.isnative or not array.flags.aligned:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        array = np.ascontiguousarray(array)
    return array


def _check_dtype(name: str, given: Any, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "uifb":
        raise DataError(f"{name} must hold real numbers, got {_kind(given)} of dtype {dtype}")


def _mapping(array: Any) -> Any:
    """Return the memory map of which an array is a view, if any."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and not isinstance(array.base, np.memmap):
            return array
        array = array.base
    return array if type(array).__name__ == "mmap" else None


def _kind(given: Any) -> str:
    return f"a {type(given).__name__}"
