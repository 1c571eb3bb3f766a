"""Rules that choose a detector's settings from its training rows, and the reasons in words.

The numbers in them were chosen on half of the labelled series of `tests/benches/README.md`, taken
as a whole. No rule sees a label.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast.anomaly._scoring import Numbers, nanmean
from backcast.data._recordings import Recordings
from backcast.errors import ShapeError

AUTO = "auto"
"""The word that leaves a setting to its rule."""

TOO_FEW = "too few rows to hold some out"
"""Why no rows are held out."""

# Rows of past in a window, at most.
_PAST = 50
# The fewest rows in which a period is looked for.
_SHORTEST = 50
# Passes over the windows; updates, at least and at most.
_PASSES, _UPDATES = 25, (200, 1_000)
# What counts as most.
_MOST = 0.5
# A recording of fewer windows than this is too short to hold rows out.
_WINDOWS_IN_A_RECORDING = 4
# Fraction of the rows to hold out. The reason gives the true fraction if it differs by more.
_HELD_OUT, _ABOUT = 0.2, 0.03
# Autocorrelation of a period, at least.
_PERIODIC = 0.3
# How far the autocorrelation rises to a period, at least, as noise makes peaks on its slopes:
# standard errors of that of noise, or this much where they are more.
_ERRORS, _RISE = 3, 0.2
# Rows that the rules look at, at most.
_ROWS = 20_000
# The errors of a column grow if they are, in rows held out, this much larger than the median's.
_GROWTH = 1.2
# What such a column counts.
_LITTLE = 0.2


class Decision(NamedTuple):
    """A setting, and one line that says why."""

    value: Any
    why: str


def past_of(rows: Recordings) -> Decision:
    """Choose the rows of past: as many whole periods as 50 rows hold, at most an eighth of a run.

    The period is the lag of the highest peak of the autocorrelation, averaged over the columns that
    vary. A window of whole periods shows what is early or late; with a longer period or none it
    takes 50 rows.
    """
    values = _longest_run(rows)
    period = _period(values)
    whole = _PAST // period * period if period else 0
    past = min(whole or _PAST, max(2, len(values) // 8))
    if past < (whole or _PAST):
        return Decision(past, "an eighth of the longest run")
    if period and whole:
        n = whole // period
        return Decision(past, f"{n} period{'s' if n > 1 else ''} of {period} rows")
    found = f"the period of {period} rows is longer" if period else "no period was found"
    return Decision(past, f"the most rows, as {found}")


def future_of(past: int) -> Decision:
    """Choose the number of rows to predict after `past` rows."""
    return Decision(max(1, past // 5), "a fifth of past")


def period_of(rows: Recordings) -> int | None:
    """Return the period of the longest run in rows; None where its autocorrelation shows none."""
    return _period(_longest_run(rows))


def center_of(rows: Recordings, past: int) -> Decision:
    """Choose whether to subtract the level, the mean of a window's past.

    There are two reasons to subtract it. Columns rest: in most windows, most columns do not change,
    so that training shows few of the levels at which they can rest. Or the level drifts: the levels
    of most windows of the last fifth lie outside the range of the levels before.
    """
    values = _longest_run(rows)
    rest = _resting(values, min(past, _PAST))
    if rest > _MOST:
        return Decision(True, f"{rest:.0%} of the columns rest in most windows")
    varies = values.std(0) > 0
    varying = values[:, varies]
    levels = _sums(varying - varying.mean(0), past)
    first = len(values) - round(_HELD_OUT * len(values))
    # A level of the last fifth shares no row with those before.
    before, after = levels[: max(first - past + 1, 0)], levels[first:]
    if not before.size or not after.size:
        return Decision(False, "the rows do not show whether the level drifts")
    shares = ((after > before.max(0)) | (after < before.min(0))).mean(0)
    drift = float(shares.mean())
    why = f"{drift:.0%} of the levels of the last fifth lie outside those before"
    drifting = [str(rows.columns[i]) for i in np.flatnonzero(varies)[shares > _MOST]]
    if drifting and len(varies) > 1:
        which = "column" if len(drifting) == 1 else "columns"
        why += f", mostly in {which} {_first(3, drifting)}"
    return Decision(drift > _MOST, why)


def updates_of(n_windows: int, batch_size: int) -> Decision:
    """Choose the updates of the weights: 25 passes over the windows, from 200 to 1,000 updates.

    More passes over few windows learn them by heart.
    """
    least, most = _UPDATES
    updates = min(max(math.ceil(_PASSES * n_windows / batch_size), least), most)
    why = f"{_PASSES} passes over {n_windows:,} windows, within {least} to {most:,} updates"
    return Decision(updates, why)


def hold_out(
    rows: Recordings, length: int, part: float | None
) -> tuple[Recordings, Recordings | None, str]:
    """Split rows into those to train on and those to hold out, None where rows are too few.

    Only rows of runs that hold a window count. Each recording of at least four windows of them
    gives its last part, by default a fifth, and at least one window; a run that the cut leaves no
    window to hold out is trained on. Where no recording is that long, every fifth run is held out.

    Returns
    -------
    train, rest : Recordings
        The rows to train on, and those held out.
    why : str
        Which these are, in words.
    """
    share, part = ("a fifth", _HELD_OUT) if part is None else (f"{part:.4g}", part)
    sizes = rows.ends - rows.begins
    usable = np.where(sizes >= length, sizes, 0)
    of = np.searchsorted(rows.last_rows, rows.begins)
    totals = np.bincount(of, usable)
    cuts = np.maximum(np.round(part * totals), length)
    cuts[totals < _WINDOWS_IN_A_RECORDING * length] = 0
    later = (np.cumsum(totals)[of] - np.cumsum(usable)).astype(np.intp)
    held = np.clip(cuts.astype(np.intp)[of] - later, 0, usable)
    held[held < length] = 0
    if held.any():
        middles = rows.ends - held
        kept = held > 0
        n = int(held.sum())
        why = f"the last {n:,} rows: {share} of each recording, at least a window"
        if abs(n / len(rows.values) - part) > _ABOUT:
            why += f"; {n / len(rows.values):.0%} of all rows"
        return (
            replace(rows, ends=middles),
            replace(rows, begins=middles[kept], ends=rows.ends[kept]),
            why,
        )
    full, every = np.flatnonzero(usable), max(2, round(1 / part))
    if len(full) < every:
        return rows, None, TOO_FEW
    last = np.zeros(len(sizes), bool)
    last[full[every - 1 :: every]] = True
    train = replace(rows, begins=rows.begins[~last], ends=rows.ends[~last])
    rest = replace(rows, begins=rows.begins[last], ends=rows.ends[last])
    why = f"{sizes[last].sum():,} rows: one of every {every} runs, as recordings are short"
    return train, rest, why


def column_weights(
    trained: Numbers, held_out: Numbers, columns: Sequence[Any]
) -> tuple[Numbers, str]:
    """Choose how much the errors of each column count, by mean squared errors of each (n_columns).

    Errors that grow in rows that the model was not trained on, as those of a column that drifts,
    will go on growing and hide those of other columns: such a column counts a fifth. It is compared
    with the median column, so that two columns count the same. The mean of the squared weights is
    1.
    """
    with np.errstate(all="ignore"):
        growth = np.sqrt(held_out / trained)
    # A column without errors says nothing; errors that shrink are as steady as those that stay.
    growth = np.fmax(np.where(np.isnan(growth), 1.0, growth), 1.0)
    grows = growth > _GROWTH * np.quantile(growth, 0.5, method="lower")
    if len(columns) < 3 or not grows.any():
        return np.ones(len(columns)), "equal: no errors grow more than others in rows held out"
    weights = np.where(grows, _LITTLE, 1.0)
    worst = [i for i in np.argsort(-growth, kind="stable") if grows[i]]
    names = _first(5, [f"{columns[i]} ({growth[i]:.3g} times)" for i in worst])
    why = f"a fifth for columns whose errors grow more than others in rows held out: {names}"
    return weights / np.sqrt(np.mean(weights**2)), why


def _first(n: int, names: Sequence[str]) -> str:
    """Write names as a list, and how many more there are than `n`."""
    more = f" and {len(names) - n} more" if len(names) > n else ""
    return ", ".join(names[:n]) + more


def margin_of(n_windows: float) -> float:
    """Return the factor of a threshold that comes from `n_windows` windows without common rows.

    The highest score of few windows is far from that of many. One window raises the threshold by
    half, five by a tenth, fifty by a hundredth.
    """
    return 1 + 0.5 / max(n_windows, 1.0)


def _longest_run(rows: Recordings) -> Numbers:
    """Return the last rows of the longest run, with the mean of the column for missing numbers."""
    run = int(np.argmax(rows.ends - rows.begins))
    begin, end = rows.begins[run], rows.ends[run]
    if begin == end:
        raise ShapeError(f"series must have at least 1 row, got shape {rows.values.shape}")
    values = np.asarray(rows.values[max(begin, end - _ROWS) : end], np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    return np.where(np.isnan(values), np.nan_to_num(nanmean(values, 0)), values)


def _resting(values: Numbers, length: int) -> float:
    """Return the fraction of the columns that do not change in most windows."""
    changes = _sums(np.diff(values, axis=0) != 0, max(1, min(length, len(values)) - 1))
    return float(((changes == 0).mean(0) > _MOST).mean()) if len(changes) else 0.0


def _sums(values: NDArray[Any], length: int) -> Numbers:
    """Return the sum of each window of that length, column by column; none of fewer rows."""
    sums = np.cumsum(np.concatenate([np.zeros((1, values.shape[1])), values]), 0)
    found: Numbers = sums[length:] - sums[:-length]
    return found


def _period(values: Numbers) -> int | None:
    """Return the lag of the highest peak of the mean autocorrelation.

    None where all peaks are low, or the autocorrelation hardly rises to them.
    """
    n = len(values)
    if n < _SHORTEST:
        return None
    size = np.abs(values).max(0)
    # A trend would hide the peaks.
    time = np.linspace(-1, 1, n)
    values = values - values.mean(0)
    values = values - np.outer(time, time @ values / (time @ time))
    values = values[:, values.std(0) > 1e-9 * size]
    if not values.shape[1]:
        return None
    power = np.abs(np.fft.rfft(values, 2 * n, axis=0)) ** 2
    lags = np.fft.irfft(power, axis=0)[: n // 2]
    found: NDArray[Any] = (lags / lags[0]).mean(1)
    peaks = 1 + np.flatnonzero((found[1:-1] > found[:-2]) & (found[1:-1] >= found[2:]))
    rise = min(_ERRORS / math.sqrt(n), _RISE)
    peaks = peaks[found[peaks] - np.minimum.accumulate(found)[peaks] >= rise]
    if not len(peaks):
        return None
    best = int(peaks[np.argmax(found[peaks])])
    return best if found[best] >= _PERIODIC else None
