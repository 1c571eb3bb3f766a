"""What is learnt in a fit: the normalisation, the linear forecast, the network, the weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast._training.advice import advise_on_scale, without_baselines
from backcast._warn import warn
from backcast.data._recordings import Recordings
from backcast.data.series import Windows
from backcast.errors import DataError, TrainingWarning
from backcast.forecast._intervals import Intervals
from backcast.forecast._layout import Layout
from backcast.forecast._linear import Linear, fit_linear
from backcast.forecast._normalization import Normalization, Numbers, moments
from backcast.forecast._prepared import Parts, Preparation, Samples, samples_of
from backcast.forecast._scale import Scale, misfit
from backcast.model import Model

# Held-out windows that are used, and the most numbers in their futures.
_HELD_OUT, _NUMBERS = 1000, 2**22
# Samples that the linear forecast and the least deviation are learnt from, and those that stop a
# training with patience.
_LINEAR, _VALIDATION = 50_000, 512
# What is better than the last value, as the level of a window or as a forecast, must be better by
# this part: held-out windows overlap, and few of them are independent. Forecasts of random walks
# that were better at all on these windows had up to 1.2 times the squared error on later ones.
_MARGIN = 0.05
# Learnt units of errors must make held-out errors as much more likely, in logarithms.
_GAIN = 0.003
# None is only on request: without normalisation, no forecast follows a level that training lacked.
_CANDIDATES = ("last", "mean", "standard")
# Updates of the default network: two passes over the samples, within these bounds. More passes
# overfit where windows overlap, and many series gain from more updates; the most keeps the time.
_PASSES, _FEWEST, _MOST = 2, 1000, 1500
_GRID = np.linspace(0, 1, 21)


class Choices(NamedTuple):
    """What the user's parameters say."""

    past: int
    future: int
    segment: int
    normalize: str | None
    n_known: int
    together: bool
    linear: bool
    # Whether the number of updates follows from that of the samples.
    auto_updates: bool


class Learnt(NamedTuple):
    """What a fit learns beside the network."""

    preparation: Preparation
    intervals: Intervals | None
    weights: tuple[float, float]
    errors: dict[str, float]
    why: dict[str, str]


def hold_out(rows: Recordings, past: int, future: int, part: float) -> tuple[Windows, Windows]:
    """Return windows to train on, and windows whose futures are in the last part of each run.

    Both sides share no row of a future. A run that is too short for both is trained on.
    """
    windows = rows.cut(Windows, past, future)
    run = np.searchsorted(rows.ends, windows.starts, side="right")
    begins, ends = rows.begins[run], rows.ends[run]
    cut = ends - np.maximum(future, np.round(part * (ends - begins)).astype(np.intp))
    both = cut - begins >= past + future
    train = ~both | (windows.starts + past + future <= cut)
    return windows[train], windows[both & (windows.starts + past >= cut)]


