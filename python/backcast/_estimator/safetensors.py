"""The container of model files: safetensors, with float32 arrays alone.

The format is the length of the header (8 bytes, little endian), the header (JSON: dtype, shape and
place of each array, and text by key), and the arrays one after another.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]

# As in the format's own reader.
_LONGEST_HEADER = 100_000_000


def write(file: BinaryIO, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write arrays and text."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    stored = [(name, np.ascontiguousarray(arrays[name], dtype="<f4")) for name in sorted(arrays)]
    end = 0
    for name, array in stored:
        offsets = [end, end := end + array.nbytes]
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    # The arrays begin at a multiple of 8.
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for _, array in stored:
        file.write(array.reshape(-1).view(np.uint8).data)


@dataclass(frozen=True)
class Header:
    """What a file says about itself, before any array is read."""

    metadata: dict[str, str]
    tensors: dict[str, Any]
    start: int
    """Where the arrays begin."""
    size: int
    """Bytes of all arrays."""

    def shapes(self) -> dict[str, list[int]]:
        """Return the shape of each array, in the order of their places; check all of them.

        Raises
        ------
        ValueError
            If they are not float32 arrays that fill the file, one after another.
        """
        shapes, end = {}, 0
        for name, tensor in sorted(self.tensors.items(), key=_place):
            if tensor["dtype"] != "F32":
                raise ValueError(f"{name} must be of dtype F32, got {tensor['dtype']}")
            shape = tensor["shape"]
            if not isinstance(shape, list) or len(shape) > 32 or not all(map(is_count, shape)):
                raise ValueError(f"{name} has no shape")
            if _place((name, tensor)) != (end, end + 4 * math.prod(shape)):
                raise ValueError(f"{name} is not in its place")
            shapes[name], end = shape, end + 4 * math.prod(shape)
        if end != self.size:
            raise ValueError(f"its arrays take {end} bytes, and it has {self.size}")
        return shapes


def is_count(value: Any) -> bool:
    """Whether a value from JSON is a number of things."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**53


def read_header(file: BufferedReader, size: int) -> Header:
    """Read the header of a file of `size` bytes.

    Raises
    ------
    ValueError
        If there is none.
    """
    start = file.read(8)
    if len(start) < 8:
        raise ValueError("it is too short")
    (length,) = struct.unpack("<Q", start)
    if length > min(size - 8, _LONGEST_HEADER):
        raise ValueError("it is shorter than its header")
    tensors = parse(file.read(length).decode())
    if not isinstance(tensors, dict):
        raise ValueError("its header is not a table")
    metadata = tensors.pop("__metadata__", {})
    texts = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    if not texts or not all(isinstance(tensor, dict) for tensor in tensors.values()):
        raise ValueError("its header is not that of arrays")
    return Header(metadata, tensors, 8 + length, size - 8 - length)


def read_arrays(file: BufferedReader, shapes: Mapping[str, list[int]]) -> Arrays:
    """Read the arrays that follow the header, in the order of their places."""
    arrays: Arrays = {}
    for name, shape in shapes.items():
        array = np.empty(math.prod(shape), dtype="<f4")
        if file.readinto(array.view(np.uint8).data) != array.nbytes:
            raise ValueError("it is cut short")
        arrays[name] = array.astype(np.float32, copy=False).reshape(shape)
    return arrays


def parse(text: str) -> Any:
    """Parse JSON; what is nested too deeply is refused as what is wrong is."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def _place(named: tuple[str, Any]) -> tuple[int, int]:
    """Return where an array begins and ends."""
    name, tensor = named
    offsets = tensor.get("data_offsets")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(is_count, offsets)):
        raise ValueError(f"{name} has no place")
    return offsets[0], offsets[1]
