"""Forecasts of the sets of `forecasts.py` by other packages, each with its own defaults.

A peer gets the series before the test part and windows of past rows, and returns the forecast of
each window. Its errors are those of `forecasts.py`.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from forecasts import SEASON
from labelled import Array

# Rows that the past of an ETTh1 window has for AutoETS, about as many as a series of M4 has, and
# rows from one of its windows to the next.
_HISTORY, _STEP = 960, 96


@dataclass(frozen=True)
class Task:
    """Series to train on, windows to forecast and what follows them."""

    series: list[Array]
    windows: list[Array]
    future: Array
    past: int


@dataclass(frozen=True)
class Peer:
    """Forecasts (n_windows, n_steps) of a task with a seed, and whether seeds matter.

    A local peer is fitted to each window, and gets fewer of them with a longer past.
    """

    name: str
    forecast: Callable[[Task, int], Array]
    random: bool = True
    local: bool = False


def measure(seeds: int, data: Path) -> dict[str, Any]:
    """Errors and CPU seconds by set, peer and seed; None for a peer that is not installed."""
    found: dict[str, Any] = {}
    for name, task_of in SETS.items():
        found[name] = {}
        for peer in PEERS:
            task, error = task_of(data, peer.local)
            runs = []
            for seed in range(seeds if peer.random else 1):
                begun = time.process_time()
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        made = peer.forecast(task, seed)
                except ImportError:
                    break
                seconds = time.process_time() - begun
                runs.append({"error": error(made), "windows": len(made), "seconds": seconds})
            found[name][peer.name] = runs or None
    return found


# -- sets ------------------------------------------------------------------------------------------


def etth1(data: Path, local: bool) -> tuple[Task, Callable[[Array], float]]:
    """Columns are series. All windows of the test part; for a local peer every 96th."""
    x = np.load(data / "ETTh1.npz")["x"].astype(np.float64)
    first, begin, n = 8640, 11_520, 96
    x = (x - x[:first].mean(axis=0)) / x[:first].std(axis=0)
    past, step = (_HISTORY, _STEP) if local else (n, 1)
    cuts = sliding_window_view(x[begin - past : begin + 2880], past + n, axis=0)[::step]
    rows = cuts.reshape(-1, past + n)
    future = rows[:, past:]
    task = Task([*x[:first].T], [*rows[:, :past]], future, past)
    return task, lambda made: float(((made - future) ** 2).mean())


def m4_hourly(data: Path, local: bool) -> tuple[Task, Callable[[Array], float]]:
    """Return the last 168 rows of each series as its window; for a local peer all of them."""
    found = np.load(data / "m4_hourly.npz")
    series = [row[~np.isnan(row)].astype(np.float64) for row in found["train"]]
    future, past = found["test"].astype(np.float64), 168
    units = np.array([np.abs(each[SEASON:] - each[:-SEASON]).mean() for each in series])
    task = Task(series, series if local else [each[-past:] for each in series], future, past)
    return task, lambda made: float((np.abs(made - future).mean(axis=1) / units).mean())


SETS = {"ETTh1, 96 to 96: MSE": etth1, "M4 hourly, 168 to 48: MASE": m4_hourly}


# -- peers -----------------------------------------------------------------------------------------


def auto_ets(task: Task, seed: int) -> Array:
    from statsforecast.models import AutoETS

    n = task.future.shape[1]
    model = AutoETS(season_length=SEASON)
    return np.stack([model.forecast(y=window, h=n)["mean"] for window in task.windows])


def neural(task: Task, seed: int, kind: str) -> Array:
    """One model of neuralforecast for all series."""
    import neuralforecast
    from neuralforecast import models

    for name in ("lightning.pytorch", "pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    n = task.future.shape[1]
    quiet = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False}
    model = getattr(models, kind)(
        h=n, input_size=task.past, random_seed=seed + 1, accelerator="cpu", **quiet
    )
    fitted = neuralforecast.NeuralForecast(models=[model], freq=1)
    fitted.fit(table(task.series))
    return fitted.predict(df=table(task.windows))[kind].to_numpy().reshape(-1, n)


def table(series: list[Array]) -> pd.DataFrame:
    """Return series one below the other, as neuralforecast expects them."""
    lengths = [len(each) for each in series]
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(len(series)), lengths),
            "ds": np.concatenate([np.arange(n) for n in lengths]),
            "y": np.concatenate(series),
        }
    )


PEERS = [
    Peer("statsforecast `AutoETS`", auto_ets, random=False, local=True),
    Peer("neuralforecast `NLinear`", partial(neural, kind="NLinear")),
    Peer("neuralforecast `DLinear`", partial(neural, kind="DLinear")),
    Peer("neuralforecast `LSTM`", partial(neural, kind="LSTM")),
]
