"""Dates on an axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def date_axis(axis: Any, zone: Any = None) -> None:
    """Label an axis with short dates."""
    from matplotlib import dates

    # With fewer than 9 ticks some ranges, as of 230 minutes, have no step in the locator.
    locator: Any = dates.AutoDateLocator(zone, minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    axis.set_major_locator(locator)
    axis.set_major_formatter(dates.ConciseDateFormatter(locator, zone))  # type: ignore[no-untyped-call]


def date_numbers(times: Any) -> NDArray[np.float64]:
    """Convert datetime64 to matplotlib's numbers."""
    from matplotlib import dates

    return np.asarray(dates.date2num(times))  # type: ignore[no-untyped-call]
