"""Dates whose day or month comes first: in words, and in dates that were read from such words."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

import numpy as np

from backcast._engine.tables import is_missing

# Labels that are looked at to see whether they are dates, and to see which number is the day.
_SAMPLE, _MANY = 100, 10_000
# A date such as 31.12.2026 or 12/31/26.
_DATE = re.compile(r"\s*(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?![\d./-])")
# A step of more than this many median steps is uneven, or a gap. One of two ways to read dates has
# so much fewer uneven steps.
MEDIANS, FEWER = 1.5, 4


def how_to_date(labels: Any, name: Any) -> str:
    """Return how labels that look like dates become dates; empty if they do not look so."""
    import pandas as pd

    some = [label for label in islice(labels, _SAMPLE) if not is_missing(label)]
    if any(hasattr(label, "isoformat") for label in some):
        return f": pandas.to_datetime(..., utc=True) makes dates of {name!r}"
    if not some or not all(isinstance(label, str) and len(label) > 5 for label in some):
        return ""
    made = f"makes dates of {name!r}, such as {some[0]!r}"
    if all(map(_DATE.match, some)):
        orders = _orders(labels)
        other = "; with dayfirst=False months first" if len(orders) > 1 else ""
        return f": pandas.to_datetime(..., dayfirst={orders[0]}) {made}{other}" if orders else ""
    try:
        pd.to_datetime(pd.Index(some), format="ISO8601")
    except (ValueError, TypeError, OverflowError):
        return ""
    return f": pandas.to_datetime(...) {made}"


def _orders(labels: Any) -> list[bool]:
    """Return whether the day comes first in words such as 03.04.2026; both answers if either may.

    A number above 12 is the day. Otherwise rows mostly follow each other in equal steps, so that
    far fewer uneven steps decide; and the day comes before a dot.
    """
    words = [label for label in labels if isinstance(label, str)]
    found = [m for word in words[:: -(-len(words) // _MANY) or 1] if (m := _DATE.match(word))]
    orders = [
        day < month
        for day, month in ((1, 3), (3, 1))
        if all(int(m[day]) <= 31 and int(m[month]) <= 12 for m in found)
    ]
    if len(orders) < 2:
        return orders
    first, second = _uneven(found, 1, 3), _uneven(found, 3, 1)
    if first * FEWER <= second and second:
        return [True]
    if second * FEWER <= first and first:
        return [False]
    return [True] if found[0][2] == "." else orders


def _uneven(dates: list[re.Match[str]], day: int, month: int) -> int:
    """Return the number of uneven steps between dates, with these numbers as day and month."""
    import pandas as pd

    plain = [
        f"{f'20{m[4]}'[-4:]}-{m[month]:0>2}-{m[day]:0>2}{m.string[m.end() :].rstrip()}"
        for m in dates
    ]
    try:
        steps = np.diff(pd.to_datetime(pd.Index(plain), format="ISO8601").asi8)
    except (ValueError, TypeError, OverflowError):
        return 0
    return int(np.count_nonzero((steps <= 0) | (steps > MEDIANS * np.median(steps))))


def swapped(dates: Any) -> Any:
    """Return dates with day and month the other way round; None where a day is above 12."""
    import pandas as pd

    if not isinstance(dates, pd.DatetimeIndex) or not len(dates) or dates.day.max() > 12:
        return None
    own = dates.tz_localize(None).normalize()
    years = (own.year.to_numpy() - 1970).astype("M8[Y]").astype("M8[M]")
    other = (years + own.day.to_numpy() - 1).astype("M8[D]") + (own.month.to_numpy() - 1)
    return dates.tz_localize(None) + (pd.DatetimeIndex(other) - own)
