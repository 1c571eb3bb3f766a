"""Errors of forecasts, step by step, beside those of naive forecasts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backcast._engine.columns import floats
from backcast._engine.tables import own_name
from backcast._estimator.base import fitted_of
from backcast._parameters import check_decoder, integer
from backcast._training.windows import pair_of
from backcast.errors import ArgumentError, MissingPackageError, ShapeError
from backcast.forecast._intervals import levels_of
from backcast.forecast.forecaster import Forecaster

if TYPE_CHECKING:
    import pandas as pd

    from backcast.model import Model

Per: TypeAlias = Literal["step", "column", "group"]

# Windows in memory at a time.
_PIECE = 1024


def forecast_errors(
    model: Model | Forecaster,
    past: Any,
    future: Any = None,
    *,
    season: int | None = None,
    per: Per | list[Per] = "step",
    stride: int = 1,
    interval: Any = None,
) -> pd.DataFrame:
    """Errors of forecasts by step, beside the naive and the seasonal naive forecast: a backtest.

    Every window is an origin from which its whole future is forecast. Use windows that the model
    was not fitted on: errors on its training windows are too small.

    Parameters
    ----------
    model : Model or Forecaster
        A fitted model with a predict decoder, or a fitted forecaster.
    past, future : array_like, list, Windows or DataFrame, default=None for `future`
        As in `Model.fit`; of a single array, the last `horizon_` frames are the future. For a
        forecaster, `past` is a series or a table as in `Forecaster.fit`, and `future` is None: its
        rows hold the futures of all windows but the last ones, and the columns known there.
    season : int, default=None
        Length of a season in frames, at most that of the past. The seasonal naive forecast is the
        number one season before, or the lowest number of seasons before at which it is known.
    per : {"step", "column", "group"} or list of them, default="step"
        "step" gives the mean of the errors of all columns, "column" the errors of each column,
        "group" those of each recording of a table with several; ``["group", "column"]`` those of
        each column of each recording. All are by step.
    stride : int, default=1
        For a forecaster: rows from one origin to the next.
    interval : float or list of float, default=None
        For a forecaster: levels of prediction intervals to measure.

    Returns
    -------
    pandas.DataFrame
        One row for each step (1, 2, ...), or for each group, column and step, as `per` says; the
        level of groups has the name of the table's; after a group "step", the level of steps is
        ``step_``, and "column" likewise. The columns are the measure
        ("MAE", "RMSE", "MASE", "sMAPE") and the forecast ("model", "naive", with `season`
        "seasonal", and for a forecaster the "linear" one that is part of it). With `interval` also
        "pinball" and "coverage" with the level in percent, as "coverage 90", of the forecaster.
        uint8 frames count as 0..1, as for the model; in tables, numbers of any type are themselves.

    Raises
    ------
    NotFittedError, DecoderError, ShapeError, DataError
        As in `Model.predict`; also if the windows differ in length.
    ArgumentError
        If `season` is longer than the past or below 1, `per` is none of these or "group" without
        groups, or an argument is only for a forecaster.
    MissingPackageError
        If pandas is not installed.

    Notes
    -----
    The naive forecast is the last known number of the past, at all steps. MAE is the mean absolute
    error over the windows, RMSE the root of the mean squared error, both in the units of the data.
    MASE is MAE divided by the mean absolute difference between consecutive frames of the same
    column (of the same group, with "group") over all given pasts: below 1, the error is less than
    the usual change in one step [1]_. It is NaN for a constant column. sMAPE is the mean of
    ``200 |y - f| / (|y| + |f|)``, in percent.
    The pinball loss of an interval is the mean of those of its ends, as forecasts of the quantiles
    that leave half of the rest below and above; coverage is the part of the true numbers inside.
    All errors ignore a number that is missing in the truth or in one of the forecasts.

    References
    ----------
    .. [1] Hyndman and Koehler, "Another look at measures of forecast accuracy", International
       Journal of Forecasting, 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast import Model, forecast_errors
    >>> from backcast.data import windows
    >>> t = np.arange(400)
    >>> w = windows(np.sin(2 * np.pi * t / 12) + t / 400, past=24, future=6)
    >>> model = Model(horizon=6, hidden_size=16, max_iter=50, device="cpu", verbose=0).fit(w[:300])
    >>> errors = forecast_errors(model, w[300:], season=12)
    >>> errors["MASE"].round(2)["seasonal"].tolist()  # the trend over 12 frames
    [0.09, 0.09, 0.09, 0.09, 0.09, 0.09]
    >>> errors["RMSE"].shape
    (6, 3)

    Of several recordings, the mean over the steps of each:

    >>> import pandas as pd
    >>> table = pd.DataFrame({"shop": ["a"] * 200 + ["b"] * 200, "sold": np.sin(t / 2) * (t + 9)})
    >>> w = windows(table, past=24, future=6, group="shop")
    >>> errors = forecast_errors(model, w, per="group")
    >>> errors["MASE"].groupby("shop").mean().index.tolist(), errors.index.names
    (['a', 'b'], FrozenList(['shop', 'step']))
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingPackageError("forecast_errors needs pandas: pip install pandas") from error

    split = _split(per)
    levels = levels_of(interval)
    if isinstance(model, Forecaster):
        if future is not None:
            raise ArgumentError("future must be None for a forecaster, whose series has it")
        given = _of_forecaster(model, past, integer("stride", stride, 1), levels)
    else:
        if levels or stride != 1:
            name = "interval" if levels else "stride"
            raise ArgumentError(f"{name} must be left out for a Model; a Forecaster has it")
        given = _of_model(model, past, future)
    if "group" in split and given.group_names is None:
        raise ArgumentError('per must not be "group" without several recordings, got one')
    seasons = {"naive": 1}
    if season is not None:
        seasons["seasonal"] = integer("season", season, 1)
        if season > given.past:
            raise ArgumentError(
                f"season must be at most the {given.past} frames of past, got {season}"
            )

    sums: dict[Any, Any] = {}
    forecasts = ["model", *seasons]
    for piece in given.pieces:
        known, truth = piece.past, piece.truth
        made = {"model": piece.made[..., 0]}
        made |= {k: _repeated(known, frames, truth.shape[1]) for k, frames in seasons.items()}
        made |= piece.more
        forecasts = [*made]
        errors = np.stack([*made.values()]) - truth
        complete = ~np.isnan(errors).any(axis=0)
        absolute = np.where(complete, np.abs(errors), 0)
        size = np.abs(np.stack([*made.values()])) + np.abs(truth)
        part = np.where(absolute > 0, 200 * absolute / np.where(size > 0, size, 1), 0)
        counts = np.broadcast_to(complete, errors.shape)
        # (4, forecasts, windows, steps, columns).
        numbers = np.stack([absolute, absolute**2, part, counts])
        ends = _of_ends(piece.made, truth, complete, levels)
        each = np.abs(np.diff(known, axis=1))
        changes = np.stack([np.nansum(each, axis=1), (~np.isnan(each)).sum(axis=1)])
        for group, own in _parts(piece.groups if "group" in split else None):
            new = [part[..., own, :, :].sum(axis=-3) for part in (numbers, ends)]
            new.append(changes[:, own].sum(axis=1))
            old = sums.get(group, (0, 0, 0))
            sums[group] = tuple(a + b for a, b in zip(old, new, strict=True))

    # (groups, measures, steps, columns).
    found = np.stack([_measures(*each) for each in sums.values()])
    measures = [(m, k) for m in ("MAE", "RMSE", "MASE", "sMAPE") for k in forecasts]
    for level in levels:
        measures += [(f"{m} {100 * level:.10g}", "model") for m in ("pinball", "coverage")]
    steps, width = found.shape[2:]
    rows: list[tuple[Any, ...]] = [(step,) for step in range(1, steps + 1)]
    groups = given.group_names if "group" in split and given.group_names is not None else ()
    index_names: list[Any] = [own_name("step", groups)]
    if "column" in split:
        names = range(width) if given.columns is None else given.columns
        rows = [(name, *row) for name in names for row in rows]
        index_names.insert(0, own_name("column", groups))
    else:
        found = _mean_of_columns(found)
    if groups:
        labels = [group if len(groups) > 1 else (group,) for group in sums]
        rows = [(*label, *row) for label in labels for row in rows]
        index_names = [*groups, *index_names]
    index: Any = pd.Index([row[0] for row in rows], name="step")
    if len(index_names) > 1:
        index = pd.MultiIndex.from_tuples(rows, names=index_names)
    return pd.DataFrame(
        found.transpose(0, 3, 2, 1).reshape(-1, len(measures)),
        index=index,
        columns=pd.MultiIndex.from_tuples(measures),
    )


