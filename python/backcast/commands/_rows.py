"""Rows of files in order: parts with the rows around them, gaps, and the ends of recordings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast.commands._files import Table
from backcast.data._calendars import MONDAY, TIMES, WEEK, Week, as_offset, may_close
from backcast.errors import ArgumentError, DataError

# Different steps of time in one recording from which their median is computed.
_STEPS = 2**20
# A step of more than this many median steps is a gap, as in `backcast.data.windows`.
_MEDIANS = 1.5


@dataclass(frozen=True)
class Chunk:
    """Rows of a part of a file, with rows before and after them.

    Attributes
    ----------
    rows : DataFrame or ndarray
        All of them.
    first : int
        The number in the file of the first one.
    before, n : int
        Number of rows before the part, and in it.
    """

    rows: Any
    first: int
    before: int
    n: int


def chunks(blocks: Iterable[Any], before: int, after: int) -> Iterator[Chunk]:
    """Give each block the rows before and after it."""
    blocks = iter(blocks)
    current, lead, first = next(blocks, None), None, 0
    while current is not None:
        following = next(blocks, None)
        parts = [lead, current, None if following is None or not after else cut(following, after)]
        n_lead = 0 if lead is None else len(lead)
        yield Chunk(joined(parts), first - n_lead, n_lead, len(current))
        first += len(current)
        lead = cut(joined([lead, current]), -before) if before else None
        current = following


def finite(blocks: Iterable[Any], columns: list[str], path: str) -> Iterator[Any]:
    """Give on blocks that hold no infinite number.

    Raises
    ------
    DataError
        If one does; the message says where.
    """
    first = 0
    for block in blocks:
        rows = block if isinstance(block, np.ndarray) else block[columns].to_numpy()
        if rows.dtype.kind == "f" and np.isinf(rows).any():
            place = np.argwhere(np.isinf(rows))[0]
            column = f" of column {columns[place[1]]!r}" if columns else ""
            raise DataError(
                f"{path}, row {first + place[0]:,}{column}: must hold finite numbers or none, got "
                "an infinite one"
            )
        yield block
        first += len(block)


def joined(parts: Iterable[Any]) -> Any:
    """Put tables, or arrays, together; None is left out."""
    some = [part for part in parts if part is not None and len(part)]
    if len(some) < 2 or isinstance(some[0], np.ndarray):
        return some[0] if len(some) == 1 else np.concatenate(some)
    import pandas as pd

    return pd.concat(some, ignore_index=True)


def cut(rows: Any, n: int) -> Any:
    """Return the first rows, or with a negative number the last ones."""
    part = slice(n) if n >= 0 else slice(n, None)
    return rows[part] if isinstance(rows, np.ndarray) else rows.iloc[part]


@dataclass(frozen=True)
class Keys:
    """The columns with the recording and the time of a row.

    Attributes
    ----------
    group : list of str
        Columns that name the recording; empty for one recording.
    time : str or None
        The column of the times.
    """

    group: list[str]
    time: str | None

    @property
    def columns(self) -> list[str]:
        """All of them."""
        return [*self.group, *([] if self.time is None else [self.time])]

    def names(self, rows: Any) -> NDArray[Any]:
        """Return the number of each row's recording, counted from the first row."""
        if not self.group:
            return np.zeros(len(rows), np.intp)
        keys = [rows[name] for name in self.group]
        changed = [np.asarray(key.iloc[1:].array != key.iloc[:-1].array, bool) for key in keys]
        return np.append(0, np.cumsum(np.any(changed, axis=0)))

    def label(self, rows: Any, row: int) -> Any:
        """Return the recording that a row belongs to, as `backcast.data.windows` names it."""
        names = [rows[name].iloc[row] for name in self.group]
        return names[0] if len(names) == 1 else tuple(names)

    def times(self, rows: Any, path: str) -> NDArray[Any]:
        """Return the times as plain numbers, dates or durations."""
        times = rows[self.time]
        if times.isna().any():
            raise DataError(f"{path}: time must be known in every row, got none in {self.time!r}")
        if getattr(times.dtype, "tz", None) is not None:
            times = times.dt.tz_convert(None)
        if times.dtype.kind not in "iufmM":
            raise DataError(
                f"{path}: {self.time!r} must hold numbers or dates as 2026-01-31 12:00:00, got "
                f"{times.iloc[0]!r}; pandas.to_datetime reads others"
            )
        kind = {"i": "i8", "u": "i8", "f": "f8"}.get(times.dtype.kind)
        plain: NDArray[Any] = times.to_numpy(kind)
        return plain


