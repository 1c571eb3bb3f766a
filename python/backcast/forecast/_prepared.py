"""Everything around the network: what it gets of windows, and what its output means in rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast.data._recordings import Recordings
from backcast.data.series import Windows
from backcast.forecast._layout import Layout
from backcast.forecast._linear import Linear
from backcast.forecast._normalization import Normalization, Numbers, filled, last_known
from backcast.forecast._scale import Scale

# Numbers in the windows that are in memory at a time.
_PIECE = 2**22


class Parts(NamedTuple):
    """Forecasts of windows, and the units of their errors; (n, future, C) each."""

    naive: Numbers
    linear: Numbers
    network: Numbers
    unit: Numbers

    def blend(self, weights: tuple[float, float]) -> Numbers:
        """Return the naive forecast, plus parts of what the others change of it."""
        linear, network = weights
        return (
            self.naive
            + linear * (self.linear - self.naive)
            + network * (self.network - self.linear)
        )


@dataclass(frozen=True)
class Preparation:
    """How windows of rows become frames of the network, and its frames forecasts.

    Attributes
    ----------
    normalization : Normalization
        Level and spread of a window.
    layout : Layout
        What a frame holds.
    linear : Linear or None
        The forecast whose errors the network learns; None: the network learns the future itself.
    together : bool
        Whether the columns of a window are one sample; otherwise each is a sample of its own.
    known_mean, known_deviation : ndarray of shape (n_known,)
        Of the known columns in training.
    scale : Scale or None
        The units of errors; None, as in files of before: by the deviation of the past alone.
    """

    normalization: Normalization
    layout: Layout
    linear: Linear | None
    together: bool
    known_mean: Numbers
    known_deviation: Numbers
    scale: Scale | None = None

    def known(self, rows: Numbers) -> Numbers:
        """Return known columns (n, T, n_known) as the model sees them, without missing numbers."""
        return filled((rows - self.known_mean) / self.known_deviation)

    def inputs(self, past: Numbers, columns: NDArray[np.intp]) -> tuple[Numbers, Numbers, Numbers]:
        """Return level, spread and the normalised past.

        `past` is (n, P, C), `columns` (n, C) are the numbers of the columns.
        """
        level, spread = self.normalization.of(past, columns)
        return level, spread, filled((past - level) / spread)

    def first(self, seen: Numbers, known: Numbers, columns: NDArray[np.intp]) -> Numbers:
        """Return what the network's output is added to: the normalised linear forecast, or 0.

        `seen` and `known` are normalised past and known columns as the model sees them.
        """
        if self.linear is None:
            return np.zeros((len(seen), self.layout.future, seen.shape[2]))
        return self.linear(seen, known, columns)

    def forecast(self, model: Any, past: Numbers, known: Numbers) -> Parts:
        """Forecast pasts (n, P, D) with known columns (n, P + F, n_known), in the user's units.

        The forecast of a column without a known number is NaN.
        """
        n, length, width = past.shape
        columns = np.tile(np.arange(width), (n, 1))
        known = self.known(known)
        level, spread, seen = self.inputs(past, columns)
        linear = self.first(seen, known, columns)
        made = self._of_network(model, seen, known)
        naive = np.broadcast_to(last_known(past)[:, np.newaxis], made.shape)
        return Parts(
            naive=naive,
            linear=naive if self.linear is None else linear * spread + level,
            network=(linear + made) * spread + level,
            unit=self.unit(past, known),
        )

    def unit(self, past: Numbers, known: Numbers) -> Numbers:
        """Return the unit (n, F, C) in which errors of forecasts are compared among windows.

        `known` has the known columns as the model sees them.
        """
        scale = self.scale or Scale.plain(self.normalization, self.layout.n_known)
        return scale(past, known[:, self.layout.past :])

    def _of_network(self, model: Any, seen: Numbers, known: Numbers) -> Numbers:
        """Return what the network adds to the linear forecast, (n, F, D), normalised."""
        n, length, width = seen.shape
        if not self.together:
            # Window after window, and in each one column after another.
            seen = seen.transpose(0, 2, 1).reshape(n * width, length, 1)
            known = np.repeat(known, width, axis=0)
        frames = model.predict(self.layout.pasts(seen, known), steps=self.layout.lengths[1])
        made = self.layout.rows(frames)
        return made if self.together else made.reshape(n, width, -1).transpose(0, 2, 1)


@dataclass(frozen=True, eq=False)
class Samples:
    """Pasts or futures of all training samples, made batch by batch as the model reads them.

    A sample is a window, or one column of a window.
    """

    preparation: Preparation
    rows: Recordings
    # The first row of each sample and, (n, C), its columns.
    starts: NDArray[np.intp]
    columns: NDArray[np.intp]
    future: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Samples, frames, numbers in a frame."""
        layout = self.preparation.layout
        return len(self.starts), layout.lengths[self.future], layout.width(self.columns.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return np.dtype(np.float32)

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        """Make some samples, and some of their frames."""
        samples, frames = key
        past, known, future, columns = self.window(samples)
        level, spread, seen = self.preparation.inputs(past, columns)
        layout = self.preparation.layout
        if not self.future:
            return layout.pasts(seen, known)[:, frames]
        first = self.preparation.first(seen, known, columns)
        return layout.futures((future - level) / spread - first)[:, frames]

    def window(self, samples: Any) -> tuple[Numbers, Numbers, Numbers, NDArray[np.intp]]:
        """Return past, known columns, future and the numbers of the columns of some samples."""
        layout, columns = self.preparation.layout, self.columns[samples]
        at = self.starts[samples][:, np.newaxis] + np.arange(layout.past + layout.future)
        numbers = self.rows.values[at[..., np.newaxis], columns[:, np.newaxis]].astype(np.float64)
        n_forecast = self.rows.values.shape[1] - layout.n_known
        known = self.preparation.known(self.rows.values[at, n_forecast:].astype(np.float64))
        return numbers[:, : layout.past], known, numbers[:, layout.past :], columns

    def normalized(self) -> Iterator[tuple[Numbers, Numbers, Numbers, NDArray[np.intp]]]:
        """Yield samples in pieces: normalised past, known columns, normalised future, columns."""
        layout = self.preparation.layout
        size = (layout.past + layout.future) * (self.columns.shape[1] + layout.n_known)
        step = max(1, _PIECE // size)
        for first in range(0, len(self.starts), step):
            past, known, future, columns = self.window(slice(first, first + step))
            level, spread, seen = self.preparation.inputs(past, columns)
            yield seen, known, (future - level) / spread, columns


def samples_of(windows: Windows, n_forecast: int, *, together: bool) -> tuple[Any, Any]:
    """Return start and columns of every sample whose past and future hold a number."""
    known = ~np.isnan(windows.values[:, :n_forecast])
    sums = np.concatenate([np.zeros((1, n_forecast), np.intp), np.cumsum(known, axis=0)])
    starts, middle = windows.starts, windows.starts + windows.n_past
    end = windows.starts + len(windows.frames)
    usable = (sums[middle] > sums[starts]) & (sums[end] > sums[middle])
    if together:
        some = usable.any(axis=1)
        return starts[some], np.tile(np.arange(n_forecast), (int(some.sum()), 1))
    window, column = np.nonzero(usable)
    return starts[window], column[:, np.newaxis]