class _Piece(NamedTuple):
    """Some windows and their forecasts, (n, frames, columns) each, and the group of each."""

    groups: NDArray[Any] | None
    past: NDArray[np.float64]
    truth: NDArray[np.float64]
    # With a last axis: the forecast, then both ends of each interval.
    made: NDArray[np.float64]
    # Further forecasts by name.
    more: dict[str, NDArray[np.float64]]


class _Given(NamedTuple):
    """The length of the past, the names of columns and groups, and all windows in pieces."""

    past: int
    columns: Any
    # None without groups.
    group_names: tuple[Any, ...] | None
    pieces: Iterator[_Piece]


def _split(per: Any) -> set[str]:
    """Return the set of words in `per`; refuse others."""
    several = [per] if isinstance(per, str) else per if isinstance(per, list | tuple) else []
    split = {each for each in several if isinstance(each, str)}
    if not several or len(split) < len(several) or not split <= {"step", "column", "group"}:
        raise ArgumentError(f'per must be "step", "column" or "group", or a list, got {per!r}')
    return split


def _parts(groups: NDArray[Any] | None) -> Iterator[tuple[Any, slice]]:
    """Yield the groups of consecutive windows, and their places; all of None."""
    if groups is None:
        yield None, slice(None)
        return
    ends = [*np.flatnonzero(groups[1:] != groups[:-1]) + 1, len(groups)]
    for begin, end in zip([0, *ends], ends, strict=False):
        yield groups[begin], slice(begin, end)


