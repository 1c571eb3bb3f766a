"""Times after those of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backcast._engine import tables

if TYPE_CHECKING:
    import pandas as pd


def times_after(labels: Any, known: Any, steps: int) -> Any:
    """Return an index of the next `steps` times after the last of `labels`, by the step of `known`.

    None if the labels are neither dates, periods, durations nor numbers, or do not rise.
    """
    import pandas as pd

    if isinstance(labels, pd.PeriodIndex):
        step = _step(known.asi8)
        return None if step is None else labels[[-1] * steps] + step * np.arange(1, steps + 1)
    if isinstance(labels, pd.DatetimeIndex):
        step = _step(known.asi8)
        return None if step is None else _dates_after(labels, known, steps)
    numbers = labels.to_numpy()
    step = _step(known.to_numpy()) if numbers.dtype.kind in "iufm" else None
    if step is None:
        return None
    return pd.Index(numbers[-1] + step * np.arange(1, steps + 1), dtype=labels.dtype)


def on_indices(
    given: Any, frames: list[NDArray[Any]], columns: tuple[Any, ...], *, after: bool = False
) -> list[pd.DataFrame]:
    """Return frames of a list of tables as tables on their indices, or on the times after them."""
    import pandas as pd

    found = []
    for each, values in zip(given, frames, strict=True):
        index: Any = tables.table_of(each).index
        if after:
            more = None if index.nlevels > 1 else times_after(index, index, len(values))
            if more is None:
                more = pd.RangeIndex(1, len(values) + 1)
            index = more.rename("step" if index.nlevels > 1 else index.name)
        found.append(pd.DataFrame(values, index=index, columns=[*columns]))
    return found


def _step(times: NDArray[Any]) -> Any:
    """Return the median step (the lower of two), or None unless all steps are positive."""
    steps = np.sort(np.diff(times))
    rise = len(steps) and steps[0] > steps.dtype.type(0)
    return steps[(len(steps) - 1) // 2] if rise else None


def _dates_after(labels: Any, known: Any, steps: int) -> pd.DatetimeIndex:
    """Continue by the calendar (months, business days) if `known` does, else by its step.

    Steps of whole days keep the local time of day; shorter steps are elapsed time, also across a
    change of the clocks.
    """
    import pandas as pd
    from pandas.tseries.frequencies import to_offset

    wall = known.tz_localize(None)
    each = np.diff(known.asi8)
    step = pd.Timedelta(_step(known.asi8), unit=known.unit)
    offset: Any = pd.infer_freq(wall) if len(wall) > 2 else None
    days = step % pd.Timedelta(days=1) == pd.Timedelta(0)
    if not days and (offset is None or (each == each[0]).all()):
        after = pd.date_range(labels[-1], periods=steps + 1, freq=step)
    else:
        last = labels.tz_localize(None)[-1]
        on = offset is not None and to_offset(offset).is_on_offset(last)
        after = pd.date_range(last, periods=steps + 1, freq=offset if on else step)
        # Of an hour that occurs twice take the first; replace one that is skipped by the next.
        first = np.ones(steps + 1, np.bool_)
        after = after.tz_localize(labels.tz, nonexistent="shift_forward", ambiguous=first)
    return after[1:].as_unit(labels.unit)
