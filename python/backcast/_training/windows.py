"""Pasts and futures from a user's arrays, and held-out windows."""

from __future__ import annotations

from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from backcast._engine.columns import Sequences, check_names, sequences, with_frames
from backcast._parameters import integer
from backcast._warn import warn
from backcast.data.series import Windows
from backcast.errors import ArgumentError, DecoderError, ShapeError


class Pair(NamedTuple):
    """Pasts and futures; futures are None if windows are all past."""

    pasts: Sequences
    futures: Sequences | None

    @property
    def lengths(self) -> tuple[int, int]:
        """The most frames in a past and in a future."""
        return self.pasts.span[1], self.futures.span[1] if self.futures is not None else 0

    @property
    def is_checked_first(self) -> bool:
        """Whether to check all numbers before training: only in memory, where it is quick."""
        sides = [side for side in self if side is not None]
        return all(s.in_memory for s in sides) and not all(s.only_bytes for s in sides)

    def cut(self, rows: slice) -> Pair:
        """Return some of the windows, without copying."""
        return Pair(self.pasts.cut(rows), self.futures and self.futures.cut(rows))

    def some(self, n: int) -> Pair:
        """Return at most `n` of the windows, evenly, without copying."""
        return self.cut(slice(None, None, -(-len(self.pasts) // n)))


def pair_of(
    past: Any,
    future: Any,
    horizon: int | None,
    *,
    predicts: bool,
    asked: int | None = None,
    name: str = "past",
) -> Pair:
    """Return pasts and futures, from two arrays or from one.

    Parameters
    ----------
    past, future : array_like or list
        As `Model.fit` takes them.
    horizon : int or None
        Future frames of windows that are given whole; None cuts them in half. Windows of a table
        that have a future are the pair of their parts.
    predicts : bool
        Whether the model has a predict decoder; without one, windows are all past.
    asked : int, default=None
        The number of frames that a given future must have.
    name : str, default="past"
        What messages call the pasts.
    """
    if future is not None:
        second = "future" if name == "past" else name
        if getattr(future, "ndim", 0) == 1 and second == "future":
            raise ShapeError(
                "future must be frames as the past has them, got one number or word for each "
                "window: Classifier.fit takes labels"
            )
        _check_apart(past, future)
        pasts, futures = sequences(name, past), sequences(second, future)
        if not predicts:
            raise DecoderError(
                'future must be None with decoders="reconstruct": a window is all past'
            )
        if len(pasts) != len(futures):
            whose = "past" if name == "past" else "its past"
            raise ShapeError(
                f"{second} must have as many windows as {whose}, {len(pasts)}, got {len(futures)}"
            )
    else:
        second, windows = "future", sequences(name, past)
        if predicts:
            own = _own_horizon(past, advise=horizon is None)
            pasts, futures = windows.split(own or _horizon(windows, horizon))
        else:
            pasts, futures = windows, None
    if futures is not None and asked not in (None, futures.span[1]):
        raise ShapeError(f"{second} must have horizon={asked} frames, got {futures.span[1]}")
    return Pair(with_frames(pasts), futures)


def _check_apart(past: Any, future: Any) -> None:
    """Refuse windows of a table whose pasts hold frames of their futures, which would be known."""
    both = isinstance(past, Windows) and isinstance(future, Windows)
    if both and past.values is future.values and np.array_equal(past.starts, future.starts):
        if past.frames.stop > future.frames.start:
            raise ShapeError(
                "past must end where future begins, at frame "
                f"{future.frames.start}, got frames up to {past.frames.stop}: "
                "give w.past and w.future"
            )


def _own_horizon(windows: Any, *, advise: bool) -> int:
    """Return the future frames of windows of a table; 0 if they have no two sides to know.

    With `advise`, warn then.
    """
    if not isinstance(windows, Windows):
        return 0
    n, n_future = len(windows.frames), max(0, windows.frames.stop - windows.n_past)
    if 0 < n_future < n:
        return n_future
    if advise and n > 1:
        warn(
            f"windows of {n} frames that are all {'future' if n_future else 'past'} are cut in "
            f"half, {n - n // 2} frames of past and {n // 2} of future: windows(..., future=...) "
            'or Model(horizon=...) says how many, Model(decoders="reconstruct") takes all as past'
        )
    return 0


def _horizon(windows: Sequences, horizon: int | None) -> int:
    shortest, longest = windows.span
    if horizon is None:
        if shortest != longest:
            raise ArgumentError(
                "horizon must be given when windows differ in length "
                f"({shortest} to {longest} frames), got None"
            )
        return longest // 2
    horizon = integer("horizon", horizon, least=0)
    if horizon >= shortest:
        raise ShapeError(
            f"windows must be longer than the horizon of {horizon} frames, got {shortest}"
        )
    return horizon


def hold_out(given: Any, pair: Pair, part: float) -> tuple[Pair, Pair]:
    """Return the windows to train on and those held out: the last ones.

    If `given` are windows of a table, whole recordings are held out, or windows that share no row
    with the rest.
    """
    n = len(pair.pasts)
    held_out = round(part * n)
    if not (0 < part < 1 and 0 < held_out < n):
        raise ArgumentError(
            f"validation must be a fraction of the {n} windows, between 0 and 1, that leaves some "
            f"on both sides, got {part}"
        )
    rest, last = slice(n - held_out), slice(n - held_out, None)
    if isinstance(given, Windows):
        rest, last = _last_recordings(given, held_out, sum(pair.lengths))
    return pair.cut(rest), pair.cut(last)


def _last_recordings(windows: Windows, n: int, frames: int) -> tuple[slice, slice]:
    """Divide windows of `frames` frames: the first to train on, about the last n to hold out.

    Both sides share no recording; if there is only one, they share no row.
    """
    starts, groups = windows.starts, windows.row_groups
    first = len(windows) - n
    if (np.diff(starts) <= 0).any():
        return slice(first), slice(first, None)
    if groups is not None:
        of_windows = groups[starts]
        begins = np.flatnonzero(of_windows[1:] != of_windows[:-1]) + 1
        if len(begins):
            first = int(begins[np.abs(begins - first).argmin()])
            return slice(first), slice(first, None)
    before = int(np.searchsorted(starts, starts[first] - frames, side="right"))
    return slice(before or first), slice(first, None)


def is_part(validation: Any) -> bool:
    """Whether `validation` is a fraction of the windows, not windows."""
    return isinstance(validation, Real) and not isinstance(validation, bool)


def part_of(validation: Any) -> float | None:
    """Return the fraction of rows to hold out; None if `validation` has rows of its own."""
    if isinstance(validation, bool | str | bytes) or (
        is_part(validation) and not 0 < validation < 1
    ):
        raise ArgumentError(
            f"validation must be a fraction between 0 and 1, or rows, got {validation!r}"
        )
    return float(validation) if is_part(validation) else None


def validation_pair(validation: Any, own: Pair, *, predicts: bool) -> Pair:
    """Return held-out windows: one array, or a pair of them."""
    if isinstance(validation, bool | str | bytes):
        raise ArgumentError(
            "validation must be windows, a pair (past, future) or a part of the windows, 0 to 1, "
            f"got {validation!r}"
        )
    past, future = validation, None
    if isinstance(validation, tuple | list) and len(validation) == 2:
        # A list of two is a pair too where it is what a DataLoader gives, not two sequences.
        shapes = [getattr(side, "shape", ()) for side in validation]
        paired = all(len(shape) > len(own.pasts.frame_shape) + 1 for shape in shapes)
        if isinstance(validation, tuple) or paired:
            past, future = validation
    pair = pair_of(past, future, own.lengths[1], predicts=predicts, name="validation")
    for mine, other in zip(pair, own, strict=True):
        if mine is not None and other is not None:
            check_names("validation", mine.columns, other.columns, "fit")
    for side, other in zip(pair, own, strict=True):
        if side is not None and other is not None and side.frame_shape != other.frame_shape:
            raise ShapeError(
                f"validation must have frames of shape {other.frame_shape}, as {other.name}, "
                f"got {side.frame_shape}"
            )
    return pair
