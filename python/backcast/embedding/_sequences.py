"""Sequences from tables, lists and arrays: the runs without a gap of each, and their labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast._engine.columns import sequences
from backcast._engine.scale import Moments
from backcast.data._recordings import Recordings, is_table, of_series
from backcast.data.series import Windows
from backcast.errors import DataError, ShapeError

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Given:
    """What a user gave: for each sequence its runs (T, D), which have no gap.

    `columns` are the labels of the numbers, None where there are none; `index` is a pandas.Index
    with the label of each sequence, None for arrays.
    """

    runs: list[list[Numbers]]
    columns: list[Any] | None
    index: Any = None

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return int(self.runs[0][0].shape[1])

    @property
    def lengths(self) -> list[int]:
        """Rows of each sequence."""
        return [sum(map(len, runs)) for runs in self.runs]

    def moments(self, see: Callable[[Numbers], Numbers] | None = None) -> Moments:
        """Mean and deviation of each column of all sequences in a view."""
        moments = Moments((self.width,))
        for runs in self.runs:
            for run in runs:
                moments.add(run if see is None else see(run))
        return moments

    def each(self) -> list[Given]:
        """Return each sequence by itself, without its label."""
        return [Given([runs], self.columns) for runs in self.runs]

    def units(self) -> tuple[Numbers, Numbers]:
        """Mean and deviation of each column of each sequence, (n, D); 1 where it does not vary."""
        mean, deviation = map(
            np.stack, zip(*(unit_of(one.moments()) for one in self.each()), strict=True)
        )
        return mean, deviation

    def in_units(self, mean: Numbers, deviation: Numbers) -> Given:
        """Return the sequences in units of their own, (n, D)."""
        units = zip(self.runs, mean, deviation, strict=True)
        return replace(self, runs=[[(run - m) / d for run in runs] for runs, m, d in units])


def varies(moments: Moments) -> NDArray[np.bool_]:
    """Whether each column varies by more than rounding."""
    varying: NDArray[np.bool_] = moments.std > 1e-9 * np.abs(moments.mean)
    return varying


def unit_of(moments: Moments) -> tuple[Numbers, Numbers]:
    """Return mean and deviation of each column; a column that does not vary has 1."""
    return moments.mean, np.where(varies(moments), moments.std, 1.0)


def given_of(given: Any, group: Any, time: Any, columns: Any, gap: Any) -> Given:
    """Return the sequences of a table of recordings, of a list, or of an array (n, T, D)."""
    if is_table(given):
        found = _of_table(of_series(given, group, time, columns, gap))
    else:
        found = _of_windows(given)
    for i, runs in enumerate(found.runs):
        if any(np.isinf(run).any() for run in runs):
            raise DataError(
                "sequences must hold finite numbers or NaN, got an infinite one in "
                f"{_name(found, i)}"
            )
        if not any((~np.isnan(run)).any() for run in runs):
            raise DataError(
                f"every sequence must hold a number, got none in {_name(found, i)}: leave it out"
            )
    return found


def _name(given: Given, i: int) -> str:
    return f"sequence {i}" if given.index is None else repr(given.index[i])


def _of_table(rows: Recordings) -> Given:
    """Take each recording of a table as a sequence."""
    import pandas as pd

    values = rows.values.astype(np.float64)
    runs = [values[begin:end] for begin, end in zip(rows.begins, rows.ends, strict=True)]
    if rows.row_groups is None:
        return Given([runs], rows.columns, pd.RangeIndex(1))
    of_runs = rows.row_groups[rows.begins]
    firsts = [i for i in range(len(runs)) if not i or of_runs[i] != of_runs[i - 1]]
    parts = [runs[a:b] for a, b in zip(firsts, [*firsts[1:], len(runs)], strict=True)]
    labels, name = [of_runs[i] for i in firsts], rows.names[0]
    if isinstance(name, tuple) and isinstance(labels[0], tuple) and len(labels[0]) == len(name):
        index: Any = pd.MultiIndex.from_tuples(labels, names=name)
    else:
        index = pd.Index(labels, name=name)
    return Given(parts, rows.columns, index)


def _of_windows(given: Any) -> Given:
    side = sequences("sequences", given)
    if len(side.frame_shape) > 1:
        raise ShapeError(
            "sequences must have frames of one dimension, (T_i, n_columns) each, got frames of "
            f"shape {side.frame_shape}: x.reshape(len(x), -1) makes one of them"
        )
    whole = side.frames if isinstance(side.frames, list) else side.array()
    runs = [[np.asarray(each, np.float64)] for each in whole]
    if not side.span[0]:
        raise ShapeError("every sequence must have at least 1 row, got 0")
    columns = None if side.columns is None else list(side.columns)
    return Given(runs, columns, given.index if isinstance(given, Windows) else None)
