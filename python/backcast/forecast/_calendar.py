"""Known columns from dates: where in the day, the week and the year a row is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast.errors import ArgumentError

_DAYS = {"day": 1.0, "week": 7.0, "year": 365.25}
# Waves in a day and in a year; a week has a column for each of its days.
_WAVES = {"day": 2, "year": 2}


def periods_of(calendar: Any, labels: Any) -> tuple[str, ...]:
    """Return the periods that the parameter `calendar` asks for, of a table with these times."""
    if calendar is False or calendar is None:
        return ()
    dates = _dates(labels)
    if dates is None:
        raise ArgumentError(
            f"calendar must be False for a series without dates, got {calendar!r}; "
            "pandas.to_datetime(...) makes dates"
        )
    if calendar is True:
        steps = np.abs(np.diff(dates.to_numpy())) / np.timedelta64(1, "D")
        step = float(np.median(steps)) if len(steps) else 1.0
        span = float((dates.max() - dates.min()) / np.timedelta64(1, "D"))
        return tuple(name for name, days in _DAYS.items() if step < days and span >= 2 * days)
    asked = [calendar] if isinstance(calendar, str) else list(calendar)
    for name in asked:
        if name not in _DAYS:
            raise ArgumentError(
                f"calendar must be True, False or some of {list(_DAYS)}, got {name!r}"
            )
    return tuple(asked)


def features(labels: Any, periods: tuple[str, ...]) -> NDArray[np.float64]:
    """Return numbers (n_rows, n_features) that say where in each period a row is."""
    dates = _dates(labels)
    if not periods or dates is None:
        return np.empty((len(labels), 0))
    of_day = ((dates.hour * 60 + dates.minute) * 60 + dates.second).to_numpy() / 86400
    places = {"day": of_day, "year": (dates.dayofyear.to_numpy() - 1 + of_day) / 366}
    columns: list[Any] = []
    for name in periods:
        if name == "week":
            columns += [(dates.dayofweek == day).astype(float) for day in range(7)]
            continue
        for wave in range(1, _WAVES[name] + 1):
            angle = 2 * np.pi * wave * places[name]
            columns += [np.sin(angle), np.cos(angle)]
    return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)


def _dates(labels: Any) -> Any:
    """Return labels as dates on the clock of their own zone; None if they are no dates."""
    import pandas as pd

    if isinstance(labels, pd.PeriodIndex):
        return labels.to_timestamp()
    if isinstance(labels, pd.DatetimeIndex):
        return labels.tz_localize(None)
    return None
