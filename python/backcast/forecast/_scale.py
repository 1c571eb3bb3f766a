"""The size of errors of forecasts to expect, by what a window shows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from backcast.forecast._normalization import Normalization, Numbers, moments

# The penalty of the powers, as a part of the mean square of a logarithm.
_PENALTY = 1e-2
# Errors of less than this part of the mean in their window, and changes below this quantile in
# training, count as that: logarithms of tiny numbers would outweigh all others.
_LEAST_ERROR, _LEAST = 1e-2, 0.01
# A change of less than this part of the deviation is rounding.
_ROUNDING = 1e-6
# Known columns count up to this many deviations from their mean.
_MOST = 3.0
# The largest power of a measure.
_LARGEST = 1.5
# Numbers in the windows whose changes are found at a time.
_PIECE = 2**20


@dataclass(frozen=True)
class Scale:
    """A product of powers of three measures of a past, and of exponentials of known columns.

    The measures are its deviation, its least change over a lag (of a seasonal series, that from
    season to season) and its mean, to whose size the deviation in training is added.

    Attributes
    ----------
    least : ndarray of shape (2, n_columns)
        The least deviation and change.
    deviation : ndarray of shape (n_columns,)
        In training.
    factor : ndarray of shape (n_columns,)
        What the product is multiplied by.
    powers : ndarray of shape (3 + n_known,)
        Of the measures, and of the known columns in the row of the step.
    """

    least: Numbers
    deviation: Numbers
    factor: Numbers
    powers: Numbers

    @classmethod
    def plain(cls, normalization: Normalization, n_known: int) -> Self:
        """By the deviation of the past, as errors are larger where a past varies more.

        Not in proportion: unless the model sees windows by their own deviation, it is the geometric
        mean of that and of the training's.
        """
        power = 1.0 if normalization.kind == "standard" else 0.5
        return cls(
            least=np.stack([normalization.least] * 2),
            deviation=normalization.deviation,
            factor=normalization.deviation ** (1 - power),
            powers=np.array([power, *[0.0] * (2 + n_known)]),
        )

    def __call__(self, past: Numbers, known: Numbers) -> Numbers:
        """Return the unit (n, F, C) of errors of forecasts.

        Parameters
        ----------
        past : ndarray of shape (n, past, n_columns)
            In the user's units.
        known : ndarray of shape (n, future, n_known)
            Known columns of the future as the model sees them.
        """
        exponents = self._exponents(self._logs(past), np.clip(known, -_MOST, _MOST))
        unit: Numbers = self.factor * np.exp(exponents)
        return unit

    def learn(self, errors: Numbers, past: Numbers, known: Numbers) -> Self:
        """Return a scale with the powers of a regression of the logarithms of errors.

        The columns share the powers, which are drawn towards those of this scale. `errors` is
        (n, future, n_columns), NaN where unknown; the others are as in a call.
        """
        deviation, change = _measures(past).transpose(1, 0, 2)[:2]
        change = np.where(change > _ROUNDING * deviation, change, np.nan)
        with warnings.catch_warnings():
            # A column without a change keeps the least deviation.
            warnings.simplefilter("ignore", RuntimeWarning)
            low = np.nanquantile(change, _LEAST, axis=0)
        low = np.where(np.isnan(low), self.least[1], low)
        new = replace(self, least=np.stack([self.least[0], low]))
        x, z = new._logs(past), np.clip(known, -_MOST, _MOST)
        sizes = np.abs(errors)
        counts = np.maximum((~np.isnan(sizes)).sum(1, keepdims=True), 1)
        sizes = np.maximum(sizes, _LEAST_ERROR * np.nansum(sizes, 1, keepdims=True) / counts)
        usable = sizes > 0
        y = np.log(np.where(usable, sizes, 1)) - new._exponents(x, z)
        # Every step of a column has a constant of its own, as its intervals have.
        mean = np.where(usable, y, 0).sum(0) / np.maximum(usable.sum(0), 1)
        y = np.where(usable, y - mean, 0)
        x, z = x - x.mean(0), z - z.mean(0)
        xx = np.einsum("nic,njc,nc->ij", x, x, usable.sum(1), optimize=True)
        xz = np.einsum("nic,nhk,nhc->ik", x, z, usable, optimize=True)
        zz = np.einsum("nhk,nhl,nh->kl", z, z, usable.sum(2), optimize=True)
        products = np.block([[xx, xz], [xz.T, zz]])
        with_y = [
            np.einsum("nic,nc->i", x, y.sum(1)),
            np.einsum("nhk,nh->k", z, y.sum(2)),
        ]
        ridge = _PENALTY * np.trace(products) / len(products) + 1e-12
        more = np.linalg.solve(products + ridge * np.eye(len(products)), np.concatenate(with_y))
        powers = new.powers + more
        # A past that varies more never lets expect smaller errors.
        powers[:3] = np.clip(powers[:3], 0, _LARGEST)
        return replace(new, powers=powers)

    def _exponents(self, logs: Numbers, known: Numbers) -> Numbers:
        of_past = np.einsum("nic,i->nc", logs, self.powers[:3])
        both: Numbers = of_past[:, np.newaxis] + (known @ self.powers[3:])[..., np.newaxis]
        return both

    def _logs(self, past: Numbers) -> Numbers:
        """Return the logarithms (n, 3, C) of the measures; of a past without numbers, the least."""
        measures = _measures(past)
        measures[:, :2] = np.fmax(measures[:, :2], self.least)
        measures[:, 2] = np.fmax(measures[:, 2], 0) + self.deviation
        return np.log(measures)


def misfit(errors: Numbers, unit: Numbers) -> float:
    """Return the mean negative log likelihood, up to a constant, of errors (n, future, C).

    The errors of a step and a column are of a Laplace distribution whose size is a constant times
    their units.
    """
    known = ~np.isnan(errors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # A step without an error is NaN, and does not count.
        sizes = np.log(np.mean(np.abs(errors) / unit, 0, where=known))
        return float(np.nanmean(sizes + np.mean(np.log(unit), 0, where=known)))


def _measures(past: Numbers) -> Numbers:
    """Return deviation, least change and size of the mean (n, 3, C) of pasts."""
    mean, deviation = moments(past, 1)
    step = max(1, _PIECE // past[0].size)
    pieces = [_least_change(past[first : first + step]) for first in range(0, len(past), step)]
    return np.stack([deviation, np.concatenate(pieces), np.abs(mean)], axis=1)


def _least_change(past: Numbers) -> Numbers:
    """Return the root mean square of the change (n, C) over the lag for which it is least.

    Lags are up to half of the past. Those of which less than a quarter of the past is known do not
    count.
    """
    length = past.shape[1]
    known = ~np.isnan(past)
    x = np.where(known, past - moments(past, 1)[0][:, np.newaxis], 0.0)
    # Sums over all pairs of rows at a lag, as products of Fourier transforms.
    of_x, of_squares, of_known = (
        np.fft.rfft(each, 2 * length, axis=1) for each in (x, x**2, known)
    )
    sums = 2 * (np.conj(of_squares) * of_known).real - 2 * np.abs(of_x) ** 2
    squares, counts = (
        np.fft.irfft(each, axis=1)[:, 1 : max(2, length // 2 + 1)]
        for each in (sums, np.abs(of_known) ** 2)
    )
    enough = counts > max(0.5, length / 4 - 0.5)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(enough, np.maximum(squares, 0) / counts, np.inf)
    least = np.sqrt(means.min(1))
    return np.where(np.isinf(least), np.nan, least)
