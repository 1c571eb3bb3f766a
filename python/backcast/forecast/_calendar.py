"""Known columns from dates: where in the day, the week and the year a row is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backcast.errors import ArgumentError

_DAYS = {"day": 1.0, "week": 7.0, "year": 365.25}
# Numbers of each period: sines and cosines of two waves in a day and in a year, the days of a week.
_FEATURES = {"day": 4, "week": 7, "year": 4}


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
    return check_periods([calendar] if isinstance(calendar, str) else calendar)


def check_periods(names: Any) -> tuple[str, ...]:
    """Return the names of periods; refuse others."""
    asked = tuple(names)
    for name in asked:
        if name not in _FEATURES:
            raise ArgumentError(
                f"calendar must be True, False or some of {list(_FEATURES)}, got {name!r}"
            )
    return asked


def n_features(periods: tuple[str, ...]) -> int:
    """Return how many numbers say where in these periods a row is."""
    return sum(_FEATURES[name] for name in periods)


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
            columns += [(dates.dayofweek == day).astype(float) for day in range(_FEATURES[name])]
            continue
        for wave in range(1, _FEATURES[name] // 2 + 1):
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
