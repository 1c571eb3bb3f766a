"""Times of rows in any storage type, and the gaps between them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast._warn import warn
from backcast.data import _calendars
from backcast.data._dates import FEWER, MEDIANS, how_to_date, swapped
from backcast.errors import ArgumentError, DataError


def has_times(index: Any) -> bool:
    """Return whether a table's index orders its rows by time."""
    if index.nlevels > 1:
        index = index.get_level_values(-1)
        return pd_numbers(index) or times_of(index, given=False)[1] is not None
    return times_of(index, given=False)[1] is not None


def pd_numbers(labels: Any) -> bool:
    """Whether labels are numbers, also nullable ones or Arrow's."""
    return labels.dtype != object and labels.dtype.kind in "iuf"


def times_of(
    labels: Any, *, given: bool, name: Any = "time"
) -> tuple[Any, NDArray[np.generic] | None]:
    """Return labels as pandas' index of times, and the time of each row; None if they are no times.

    Times are numbers, dates or durations, in whatever type they are stored.

    Parameters
    ----------
    labels : Index
        The labels of the rows.
    given : bool
        Whether the user says that these are times; numbers are times only then.
    name : label, default="time"
        For messages.
    """
    import pandas as pd

    labels = _dates(labels, given, name)
    if isinstance(labels, pd.PeriodIndex):
        stamps = labels.to_timestamp()
    elif isinstance(labels, pd.DatetimeIndex) and labels.tz is not None:
        stamps = labels.tz_convert(None)
    elif isinstance(labels, pd.DatetimeIndex | pd.TimedeltaIndex) or given:
        stamps = labels
    else:
        return labels, None
    if stamps.isna().any():
        raise DataError("time must be known in every row, got NaN")
    kind = stamps.dtype.kind
    if kind in "mM":
        return labels, stamps.to_numpy()
    if kind in "iuf":
        # Differences of narrow and of unsigned integers would wrap around.
        numbers: NDArray[Any] = stamps.to_numpy(dtype=f"{kind}8")
        beyond = kind == "u" and len(numbers) and numbers.max() > np.iinfo(np.int64).max
        return labels, numbers.astype(np.float64 if kind == "f" or beyond else np.int64)
    raise DataError(
        f"time must hold numbers, dates or durations, got dtype {labels.dtype}"
        f"{how_to_date(labels, name)}"
    )


def _dates(labels: Any, given: bool, name: Any) -> Any:
    """Return dates and durations that are stored as objects or by Arrow as pandas' own index."""
    import pandas as pd

    if isinstance(labels.dtype, pd.CategoricalDtype):
        labels = labels.astype(labels.dtype.categories.dtype)
    stored = str(labels.dtype)
    if isinstance(labels.dtype, pd.ArrowDtype):
        if stored.startswith(("timestamp", "date")):
            return pd.DatetimeIndex(pd.to_datetime(labels)).rename(labels.name)
        if stored.startswith("duration"):
            return pd.TimedeltaIndex(labels.to_numpy(dtype="m8[ns]"), name=labels.name)
        if stored.startswith("decimal"):
            return pd.Index(labels.to_numpy(dtype=np.float64, na_value=np.nan), name=labels.name)
        return labels
    if labels.dtype != object:
        if not given:
            _advise_on_numbers(labels)
        if pd.api.types.is_string_dtype(labels.dtype):
            _advise_on_words(labels, given, name)
        return labels
    kind = pd.api.types.infer_dtype(labels, skipna=True)
    if kind in ("datetime", "datetime64", "date"):
        zones = {getattr(label, "tzinfo", None) is None for label in labels if label is not pd.NaT}
        if len(zones) == 1:
            # Several offsets, as on both sides of a change of the clocks, meet in UTC.
            try:
                return pd.DatetimeIndex(labels, name=labels.name)
            except (ValueError, TypeError):
                return pd.to_datetime(labels, utc=True).rename(labels.name)
    elif kind in ("timedelta", "timedelta64"):
        return pd.TimedeltaIndex(labels, name=labels.name)
    elif kind == "period":
        return pd.PeriodIndex(labels, name=labels.name)
    elif kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        if given:
            return pd.Index(labels.to_numpy(dtype=np.float64, na_value=np.nan), name=labels.name)
        return labels
    _advise_on_words(labels, given, name)
    return labels


def _advise_on_words(labels: Any, given: bool, name: Any) -> None:
    """Warn of an index of words that look like dates."""
    if not given and (how := how_to_date(labels, name)):
        warn(f"the index is not taken as times{how}", UserWarning)


def _advise_on_numbers(labels: Any) -> None:
    """Warn of an index that looks like seconds, if it would order rows or make a gap as times."""
    if labels.nlevels > 1 or labels.dtype.kind != "f" or len(labels) < 3 or labels.hasnans:
        return
    steps = np.diff(labels.to_numpy(dtype=np.float64))
    median = np.median(np.abs(steps))
    if labels.is_unique and not (steps > 0).all() or (steps > MEDIANS * median).any():
        warn(
            "the index holds numbers and is not taken as times, so rows are in their order and "
            'without gaps; if it holds times, table.rename_axis("seconds") and time="seconds" '
            "take it so",
            UserWarning,
        )