def _measures(sums: Any, of_ends: Any, changes: Any) -> NDArray[np.float64]:
    """Return all measures, (n, steps, columns), from sums over windows."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mae, mse, smape = sums[:3] / sums[3]
        scale = changes[0] / changes[1]
        mase = np.where(scale > 0, mae / scale, np.nan)
        return np.concatenate([mae, np.sqrt(mse), mase, smape, of_ends / sums[3, :1]])


def _mean_of_columns(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the columns that have a number, (..., 1)."""
    known = ~np.isnan(found)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: NDArray[np.float64] = np.nansum(found, -1, keepdims=True) / known.sum(
            -1, keepdims=True
        )
    return mean


def _group_names(windows: Any) -> tuple[Any, ...] | None:
    """Return the names of the levels of groups; None without groups."""
    if getattr(windows, "row_groups", None) is None:
        return None
    return tuple(windows.names[0]) if windows._several_names() else (windows.names[0],)


def _of_model(model: Model, past: Any, future: Any) -> _Given:
    horizon = model.horizon_
    check_decoder("predict", model.decoders)
    pasts, futures = pair_of(past, future, horizon, predicts=True)
    if futures is None or pasts.ragged or futures.ragged:
        raise ShapeError("past must be windows of one length, got a list")
    fitted_of(model).check_frames(pasts, futures)
    steps, groups = futures.span[1], getattr(past, "groups", None)

    def pieces() -> Iterator[_Piece]:
        for start in range(0, len(pasts), _PIECE):
            piece = slice(start, start + _PIECE)
            known, truth = (_flat(side.cut(piece).array()) for side in (pasts, futures))
            made = np.asarray(model.predict(pasts.cut(piece).array(), steps=steps), np.float64)
            own = None if groups is None else groups[piece]
            yield _Piece(own, known, truth, made.reshape(*truth.shape, 1), {})

    return _Given(pasts.span[1], getattr(past, "columns", None), _group_names(past), pieces())


def _of_forecaster(
    model: Forecaster, series: Any, stride: int, levels: tuple[float, ...]
) -> _Given:
    windows, n_forecast = model._origins(series, stride), len(model.columns_)

    def pieces() -> Iterator[_Piece]:
        for start in range(0, len(windows), _PIECE):
            frames = np.asarray(windows[start : start + _PIECE], np.float64)
            past = frames[:, : windows.n_past, :n_forecast]
            parts = model._parts(past, frames[..., n_forecast:])
            made = model._blend(parts, levels)
            more = {"linear": parts.linear} if model.linear else {}
            own = None if windows.row_groups is None else windows.groups[start : start + _PIECE]
            yield _Piece(own, past, frames[:, windows.n_past :, :n_forecast], made, more)

    return _Given(windows.n_past, model.columns_, _group_names(windows), pieces())


def _of_ends(made: Any, truth: Any, complete: Any, levels: tuple[float, ...]) -> Any:
    """Return pinball losses and whether numbers are inside, (2 n_levels, n, steps, columns)."""
    found = np.zeros((2 * len(levels), *truth.shape))
    for i, level in enumerate(levels):
        low, high = truth - made[..., 2 * i + 1], truth - made[..., 2 * i + 2]
        tail = (1 - level) / 2
        losses = [np.maximum(q * e, (q - 1) * e) for q, e in ((tail, low), (1 - tail, high))]
        inside = (low >= 0) & (high <= 0)
        found[2 * i] = np.where(complete, sum(losses) / 2, 0)
        found[2 * i + 1] = complete & inside
    return found


def _flat(frames: NDArray[Any]) -> NDArray[np.float64]:
    """Return frames in the units of the model, flat: (n, T, D)."""
    return floats(frames).reshape(*frames.shape[:2], -1)


def _repeated(past: NDArray[np.float64], season: int, steps: int) -> NDArray[np.float64]:
    """Repeat the last season; a number missing in it comes from the latest season that has it."""
    n, length, width = past.shape
    seasons = past[:, length % season :].reshape(n, -1, season, width)[:, ::-1]
    latest = np.argmax(~np.isnan(seasons), axis=1)[:, np.newaxis]
    last: NDArray[np.float64] = np.take_along_axis(seasons, latest, axis=1)[:, 0]
    return last[:, np.arange(steps) % season]
