"""What users hand over, made ready for the engine: one array of windows, or a list of sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast.errors import DataError, ShapeError

# Kinds that libtorch reads in place; others are converted.
_IN_PLACE = "?bhilqBefd"

Frames = NDArray[Any] | list[NDArray[Any]]
# What the engine takes: a name for errors, frames, what it expects of them where only numbers of
# 0..1 will do, and whether they are pages of a file that it may give back when it has read them.
Column = tuple[str, Frames, str | None, bool]


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
        return [self.frames.shape[1]] * len(self.frames)

    @property
    def is_bytes(self) -> bool:
        """Whether there are bytes, 0..255, which the engine scales to 0..1."""
        arrays = self.frames if isinstance(self.frames, list) else [self.frames]
        return any(array.dtype == np.uint8 for array in arrays)

    @property
    def in_memory(self) -> bool:
        """Whether reading all of it touches no file."""
        return isinstance(self.frames, list) or _mapping(self.frames) is None

    def column(self, unit_range: str | None) -> Column:
        """Give the engine these frames; `unit_range`: what it expects where only 0..1 will do."""
        mapping = None if isinstance(self.frames, list) else _mapping(self.frames)
        # Pages of a private map ("c") may hold what the user wrote.
        pages = isinstance(mapping, np.memmap) and mapping.mode != "c"
        return self.name, self.frames, unit_range, pages

    def __len__(self) -> int:
        return len(self.frames)

    def split(self, horizon: int) -> tuple[Sequences, Sequences]:
        """Cut every window into a past and a future of `horizon` frames, without copying."""
        if isinstance(self.frames, list):
            cuts = [len(sequence) - horizon for sequence in self.frames]
            past: Frames = [s[:cut] for s, cut in zip(self.frames, cuts, strict=True)]
            future: Frames = [s[cut:] for s, cut in zip(self.frames, cuts, strict=True)]
        else:
            cut = self.frames.shape[1] - horizon
            past, future = self.frames[:, :cut], self.frames[:, cut:]
        return Sequences("past", past), Sequences("future", future)


def sequences(name: str, given: Any) -> Sequences:
    """Take `given` as windows; it is copied only where libtorch cannot read it in place.

    Raises
    ------
    ShapeError
        If it has fewer than 3 dimensions (2 for each of a list), or its frames differ in shape.
    DataError
        If there is no window, or what it holds is not numbers.
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

    array = _array(name, given)
    if array.ndim < 3:
        raise ShapeError(
            f"{name} must be of at least 3 dimensions (n, T, *frame_shape), got shape "
            f"{array.shape}; for one number a frame use x[..., None], for one window x[None]"
        )
    if len(array) == 0:
        raise DataError(f"{name} must hold at least one window, got shape {array.shape}")
    _not_empty(name, array.shape[2:])
    return Sequences(name, array)


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
    """Make an array that libtorch reads in place: aligned, native, of no negative stride."""
    if hasattr(given, "toarray"):
        raise DataError(f"{name} must be dense, got a sparse {type(given).__name__}")
    try:
        array = np.asarray(given)
    except (ValueError, TypeError) as error:
        got = _kind(given)
        raise ShapeError(f"{name} must be an array of numbers, got {got}: {error}") from None
    if array.dtype.char not in _IN_PLACE:
        if array.dtype.kind not in "uif":
            raise DataError(
                f"{name} must hold real numbers, got {_kind(given)} of dtype {array.dtype}"
            )
        array = array.astype(np.float32)
    if not array.dtype.isnative or not array.flags.aligned:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        array = np.ascontiguousarray(array)
    return array


def _mapping(array: Any) -> Any:
    """Find the memory map that an array looks into, if any."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and not isinstance(array.base, np.memmap):
            return array
        array = array.base
    return array if type(array).__name__ == "mmap" else None


def _kind(given: Any) -> str:
    return f"a {type(given).__name__}"