# -- gaps ------------------------------------------------------------------------------------------


def find_gaps(
    times: NDArray[Any],
    labels: Any,
    codes: NDArray[np.intp],
    groups: NDArray[Any] | None,
    gap: Any,
) -> tuple[NDArray[np.bool_], Any]:
    """Return whether there is a gap after each row but the last, and the longest step without.

    Parameters
    ----------
    times : ndarray of shape (n_rows,)
        The times, recording after recording, ordered in each.
    labels : Index
        The same as an index.
    codes : ndarray of int, of shape (n_rows,)
        The number of each row's recording.
    groups : ndarray or None
        The label of each recording.
    gap : number, duration, calendar, mapping or None
        The longest step within a run: one for all, or by recording; of other recordings, and by
        default, it is 1.5 times their own median step, or the step of their calendar.
    """
    same = codes[1:] == codes[:-1]
    steps = np.diff(times)
    if not same.any():
        return np.zeros(len(steps), np.bool_), gap
    nothing = steps.dtype.type(0)
    if (same & (steps <= nothing)).any():
        at = times[:-1][same & (steps <= nothing)][0]
        raise DataError(
            f"time must differ within a recording, got {at} twice; of several recordings in one "
            "table, group=... is the column that names them"
        )
    if gap is not None and not isinstance(gap, dict):
        return _beyond(times, steps, labels, gap) & same, gap

    # By default each recording has a longest step of its own.
    longest = np.full(codes[-1] + 1, np.inf)
    present, medians = _medians(steps[same].astype(np.float64), codes[:-1][same])
    longest[present] = MEDIANS * medians
    found = same & (steps.astype(np.float64) > longest[codes[:-1]])
    learnt = {code: _as_gap(longest[code], steps.dtype) for code in present}
    special = {} if gap is None else _known(gap, present, groups)
    known: dict[bytes, Any] = {}
    for code in _closing(labels, codes, found):
        if code not in special:
            own = labels[slice(*np.searchsorted(codes, [code, code + 1]))]
            # Many recordings have the same dates.
            key = own.asi8.tobytes()
            if key not in known:
                known[key] = _calendars.of_dates(own)
            if known[key] is not None:
                special[code] = known[key]
    for code, own in special.items():
        begin, end = np.searchsorted(codes, [code, code + 1])
        part = slice(begin, end)
        found[begin : end - 1] = _beyond(times[part], steps[begin : end - 1], labels[part], own)
    if gap is not None:
        return found, gap
    learnt |= special
    values = list(learnt.values())
    if groups is None or all(value == values[0] for value in values):
        return found, values[0]
    return found, {groups[code]: value for code, value in learnt.items()}


def warn_of_swapped(labels: Any, codes: NDArray[np.intp], n_gaps: int, name: Any) -> None:
    """Warn of dates that have far fewer gaps with day and month the other way round.

    Words whose days are all up to 12 are mostly read with the month first.
    """
    other = swapped(labels)
    if other is None:
        return
    times = other.to_numpy()[np.lexsort([other, codes])]
    same = codes[1:] == codes[:-1]
    steps, of = np.diff(times)[same].astype(np.float64), codes[:-1][same]
    longest = np.zeros(codes[-1] + 1)
    present, medians = _medians(steps, of)
    longest[present] = MEDIANS * medians
    n_other = int((steps > longest[of]).sum())
    if n_gaps > 1 and n_other * FEWER <= n_gaps:
        warn(
            f"day and month of {name!r} seem to be swapped: as read, from {labels.min()} to "
            f"{labels.max()}, there are {n_gaps} gaps between rows; the other way round, from "
            f"{other.min()} to {other.max()}, {n_other}. dayfirst=True or False of pandas.read_csv "
            "and pandas.to_datetime says which comes first; where the dates are right as read, the "
            "first of each month for example, nothing is wrong",
            UserWarning,
        )


