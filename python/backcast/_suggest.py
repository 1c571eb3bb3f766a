"""Parameters for a table, with reasons: the rules of the estimators, before anything is fitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from backcast._parameters import PARAMETERS, Word
from backcast.anomaly._rules import (
    Decision,
    center_of,
    future_of,
    hold_out,
    past_of,
    period_of,
    updates_of,
)
from backcast.anomaly.detector import DEFAULTS
from backcast.data._recordings import Recordings, of_series
from backcast.data.series import Windows
from backcast.embedding import _rules
from backcast.embedding._sequences import given_of
from backcast.errors import DataError, ShapeError
from backcast.forecast import _learning
from backcast.forecast._layout import auto_segment
from backcast.forecast.forecaster import DEFAULTS as NETWORK

Parameters = dict[str, Any]
Found = tuple[dict[str, Decision], Parameters]

# The fewest rows, without a gap, that say anything.
_ROWS = 20
# A forecast without a period: rows of past, and the part of it that is forecast, a quarter.
_PAST, _PART = 96, 4
_HELD_OUT = 0.2


def suggest(
    series: Any,
    task: str = "anomalies",
    *,
    group: Any = None,
    time: Any = None,
    columns: list[Any] | None = None,
    gap: Any = None,
) -> dict[str, dict[str, Any]]:
    """Suggest parameters for a table, and say why.

    The rules are those that `AnomalyDetector`, `Forecaster` and `Embedder` follow themselves where
    nothing is given, and a rule for the lengths of a forecast. They look at the rows only; nothing
    is trained.

    Parameters
    ----------
    series : array_like of shape (n_rows,) or (n_rows, n_columns), or DataFrame
        Rows ordered by time, or a table as for `backcast.data.windows`. For "embeddings" also a
        list of sequences or an array (n, T, n_columns).
    task : {"anomalies", "forecasts", "embeddings", "windows"}, default="anomalies"
        What the table is for: an `AnomalyDetector`, a `Forecaster`, an `Embedder`, or a `Model` on
        windows.
    group, time, columns, gap : label, list or duration, default=None
        As in `backcast.data.windows`; those given are among the suggested parameters.

    Returns
    -------
    dict of dict
        "parameters": those of the estimator, as ``AnomalyDetector(**found["parameters"])`` takes
        them. "windows": those of ``backcast.data.windows(series, **found["windows"])``. "reasons":
        a short sentence for each choice, and for what is odd in the table.

    Raises
    ------
    ArgumentError, ShapeError, DataError
        If the table cannot be used for this; the message says what would help.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast import AnomalyDetector, suggest
    >>> hours = np.arange(24 * 60)
    >>> load = np.sin(2 * np.pi * hours / 24) + 0.1 * np.random.default_rng(0).normal(size=24 * 60)
    >>> found = suggest(load, "anomalies")
    >>> found["windows"]
    {'past': 48, 'future': 9}
    >>> found["reasons"]["future"]
    '9: a fifth of past'
    >>> detector = AnomalyDetector(**found["parameters"])
    """
    Word((*_TASKS, "embeddings"))("task", task)
    given = {"group": group, "time": time, "columns": columns, "gap": gap}
    named = {name: value for name, value in given.items() if value is not None}
    if task == "embeddings":
        return _of_sequences(series, given, named)
    rows = of_series(series, **given)
    odd = _check(rows)
    decisions, parameters = _TASKS[task](rows)
    lengths = {name: decisions[name].value for name in ("past", "future")}
    if task != "windows":
        parameters |= named
    return {
        "parameters": parameters,
        "windows": lengths | named,
        "reasons": _told(decisions) | odd,
    }


def _told(decisions: dict[str, Decision]) -> dict[str, str]:
    return {name: f"{value}: {why}" for name, (value, why) in decisions.items()}


def _check(rows: Recordings) -> dict[str, str]:
    """Refuse rows that nothing can be learnt from; return lines on what is odd in them."""
    if (rows.ends - rows.begins).max(initial=0) < _ROWS:
        raise rows.too_short(_ROWS)
    values = np.asarray(rows.values, np.float64)
    if np.isinf(values).any():
        raise DataError("series must hold finite numbers or NaN, got an infinite one")
    known = ~np.isnan(values)
    constant = [
        label
        for label, column, there in zip(rows.columns, values.T, known.T, strict=True)
        if not there.any() or np.ptp(column[there]) == 0
    ]
    if len(constant) == len(rows.columns):
        raise DataError(
            "series must have a column that changes, got only constant or missing numbers: choose "
            "others with columns=[...]"
        )
    odd = {}
    if constant:
        some = ", ".join(map(repr, constant[:5])) + (", ..." if len(constant) > 5 else "")
        odd["constant columns"] = f"{some}: nothing can be learnt from them"
    if not known.all():
        odd["missing numbers"] = f"{1 - known.mean():.1%}: losses and scores ignore them"
    sizes = rows.ends - rows.begins
    n_groups = 1 if rows.row_groups is None else len(set(rows.row_groups[rows.begins]))
    if len(sizes) > n_groups:
        odd["gaps"] = (
            f"{len(sizes) - n_groups:,} cut the table into runs of about {int(np.median(sizes)):,} "
            "rows; gap=... allows longer steps"
        )
    return odd


def _for_windows(rows: Recordings) -> Found:
    """Choose windows and a model as the detector does, which cuts the same."""
    past = past_of(rows)
    future = future_of(past.value)
    kept, *_ = hold_out(rows, past.value + future.value, None)
    n_windows = len(kept.cut(Windows, past.value, future.value))
    updates = updates_of(n_windows, PARAMETERS["batch_size"].default)
    decisions = {"past": past, "future": future, "max_iter": updates}
    return decisions, DEFAULTS | {"max_iter": updates.value}


def _for_anomalies(rows: Recordings) -> Found:
    """Choose what the detector leaves to its rules."""
    decisions, _ = _for_windows(rows)
    past, future, updates = decisions.values()
    center = center_of(rows, past.value)
    lengths = {"past": past.value, "future": future.value, "center": center.value}
    return decisions | {"center": center}, {"model": {"max_iter": updates.value}} | lengths


def _for_forecasts(rows: Recordings) -> Found:
    """Choose the lengths from the period, and what follows from them."""
    longest = int((rows.ends - rows.begins).max())
    period = period_of(rows)
    # Both sides of the held-out rows need windows.
    most = longest // 6
    if period and 2 * period <= most:
        past = Decision(2 * period, f"two periods of {period} rows")
        future = Decision(period, "one period")
    else:
        n = max(_PART, min(_PAST, most))
        size = f"{n} rows" if n == _PAST else "a sixth of the longest run"
        found = f"two periods of {period} rows are longer" if period else "no period was found"
        past = Decision(n, f"{size}, as {found}")
        future = Decision(n // _PART, "a quarter of past")
    segment = Decision(*auto_segment(past.value, future.value))
    train, _ = _learning.hold_out(rows, past.value, future.value, _HELD_OUT)
    n_samples = len(train) * len(rows.columns)
    updates = Decision(
        _learning.auto_updates(n_samples, NETWORK["batch_size"]),
        f"two passes over {n_samples:,} samples, within 1,000 to 1,500 updates",
    )
    decisions = {"past": past, "future": future, "segment": segment, "max_iter": updates}
    lengths = {name: decisions[name].value for name in ("past", "future", "segment")}
    return decisions, lengths | {"model": {"max_iter": updates.value}}


def _of_sequences(series: Any, given: Parameters, named: Parameters) -> dict[str, dict[str, Any]]:
    """Choose the window of an embedder."""
    sequences = given_of(series, **given)
    lengths = sequences.lengths
    if len(lengths) < 2:
        raise ShapeError(
            "series must hold at least two sequences to embed, got one: name its recordings with "
            'group=..., or embed windows of it, suggest(series, "windows")'
        )
    window = Decision(*_rules.auto_window(lengths))
    future = Decision(_rules.future_of(window.value), "half of past, predicted in training")
    own_units, units = _rules.auto_units(sequences)
    parts = Decision(*_rules.auto_parts(sequences.width, own_units=own_units))
    decisions = {"window": window, "future": future, "parts": parts}
    n, least, most = len(lengths), min(lengths), max(lengths)
    return {
        "parameters": {"window": window.value, "parts": parts.value > 0} | named,
        "windows": {"past": window.value, "future": future.value} | named,
        "reasons": _told(decisions)
        | {"units": units, "sequences": f"{n:,} of {_span(least, most)} rows"},
    }


def _span(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


_TASKS: dict[str, Callable[[Recordings], Found]] = {
    "anomalies": _for_anomalies,
    "forecasts": _for_forecasts,
    "windows": _for_windows,
}
