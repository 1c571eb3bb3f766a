"""What is drawn of forecasts: a past, its forecast and the true future, of one recording each."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast._engine import tables
from backcast.data._recordings import recordings
from backcast.errors import ArgumentError, ShapeError


@dataclass(frozen=True)
class Stretch:
    """One past, its forecast and the true future, with the times of all frames."""

    past: NDArray[Any]
    prediction: NDArray[Any]
    future: NDArray[Any]
    columns: list[Any]
    times: Any = None
    group: Any = None
    # Level in percent, lower and upper ends of the intervals of a column, narrow ones first.
    intervals: dict[Any, list[tuple[str, Any, Any]]] = field(default_factory=dict)


def stretches_of(past: Any, prediction: Any, future: Any, window: int) -> list[Stretch]:
    """Take one window, or recordings, with forecasts and the true future as far as it is known."""
    from backcast.data import Windows

    if isinstance(past, Windows):
        n, _, width = past.shape
        if not -n <= window < n:
            raise ArgumentError(f"window must be in {-n}..{n - 1}, got {window}")
        made = np.asarray(prediction)
        if made.ndim not in (2, 3) or made.shape[-1] != width or made.size % (n * width):
            raise ShapeError(
                f"prediction must be what a model predicted for these {n} windows of {width} "
                f"columns, got shape {made.shape}"
            )
        made = made.reshape(n, -1, width)[window]
        one = past[[window]]
        rows = one.starts[0] + np.arange(one.frames.start, one.frames.stop)
        end = one.run_ends[np.searchsorted(one.run_ends, rows[-1], side="right")]
        known = past.values[rows[-1] + 1 : min(rows[-1] + 1 + len(made), end)]
        known = known if future is None else np.asarray(future)
        labels = one.row_labels[rows].rename(one.names[1])
        times = labels.append(one.after(len(made)).get_level_values(-1))
        group = None if one.groups is None else one.groups[0]
        found = [Stretch(one[0], made, known, past.columns, times, group)]
    elif tables.is_table(past) and hasattr(prediction, "iloc"):
        found = _of_tables(past, prediction, future)
    else:
        given = [np.asarray(past), np.asarray(prediction)]
        given.append(given[0][:0] if future is None else np.asarray(future))
        first, made, known = (side[:, np.newaxis] if side.ndim == 1 else side for side in given)
        found = [Stretch(first, made, known, [*range(first.shape[-1])])]
    shape = np.shape(found[0].past)
    sides = [
        (name, getattr(each, name)) for each in found for name in ("past", "prediction", "future")
    ]
    for name, side in sides:
        if side.ndim != 2 or side.shape[1:] != shape[1:] or not (len(side) or name == "future"):
            raise ShapeError(
                f"{name} must be frames of one window, (n, D), with as many numbers as past, "
                f"got shape {side.shape}"
            )
    return found


def _of_tables(past: Any, prediction: Any, future: Any) -> list[Stretch]:
    """Take the rows of one or several recordings, and their forecasts with their intervals."""
    past, prediction = tables.table_of(past), tables.table_of(prediction)
    # Forecasts with intervals have words as columns.
    there = {str(name): name for name in prediction.columns}
    columns = [name for name in past.columns if str(name) in there]
    several = prediction.index.nlevels > 1
    sides = [_by_recording(past, prediction.index, columns)]
    if hasattr(future, "columns") or hasattr(future, "iloc"):
        sides.append(_by_recording(tables.table_of(future), prediction.index, columns))
    made = {None: prediction}
    if several:
        keys = prediction.index.droplevel(-1)
        made = {
            key: prediction[keys == key].droplevel([*range(keys.nlevels)]) for key in keys.unique()
        }
    if not columns or not set(made) <= set(sides[0]):
        raise ShapeError(
            "past and prediction must be tables of the same recordings, on their times, with the "
            f"same columns, got levels {[*past.index.names]} and {[*prediction.index.names]} and "
            f"columns {[*past.columns]} and {[*prediction.columns]}"
        )
    if future is not None and several and len(sides) == 1:
        raise ShapeError("future must be a table of the recordings, as past, got an array")
    stretches = []
    for key, own in made.items():
        values, times = sides[0][key]
        known = values[:0] if future is None else np.asarray(future)
        if len(sides) > 1:
            known = _truth(*sides[1].get(key, (values[:0], times[:0])), own.index)
        intervals = {name: _intervals(own, name) for name in columns}
        every = times.append(own.index).rename(own.index.name or "time")
        numbers = own[[there[str(name)] for name in columns]].to_numpy()
        stretches.append(Stretch(values, numbers, known, columns, every, key, intervals))
    return stretches


def _by_recording(table: Any, index: Any, columns: list[Any]) -> dict[Any, tuple[Any, Any]]:
    """Return numbers and times of each recording; groups and time have the names in `index`."""
    names = [*index.names]
    there = [name for name in names if name is not None and name in table.columns]
    time = names[-1] if names[-1] in there else None
    group = [name for name in names[:-1] if name in there or name in table.index.names]
    if len(group) < len(names) - 1 or table.index.nlevels == len(names):
        # The levels of the index, as they are.
        group = []
    rows = recordings(table, group or None, time, columns, None)
    several = rows.row_groups is not None
    starts = [0, *rows.last_rows + 1] if several else [0, len(rows.values)]
    found = {}
    for begin, end in pairwise(starts):
        label = rows.row_groups[begin] if several else None
        if isinstance(label, tuple) and len(label) == 1:
            label = label[0]
        found[label] = rows.values[begin:end], rows.row_labels[begin:end]
    return found


def _truth(values: Any, times: Any, wanted: Any) -> Any:
    """Return the rows at these times; without any, all as they are."""
    place = times.get_indexer(wanted) if times.is_unique else np.full(len(wanted), -1)
    if (place < 0).all():
        return values
    found = np.where(place[:, np.newaxis] < 0, np.nan, values[place])
    return found[: np.flatnonzero(place >= 0)[-1] + 1]


def _intervals(prediction: Any, name: Any) -> list[tuple[str, Any, Any]]:
    """Return level, lower and upper ends of the intervals of a column, narrow ones first."""
    lower = re.compile(re.escape(f"{name}-lo-") + r"(\d+\.?\d*)(_*)")
    found = [match for end in prediction.columns if (match := lower.fullmatch(str(end)))]
    return [
        (level, *(prediction[f"{name}-{end}-{level}{mark}"].to_numpy() for end in ("lo", "hi")))
        for level, mark in sorted((m.groups() for m in found), key=lambda each: float(each[0]))
        # The user may have a column of that name, which has no other end.
        if f"{name}-hi-{level}{mark}" in prediction.columns
    ]
