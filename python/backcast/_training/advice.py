"""Advice on a training that went wrong silently."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast._warn import warn
from backcast.errors import TrainingWarning

# After this many updates, the losses show how a training goes.
_ENOUGH = 100
# Root mean squares of numbers of unit scale, at least and at most.
_SMALL, _LARGE = 0.05, 20.0
# A deviation of less than this part of the mean hardly differs from rounding.
_HARDLY = 1e-6


def advise(history: list[dict[str, float]], first: int, stopped_early: bool) -> None:
    """Warn once where the records of a training from update `first` on show a failure."""
    records = [record for record in history if record["step"] > first]
    if first or len(records) < 2 or not enough(int(records[-1]["step"])):
        return
    some = max(1, len(records) // 10)
    start, end = (np.mean([r["loss"] for r in part]) for part in (records[:some], records[-some:]))
    if end >= start:
        warn(
            f"the loss did not fall: {start:.4g} at first, {end:.4g} at the end. Try another "
            "learning_rate (ten times smaller, then ten times larger), or scale the numbers "
            '(scale="standard")'
        )
    validation = [record.get("validation_loss", math.nan) for record in records]
    best = int(np.nanargmin(validation)) if not all(map(math.isnan, validation)) else -1
    if best >= 0 and not stopped_early and validation[-1] > 1.1 * validation[best]:
        warn(
            f"the validation loss rose from {validation[best]:.4g} at update "
            f"{records[best]['step']:,} to {validation[-1]:.4g} at the end: the model overfits "
            "its windows. Try patience=10 (keeps the best weights), fewer updates, a smaller "
            "model, dropout or more windows"
        )


def advise_on_outputs(by_decoder: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]) -> bool:
    """Warn once if outputs (n, steps, ...) of a decoder are nearly the same for every window.

    Return whether it warned.
    """
    same = {}
    for decoder, (outputs, targets) in by_decoder.items():
        # Numbers that are missing in all windows, such as known columns of a future, do not count.
        some = ~np.isnan(targets).all(axis=0)
        if not some.any():
            continue
        given = np.var(outputs[:, some], axis=0).mean()
        wanted = np.nanvar(targets[:, some], axis=0).mean()
        if len(outputs) >= 8 and given < 0.01 * wanted:
            same[decoder] = f"variance {given:.2g}, that of the windows is {wanted:.2g}"
    if same:
        warn(
            f"{' and '.join(same)} {'give' if len(same) > 1 else 'gives'} nearly the same frames "
            f"for every window ({'; '.join(same.values())}): the model has learnt only the "
            'mean. Try scale="standard" (also for film in which little changes), more updates '
            '(max_iter), feedback="none", or a larger learning_rate'
        )
    return bool(same)


class Comparison(NamedTuple):
    """An error of the model beside that of a simple one."""

    what: str
    own: float
    simple: str
    other: float


def advise_on_baselines(errors: Iterable[Comparison], where: str, remedies: str) -> None:
    """Warn once where the model is no better than simple ones.

    Parameters
    ----------
    errors : iterable of Comparison
        What was compared.
    where : str
        What they were compared on.
    remedies : str
        What may help.
    """
    worse = [error for error in errors if error.own >= error.other]
    if worse:
        names = " and ".join(dict.fromkeys(error.simple for error in worse))
        told = "; ".join(
            f"{what} {own:.3g}, {name} {other:.3g}" for what, own, name, other in worse
        )
        warn(f"on {where} the model is no better than {names} ({told}). Try {remedies}")


@contextmanager
def without_baselines() -> Iterator[None]:
    """Leave the comparison with simple models to the caller, who makes one in the user's units."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "on .* the model is no better than", TrainingWarning)
        yield


def advise_on_units(frames: NDArray[np.float64], columns: tuple[Any, ...] | None) -> None:
    """Warn where numbers (n, D) of frames that are not scaled are far from unit scale."""
    known = np.isfinite(frames)
    n = np.maximum(known.sum(0), 1)
    given = np.where(known, frames, 0.0)
    size = np.sqrt((given**2).sum(0) / n)
    worst = int(np.argmax(size))
    if _SMALL <= size[worst] <= _LARGE or not size[worst]:
        return
    name = "numbers" if columns is None else f"numbers of {columns[worst]!r}"
    mean = given[:, worst].sum() / n[worst]
    warn(
        f"the {name} are far from unit scale, for which learning_rate is made (mean "
        f"{mean:.4g}, root mean square {size[worst]:.4g}), and none are scaled. Try "
        'scale="standard": results stay in your units'
    )


def advise_on_scale(
    scale: tuple[NDArray[np.float64], NDArray[np.float64]],
    columns: Sequence[Any] | None,
    later: NDArray[np.float64] | None = None,
) -> None:
    """Warn where columns change so little in training that their scale means nothing.

    Parameters
    ----------
    scale : tuple of ndarray of shape (D,)
        Offset and factor of each column, as mean and deviation; the factor of a constant is 1.
    columns : sequence or None
        Names of the columns.
    later : ndarray of shape (n, D), default=None
        Rows that were held out: warn of other columns, which are far off in them.
    """
    offset, factor = scale
    hardly, off = (factor != 1) & (factor < _HARDLY * np.abs(offset)), np.zeros(len(offset))
    found = np.flatnonzero(hardly)
    if later is not None:
        known = np.isfinite(later)
        squares = (np.where(known, later - offset, 0.0) / factor) ** 2
        off = np.sqrt(squares.sum(0) / np.maximum(known.sum(0), 1))
        found = np.flatnonzero((off > _LARGE) & (factor != 1) & ~hardly)
    if not len(found):
        return

    def name(i: int) -> str:
        own = i if columns is None else columns[i]
        return repr(own) if isinstance(own, str) else f"column {own}"

    worst = int(found[np.argmax(off[found])])
    told = f"{name(worst)} " if len(found) > 1 else ""
    told += f"by {factor[worst]:.2g} around {offset[worst]:.6g}"
    if later is not None:
        told += f", and by {off[worst]:,.0f} times that in held-out rows"
    names = ", ".join(map(name, found[:5]))
    warn(
        f"{names}{', ...' if len(found) > 5 else ''} changed too little in training to be scaled "
        f"by it ({told}): what changes later counts as huge, and losses say little else. Leave "
        "such columns out (columns=[...]), train on rows in which they change, or round them to "
        "constants"
    )


def advise_on_dropout(dropout: float, num_layers: int) -> None:
    """Warn where dropout has no effect."""
    if dropout > 0 and num_layers == 1:
        warn(
            f"dropout={dropout} does nothing with num_layers=1: units are dropped between "
            "layers. Try num_layers=2, or dropout=0"
        )


def enough(updates: int) -> bool:
    """Whether a training of this many updates should have learnt something."""
    return updates >= _ENOUGH