@dataclass
class _Steps:
    """How often each step of time occurs in one recording."""

    values: NDArray[Any] | None = None
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    # Parts that the recording has rows in.
    parts: int = 0
    # How often each time of the week occurs, and the first and the last date, in nanoseconds.
    week: Counter[int] = field(default_factory=Counter)
    span: tuple[int, int] = (0, 0)
    weekdays_alone: bool = True
    over_weekends: bool = False

    def add(self, times: NDArray[Any], path: str) -> None:
        """Count the steps between these times, those of one part."""
        self.parts += 1
        values, counts = np.unique(np.diff(times), return_counts=True)
        if self.values is not None:
            both = np.concatenate([self.values, values])
            values, place = np.unique(both, return_inverse=True)
            summed = np.bincount(place, np.concatenate([self.counts, counts]))
            counts = summed.astype(np.int64)
        self.values, self.counts = values, counts
        if len(values) > _STEPS:
            raise ArgumentError(
                f"{path}: gap must be given, --gap, as its steps of time are too many to learn it"
            )
        if times.dtype.kind == "M":
            # The first day of 1970 was a Thursday.
            day = (times.astype("M8[D]").astype(np.int64) + 3) % 7
            since = times.astype("M8[ns]").astype(np.int64) - MONDAY
            # The first one is the last of the part before.
            new = since if self.parts == 1 else since[1:]
            if len(self.week) <= TIMES and len(new):
                within, often = np.unique(new % WEEK, return_counts=True)
                self.week.update(dict(zip(within.tolist(), often.tolist(), strict=True)))
            self.span = (int(since[0]) if self.parts == 1 else self.span[0], int(since[-1]))
            self.weekdays_alone &= not (day > 4).any()
            self.over_weekends |= bool((day[1:] < day[:-1]).any())

    def gap(self, path: str) -> Any:
        """Return the longest step without a gap; None for a recording of one part."""
        if self.parts < 2 or self.values is None or not len(self.values):
            return None
        ends = np.cumsum(self.counts)
        n = int(ends[-1])
        low, high = (self.values[np.searchsorted(ends, i, "right")] for i in ((n - 1) // 2, n // 2))
        longest = _MEDIANS * (np.float64(low) + np.float64(high)) / 2
        if self.week and (calendar := self._calendar(longest)) is not None:
            return calendar
        if self.weekdays_alone and self.over_weekends:
            raise ArgumentError(
                f"{path}: gap must be given, as its dates leave out weekends: --gap B if a weekend "
                "is none, or a duration"
            )
        if self.values.dtype.kind == "m":
            return np.asarray(longest).astype(np.int64).astype(self.values.dtype)[()]
        return float(longest)

    def _calendar(self, longest: np.float64) -> Any:
        """Return the calendar with closed days or hours, if dates have gaps in most weeks."""
        assert self.values is not None
        gaps = self.counts[self.values.astype(np.float64) > longest].sum()
        first, last = self.span
        if not may_close(gaps, (last - first) / (WEEK / 7)):
            return None
        times, counts = np.array(sorted(self.week.items())).T
        week = Week.of_counts(times, counts, first, last)
        return None if week is None else as_offset(week)

    def found(self, label: Any, path: str) -> dict[Any, Any]:
        """Return the gap by the recording's label; nothing for a recording of one part."""
        gap = self.gap(path)
        return {} if gap is None else {label: gap}


def survey(file: Table, keys: Keys, size: int, *, gaps: bool) -> Any:
    """Check the order of a file's rows, before hours of work.

    Parameters
    ----------
    file : Table
        The file.
    keys : Keys
        The recording and the time of a row.
    size : int
        Rows in a part. A file of one part may have its rows in any order.
    gaps : bool
        Whether to learn the longest step of time without a gap.

    Returns
    -------
    None, number, duration or dict
        The longest step without a gap, for `backcast.data.windows`: of recordings in more than one
        part, by their labels; of the others it is learnt with their part.

    Raises
    ------
    DataError
        If a recording is not in one place, or its times do not rise.
    ArgumentError
        If the longest step cannot be learnt.
    """
    if not keys.columns:
        return None
    found: dict[Any, Any] = {}
    seen: set[Any] = set()
    label: Any = None
    last: Any = None
    problem: str | None = None
    steps, row = _Steps(), 0
    for block in file.blocks(keys.columns, size, keys.columns):
        if problem:
            raise DataError(problem)
        runs = keys.names(block)
        starts = np.flatnonzero(np.append(True, runs[1:] != runs[:-1]))
        times = None if keys.time is None else keys.times(block, file.path)
        for begin, end in zip(starts, [*starts[1:], len(block)], strict=True):
            goes_on = begin == 0 and row > 0 and (not keys.group or keys.label(block, 0) == label)
            if not goes_on:
                found |= steps.found(label, file.path)
                steps, last = _Steps(), times[:0] if times is not None else None
                label = keys.label(block, begin) if keys.group else None
                if label in seen:
                    problem = problem or _out_of_order(file.path, keys, row + begin, label)
                seen.add(label)
            if times is None:
                continue
            own = np.concatenate([last, times[begin:end]])
            if len(own) > 1 and not (own[1:] > own[:-1]).all():
                problem = problem or _out_of_order(file.path, keys, row + begin, label)
            # Only a recording that reaches the end or the start of a part may be in several.
            if gaps and not problem and (goes_on or end == len(block)):
                steps.add(own, file.path)
            last = times[end - 1 : end]
        row += len(block)
    if problem and row > size:
        raise DataError(problem)
    found |= steps.found(label, file.path)
    return (found or None) if keys.group else found.get(None)


def _out_of_order(path: str, keys: Keys, row: int, label: Any) -> str:
    by = " and ".join(map(repr, keys.columns))
    where = f"row {row:,}" + (f" of {label!r}" if keys.group else "")
    return (
        f"{path}: rows must be in the order of {by}, without two of the same time, as the file is "
        f"read part by part, got others at {where}; sort it first, or choose larger parts by "
        "--part-rows"
    )
