"""Prototypes: typical embeddings of windows, and how near a sequence comes to each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from backcast.embedding._sequences import Numbers

# Prototypes of a view, and states that they are learnt from, at most.
_PROTOTYPES, STATES = 128, 10_000
# Decimals of a file.
_DECIMALS = 6


@dataclass(frozen=True)
class Prototypes:
    """Centres (n_prototypes, hidden_size) in units of the states' deviation, around their mean."""

    mean: Numbers
    deviation: Numbers
    centres: Numbers

    @classmethod
    def learn(cls, states: NDArray[np.float32]) -> Self:
        """Learn the centres of clusters of states (n, hidden_size); the same from the same states.

        At most as many as there are different states.
        """
        from sklearn.cluster import MiniBatchKMeans

        rows = states[:: -(-len(states) // STATES)].astype(np.float64)
        mean, deviation = rows.mean(0), rows.std(0)
        mean, deviation = (each.round(_DECIMALS) for each in (mean, deviation))
        deviation[deviation == 0] = 1
        scaled = np.unique((rows - mean) / deviation, axis=0)
        if len(scaled) > _PROTOTYPES:
            means = MiniBatchKMeans(_PROTOTYPES, n_init=1, random_state=0).fit(scaled)
            scaled = means.cluster_centers_
        return cls(mean, deviation, scaled.round(_DECIMALS))

    @classmethod
    def restore(cls, saved: Mapping[str, Any], size: int) -> Self:
        """Take over what a file holds; raise `ValueError` if it is not as it was saved."""
        mean, deviation, centres = (
            np.asarray(saved[name], np.float64) for name in ("mean", "deviation", "centres")
        )
        shapes = mean.shape, deviation.shape, centres.shape[1:]
        if shapes != ((size,),) * 3 or not 0 < len(centres) <= _PROTOTYPES:
            raise ValueError(f"prototypes must have {size} numbers each")
        if not (np.isfinite(mean).all() and np.isfinite(centres).all()):
            raise ValueError("prototypes must be finite")
        if not (np.isfinite(deviation) & (deviation > 0)).all():
            raise ValueError("deviations must be above 0")
        return cls(mean, deviation, centres)

    def as_json(self) -> dict[str, Any]:
        """Return what a file holds."""
        arrays = {"mean": self.mean, "deviation": self.deviation, "centres": self.centres}
        return {name: array.tolist() for name, array in arrays.items()}

    def near(self, states: NDArray[np.float32]) -> Numbers:
        """Return the distance from each prototype to the nearest of the states (n, hidden_size)."""
        scaled = (states - self.mean) / self.deviation
        squares = (scaled**2).sum(1)[:, np.newaxis] + (self.centres**2).sum(1)
        distances: Numbers = np.sqrt(np.maximum(squares - 2 * scaled @ self.centres.T, 0).min(0))
        return distances
