"""Times after those of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backcast._engine import tables
from backcast._warn import warn
from backcast.data import _calendars

if TYPE_CHECKING:
    import pandas as pd

# Later times are a guess if two things hold. Steps that differ from the median step by more than
# half of it: at least _FEW, and more than the part _OFTEN. Windows that are longer or shorter than
# their number of median steps: more than the part _UNSURE.
_FEW, _OFTEN, _UNSURE = 3, 0.02, 0.1
# Dates of which such a part has equal steps, and less of them is on a calendar, do not follow it.
_MOST = 0.9


@dataclass(frozen=True)
class Continuation:
    """How the times of one recording go on.

    Attributes
    ----------
    first : int
        The recording's first row.
    labels : Index
        All times of the recording.
    run : Index
        Those of its longest run without a gap, whose median step counts.
    calendar : calendar or None
        What dates follow instead of that step.
    """

    first: int
    labels: Any
    run: Any
    calendar: Any

    def after(self, end: int, steps: int) -> Any:
        """Return an index of the next `steps` times after the rows up to `end`.

        None if the labels are neither dates, periods, durations nor numbers, or do not rise.
        """
        import pandas as pd

        labels = self.labels[: end - self.first]
        step = _step(_numbers(self.run))
        if step is None:
            return None
        if isinstance(labels, pd.PeriodIndex):
            return labels[[-1] * steps] + step * np.arange(1, steps + 1)
        if isinstance(labels, pd.DatetimeIndex):
            step = pd.Timedelta(step, unit=labels.unit)
            return _dates_after(labels, step, steps, self.calendar)
        return pd.Index(labels.to_numpy()[-1] + step * np.arange(1, steps + 1), dtype=labels.dtype)

    def is_guess(self, steps: int) -> bool:
        """Return whether `steps` rows take so different times that the next ones are a guess."""
        times = _numbers(self.labels)
        step = _step(_numbers(self.run))
        if self.calendar is not None or step is None or len(times) <= _FEW:
            return False
        uneven, some = np.abs(np.diff(times) - step) > step / 2, min(steps, len(times) - 1)
        off = np.abs(times[some:] - times[:-some] - some * step) > step / 2
        often = uneven.sum() >= _FEW and uneven.mean() > _OFTEN
        return bool(often and off.mean() > _UNSURE)

    @property
    def step(self) -> Any:
        """The calendar, or the median step as a duration or a number; None if there is none."""
        import pandas as pd

        step = _step(_numbers(self.run))
        if self.calendar is not None or step is None:
            return self.calendar
        if isinstance(self.run, pd.DatetimeIndex):
            return pd.Timedelta(step, unit=self.run.unit)
        return pd.Timedelta(step) if step.dtype.kind == "m" else step.item()


def continuations(
    labels: Any, groups: NDArray[Any] | None, run_ends: NDArray[np.intp], calendar: Any
) -> Callable[[int], Continuation]:
    """Return a function of a row that says how the times of its recording go on.

    Parameters
    ----------
    labels : Index
        Times of all rows, recording after recording.
    groups : ndarray or None
        The label of each row's recording.
    run_ends : ndarray of int
        The end of each run without a gap.
    calendar : calendar, duration, dict or None
        What is known, of all recordings or by their labels; calendars count.
    """
    bounds, runs = np.array([0, len(labels)]), np.append(0, run_ends)
    if groups is not None:
        changes = np.flatnonzero(groups[1:] != groups[:-1]) + 1
        bounds = np.concatenate([[0], changes, [len(labels)]])
    found: dict[int, Continuation] = {}
    # Many recordings have the same times.
    same: dict[Any, Any] = {}

    def of(row: int) -> Continuation:
        place = int(np.searchsorted(bounds, row, "right"))
        first, last = int(bounds[place - 1]), int(bounds[place])
        if first in found:
            return found[first]
        own = runs[np.searchsorted(runs, first) : np.searchsorted(runs, last) + 1]
        longest = int(np.argmax(np.diff(own)))
        every, run = labels[first:last], labels[own[longest] : own[longest + 1]]
        given = calendar
        if isinstance(calendar, dict):
            given = calendar.get(None if groups is None else groups[first])
        key = _numbers(every).tobytes(), own[longest] - first, len(run), repr(given)
        if key not in same:
            same[key] = _calendar_of(every, run, given)
        found[first] = Continuation(first, every, run, same[key])
        return found[first]

    return of


def warn_of_guesses(last: list[Any]) -> None:
    """Warn that the times after these last ones of recordings are a guess."""
    some = ", ".join(map(str, last[:5])) + (", ..." if len(last) > 5 else "")
    warn(
        f"the times after {some} are a guess: they go on by the median step, but the steps before "
        "differ and follow no calendar. gap=... gives the calendar of dates, such as "
        'pandas.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat", holidays=[...]); '
        "table.resample(...) makes equal steps",
        UserWarning,
    )


def on_indices(
    given: Any, frames: list[NDArray[Any]], columns: tuple[Any, ...], *, after: bool = False
) -> list[pd.DataFrame]:
    """Return frames of a list of tables as tables on their indices, or on the times after them."""
    import pandas as pd

    found = []
    for each, values in zip(given, frames, strict=True):
        index: Any = tables.table_of(each).index
        if after:
            more = None
            if index.nlevels == 1 and len(index):
                alone = continuations(index, None, np.array([len(index)]), None)(0)
                more = alone.after(len(index), len(values))
            if more is None:
                more = pd.RangeIndex(1, len(values) + 1)
            index = more.rename("step" if index.nlevels > 1 else index.name)
        found.append(pd.DataFrame(values, index=index, columns=[*columns]))
    return found


def _calendar_of(labels: Any, run: Any, calendar: Any) -> Any:
    """Return the calendar of a recording's times, the given one if they are on it; else None."""
    import pandas as pd

    if not isinstance(labels, pd.DatetimeIndex) or not len(labels):
        return None
    given, steps = _calendars.offset_of(calendar), np.diff(labels.asi8)
    # A calendar may be a mere bound of the steps, as a business day of hours.
    if given is not None and _calendars.fits(given, labels):
        even = len(steps) > 0 and np.mean(steps == np.median(steps)) >= _MOST
        leaves = even and _calendars.on(given, labels[-100:]).mean() < _MOST
        if not leaves and _calendars.steps_along(given, labels):
            return calendar
    if len(steps) < 2 or not (steps > 0).all():
        return None
    day = pd.Timedelta("1D") // pd.Timedelta(1, unit=labels.unit)
    if (steps == steps[0]).all() and steps[0] < day:
        return None
    found = _calendars.of_dates(labels, run)
    return found if found is not None and _calendars.fits(found, labels) else None


