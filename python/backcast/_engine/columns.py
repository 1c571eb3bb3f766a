"""Windows from users, prepared for the engine: one array of windows, or a list of sequences."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast._engine import tables
from backcast.errors import ArgumentError, DataError, ShapeError

# Windows whose numbers stand for those of all.
_SOME = 16
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
        picked = self.source[rows[order] * self.rows.step + self.rows.start, frames]
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
    # Labels of the numbers in a frame, where the input has them.
    columns: tuple[Any, ...] | None = None

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
    def is_single(self) -> bool:
        """Whether single precision holds all of these numbers."""
        return all(np.can_cast(dtype, np.float32) for dtype in self._dtypes)

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

    def digest(self) -> str:
        """Return a word for the numbers of some windows, the first and the last among them."""
        rows = np.unique(np.linspace(0, len(self) - 1, _SOME).astype(int))
        if isinstance(self.frames, list):
            some = [self.frames[row] for row in rows]
        elif isinstance(self.frames, Lazy):
            some = [self.frames.read(rows)]
        else:
            some = [self.frames[rows]]
        return f"{zlib.crc32(b''.join(array.tobytes() for array in some)):08x}"

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
        name = "future" if self.name == "past" else self.name
        return replace(self, frames=past), replace(self, name=name, frames=future)


def sequences(name: str, given: Any) -> Sequences:
    """Return `given` as windows; copy it only if libtorch cannot read it in place.

    Raises
    ------
    ShapeError
        If it has fewer than 3 dimensions (2 for each of a list), or its frames differ in shape.
    DataError
        If there is no window, or it does not hold numbers.
    """
    if isinstance(given, memoryview):
        given = np.asarray(given)
    _check_container(name, given)
    if _is_list_of_arrays(given):
        return _list(name, given)
    array = given if _is_lazy(given) else _array(name, given)
    try:
        shape = tuple(int(size) for size in array.shape)
    except ValueError:
        raise ShapeError(
            f"{name} must be of a known shape, got {array.shape}: call compute_chunk_sizes() first"
        ) from None
    if len(shape) < 3:
        ways = "for one number a frame use x[..., None], for one window x[None]"
        raise ShapeError(
            f"{name} must be of at least 3 dimensions (n, T, *frame_shape), got shape {shape}; "
            f"{ways}"
        )
    if shape[0] == 0:
        raise DataError(f"{name} must hold at least one window, got shape {shape}")
    _not_empty(name, shape[2:])
    if _is_lazy(given):
        _check_dtype(name, given, np.dtype(given.dtype))
        lazy = Lazy(name, given, range(shape[0]), range(shape[1]))
        # Windows of a table know the names of its columns; another lazy source has none.
        return Sequences(name, lazy, getattr(given, "_column_names", None))
    return Sequences(name, array)


def _list(name: str, given: Any) -> Sequences:
    """Take a list of sequences: arrays, or tables with the same columns in the same order."""
    if not len(given):
        raise DataError(f"{name} must hold at least one window, got an empty list")
    columns = None
    if all(map(tables.is_table, given)):
        columns, frames = _of_tables(name, given)
    else:
        frames = [_array(f"{name}[{i}]", sequence) for i, sequence in enumerate(given)]
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
    return Sequences(name, frames, columns)


def _of_tables(name: str, given: Any) -> tuple[tuple[Any, ...], list[NDArray[Any]]]:
    """Return the columns of the first table, and the numbers of these columns of each."""
    columns: list[Any] | None = None
    frames = []
    for i, each in enumerate(given):
        table = tables.table_of(each)
        labels = tables.chosen(table, None, ())
        columns = labels if columns is None else columns
        if labels != columns:
            check_names(f"{name}[{i}]", tuple(labels), tuple(columns), f"{name}[0]")
        frames.append(_array(f"{name}[{i}]", tables.numbers(table, labels)))
    return tuple(columns or ()), frames


def check_names(
    name: str, columns: tuple[Any, ...] | None, expected: tuple[Any, ...] | None, where: str
) -> None:
    """Refuse columns other than the expected ones, or in another order; None is not known."""
    if columns is None or expected is None or columns == expected:
        return
    if sorted(map(repr, columns)) == sorted(map(repr, expected)):
        raise ArgumentError(
            f"columns of {name} must be in the order of {where}, {tables.listed(expected)}, got "
            f"{tables.listed(columns)}: table[columns] selects them in that order"
        )
    raise ArgumentError(
        f"columns of {name} must be {tables.listed(expected)}, as in {where}, got "
        f"{tables.listed(columns)}"
    )


def with_frames(pasts: Sequences) -> Sequences:
    """Return pasts, each of which must have a frame and, if of a table, a known number."""
    if pasts.span[0] < 1:
        raise ShapeError(f"{pasts.name} must have at least 1 frame in every window, got 0")
    lazy = pasts.frames
    # Windows of a table know their times, so they are refused here; others are, in the engine.
    if isinstance(lazy, Lazy) and hasattr(lazy.source, "_without_numbers"):
        unknown = lazy.source._without_numbers(lazy.rows, lazy.frames)
        if len(unknown):
            first = int(unknown[0])
            end = lazy.source._label(lazy.rows[first], lazy.frames[-1])
            raise DataError(
                f"{pasts.name} must hold at least one number in every window, got NaN alone in "
                f"{len(unknown)} of {lazy.length} windows, first in window {first}, which ends at "
                f"{end}; w[~np.isnan(w.past).all((1, 2))] leaves them out"
            )
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


def _check_container(name: str, given: Any) -> None:
    """Refuse what would be read otherwise than it is meant."""
    if hasattr(given, "shape") and not tables.is_table(given):
        return
    if tables.is_table(given):
        shape = getattr(given, "shape", None)
        got = f"a {type(given).__name__}" if shape is None else f"shape {tuple(shape)}"
        raise ShapeError(
            f"{name} must be of at least 3 dimensions (n, T, *frame_shape), got {got}; "
            "windows of a table are made by backcast.data.windows"
        )
    if isinstance(given, Mapping | Set):
        raise ShapeError(
            f"{name} must be an array, got {_kind(given)}: give its values as list(...) or "
            "numpy.stack(...)"
        )
    if not hasattr(given, "__iter__") and hasattr(given, "__getitem__") and not _as_array(given):
        raise ShapeError(
            f"{name} must be an array or give batches, got {_kind(given)}, whose items have to be "
            "put together: wrap it in a DataLoader, torch.utils.data.DataLoader(..., batch_size=n)"
        )
    if isinstance(given, list | tuple) and given and all(map(_is_batch, given)):
        raise ShapeError(
            f"{name} must be an array, a list of sequences or an iterable of batches, got a "
            f"{type(given).__name__} of batches: give the DataLoader itself, or put the batches "
            "together, numpy.concatenate(...)"
        )


def _is_batch(given: Any) -> bool:
    """Whether it is what a DataLoader yields: windows, or past and future, in a list or tuple."""
    if not isinstance(given, list | tuple) or len(given) not in (1, 2):
        return False
    return all(_is_array(each) and len(each.shape) > 2 for each in given)


def _as_array(given: Any) -> bool:
    """Whether NumPy takes it as it is, without reading item by item."""
    ways = ("__array__", "__array_interface__", "__dlpack__", "__buffer__")
    return any(hasattr(given, way) for way in ways) or isinstance(given, memoryview | str | bytes)


def real(name: str, given: Any, *, pixels: bool = False) -> NDArray[Any]:
    """Make an array of real numbers, NaN where a mask or a null says that one is missing.

    It is a view of `given` where its numbers are in memory and none has to be changed. With
    `pixels`, masked bytes become 0..1, as bytes without a mask do in the engine.
    """
    if given is None or isinstance(given, str | os.PathLike):
        hint = "" if given is None else ": read the file first, as by pandas.read_csv"
        raise DataError(f"{name} must be an array or a table of numbers, got {given!r}{hint}")
    if hasattr(given, "toarray"):
        raise DataError(f"{name} must be dense, got a sparse {type(given).__name__}")
    if hasattr(given, "detach"):
        given = _of_tensor(name, given)
    elif isinstance(given, list | tuple) and any(isinstance(g, np.ma.MaskedArray) for g in given):
        # NumPy drops the masks of a list of masked arrays.
        given = np.ma.stack(given) if len({np.shape(g) for g in given}) == 1 else given
    elif isinstance(given, list | tuple) and given and all(hasattr(g, "detach") for g in given):
        given = [_of_tensor(name, each) for each in given]
    if isinstance(given, np.ma.MaskedArray):
        given = _unmasked(given, pixels)
    try:
        array = np.asarray(given)
    except (ValueError, TypeError) as error:
        got = _kind(given)
        raise ShapeError(f"{name} must be an array of numbers, got {got}: {error}") from None
    remedy = ""
    if array.dtype == object and array.ndim:
        found = tables.objects_as_floats(array)
        if found is not None and array is not given:
            # Lists of Python's numbers, and pandas' arrays.
            return found
        if found is not None:
            remedy = ": x.astype(float) makes numbers of them"
            if np.isnan(found).any():
                remedy = ": numpy.where(pandas.isna(x), numpy.nan, x).astype(float) makes numbers"
    _check_dtype(name, given, array.dtype, remedy)
    return array


def _of_tensor(name: str, tensor: Any) -> Any:
    """Return a tensor of PyTorch as NumPy takes it."""
    tensor = tensor.detach()
    if getattr(tensor, "is_meta", False):
        raise DataError(f"{name} must hold numbers, got a tensor on the device meta")
    layout = str(getattr(tensor, "layout", "torch.strided"))
    if layout != "torch.strided":
        raise DataError(f"{name} must be dense, got a tensor of {layout}: call to_dense() first")
    tensor = tensor.cpu()
    if str(tensor.dtype) == "torch.bfloat16" or str(tensor.dtype).startswith("torch.float8"):
        # NumPy has no such types.
        tensor = tensor.float()
    return tensor.resolve_neg() if hasattr(tensor, "resolve_neg") else tensor


def _unmasked(array: Any, pixels: bool) -> NDArray[Any]:
    """Return a masked array's numbers, NaN where they are masked."""
    plain: NDArray[Any] = np.asarray(array.data)
    mask = np.broadcast_to(array.mask, plain.shape)
    if not mask.any() or plain.dtype.kind not in "buif":
        return plain
    numbers = plain.astype(np.promote_types(plain.dtype, np.float32))
    if pixels and plain.dtype == np.uint8:
        numbers /= 255
    numbers[mask] = np.nan
    return numbers


def _array(name: str, given: Any) -> NDArray[Any]:
    """Make an array that libtorch reads in place: aligned, native, of no negative stride."""
    array = real(name, given, pixels=True)
    if array.dtype.char not in _IN_PLACE:
        # float32 holds 16 bits exactly; numbers of more bits are scaled before they are rounded.
        array = array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
    if not array.dtype.isnative or not array.flags.aligned:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        array = np.ascontiguousarray(array)
    return array


def _check_dtype(name: str, given: Any, dtype: np.dtype[Any], remedy: str = "") -> None:
    if dtype.kind not in "uifb":
        got = f"{_kind(given)} of dtype {dtype}"
        raise DataError(f"{name} must hold real numbers, got {got}{remedy}")


def _mapping(array: Any) -> Any:
    """Return the memory map of which an array is a view, if any."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and not isinstance(array.base, np.memmap):
            return array
        array = array.base
    return array if type(array).__name__ == "mmap" else None


def _kind(given: Any) -> str:
    return f"a {type(given).__name__}"
