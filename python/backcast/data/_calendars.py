"""Calendars: dates whose steps differ, as business days, month ends and hours of opening."""

from __future__ import annotations

import datetime
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast.errors import ArgumentError

# Nanoseconds of a day and a week, and a Monday, 0:00.
_DAY = 86_400_000_000_000
WEEK = 7 * _DAY
MONDAY = 4 * _DAY
# Times of a week that are learnt, at most those of every half minute.
TIMES = 20_160
# Parts of the rows that lie on a calendar that is learnt, and of its dates that have a row.
_ON, _FILLED = 0.9, 0.75
# A time of the week is closed after this many misses, at least, and only if fewer than this number
# of times are expected to be missed as often by chance, at the rate at which other times are.
_MISSES, _CHANCE = 3, 0.01
# Offsets of pandas that files hold with all they know.
_SAVED = ("CustomBusinessDay", "BusinessHour", "CustomBusinessHour")
_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True)
class Week:
    """The times of a week that have rows, as hours of opening, on the local clock.

    Attributes
    ----------
    times : tuple of int
        Nanoseconds since Monday, 0:00; they rise.
    """

    times: tuple[int, ...]

    def __repr__(self) -> str:
        """Return the days and, of each kind of day, the hours."""
        days: dict[tuple[int, ...], list[int]] = {}
        for day in range(7):
            own = tuple(time - day * _DAY for time in self.times if time // _DAY == day)
            if own:
                days.setdefault(own, []).append(day)
        parts = []
        for own, some in days.items():
            first, last = (str(datetime.timedelta(microseconds=own[i] // 1000)) for i in (0, -1))
            names = " ".join(_NAMES[day] for day in some)
            parts.append(f"{names} {first} to {last} ({len(own)} rows)")
        return f"<week of {', '.join(parts)}>"

    @classmethod
    def of(cls, wall: Any) -> Week | None:
        """Return the times of the week at which there usually is a row, if some others have none.

        None if dates keep no such week, or are fewer than those of two.
        """
        since = wall.as_unit("ns").asi8 - MONDAY
        times, counts = np.unique(since % WEEK, return_counts=True)
        return cls.of_counts(times, counts, int(since[0]), int(since[-1]))

    @classmethod
    def of_counts(
        cls, times: NDArray[np.int64], counts: NDArray[np.int64], first: int, last: int
    ) -> Week | None:
        """Return the same from how often each time of the week occurs, and the first and the last.

        These are in nanoseconds since a Monday.
        """
        if last - first < 2 * WEEK - _DAY or len(times) > TIMES:
            return None
        chances = _passes(times, first, last)
        usual = counts >= chances / 2
        found, possible = counts[usual].sum(), chances[usual].sum()
        if found < _ON * counts.sum() or found < _FILLED * possible:
            return None
        own = times[usual]
        closed, of = _left_out(own)
        at = np.searchsorted(times, closed).clip(max=len(times) - 1)
        seen = np.where(times[at] == closed, counts[at], 0)
        # One time of day is missed on all days that are closed then, as each night.
        hour = np.unique(closed % _DAY, return_inverse=True)[1]
        n = np.bincount(hour, _passes(closed, first, last))[hour]
        seen = np.bincount(hour, seen)[hour]
        days = np.bincount(hour)[hour]
        rate = (possible - found + 1) / (possible + 1)
        expected = np.log(len(own)) + (days - 1) * np.log(7) + seen * np.log(n)
        expected += (n - seen) * np.log(rate)
        sure = (n - seen >= _MISSES) & (expected < np.log(_CHANCE))
        # A closing is as sure as the surest of its times; the others are rows that are missing.
        own = np.sort(np.concatenate([own, closed[~np.isin(of, of[sure])]]))
        steps = np.diff(own, append=own[:1] + WEEK)
        return None if (steps == steps[0]).all() else cls(tuple(own.tolist()))

    def on(self, wall: Any) -> NDArray[np.bool_]:
        """Return which dates are of this week."""
        return np.isin((wall.as_unit("ns").asi8 - MONDAY) % WEEK, self.times)

    def beyond(self, wall: Any) -> NDArray[np.bool_]:
        """Return which steps from one date to the next leave out a time of this week."""
        since = wall.as_unit("ns").asi8 - MONDAY
        return self._count(since[1:], "left") > self._count(since[:-1], "right")

    def after(self, last: Any, steps: int) -> Any:
        """Return the next dates."""
        import pandas as pd

        begin = int(self._count(np.array([last.as_unit("ns").value - MONDAY]), "right")[0])
        places = begin + np.arange(steps)
        since = places // len(self.times) * WEEK + np.array(self.times)[places % len(self.times)]
        return pd.DatetimeIndex((since + MONDAY).astype("M8[ns]"))

    def _count(self, since: NDArray[np.int64], side: Any) -> NDArray[np.int64]:
        """Return how many times of the week are before (or at) these, counted from one Monday."""
        within = np.searchsorted(np.array(self.times), since % WEEK, side)
        return np.asarray(since // WEEK * len(self.times) + within)


def _passes(times: NDArray[np.int64], first: int, last: int) -> NDArray[np.int64]:
    """Return how often each time of the week comes from the first date to the last."""
    return (last - times) // WEEK - (first - times - 1) // WEEK


def _left_out(times: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Return the times of the week that steps longer than the median leave out.

    Parameters
    ----------
    times : ndarray of int, of shape (n,)
        Times of the week that have rows; they rise.

    Returns
    -------
    times : ndarray of int, of shape (n_left_out,)
        At the median step, at most a day.
    of : ndarray of int, of shape (n_left_out,)
        The number of the step that leaves them out.
    """
    steps = np.diff(times, append=times[:1] + WEEK)
    step = min(int(np.sort(steps)[(len(steps) - 1) // 2]), _DAY)
    n = (steps + step // 2) // step - 1
    of = np.repeat(np.arange(len(times)), n.clip(min=0))
    place = 1 + np.arange(len(of)) - np.searchsorted(of, of)
    return (times[of] + step * place) % WEEK, of


def words(calendar: Any) -> str:
    """Return a calendar as words for a message."""
    import pandas as pd

    if isinstance(calendar, pd.offsets.CustomBusinessDay):
        holidays = len(calendar.calendar.holidays)
        mask = _weekmask(calendar.calendar.weekmask)
        return mask + (f" with {holidays} holidays" if holidays else "")
    return calendar.freqstr if isinstance(calendar, pd.DateOffset) else str(calendar)


def closes(calendar: Any) -> bool:
    """Return whether a calendar leaves out days of the week or hours, so that it has holidays."""
    import pandas as pd

    offset = offset_of(calendar)
    return isinstance(offset, Week | pd.offsets.BusinessDay | pd.offsets.BusinessHour)


def on(calendar: Any, dates: Any) -> NDArray[np.bool_]:
    """Return which dates are on a calendar."""
    wall = dates.tz_localize(None)
    offset = offset_of(calendar)
    if isinstance(offset, Week):
        return offset.on(wall)
    return np.array([offset.is_on_offset(date) for date in wall], np.bool_)


def offset_of(gap: Any) -> Any:
    """Return a calendar that is no duration, a `Week` or an offset as a business day; else None."""
    import pandas as pd
    from pandas.tseries.frequencies import to_offset

    if isinstance(gap, Week):
        return gap
    if not isinstance(gap, str | pd.DateOffset) or isinstance(gap, pd.offsets.Tick):
        return None
    try:
        # "2MS" are months, "2ms" is a duration.
        if not (isinstance(gap, str) and gap.endswith("MS")):
            pd.Timedelta(gap)  # type: ignore[arg-type]
            return None
    except (TypeError, ValueError):
        pass
    try:
        offset = to_offset(gap)
    except ValueError:
        return None
    return None if isinstance(offset, pd.offsets.Tick) else offset


def of_dates(dates: Any, run: Any = None) -> Any:
    """Return the calendar that the dates of one recording follow; None if they have a fixed step.

    Parameters
    ----------
    dates : DatetimeIndex
        The dates, in order.
    run : DatetimeIndex, default=None
        Those of the longest run without a gap; by default all.

    Returns
    -------
    str, DateOffset, Week or None
        An offset's name where it says all, else the offset; a `Week` if a day has several rows.
    """
    import pandas as pd

    wall = dates.tz_localize(None)
    run = wall if run is None else run.tz_localize(None)
    for part in (wall, run) if len(run) < len(wall) else (wall,):
        name = pd.infer_freq(part) if len(part) > 2 else None
        if name is not None and name.startswith("WOM-4") and not on(name, part).all():
            # pandas says so of the last ones of each month too.
            name = f"LWOM-{name[5:]}"
        if name == "bh" and not _are_business_hours(part):
            # pandas says so of any eight hours a day.
            name = None
        if name is not None and not isinstance(offset_of(name), pd.offsets.Day | None):
            return str(name)
        if name is not None and len(part) == len(wall):
            return None
    week = Week.of(wall) if len(wall) > 2 else None
    if week is not None:
        return as_offset(week)
    return _without_some(wall) or _half_months(run)


def _are_business_hours(wall: Any) -> bool:
    """Return whether dates are of 9:00 to 17:00 from Monday to Friday."""
    return bool(wall.dayofweek.max() < 5 and wall.hour.min() == 9 and wall.hour.max() == 16)


def may_close(gaps: Any, days: Any) -> Any:
    """Return whether `gaps` gaps within `days` days are one in most weeks, as of a calendar."""
    return (gaps > 0) & (gaps >= days / 14 - 1)


def as_offset(week: Week) -> Any:
    """Return the offset of a week with one row a day, at the same time; else the week."""
    import pandas as pd

    days, within = np.divmod(np.array(week.times), _DAY)
    if len(set(within)) > 1 or len(days) < 2:
        return week
    if days.tolist() == [0, 1, 2, 3, 4]:
        return "B"
    return pd.offsets.CustomBusinessDay(weekmask=" ".join(_NAMES[day] for day in days))


def _without_some(wall: Any) -> str | None:
    """Return "B" for business days of which some are missing."""
    day = wall.dayofweek.to_numpy()
    if len(wall) < 3 or (day > 4).any():
        return None
    days = np.diff(wall.to_numpy()) / np.timedelta64(1, "D")
    weekends = (day[:-1] == 4) & (days == 3)
    return "B" if (days == 1).sum() > len(days) / 2 and weekends.any() else None


def _half_months(wall: Any) -> str | None:
    """Return the name of an offset of two dates a month, which pandas does not infer."""
    import pandas as pd

    def keeps(name: str, dates: Any) -> bool:
        return bool((pd.date_range(dates[0], periods=len(dates), freq=name) == dates).all())

    days = sorted({*wall.day[:25].tolist()})
    if len(wall) < 4 or len(days) > 5:
        return None
    for name in (f"SMS-{days[-1]}", f"SME-{days[0]}"):
        try:
            # Of many rows, which pandas makes slowly, a few show that they do not.
            if keeps(name, wall[:25]) and keeps(name, wall):
                return name
        except ValueError:
            continue
    return None


def fits(calendar: Any, dates: Any) -> bool:
    """Return whether the last of these dates are on a calendar.

    Of one without some days of the week, half of them suffice, as there may be rows on others.
    """
    last = on(calendar, dates[-20:])
    return bool(last.mean() >= 0.5 if closes(calendar) else last[-1])


def steps_along(calendar: Any, dates: Any) -> bool:
    """Return whether most steps of dates are one of the calendar, which may be a mere bound."""
    if isinstance(calendar, Week):
        return True
    wall = dates[-100:].tz_localize(None)
    offset = offset_of(calendar)
    return len(wall) < 2 or bool(np.mean(_added(wall[:-1], offset) == wall[1:]) > 0.5)


def beyond(calendar: Any, dates: Any) -> NDArray[np.bool_]:
    """Return which steps between dates are longer than one of the calendar."""
    wall = dates.tz_localize(None)
    if isinstance(calendar, Week):
        return calendar.beyond(wall)
    return np.asarray(wall[1:] > _added(wall[:-1], calendar))


def after(calendar: Any, last: Any, steps: int) -> Any:
    """Return the next dates of a calendar on a clock without a zone."""
    import pandas as pd

    if isinstance(calendar, Week):
        return calendar.after(last, steps)
    offset = offset_of(calendar)
    found = []
    for _ in range(steps):
        last = last + offset
        found.append(last)
    return pd.DatetimeIndex(found)


def _added(wall: Any, offset: Any) -> Any:
    import pandas as pd

    with warnings.catch_warnings():
        # An offset without a fast path is added row by row.
        warnings.simplefilter("ignore", pd.errors.PerformanceWarning)
        return wall + offset


# -- files -----------------------------------------------------------------------------------------


def saved(calendar: Any) -> Any:
    """Return a calendar as JSON holds it."""
    from pandas.tseries.frequencies import to_offset

    if isinstance(calendar, Week):
        return {"week": list(calendar.times)}
    name = calendar.freqstr
    try:
        if to_offset(name) == calendar:
            return name
    except ValueError:
        pass
    # The word does not name the days of the week, nor the holidays, nor the hours.
    found: dict[str, Any] = {"kind": type(calendar).__name__, "n": calendar.n}
    if found["kind"] in _SAVED and not calendar.kwds["offset"]:
        if found["kind"].startswith("Custom"):
            found["weekmask"] = _weekmask(calendar.calendar.weekmask)
            found["holidays"] = [str(day) for day in calendar.calendar.holidays]
        if found["kind"].endswith("Hour"):
            for name in ("start", "end"):
                found[name] = [f"{time:%H:%M}" for time in calendar.kwds[name]]
        return found
    raise ArgumentError(f"gap must be a duration or a word to be saved, got {calendar!r}")


def restored(saved: dict[str, Any]) -> Any:
    """Return the calendar that `saved` has made plain; raise `ValueError` if it has not."""
    import pandas as pd

    if "week" in saved:
        times = saved["week"]
        if not times or any(type(time) is not int for time in times):
            raise ValueError("a week must have times")
        if times[0] < 0 or times[-1] >= WEEK or (np.diff(times) <= 0).any():
            raise ValueError("the times of a week must rise within it")
        return Week(tuple(times))
    options = dict(saved)
    kind, n = options.pop("kind"), options["n"]
    if kind not in _SAVED or type(n) is not int or not 0 < n < 1000:
        raise ValueError("a calendar must have a kind and a number of steps")
    if not set(options) <= {"n", "weekmask", "holidays", "start", "end"}:
        raise ValueError("a calendar must have nothing else")
    if not isinstance(options.get("weekmask", ""), str):
        raise ValueError("a calendar must have words for days of the week")
    if "holidays" in options:
        options["holidays"] = [np.datetime64(day, "D") for day in options["holidays"]]
    return getattr(pd.offsets, kind)(**options)


def _weekmask(mask: Any) -> str:
    return " ".join(name for name, there in zip(_NAMES, mask, strict=True) if there)