def median_step(labels: Any, begins: NDArray[Any], ends: NDArray[Any]) -> Any:
    """Return the median step of all runs, in the type of the times; None without a step."""
    times = times_of(labels, given=True)[1]
    if times is None:
        return None
    steps = np.concatenate([np.diff(times[b:e]) for b, e in zip(begins, ends, strict=True)])
    return np.sort(steps)[(len(steps) - 1) // 2] if len(steps) else None


def _closing(labels: Any, codes: NDArray[np.intp], found: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the recordings of dates whose gaps may be a calendar's."""
    import pandas as pd

    if not isinstance(labels, pd.DatetimeIndex) or not found.any():
        return codes[:0]
    present, begins, counts = np.unique(codes, return_index=True, return_counts=True)
    days = ((labels[begins + counts - 1] - labels[begins]) / np.timedelta64(1, "D")).to_numpy()
    gaps = np.bincount(codes[:-1][found], minlength=present[-1] + 1)[present]
    closing: NDArray[np.bool_] = _calendars.may_close(gaps, days)
    # Rows as few as those of half months are unequal steps apart.
    closing |= (gaps > 0) & (counts < days / 4)
    return present[closing]


def _medians(
    steps: NDArray[np.float64], codes: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the codes that occur, and the median step of each."""
    steps = steps[np.lexsort((steps, codes))]
    present, first, count = np.unique(codes, return_index=True, return_counts=True)
    return present, (steps[first + (count - 1) // 2] + steps[first + count // 2]) / 2


def _known(gap: dict[Any, Any], present: NDArray[np.intp], groups: Any) -> dict[Any, Any]:
    """Return the longest steps of the recordings that are known, by their codes."""
    named = {} if groups is None else {code: groups[code] for code in present}
    return {code: gap[label] for code, label in named.items() if label in gap}


def _as_gap(longest: float, dtype: np.dtype[Any]) -> Any:
    """Return a longest step in the type of the times; rounding down loses nothing."""
    if dtype.kind != "m":
        return float(longest)
    return np.asarray(longest).astype(np.int64).astype(dtype)[()]


def _beyond(times: NDArray[Any], steps: NDArray[Any], labels: Any, gap: Any) -> NDArray[np.bool_]:
    """Return which steps are longer than a gap."""
    import pandas as pd

    calendar = _calendars.offset_of(gap) if isinstance(labels, pd.DatetimeIndex) else None
    if calendar is not None:
        return _calendars.beyond(calendar, labels)
    longest = duration(gap, steps.dtype)
    if not longest > 0:
        raise ArgumentError(f"gap must be greater than 0, got {gap!r}")
    return np.asarray(steps.astype(np.float64) > longest)


def duration(gap: Any, dtype: np.dtype[Any]) -> float:
    """Return a duration as a number, in the units of `dtype`; infinity allows every step."""
    import pandas as pd

    # NumPy counts timedelta64 as an integer.
    plain = isinstance(gap, int | float | np.integer | np.floating)
    plain = plain and not isinstance(gap, bool | np.timedelta64)
    if plain and math.isinf(gap):
        return float(gap)
    expected = "a duration in the units of time"
    if dtype.kind == "m":
        expected = 'a duration, such as "3h" or pandas.Timedelta("3h"), as time has dates'
    try:
        if dtype.kind == "m":
            if plain and gap <= 0:
                return float(gap)
            if plain or isinstance(gap, bool):
                raise TypeError
            length: Any = pd.Timedelta(gap)
            if length is pd.NaT:
                raise TypeError
            return float(length / pd.Timedelta(np.ones(1, dtype)[0]))
        number = float(gap)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(f"gap must be {expected}, got {gap!r}") from None
    if math.isnan(number) or isinstance(gap, bool):
        raise ArgumentError(f"gap must be {expected}, got {gap!r}")
    return number


def describe(gap: Any) -> str:
    """Return a gap as words for a message."""
    import pandas as pd

    if isinstance(gap, np.timedelta64):
        # Without "0 days" before hours, and without trailing zeros.
        return str(pd.Timedelta(gap)).removeprefix("0 days ")
    return _calendars.words(gap) if isinstance(gap, pd.DateOffset) else str(gap)


# -- files -----------------------------------------------------------------------------------------


def saved_gap(gap: Any) -> Any:
    """Return a longest step of time as JSON holds it; of several recordings, pairs."""
    if isinstance(gap, dict):
        return {"groups": [[label, saved_gap(own)] for label, own in gap.items()]}
    if isinstance(gap, np.timedelta64):
        return describe(gap)
    if gap is None or isinstance(gap, str | int | float | np.number):
        return gap
    calendar = _calendars.offset_of(gap)
    if calendar is not None:
        return _calendars.saved(calendar)
    import pandas as pd

    return str(pd.Timedelta(gap))


def restored_gap(saved: Any) -> Any:
    """Return the gap that `saved_gap` has made plain; raise `ValueError` if it has not."""
    if isinstance(saved, dict) and "groups" not in saved:
        return _calendars.restored(saved)
    if isinstance(saved, dict):
        return {_label(label): restored_gap(own) for label, own in saved["groups"]}
    if not is_plain(saved) or not (isinstance(saved, str | None) or saved > 0):
        raise ValueError("gap must be a word or a number above 0")
    return saved


def is_plain(saved: Any) -> bool:
    """Whether this is what JSON holds as it is: a word, a number or None."""
    return isinstance(saved, str | int | float | None) and not isinstance(saved, bool)


def _label(saved: Any) -> Any:
    """JSON turns tuples into lists."""
    return tuple(saved) if isinstance(saved, list) else saved
