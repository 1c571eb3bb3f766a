"""Errors of forecasts, step by step, beside those of naive forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from backcast._engine.columns import floats
from backcast._estimator.base import fitted_of
from backcast._parameters import check_decoder
from backcast._training.windows import pair_of
from backcast.data._arguments import whole
from backcast.errors import ArgumentError, MissingPackageError, ShapeError

if TYPE_CHECKING:
    import pandas as pd

    from backcast.model import Model

# Windows in memory at a time.
_PIECE = 1024


def forecast_errors(
    model: Model,
    past: Any,
    future: Any = None,
    *,
    season: int | None = None,
    per: Literal["step", "column"] = "step",
) -> pd.DataFrame:
    """Errors of a model's forecasts by step, beside the naive and the seasonal naive forecast.

    Every window is an origin from which its whole future is forecast. Use windows that the model
    was not fitted on: errors on its training windows are too small.

    Parameters
    ----------
    model : Model
        A fitted model with a predict decoder.
    past, future : array_like, list or Windows, default=None for `future`
        As in `Model.fit`; of a single array, the last `horizon_` frames are the future.
    season : int, default=None
        Length of a season in frames, at most that of the past. The seasonal naive forecast is the
        number one season before, or the lowest number of seasons before at which it is known.
    per : {"step", "column"}, default="step"
        "step" gives the mean of the errors of all columns, "column" the errors of each column.

    Returns
    -------
    pandas.DataFrame
        One row for each step (1, 2, ...), or for each column and step. The columns are the measure
        ("MAE", "RMSE", "MASE") and the forecast ("model", "naive", and with `season` "seasonal").
        uint8 frames count as 0..1, as for the model; in tables, numbers of any type are themselves.

    Raises
    ------
    NotFittedError, DecoderError, ShapeError, DataError
        As in `Model.predict`; also if the windows differ in length.
    ArgumentError
        If `season` is longer than the past or below 1, or `per` is neither "step" nor "column".
    MissingPackageError
        If pandas is not installed.

    Notes
    -----
    The naive forecast is the last known number of the past, at all steps. MAE is the mean absolute
    error over the windows, RMSE the root of the mean squared error, both in the units of the data.
    MASE is MAE divided by the mean absolute difference between consecutive frames of the same
    column, over all given pasts: below 1, the error is less than the usual change in one step [1]_.
    It is NaN for a constant column. All errors ignore a number that is missing in the truth or in
    one of the forecasts.

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
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingPackageError("forecast_errors needs pandas: pip install pandas") from error

    if per not in ("step", "column"):
        raise ArgumentError(f'per must be "step" or "column", got {per!r}')
    horizon = model.horizon_
    check_decoder("predict", model.decoders)
    pasts, futures = pair_of(past, future, horizon, predicts=True)
    if futures is None or pasts.ragged or futures.ragged:
        raise ShapeError("past must be windows of one length, got a list")
    fitted_of(model).check_frames(pasts, futures)
    steps, length = futures.span[1], pasts.span[1]
    seasons = {"naive": 1}
    if season is not None:
        seasons["seasonal"] = whole("season", season, 1)
        if season > length:
            raise ArgumentError(f"season must be at most the {length} frames of past, got {season}")

    sums: Any = 0
    changes: Any = 0
    for start in range(0, len(pasts), _PIECE):
        piece = slice(start, start + _PIECE)
        known, truth = (_flat(side.cut(piece).array()) for side in (pasts, futures))
        made = np.asarray(model.predict(pasts.cut(piece).array(), steps=steps), np.float64)
        naive = [_repeated(known, frames, steps) for frames in seasons.values()]
        errors = np.stack([made.reshape(truth.shape), *naive]) - truth
        complete = ~np.isnan(errors).any(axis=0)
        absolute = np.where(complete, np.abs(errors), 0)
        counts = np.broadcast_to(complete, errors.shape)
        # (3, forecasts, steps, columns).
        sums = sums + np.stack([absolute, absolute**2, counts]).sum(axis=2)
        each = np.abs(np.diff(known, axis=1))
        changes = changes + np.stack([np.nansum(each, (0, 1)), (~np.isnan(each)).sum((0, 1))])

    with np.errstate(invalid="ignore", divide="ignore"):
        mae, mse = sums[:2] / sums[2]
        scale = changes[0] / changes[1]
        found = np.stack([mae, np.sqrt(mse), np.where(scale > 0, mae / scale, np.nan)])
    measures = pd.MultiIndex.from_product([("MAE", "RMSE", "MASE"), ("model", *seasons)])
    names = getattr(past, "columns", range(found.shape[-1]))
    table = pd.DataFrame(
        found.transpose(3, 2, 0, 1).reshape(-1, len(measures)),
        index=pd.MultiIndex.from_product([names, range(1, steps + 1)], names=["column", "step"]),
        columns=measures,
    )
    return table if per == "column" else table.groupby(level="step").mean()


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
