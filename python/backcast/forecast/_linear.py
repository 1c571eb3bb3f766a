"""The linear forecast: a ridge regression on the past of a window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backcast.forecast._normalization import Numbers

PENALTIES = (1e-4, 1e-2, 1.0)
"""Penalties to choose from, as parts of the mean square of a regressor."""


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
        for column in np.unique(columns):
            mine = columns == column
            window, place = np.nonzero(mine)
            x = regressors(past[window, :, place], known[window])
            later = known[window, length:]
            made[window, :, place] = x @ self.past[column] + np.einsum(
                "nhk,hk->nh", later, self.step[column]
            )
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

    def solve(self, penalty: float) -> tuple[Numbers, Numbers]:
        """Solve the ridge regression of all steps with one factorisation of the pasts.

        The coefficients of z are those of a regression of what is left of y on what is left of z
        after regressions on x (Frisch, Waugh and Lovell).
        """
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


def fit_linear(samples: Samples, n_maps: int) -> dict[float, Linear]:
    """Fit a linear forecast for every penalty.

    Parameters
    ----------
    samples : iterable of tuple
        Pasts (n, P, C) without missing numbers, known columns (n, P + F, K), futures (n, F, C)
        and the columns (n, C), all normalised. Futures with a missing number are left out.
    n_maps : int
        1, or the number of columns, each of which then has a map of its own.

    Returns
    -------
    dict
        The linear forecast of each penalty; empty if a map has no sample.
    """
    sums: list[_Sums | None] = [None] * n_maps
    for past, known, future, columns in samples:
        length = past.shape[1]
        usable = ~np.isnan(future).any(1)
        for place in range(n_maps):
            mine = usable & ((columns == place) | (n_maps == 1))
            window, at = np.nonzero(mine)
            if len(window):
                x, z = regressors(past[window, :, at], known[window]), known[window, length:]
                y = future[window, :, at]
                found = _Sums(
                    x.T @ x,
                    x.T @ y,
                    np.einsum("nx,nhk->xhk", x, z, optimize=True),
                    np.einsum("nhk,nhl->hkl", z, z),
                    np.einsum("nhk,nh->hk", z, y),
                )
                sums[place] = found if sums[place] is None else _added(sums[place], found)
    known_sums = [each for each in sums if each is not None]
    if len(known_sums) < n_maps:
        return {}
    fitted = {}
    for penalty in PENALTIES:
        maps = [each.solve(penalty) for each in known_sums]
        fitted[penalty] = Linear(*(np.stack(part) for part in zip(*maps, strict=True)))
    return fitted


def _added(one: _Sums | None, other: _Sums) -> _Sums:
    assert one is not None
    return replace(one, **{name: each + getattr(other, name) for name, each in vars(one).items()})