def evenly(windows: Windows, n_forecast: int) -> Windows:
    """Return at most 1,000 of the windows, evenly; fewer where they have many numbers."""
    numbers = max(1, n_forecast * (len(windows.frames) - windows.n_past))
    n = min(len(windows), _HELD_OUT, max(20, _NUMBERS // numbers))
    some: Windows = windows[np.linspace(0, len(windows) - 1, n).round().astype(np.intp)]
    return some


@dataclass(frozen=True)
class Judge:
    """Held-out windows, and the error of forecasts of them.

    The error is the mean over series, a column of a recording each, of the root mean squared error
    in units of the mean change of the series from one row to the next. NaN does not count.
    """

    past: Numbers
    known: Numbers
    truth: Numbers
    # The number of each window's recording, and the mean change of its columns.
    codes: NDArray[np.intp]
    units: Numbers

    @classmethod
    def of(cls, windows: Windows, rows: Recordings, n_forecast: int) -> Judge:
        """Take some of the held-out windows."""
        some = evenly(windows, n_forecast)
        frames = np.asarray(some, np.float64)
        codes = np.zeros(len(rows.values), np.intp)
        if rows.row_groups is not None:
            codes[1:] = np.cumsum(rows.row_groups[1:] != rows.row_groups[:-1])
        values = rows.values[:, :n_forecast].astype(np.float64)
        inside = np.ones(max(0, len(values) - 1), np.bool_)
        inside[rows.ends[:-1] - 1] = False
        changes = np.abs(np.diff(values, axis=0))[inside]
        known = ~np.isnan(changes)
        shape = int(codes.max()) + 1, n_forecast
        sums, counts = np.zeros(shape), np.zeros(shape)
        np.add.at(sums, codes[1:][inside], np.where(known, changes, 0))
        np.add.at(counts, codes[1:][inside], known)
        with np.errstate(invalid="ignore", divide="ignore"):
            units = sums / counts
        return cls(
            past=frames[:, : some.n_past, :n_forecast],
            known=frames[..., n_forecast:],
            truth=frames[:, some.n_past :, :n_forecast],
            codes=codes[some.starts],
            units=np.where(units > 0, units, np.nan),
        )

    def error(self, forecast: Numbers) -> float:
        """Return the error of a forecast (n, F, D)."""
        errors = forecast - self.truth
        return self._of_squares(self._products(errors, errors))

    def best_weights(self, parts: Parts) -> tuple[float, float]:
        """Return the weights of a blend, of a grid from 0 to 1, that is best beside the naive one.

        Its error by that of the naive forecast is the least in the worse half of the windows, as
        what helps in one half only may be chance. Without a clear gain both weights are 0.
        """
        base = parts.naive - self.truth
        terms = base, parts.linear - parts.naive, parts.network - parts.linear
        worse = np.zeros((len(_GRID), len(_GRID)))
        for half in np.array_split(np.arange(len(self.codes)), 2):
            products = {
                (i, j): (1 + (i != j)) * self._products(terms[i], terms[j], half)
                for i in range(3)
                for j in range(i, 3)
            }
            errors = np.array(
                [
                    [
                        self._of_squares(
                            sum((1, a, b)[i] * (1, a, b)[j] * p for (i, j), p in products.items())
                        )
                        for b in _GRID
                    ]
                    for a in _GRID
                ]
            )
            if errors[0, 0] > 0:
                worse = np.fmax(worse, errors / errors[0, 0])
        # Series that never change have no error.
        if not worse.any() or worse.min() > 1 - _MARGIN:
            return 0.0, 0.0
        # Of equal errors the largest weights.
        i, j = np.argwhere(worse <= worse.min() * (1 + 1e-9))[-1]
        return float(_GRID[i]), float(_GRID[j])

    def _products(self, one: Numbers, other: Numbers, windows: Any = slice(None)) -> Numbers:
        """Return mean products of errors of some windows, by recording and column."""
        products = one[windows] * other[windows]
        known = ~np.isnan(products) & ~np.isnan(self.truth[windows])
        sums, counts = np.zeros(self.units.shape), np.zeros(self.units.shape)
        np.add.at(sums, self.codes[windows], np.where(known, products, 0).sum(1))
        np.add.at(counts, self.codes[windows], known.sum(1))
        with np.errstate(invalid="ignore", divide="ignore"):
            means: Numbers = sums / counts
        return means

    def _of_squares(self, squares: Any) -> float:
        roots = np.sqrt(np.maximum(squares, 0)) / self.units
        return float(np.nanmean(roots)) if np.isfinite(roots).any() else float("nan")


def learn(
    model: Model,
    train: Windows,
    rest: Windows,
    rows: Recordings,
    other: Recordings,
    choices: Choices,
    training: dict[str, Any],
) -> Learnt:
    """Choose the normalisation, train the network, weigh its forecasts, learn intervals.

    Parameters
    ----------
    model : Model
        The network, which is fitted.
    train, rest : Windows
        Windows to train on, of `rows`, and held-out ones, of `other`; there may be none.
    rows, other : Recordings
        The rows of both.
    choices : Choices
        What the user's parameters say.
    training : dict
        Further arguments of `Model.fit`.
    """
    n_forecast = rows.values.shape[1] - choices.n_known
    starts, columns = samples_of(train, n_forecast, together=choices.together)
    if not len(starts):
        raise DataError("series must hold numbers, got only NaN")
    judge = Judge.of(rest, other, n_forecast) if len(rest) else None
    if judge is None:
        warn(
            "no window was held out, as every recording is too short for a window to train on and "
            "a future after it: nothing was compared with the naive forecast, and there are no "
            "intervals. Give more rows, or a shorter past or future"
        )
    preparation, why = _prepare(train, rows, choices, n_forecast, judge)
    learnt = preparation.normalization
    advise_on_scale((learnt.mean, learnt.deviation), rows.columns)
    if choices.auto_updates:
        model.max_iter = auto_updates(len(starts), model.batch_size)
    sides = [Samples(preparation, rows, starts, columns, future) for future in (False, True)]
    if model.patience is not None and judge is not None:
        training = training | {"validation": _validation(preparation, rest, other, n_forecast)}
    # The forecasts are compared with the naive one below, after the linear part was added.
    with without_baselines():
        if preparation.linear is not None:
            # What a ridge regression leaves may be noise, of which only the mean can be learnt.
            warnings.filterwarnings("ignore", "predict gives nearly the same", TrainingWarning)
        model.fit(*sides, **training)
    if judge is None:
        return Learnt(preparation, None, (1.0, 1.0), {}, why | {"weights": "nothing held out"})
    parts = preparation.forecast(model, judge.past, judge.known)
    weights = judge.best_weights(parts)
    if preparation.linear is None:
        # The linear forecast is the naive one, and its weight is of no effect.
        weights = weights[1], weights[1]
    made = parts.blend(weights)
    errors = {
        "forecaster": judge.error(made),
        "network": judge.error(parts.network),
        "linear": judge.error(parts.linear),
        "naive": judge.error(parts.naive),
    }
    if preparation.linear is None:
        del errors["linear"]
    told = ", ".join(f"{name} {error:.4g}" for name, error in errors.items())
    _compare(weights, told)
    preparation, unit, why["intervals"] = _with_scale(
        preparation, model, train, weights, judge, judge.truth - made
    )
    intervals = Intervals.learn((judge.truth - made) / unit)
    why["weights"] = (
        f"best beside the naive forecast in both halves of {len(judge.past):,} held-out windows: "
        f"{told}"
    )
    return Learnt(preparation, intervals, weights, errors, why)


def auto_updates(n_samples: int, batch_size: int) -> int:
    """Return the number of updates of the default network: two passes, from 1,000 to 1,500."""
    return min(max(round(_PASSES * n_samples / batch_size), _FEWEST), _MOST)


def _compare(weights: tuple[float, float], told: str) -> None:
    """Warn where repeating the last value forecasts as well."""
    if not any(weights):
        warn(
            "the forecasts are no better than repeating the last value, or less than "
            f"{100 * _MARGIN:.0f} % better, in a half of the held-out windows, so that they repeat "
            f"it (errors in units of the mean change in one row: {told}). The series may be a "
            "random walk; or try a longer past, more rows, or columns that are known in the future"
        )


def _prepare(
    train: Windows, rows: Recordings, choices: Choices, n_forecast: int, judge: Judge | None
) -> tuple[Preparation, dict[str, str]]:
    """Choose the normalisation and the linear forecast by held-out windows."""
    covered = np.zeros(len(rows.values) + 1, np.intp)
    np.add.at(covered, train.starts, 1)
    np.add.at(covered, train.starts + len(train.frames), -1)
    values = rows.values[np.cumsum(covered[:-1]) > 0].astype(np.float64)
    sample = train[:: -(-len(train) // max(1, _LINEAR // n_forecast))]
    pasts = np.asarray(sample.past, np.float64)[..., :n_forecast]
    mean, deviation = moments(values[:, n_forecast:], 0)
    first = Preparation(
        Normalization.learn("last", values[:, :n_forecast], pasts),
        Layout(choices.past, choices.future, choices.segment, choices.n_known),
        None,
        choices.together,
        np.where(np.isnan(mean), 0.0, mean),
        np.where(deviation > 1e-9 * np.abs(mean), deviation, 1.0),
    )
    auto = choices.normalize == "auto"
    found: dict[Any, tuple[float, Preparation]] = {}
    for kind in _CANDIDATES if auto and judge is not None else [choices.normalize]:
        kind = "last" if kind == "auto" else kind
        here = replace(first, normalization=replace(first.normalization, kind=kind))
        found[kind] = _with_linear(here, sample, rows, n_forecast, judge)
    best = next(iter(found))
    told = "given"
    if auto and judge is not None:
        least = min(found, key=lambda kind: found[kind][0])
        if found[least][0] < (1 - _MARGIN) * found["last"][0]:
            best = least
        errors = ", ".join(f"{kind} {error:.4g}" for kind, (error, _) in found.items())
        told = f"errors of ridge regressions on held-out windows: {errors}"
    elif auto:
        told = "nothing held out to compare on"
    preparation = found[best][1]
    if not choices.linear:
        preparation = replace(preparation, linear=None)
    return preparation, {"normalize": told}


def _with_linear(
    preparation: Preparation,
    sample: Windows,
    rows: Recordings,
    n_forecast: int,
    judge: Judge | None,
) -> tuple[float, Preparation]:
    """Add the best linear forecast; return its error too."""
    starts, columns = samples_of(sample, n_forecast, together=False)
    samples = Samples(preparation, rows, starts, columns, False)
    error: Callable[[Linear], float] | None = None
    if judge is not None:
        columns = np.tile(np.arange(n_forecast), (len(judge.past), 1))
        known = preparation.known(judge.known)
        level, spread, seen = preparation.inputs(judge.past, columns)

        def error(linear: Linear) -> float:
            return judge.error(linear(seen, known, columns) * spread + level)

    fitted = fit_linear(samples.normalized(), n_forecast, error)
    if fitted is None:
        return np.inf, preparation
    return fitted[0], replace(preparation, linear=fitted[1])


def _with_scale(
    preparation: Preparation,
    model: Model,
    train: Windows,
    weights: tuple[float, float],
    judge: Judge,
    errors: Numbers,
) -> tuple[Preparation, Numbers, str]:
    """Learn the units of errors from training windows; keep them if errors held out agree.

    Return the units of the latter, too, and why.
    """
    length, n_forecast = judge.past.shape[1:]
    frames = np.asarray(evenly(train, n_forecast), np.float64)
    past, future = np.split(frames[..., :n_forecast], [length], axis=1)
    of_training = preparation.forecast(model, past, frames[..., n_forecast:]).blend(weights)
    seen, known = (
        preparation.known(each)[:, length:] for each in (frames[..., n_forecast:], judge.known)
    )
    plain = Scale.plain(preparation.normalization, preparation.layout.n_known)
    learnt = plain.learn(future - of_training, past, seen)
    units = [scale(judge.past, known) for scale in (learnt, plain)]
    unlikely = [misfit(errors, unit) for unit in units]
    told = "learnt from training windows {:.4g}, by the deviation of the past {:.4g}"
    told = f"minus log likelihoods of errors on held-out windows: {told.format(*unlikely)}"
    best = 0 if unlikely[0] < unlikely[1] - _GAIN else 1
    return replace(preparation, scale=(learnt, plain)[best]), units[best], told


def _validation(
    preparation: Preparation, rest: Windows, other: Recordings, n_forecast: int
) -> tuple[Any, Any]:
    """Return held-out samples as the network gets them."""
    starts, columns = samples_of(rest, n_forecast, together=preparation.together)
    some = np.linspace(0, len(starts) - 1, min(len(starts), _VALIDATION)).round().astype(np.intp)
    past, future = (
        Samples(preparation, other, starts, columns, future)[some, :] for future in (False, True)
    )
    return past, future
