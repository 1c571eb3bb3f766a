"""Forecasts of public series by the default `Forecaster`, beside naive ones and a ridge regression.

The data are arrays in a folder that the user names; the page says where they come from.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LEVELS = [0.8, 0.95]
SEASON = 24
Record = dict[str, Any]


def measure(seeds: int, data: Path) -> dict[str, Any]:
    """Errors by set, forecast and seed; coverage and CPU seconds of a fit."""
    return {
        "ETTh1, 96 to 96: MSE": [etth1(data, seed) for seed in range(seeds)],
        "M4 hourly, 168 to 48: MASE": [m4_hourly(data, seed) for seed in range(seeds)],
    }


def etth1(data: Path, seed: int) -> Record:
    """Mean squared error of all windows of the test part, in units of the training part.

    Trained on the first 8,640 rows, held out are the 2,880 of the usual validation part.
    """
    x = np.load(data / "ETTh1.npz")["x"].astype(np.float64)
    first, second, past = 8640, 8640 + 2880, 96
    x = (x - x[:first].mean(axis=0)) / x[:first].std(axis=0)
    fitted, seconds = fit(x[:first], seed, 96, 96, validation=x[first - past : second])
    from backcast import forecast_errors

    test = x[second - past : second + 2880]
    errors = forecast_errors(fitted, test, per="column", season=SEASON, interval=LEVELS)
    return {
        "errors": (errors["RMSE"] ** 2).mean().to_dict(),
        "coverage": [float(errors[f"coverage {100 * p:g}"].mean().iloc[0]) for p in LEVELS],
        "seconds": seconds,
        **choices(fitted),
    }


def m4_hourly(data: Path, seed: int) -> Record:
    """Mean over 414 series of the absolute error by the seasonal change of the training part."""
    found = np.load(data / "m4_hourly.npz")
    series = [row[~np.isnan(row)].astype(np.float64) for row in found["train"]]
    truth = found["test"].astype(np.float64)
    units = [np.abs(each[SEASON:] - each[:-SEASON]).mean() for each in series]
    table = pd.concat(pd.DataFrame({"series": i, "y": each}) for i, each in enumerate(series))
    table = table.reset_index(drop=True)
    fitted, seconds = fit(table, seed, 168, 48, group="series")
    made = fitted.predict(table, interval=LEVELS)
    shape, chosen = truth.shape, choices(fitted)
    fitted.weights_ = (1.0, 0.0)
    forecasts = {
        "model": made["y"].to_numpy().reshape(shape),
        "naive": np.stack([each[-1:].repeat(48) for each in series]),
        "seasonal": np.stack([np.tile(each[-SEASON:], 2) for each in series]),
        "linear": fitted.predict(table)["y"].to_numpy().reshape(shape),
    }
    ends = {
        p: [made[f"y-{end}-{100 * p:g}"].to_numpy().reshape(shape) for end in ("lo", "hi")]
        for p in LEVELS
    }
    return {
        "errors": {
            name: float((np.abs(each - truth).mean(axis=1) / units).mean())
            for name, each in forecasts.items()
        },
        "coverage": [
            float(((low <= truth) & (truth <= high)).mean()) for low, high in ends.values()
        ],
        "seconds": seconds,
        **chosen,
    }


def fit(
    series: Any,
    seed: int,
    past: int,
    future: int,
    validation: Any = 0.2,
    **params: Any,
) -> tuple[Any, float]:
    """Fit the default forecaster; return it and the CPU seconds of the fit."""
    from backcast import Forecaster

    given = {"random_state": seed, "num_threads": 1, "device": "cpu", "verbose": 0}
    forecaster = Forecaster(past, future, given, **params)
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forecaster.fit(series, validation=validation)
    return forecaster, time.process_time() - began


def choices(fitted: Any) -> Record:
    """What the forecaster chose."""
    return {
        "segment": fitted.segment_,
        "normalize": fitted.normalize_,
        "weights": fitted.weights_,
        "updates": fitted.model_.n_iter_,
    }
