"""The linear forecast: ridge regressions on the past of a window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from operator import add, itemgetter
from typing import Self

import numpy as np
from numpy.typing import NDArray

from backcast.forecast._normalization import Numbers

# Penalties to choose from, as parts of the mean square of a regressor; the one without a choice.
_PENALTIES, _PENALTY = (1e-4, 1e-2, 1e-1, 1.0), 1e-1
# The most coefficients of maps of single columns. With more, one map serves all columns.
_MOST = 2**20


@dataclass(frozen=True)
class Linear:
    """Linear maps from a normalised past and known columns to the normalised future.

    Every step has its own coefficients of the past's rows, of the known columns in the last row of
    the past, and of the known columns in the row of the step itself.

    Attributes
    ----------
    past : ndarray of shape (n_maps, 1 + past + n_known, future)
        Coefficients of 1, of the past and of the known columns of its last row. One map serves all
        columns, or each has its own.
    step : ndarray of shape (n_maps, future, n_known)
        Coefficients of the known columns in the row of the step.
    """

    past: Numbers
    step: Numbers

    def __call__(self, past: Numbers, known: Numbers, columns: NDArray[np.intp]) -> Numbers:
        """Forecast pasts (n, P, C) without missing numbers, of these columns (n, C)."""
        n, length, width = past.shape
        made = np.empty((n, self.past.shape[2], width))
        if len(self.past) == 1:
            columns = np.zeros_like(columns)
        for column, window, place in _by_column(columns):
            each = regressors(past[window, :, place], known[window]) @ self.past[column]
            if known.shape[2]:
                each += np.einsum("nhk,hk->nh", known[window, length:], self.step[column])
            made[window, :, place] = each
        return made


def regressors(past: Numbers, known: Numbers) -> Numbers:
    """Return 1, the past (n, P) and the known columns of its last row, side by side."""
    return np.concatenate([np.ones((len(past), 1)), past, known[:, past.shape[1] - 1]], axis=1)


@dataclass(frozen=True)
class _Sums:
    """Sums of products of regressors x, known columns z of the steps, and targets y."""

    xx: Numbers
    xy: Numbers
    xz: Numbers
    zz: Numbers
    zy: Numbers

    @classmethod
    def of(cls, x: Numbers, y: Numbers, z: Numbers) -> Self:
        """Sum over samples: regressors (n, X), targets (n, F), known columns (n, F, K)."""
        return cls(
            x.T @ x,
            x.T @ y,
            np.einsum("nx,nhk->xhk", x, z, optimize=True),
            np.einsum("nhk,nhl->hkl", z, z),
            np.einsum("nhk,nh->hk", z, y),
        )

    def __add__(self, other: Self) -> Self:
        """Return the sums over the samples of both."""
        return type(self)(*(getattr(self, name) + more for name, more in vars(other).items()))

    def solve(
        self, penalty: float, prior: tuple[Numbers, Numbers] | None = None
    ) -> tuple[Numbers, Numbers]:
        """Solve the ridge regression of all steps with one factorisation of the pasts.

        The penalty draws the coefficients towards those of `prior`, or towards 0. The coefficients
        of z are those of a regression of what is left of y on what is left of z after regressions
        on x (Frisch, Waugh and Lovell).
        """
        if prior is not None:
            # What the prior leaves of y has coefficients that are drawn towards 0.
            past, step = prior
            xy = self.xy - self.xx @ past - np.einsum("xhk,hk->xh", self.xz, step)
            zy = self.zy - np.einsum("xhk,xh->hk", self.xz, past)
            zy -= np.einsum("hkl,hl->hk", self.zz, step)
            more = replace(self, xy=xy, zy=zy).solve(penalty)
            return past + more[0], step + more[1]
        size, steps = self.xy.shape
        xx = self.xx + penalty * np.trace(self.xx) / size * np.eye(size)
        both = np.linalg.solve(xx, np.concatenate([self.xy, self.xz.reshape(size, -1)], axis=1))
        of_y, of_z = both[:, :steps], both[:, steps:].reshape(self.xz.shape)
        n_known = self.xz.shape[2]
        step = np.zeros((steps, n_known))
        if n_known:
            zz = self.zz - np.einsum("xhk,xhl->hkl", self.xz, of_z)
            zy = self.zy - np.einsum("xhk,xh->hk", self.xz, of_y)
            ridge = penalty * np.trace(self.zz, axis1=1, axis2=2) / n_known + 1e-12
            zz = zz + ridge[:, np.newaxis, np.newaxis] * np.eye(n_known)
            step = np.linalg.solve(zz, zy[..., np.newaxis])[..., 0]
        return of_y - np.einsum("xhk,hk->xh", of_z, step), step


Samples = Iterable[tuple[Numbers, Numbers, Numbers, NDArray[np.intp]]]


def fit_linear(
    samples: Samples, n_columns: int, error: Callable[[Linear], float] | None
) -> tuple[float, Linear] | None:
    """Fit one map for all columns, and then one for each column, which is drawn towards that.

    Parameters
    ----------
    samples : iterable of tuple
        Pasts (n, P, C) without missing numbers, known columns (n, P + F, K), futures (n, F, C)
        and the columns (n, C), all normalised. Futures with a missing number are left out.
    n_columns : int
        Number of columns.
    error : callable or None
        The error of a linear forecast on held-out windows, by which both penalties are chosen, and
        whether columns have maps of their own.

    Returns
    -------
    tuple or None
        The linear forecast and its error, infinity without `error`; None without a sample.
    """
    sums: dict[int, _Sums] = {}
    own = n_columns > 1
    for past, known, future, columns in samples:
        length, steps, n_known = past.shape[1], future.shape[1], known.shape[2]
        own = own and n_columns * (1 + length + n_known) * steps <= _MOST
        usable: NDArray[np.bool_] = np.asarray(~np.isnan(future).any(1))
        for column, window, place in _by_column(columns if own else np.zeros_like(columns)):
            some = usable[window, place]
            window, place = window[some], place[some]
            if len(window):
                found = _Sums.of(
                    regressors(past[window, :, place], known[window]),
                    future[window, :, place],
                    known[window, length:],
                )
                sums[column] = sums[column] + found if column in sums else found
    if not sums:
        return None
    penalties = _PENALTIES if error else (_PENALTY,)

    def best(maps: Callable[[float], list[tuple[Numbers, Numbers]]]) -> tuple[float, Linear]:
        found = [Linear(*map(np.stack, zip(*maps(each), strict=True))) for each in penalties]
        errors = [error(linear) if error else np.inf for linear in found]
        return min(zip(errors, found, strict=True), key=itemgetter(0))

    of_all = reduce(add, sums.values())
    shared = best(lambda penalty: [of_all.solve(penalty)])
    if not own:
        return shared
    prior = shared[1].past[0], shared[1].step[0]
    each = best(
        lambda penalty: [
            sums[column].solve(penalty, prior) if column in sums else prior
            for column in range(n_columns)
        ]
    )
    return min(each, shared, key=itemgetter(0))


def _by_column(
    columns: NDArray[np.intp],
) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
    """Yield every number in columns (n, C), with the windows and places that have it."""
    flat = columns.reshape(-1)
    order = np.argsort(flat, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(flat[order])) + 1):
        if len(places):
            yield int(flat[places[0]]), *np.divmod(places, columns.shape[1])