def _numbers(labels: Any) -> NDArray[Any]:
    """Return dates and periods as integers, other labels as they are."""
    numbers = getattr(labels, "asi8", None)
    if numbers is None or labels.dtype.kind == "m":
        numbers = labels.to_numpy()
    return np.asarray(numbers)


def _step(times: NDArray[Any]) -> Any:
    """Return the median step (the lower of two); None unless times are numbers that rise."""
    if times.dtype.kind not in "iufm":
        return None
    steps = np.sort(np.diff(times))
    rise = len(steps) and steps[0] > steps.dtype.type(0)
    return steps[(len(steps) - 1) // 2] if rise else None


def _dates_after(labels: Any, step: Any, steps: int, calendar: Any) -> pd.DatetimeIndex:
    """Continue by the calendar if there is one, else by the step.

    Steps of whole days keep the local time of day; shorter steps are elapsed time, also across a
    change of the clocks.
    """
    import pandas as pd

    if calendar is None and step % pd.Timedelta(days=1) != pd.Timedelta(0):
        return pd.date_range(labels[-1], periods=steps + 1, freq=step)[1:].as_unit(labels.unit)
    last = labels.tz_localize(None)[-1]
    if calendar is None:
        dates = pd.date_range(last, periods=steps + 1, freq=step)[1:]
    else:
        dates = _calendars.after(calendar, last, steps)
    # Of an hour that occurs twice take the first; replace one that is skipped by the next.
    first = np.ones(steps, np.bool_)
    zoned = dates.tz_localize(labels.tz, nonexistent="shift_forward", ambiguous=first)
    return zoned.as_unit(labels.unit)
